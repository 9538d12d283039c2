//! The OAuth endpoints: `POST /token`, `POST /revoke`, `POST /introspect`.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::HashSet;
use std::time::Duration;

use e2e::local::{add_user, latchkey, log_lines};
use e2e::{ADMIN, ALICE, Answer, Client, Tokens, unverified};
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery staple";

fn oauth_error(status: u16, code: &str, sentence: &str) -> (u16, Value) {
    (status, json!({ "error": code, "error_description": sentence, "message": sentence }))
}

fn invalid_grant() -> (u16, Value) {
    oauth_error(400, "invalid_grant", "The refresh token is no longer valid. Log in again.")
}

fn forbidden() -> (u16, Value) {
    (403, json!({ "message": "Forbidden" }))
}

#[test]
fn a_refresh_returns_new_tokens_of_the_same_session() {
    let client = Client::from_env();
    let first = client.tokens(ALICE);
    let answer = client.refresh(&first.refresh);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    let second = Tokens::of(&answer);
    assert_eq!(
        answer.json(),
        json!({
            "access_token": second.access,
            "token_type": "Bearer",
            "expires_in": 900,
            "refresh_token": second.refresh,
        })
    );
    assert_eq!(second.sid(), first.sid());
    assert_ne!(unverified(&second.access).1["jti"], unverified(&first.access).1["jti"]);
    assert_eq!(client.get("/me", &second.access).status, 200);
}

#[test]
fn fifty_tabs_that_refresh_at_once_stay_signed_in() {
    let client = Client::from_env();
    let mut current = client.tokens(ALICE).refresh;
    for _ in 0..3 {
        let tabs: Vec<_> = (0..50)
            .map(|_| {
                let (client, current) = (client.clone(), current.clone());
                std::thread::spawn(move || Tokens::of(&client.refresh(&current)))
            })
            .collect();
        let tokens: Vec<_> = tabs.into_iter().map(|tab| tab.join().unwrap()).collect();
        let successors: HashSet<_> = tokens.iter().map(|tokens| tokens.refresh.clone()).collect();
        assert_eq!(successors.len(), 1);
        assert_eq!(client.get("/me", &tokens[0].access).status, 200);
        current = successors.into_iter().next().unwrap();
    }
}

#[test]
fn a_stolen_token_ends_the_session_for_thief_and_owner_and_the_log_says_so() {
    let client = Client::from_env();
    let name = add_user("stolen", PASSWORD, &["user"]);
    let stolen = client.tokens((&name, PASSWORD));
    let owners = Tokens::of(&client.refresh(&stolen.refresh));
    assert_eq!(client.get("/me", &owners.access).status, 200);
    // The grace window is 10 seconds.
    std::thread::sleep(Duration::from_millis(11_500));
    assert_eq!(client.refresh(&stolen.refresh).status_and_json(), invalid_grant(), "the thief");
    assert_eq!(client.refresh(&owners.refresh).status_and_json(), invalid_grant(), "the owner");
    for tokens in [&stolen, &owners] {
        assert_eq!(client.get("/me", &tokens.access).status_and_json(), forbidden());
    }

    let events: Vec<Value> = log_lines()
        .iter()
        .filter(|line| line.contains("refresh_token_reused") && line.contains(&stolen.sid()))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let event = events.iter().find(|line| line["event"] == "refresh_token_reused").expect("an audit event");
    assert_eq!(event["outcome"], "session_ended");
    assert_eq!(event["level"], "WARN");
    assert_eq!((&event["presented_generation"], &event["current_generation"]), (&json!(0), &json!(1)));
    assert_eq!(event["sub"], unverified(&stolen.access).1["sub"]);
    assert!(event["request_id"].is_string());
    let request = events.iter().find(|line| line["event"] == "refresh").expect("the request's own line");
    assert_eq!((&request["outcome"], &request["reason"]), (&json!("refused"), &json!("refresh_token_reused")));
}

#[test]
fn a_disabled_user_and_changed_roles_count_at_the_next_refresh() {
    let client = Client::from_env();
    let name = add_user("refreshed", PASSWORD, &["user"]);
    let first = client.tokens((&name, PASSWORD));
    assert!(latchkey(&["user", "set-roles", &name, "--role", "ops"], "").status.success());
    assert_eq!(client.get("/me", &first.access).json()["roles"], json!(["user"]));
    let second = Tokens::of(&client.refresh(&first.refresh));
    assert_eq!(client.get("/me", &second.access).json()["roles"], json!(["ops"]));
    assert!(latchkey(&["user", "disable", &name], "").status.success());
    assert_eq!(client.refresh(&second.refresh).status_and_json(), invalid_grant());
    assert_eq!(client.get("/me", &second.access).status_and_json(), forbidden());
}

#[test]
fn a_logout_ends_the_refresh_token_too() {
    let client = Client::from_env();
    let tokens = client.tokens(ALICE);
    assert_eq!(client.post("/logout", &tokens.access).status, 204);
    assert_eq!(client.refresh(&tokens.refresh).status_and_json(), invalid_grant());
}

#[test]
fn what_is_no_refresh_token_is_an_invalid_grant() {
    let client = Client::from_env();
    let tokens = client.tokens(ALICE);
    let other_generation = tokens.refresh.replacen(".0.", ".1.", 1);
    let cut = &tokens.refresh[..tokens.refresh.len() - 1];
    for garbage in ["garbage", "1.a.b.0.AAAA", &tokens.access, &other_generation, cut, &"x".repeat(10_000)] {
        assert_eq!(client.refresh(garbage).status_and_json(), invalid_grant(), "{garbage}");
    }
    assert_eq!(client.refresh(&tokens.refresh).status, 200, "none of it touched the session");
}

#[test]
fn a_request_for_tokens_that_is_malformed_says_why() {
    let client = Client::from_env();
    let refresh = client.tokens(ALICE).refresh;
    let ask = |parameters: &[(&str, &str)]| client.post_form("/token", None, parameters).status_and_json();
    let grant = ("grant_type", "refresh_token");
    let missing = |name: &str| oauth_error(400, "invalid_request", &format!("The form needs the parameter `{name}`."));
    assert_eq!(ask(&[]), missing("grant_type"));
    assert_eq!(ask(&[("grant_type", "")]), missing("grant_type"));
    assert_eq!(ask(&[grant]), missing("refresh_token"));
    assert_eq!(ask(&[grant, ("refresh_token", "")]), missing("refresh_token"));
    for other in ["password", "authorization_code", "client_credentials", "Refresh_Token"] {
        assert_eq!(
            ask(&[("grant_type", other), ("username", "alice"), ("password", "password")]),
            oauth_error(400, "unsupported_grant_type", "The only `grant_type` is `refresh_token`.")
        );
    }
    let token = ("refresh_token", refresh.as_str());
    assert_eq!(
        ask(&[grant, token, token]),
        oauth_error(400, "invalid_request", "The form has a parameter more than once.")
    );
    assert_eq!(
        ask(&[grant, token, ("client_id", "somebody-else")]),
        oauth_error(400, "invalid_client", "The only `client_id` is `latchkey`.")
    );
    assert_eq!(
        ask(&[grant, token, ("scope", "admin")]),
        oauth_error(400, "invalid_scope", "Scopes are not supported; omit `scope`.")
    );
    let json =
        client.send("POST", "/token", &[("content-type", "application/json")], r#"{"grant_type":"refresh_token"}"#);
    let sentence = "The body must be a form: Content-Type application/x-www-form-urlencoded.";
    assert_eq!(json.status_and_json(), oauth_error(400, "invalid_request", sentence));
    let large = ask(&[grant, ("refresh_token", &"x".repeat(17_000))]);
    assert_eq!(large, oauth_error(413, "payload_too_large", "The body is longer than 16384 bytes."));

    // Unknown parameters are ignored (RFC 6749 §3.2), and the client may identify itself.
    assert_eq!(ask(&[grant, token, ("client_id", "latchkey"), ("resource", "x")]).0, 200);
}

fn is_empty_200(answer: &Answer) -> bool {
    answer.status == 200 && answer.body.is_empty()
}

#[test]
fn a_revoked_refresh_token_ends_its_session_and_no_other() {
    let client = Client::from_env();
    let (one, other) = (client.tokens(ALICE), client.tokens(ALICE));
    let parameters = [("token", one.refresh.as_str()), ("token_type_hint", "access_token")];
    assert!(is_empty_200(&client.post_form("/revoke", None, &parameters)), "a wrong hint does no harm");
    assert_eq!(client.get("/me", &one.access).status_and_json(), forbidden());
    assert_eq!(client.refresh(&one.refresh).status_and_json(), invalid_grant());
    assert_eq!(client.get("/me", &other.access).status, 200);
    assert!(is_empty_200(&client.post_form("/revoke", None, &parameters)), "it is repeated");
}

#[test]
fn a_revoked_access_token_is_denied_alone() {
    let client = Client::from_env();
    let tokens = client.tokens(ALICE);
    let parameters = [("token", tokens.access.as_str()), ("token_type_hint", "refresh_token")];
    assert!(is_empty_200(&client.post_form("/revoke", None, &parameters)));
    assert_eq!(client.get("/me", &tokens.access).status_and_json(), forbidden());
    let next = Tokens::of(&client.refresh(&tokens.refresh));
    assert_eq!(client.get("/me", &next.access).status, 200);
}

#[test]
fn revoking_what_is_not_known_is_no_error() {
    let client = Client::from_env();
    for token in ["garbage", "a.b.c", "1.a.b.0.AAAA"] {
        assert!(is_empty_200(&client.post_form("/revoke", None, &[("token", token)])), "{token}");
    }
    let missing = client.post_form("/revoke", None, &[("token_type_hint", "access_token")]);
    assert_eq!(missing.status_and_json(), oauth_error(400, "invalid_request", "The form needs the parameter `token`."));
}

#[test]
fn introspection_is_for_services_and_administrators() {
    let client = Client::from_env();
    let alice = client.tokens(ALICE);
    let ask = |by: Option<&str>, token: &str| client.post_form("/introspect", by, &[("token", token)]);
    assert_eq!(ask(None, &alice.access).status_and_json(), (401, json!({ "message": "Unauthorized" })));
    let refused = ask(Some(&alice.access), &alice.access);
    assert_eq!(refused.status_and_json(), oauth_error(403, "insufficient_scope", "This needs the role `service`."));
    assert_eq!(refused.header("www-authenticate"), Some(r#"Bearer realm="latchkey", error="insufficient_scope""#));

    let service = add_user("service", PASSWORD, &["service"]);
    for by in [client.access_token(ADMIN), client.access_token((&service, PASSWORD))] {
        let answer = ask(Some(&by), &alice.access);
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let (_, claims) = unverified(&alice.access);
        let mut expected = json!({ "active": true, "token_type": "Bearer" });
        let names = ["iss", "sub", "aud", "client_id", "username", "exp", "iat", "nbf", "jti", "sid", "roles"];
        for name in names {
            expected[name] = claims[name].clone();
        }
        assert_eq!(answer.status_and_json(), (200, expected));

        let refresh = ask(Some(&by), &alice.refresh).json();
        assert_eq!((&refresh["active"], &refresh["token_type"]), (&json!(true), &json!("refresh_token")));
        assert_eq!((&refresh["sub"], &refresh["sid"]), (&claims["sub"], &claims["sid"]));
        assert_eq!(refresh["exp"].as_u64().unwrap() - refresh["iat"].as_u64().unwrap(), 7 * 24 * 60 * 60);
        assert_eq!(refresh["roles"], Value::Null, "it opens nothing");
    }
}

#[test]
fn a_token_is_active_only_as_the_kind_that_is_asked_for() {
    let client = Client::from_env();
    let (admin, tokens) = (client.access_token(ADMIN), client.tokens(ALICE));
    let ask = |token: &str, hint: &str| {
        let answer = client.post_form("/introspect", Some(&admin), &[("token", token), ("token_type_hint", hint)]);
        assert_eq!(answer.status, 200);
        answer.json()
    };
    let inactive = json!({ "active": false });
    assert_eq!(ask(&tokens.access, "access_token")["token_type"], "Bearer");
    assert_eq!(ask(&tokens.refresh, "refresh_token")["token_type"], "refresh_token");
    assert_eq!(ask(&tokens.refresh, "access_token"), inactive);
    assert_eq!(ask(&tokens.access, "refresh_token"), inactive);
    // An unknown hint is ignored (RFC 7662 §2.1).
    for token in [&tokens.access, &tokens.refresh] {
        assert_eq!(ask(token, "urn:example:token")["active"], true);
    }
}

#[test]
fn a_token_that_is_sent_with_a_line_break_is_revoked_too() {
    let client = Client::from_env();
    let (one, other) = (client.tokens(ALICE), client.tokens(ALICE));
    assert_eq!(client.post_form("/revoke", None, &[("token", &format!("{}\n", one.access))]).status, 200);
    assert_eq!(client.get("/me", &one.access).status_and_json(), forbidden());
    assert_eq!(client.post_form("/revoke", None, &[("token", &format!(" {}\r\n", other.refresh))]).status, 200);
    assert_eq!(client.refresh(&other.refresh).status_and_json(), invalid_grant());
}

#[test]
fn introspection_of_an_invalid_token_returns_only_active_false() {
    let client = Client::from_env();
    let admin = client.access_token(ADMIN);
    let inactive = |token: &str| {
        let answer = client.post_form("/introspect", Some(&admin), &[("token", token)]);
        assert_eq!(answer.status_and_json(), (200, json!({ "active": false })), "{token}");
    };
    let tokens = client.tokens(ALICE);
    inactive("garbage");
    inactive(&format!("{}x", tokens.access));
    inactive(&format!("{}x", tokens.refresh));
    assert_eq!(client.post("/logout", &tokens.access).status, 204);
    inactive(&tokens.access);
    inactive(&tokens.refresh);
}
