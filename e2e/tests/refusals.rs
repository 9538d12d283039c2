//! Invalid tokens, through gateway and authorizer: always rejected, never with a reason.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::{ALICE, Client, unverified};
use serde_json::{Value, json};

fn unauthorized() -> (u16, Value) {
    (401, json!({ "message": "Unauthorized" }))
}

fn forbidden() -> (u16, Value) {
    (403, json!({ "message": "Forbidden" }))
}

const PROTECTED: [(&str, &str); 8] = [
    ("GET", "/protected-resource"),
    ("GET", "/me"),
    ("GET", "/admin-only"),
    ("POST", "/logout"),
    ("POST", "/password"),
    ("POST", "/introspect"),
    ("GET", "/sessions"),
    ("DELETE", "/sessions/any"),
];

#[test]
fn no_token_is_401_on_every_protected_route() {
    let client = Client::from_env();
    for (method, path) in PROTECTED {
        assert_eq!(client.send(method, path, &[], "").status_and_json(), unauthorized(), "{method} {path}");
        let empty = client.send(method, path, &[("authorization", "")], "");
        assert_eq!(empty.status_and_json(), unauthorized(), "{method} {path} with an empty header");
    }
}

#[test]
fn a_changed_token_is_403_on_every_protected_route() {
    let client = Client::from_env();
    let token = client.access_token(ALICE);
    let (message, _) = token.rsplit_once('.').unwrap();
    for (method, path) in PROTECTED {
        let answer = client.send(method, path, &[("authorization", &format!("Bearer {message}.AAAA"))], "");
        assert_eq!(answer.status_and_json(), forbidden(), "{method} {path}");
    }
}

#[test]
fn forged_headers_and_claims_are_refused() {
    let client = Client::from_env();
    let token = client.access_token(ALICE);
    let parts: Vec<_> = token.split('.').collect();
    let (header, claims) = unverified(&token);
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let with = |value: &Value, name: &str, to: Value| {
        let mut value = value.clone();
        value[name] = to;
        encode(&value)
    };
    let admin = with(&claims, "roles", json!(["admin"]));
    for forged in [
        format!("{}.{admin}.{}", parts[0], parts[2]),
        format!("{}.{}.", with(&header, "alg", json!("none")), parts[1]),
        format!("{}.{}.{}", with(&header, "alg", json!("HS256")), parts[1], parts[2]),
        format!("{}.{}.{}", with(&header, "crit", json!([])), parts[1], parts[2]),
        format!("{}.{}.{}", with(&header, "typ", json!("JWT")), parts[1], parts[2]),
        format!("{}.{}.{}", with(&header, "kid", json!("../../dev/null")), parts[1], parts[2]),
        format!("{}.{}.{}", with(&header, "kid", json!("A".repeat(43))), parts[1], parts[2]),
        format!("{}.{}", parts[0], parts[1]),
        format!("{token}."),
        "a".repeat(8200),
    ] {
        assert_eq!(client.get("/me", &forged).status_and_json(), forbidden(), "{forged}");
    }
    assert_eq!(client.get("/me", &token).status, 200, "the token itself is good");
}

#[test]
fn a_refresh_token_is_no_access_token() {
    let client = Client::from_env();
    let refresh_token = client.login("alice", "password").json()["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(client.get("/me", &refresh_token).status_and_json(), forbidden());
}

#[test]
fn one_bearer_token_in_any_case_and_nothing_else() {
    let client = Client::from_env();
    let token = client.access_token(ALICE);
    for good in [format!("Bearer {token}"), format!("bearer {token}"), format!("BEARER {token}")] {
        assert_eq!(client.send("GET", "/me", &[("Authorization", &good)], "").status, 200);
    }
    for bad in [
        token.clone(),
        format!("Basic {token}"),
        format!("Bearer  {token}"),
        format!("Bearer\t{token}"),
        format!("Bearer {token},Bearer {token}"),
        format!("Bearer {token} x"),
        "Bearer".to_owned(),
    ] {
        let answer = client.send("GET", "/me", &[("authorization", &bad)], "");
        assert_eq!(answer.status_and_json(), forbidden(), "{bad}");
    }
    let bearer = format!("Bearer {token}");
    let twice = client.send("GET", "/me", &[("authorization", &bearer), ("authorization", &bearer)], "");
    assert_eq!(twice.status_and_json(), forbidden());
    let in_query_too = client.send("GET", &format!("/me?access_token={token}"), &[("authorization", &bearer)], "");
    assert_eq!(in_query_too.status_and_json(), forbidden());
}

#[test]
fn no_header_stands_in_for_the_authorizer() {
    let client = Client::from_env();
    let claims =
        json!({ "sub": "x", "username": "admin", "roles": ["admin"], "sid": "x", "jti": "x", "exp": 9 }).to_string();
    for name in ["x-amzn-request-context", "x-authorizer", "x-user", "x-amzn-oidc-data", "x-forwarded-user"] {
        let answer = client.send("GET", "/admin-only", &[(name, &claims)], "");
        assert_eq!(answer.status_and_json(), unauthorized(), "{name}");
    }
}

#[test]
fn an_encoded_path_is_guarded_as_the_decoded_one_is() {
    let client = Client::from_env();
    let token = client.access_token(ALICE);
    for path in ["/%6de", "/m%65", "/%6D%65"] {
        assert_eq!(client.send("GET", path, &[], "").status_and_json(), unauthorized(), "{path}");
        assert_eq!(client.get(path, "no.valid.token").status_and_json(), forbidden(), "{path}");
        assert_eq!(client.get(path, &token).status_and_json(), client.get("/me", &token).status_and_json(), "{path}");
    }
}

#[test]
fn paths_that_only_look_like_a_route_are_none() {
    let client = Client::from_env();
    let token = client.access_token(ALICE);
    // AWS does not document further slashes; the gateway's own tests cover its behaviour.
    for path in ["/me;x", "/ME", "/nothing"] {
        let answer = client.get(path, &token);
        assert_eq!(answer.status_and_json(), (404, json!({ "message": "Not Found" })), "{path}");
    }
    for (method, path) in [("POST", "/me"), ("DELETE", "/logout"), ("GET", "/login"), ("PUT", "/login")] {
        let answer = client.send(method, path, &[("authorization", &format!("Bearer {token}"))], "");
        assert_eq!(answer.status_and_json(), (404, json!({ "message": "Not Found" })), "{method} {path}");
    }
}
