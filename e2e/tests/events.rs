//! The sample events, sent to the functions as `cargo lambda invoke` sends them.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use e2e::local::{invoke, log_lines, sample_event, variable};
use e2e::{ADMIN, ALICE, Client, unverified};
use serde_json::{Value, json};

/// Status and JSON body of an answer in payload format 2.0.
fn answer(function: &str, event: &str) -> (u64, Value) {
    let (status, answer) = invoke(function, event);
    assert_eq!(status, 200, "{answer}");
    let body = answer["body"].as_str().unwrap();
    (answer["statusCode"].as_u64().unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

#[test]
fn login_ok() {
    let (status, body) = answer("login", &sample_event("login-ok"));
    assert_eq!((status, &body["message"]), (200, &json!("Welcome, alice!")));
}

#[test]
fn login_again() {
    let (status, body) = answer("login", &sample_event("login-again"));
    // A device that is not known yet is known from now on.
    assert_eq!((status, &body["device_token"]), (200, &json!("pHg-9_W5v3ZwEtF6p_owOA")));
}

#[test]
fn login_wrong_password() {
    assert_eq!(
        answer("login", &sample_event("login-wrong-password")),
        (401, json!({ "error": "invalid_credentials", "message": "The username or the password is wrong." }))
    );
}

#[test]
fn login_malformed() {
    let message = "The body is not JSON. It must be an object with the strings `username` and `password`, and if you have it \
                   `device_token` as a login returned it, each of them once and nothing else.";
    assert_eq!(
        answer("login", &sample_event("login-malformed")),
        (400, json!({ "error": "invalid_request", "message": message }))
    );
}

#[test]
fn authorizer_good() {
    let token = Client::from_env().access_token(ALICE);
    let (status, verdict) = invoke("authorizer", &sample_event("authorizer-good").replace("ACCESS_TOKEN", &token));
    assert_eq!((status, &verdict["isAuthorized"]), (200, &json!(true)));
    let names: Vec<_> = verdict["context"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["sub", "username", "roles", "sid", "jti", "exp", "epoch"]);
}

#[test]
fn authorizer_tampered() {
    let token = Client::from_env().access_token(ALICE);
    let event = sample_event("authorizer-tampered").replace("ACCESS_TOKEN", &token);
    assert_eq!(invoke("authorizer", &event), (200, json!({ "isAuthorized": false })));
}

#[test]
fn authorizer_expired() {
    // The sample's key is added to the key set, so that the token is only expired.
    let jwk = json!({
        "use": "sig", "alg": "ES256", "kid": "kzgobtgKbsUEDfFnQ5QlUAPnnhO1acNlRx3Zz6dv2Lc", "kty": "EC", "crv": "P-256",
        "x": "GQrZ45UkVxxy-r-vwi0QYiPb9vHnUiBcAiuHHugBLjg", "y": "SBFe7VhEuCwGPF92hHIS7GC_njsO-kElhVznHaef08o",
    });
    let item = json!({
        "purpose": { "S": "access-token" }, "kid": { "S": jwk["kid"] }, "alg": { "S": "ES256" },
        "public_jwk": { "S": jwk.to_string() },
        // It never signs: its active time is empty.
        "sealed_private_key": { "B": "AA==" }, "activates_at": { "N": "4000000000" }, "retires_at": { "N": "4000000000" },
    });
    let request = json!({ "TableName": variable("SIGNING_KEYS_TABLE_NAME"), "Item": item });
    let (status, problem) =
        local_stack::tables::call(&variable("AWS_ENDPOINT_URL_DYNAMODB"), "PutItem", &request).unwrap();
    assert_eq!(status, 200, "{problem}");

    let event = sample_event("authorizer-expired").replace("sample-get-protected-resource", "e2e-authorizer-expired");
    let expired = || {
        assert_eq!(invoke("authorizer", &event), (200, json!({ "isAuthorized": false })));
        log_lines().iter().any(|line| line.contains("e2e-authorizer-expired") && line.contains(r#""reason":"expired""#))
    };
    // An unknown key is looked up once in ten seconds, and another test may just have caused that.
    let found = (0..24).any(|_| {
        let found = expired();
        if !found {
            std::thread::sleep(std::time::Duration::from_millis(500));
        }
        found
    });
    assert!(found, "the refusal's reason is `expired`");
}

#[test]
fn login_foreign_page() {
    let (status, body) = answer("login", &sample_event("login-foreign-page"));
    assert_eq!((status, &body["error"]), (403, &json!("origin_not_allowed")));
}

#[test]
fn protected_with_context() {
    let event = sample_event("protected-with-context");
    let claims = serde_json::from_str::<Value>(&event).unwrap()["requestContext"]["authorizer"]["lambda"].clone();
    assert_eq!(
        answer("protected", &event),
        (200, json!({ "message": "Hello, alice! This answer is for signed-in users only.", "claims": claims }))
    );
}

#[test]
fn protected_without_context() {
    assert_eq!(
        answer("protected", &sample_event("protected-without-context")),
        (401, json!({ "error": "unauthorized", "message": "This needs a valid access token." }))
    );
}

#[test]
fn protected_with_a_context_that_is_not_whole() {
    let event: Value = serde_json::from_str(&sample_event("protected-with-context")).unwrap();
    for (name, value) in [("sub", json!(null)), ("roles", json!("admin")), ("exp", json!("soon")), ("sid", json!(1))] {
        let mut event = event.clone();
        event["requestContext"]["authorizer"]["lambda"][name] = value;
        assert_eq!(answer("protected", &event.to_string()).0, 401, "{name}");
    }
    for authorizer in [json!(null), json!({}), json!({ "lambda": null }), json!({ "lambda": {} }), json!({ "jwt": {} })]
    {
        let mut event = event.clone();
        event["requestContext"]["authorizer"] = authorizer.clone();
        assert_eq!(answer("protected", &event.to_string()).0, 401, "{authorizer}");
    }
}

#[test]
fn protected_answers_no_route_that_is_not_its_own() {
    let event = sample_event("protected-with-context").replace("GET /protected-resource", "GET /other");
    assert_eq!(
        answer("protected", &event),
        (404, json!({ "error": "not_found", "message": "There is nothing here." }))
    );
}

#[test]
fn logout_twice() {
    for _ in 0..2 {
        assert_eq!(answer("logout", &sample_event("logout")), (204, Value::Null));
    }
}

#[test]
fn logout_everywhere() {
    for _ in 0..2 {
        assert_eq!(answer("logout", &sample_event("logout-everywhere")), (204, Value::Null));
    }
}

#[test]
fn login_change_password() {
    // The sample's user is not one of this stack.
    assert_eq!(
        answer("login", &sample_event("login-change-password")),
        (403, json!({ "error": "invalid_credentials", "message": "The current password is wrong." }))
    );
}

#[test]
fn token_refresh_and_revoke() {
    let tokens = Client::from_env().tokens(ALICE);
    let event = |name: &str, token: &str| sample_event(name).replace("REFRESH_TOKEN", token);
    let (status, body) = answer("token", &event("token-refresh", &tokens.refresh));
    assert_eq!((status, &body["token_type"]), (200, &json!("Bearer")));
    let refreshed = body["refresh_token"].as_str().unwrap();
    assert_eq!(answer("token", &event("token-revoke", refreshed)), (200, Value::Null));
    let (status, body) = answer("token", &event("token-refresh", refreshed));
    assert_eq!((status, &body["error"]), (400, &json!("invalid_grant")));
}

#[test]
fn token_introspect() {
    // The sample comes from `localhost`, which is this deployment's issuer only for tokens that came from there.
    let login = sample_event("login-ok");
    let (_, body) = answer("login", &login);
    let event = sample_event("token-introspect").replace("ACCESS_TOKEN", body["access_token"].as_str().unwrap());
    let (status, state) = answer("token", &event);
    assert_eq!((status, &state["active"], &state["username"]), (200, &json!(true), &json!("alice")));
}

#[test]
fn account_register() {
    let (status, body) = answer("account", &sample_event("account-register"));
    assert_eq!((status, &body["username"]), (201, &json!("carol")));
    let (status, body) = answer("account", &sample_event("account-register"));
    assert_eq!((status, &body["error"]), (409, &json!("username_taken")));
}

#[test]
fn account_sessions_and_end_session() {
    assert_eq!(answer("account", &sample_event("account-sessions")), (200, json!({ "sessions": [] })));
    assert_eq!(
        answer("account", &sample_event("account-end-session")),
        (404, json!({ "error": "not_found", "message": "You have no session with this id." }))
    );
}

#[test]
fn no_function_answers_a_caller_without_context_or_a_route_that_is_not_its_own() {
    for (function, name) in [
        ("logout", "logout-everywhere"),
        ("login", "login-change-password"),
        ("token", "token-introspect"),
        ("account", "account-sessions"),
        ("account", "account-end-session"),
    ] {
        let mut event: Value = serde_json::from_str(&sample_event(name)).unwrap();
        event["requestContext"].as_object_mut().unwrap().remove("authorizer");
        assert_eq!(answer(function, &event.to_string()).0, 401, "{name}");
    }
    for (function, name) in [("login", "login-ok"), ("token", "token-refresh"), ("account", "account-sessions")] {
        let mut event: Value = serde_json::from_str(&sample_event(name)).unwrap();
        event["requestContext"]["routeKey"] = json!("GET /other");
        assert_eq!(answer(function, &event.to_string()).0, 404, "{name}");
    }
}

#[test]
fn logout_without_context() {
    let mut event: Value = serde_json::from_str(&sample_event("logout")).unwrap();
    event["requestContext"].as_object_mut().unwrap().remove("authorizer");
    assert_eq!(answer("logout", &event.to_string()).0, 401);
}

#[test]
fn discovery_jwks() {
    let (status, body) = answer("discovery", &sample_event("discovery-jwks"));
    assert_eq!(status, 200);
    assert!(!body["keys"].as_array().unwrap().is_empty());
}

#[test]
fn every_function_answers_an_unknown_event_with_an_error_and_continues() {
    for function in ["login", "token", "logout", "account", "authorizer", "protected", "discovery"] {
        for event in [
            "null",
            "[]",
            "1",
            r#""text""#,
            "{}",
            r#"{"version":"1.0"}"#,
            r#"{"Records":[]}"#,
            r#"{"requestContext":null}"#,
            r#"{"requestContext":{"http":{"method":"GET"}},"rawPath":"no slash","rawQueryString":"a b"}"#,
        ] {
            let (status, problem) = invoke(function, event);
            let refused = status == 500 && problem["errorMessage"].is_string();
            // An authorizer event needs only a context; without a token it is denied.
            let denied = function == "authorizer" && problem == json!({ "isAuthorized": false });
            assert!(refused || denied, "{function} answered {event} with {status} {problem}");
        }
    }
    assert_eq!(answer("protected", &sample_event("protected-with-context")).0, 200, "it goes on");
}

#[test]
fn a_token_of_another_host_name_of_the_deployment_is_revoked_and_introspected_too() {
    let client = Client::from_env();
    let at_another_name =
        |event: &str| event.replace(r#""domainName": "localhost""#, r#""domainName": "another.example""#);
    let (_, login) = invoke("login", &at_another_name(&sample_event("login-ok")));
    let body: Value = serde_json::from_str(login["body"].as_str().unwrap()).unwrap();
    let token = body["access_token"].as_str().unwrap();
    assert_eq!(unverified(token).1["iss"], "https://another.example");
    let admin = client.access_token(ADMIN);
    let state = || client.post_form("/introspect", Some(&admin), &[("token", token)]).json();
    let passes = || {
        let event = at_another_name(&sample_event("authorizer-good").replace("ACCESS_TOKEN", token));
        invoke("authorizer", &event).1["isAuthorized"].clone()
    };
    assert_eq!((&state()["active"], &state()["iss"]), (&json!(true), &json!("https://another.example")));
    assert_eq!(passes(), true);
    assert_eq!(client.post_form("/revoke", None, &[("token", token)]).status, 200);
    assert_eq!(passes(), false);
    assert_eq!(state(), json!({ "active": false }));
}
