//! The main job: login, protected, admin refused, logout, refused.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use e2e::{ADMIN, ALICE, Client, unverified};
use serde_json::{Value, json};

fn forbidden() -> (u16, Value) {
    (403, json!({ "message": "Forbidden" }))
}

/// The expected response of `GET /me` for a token.
fn identity_of(token: &str) -> Value {
    let (_, claims) = unverified(token);
    let mut identity = json!({});
    for name in ["sub", "username", "roles", "sid", "jti", "exp", "epoch"] {
        identity[name] = claims[name].clone();
    }
    identity
}

#[test]
fn a_session_from_login_to_logout() {
    let client = Client::from_env();

    let login = client.login("alice", "password");
    assert_eq!(login.status, 200, "{login:?}");
    assert_eq!(login.header("content-type"), Some("application/json"));
    assert_eq!(login.header("cache-control"), Some("no-store"));
    let tokens = login.json();
    let token = tokens["access_token"].as_str().unwrap();
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(
        tokens,
        json!({
            "access_token": token,
            "token": token,
            "token_type": "Bearer",
            "expires_in": 900,
            "refresh_token": refresh_token,
            "device_token": tokens["device_token"],
            "message": "Welcome, alice!",
        })
    );

    assert_eq!(tokens["device_token"].as_str().unwrap().len(), 22, "128 bits in base64url");
    let me = identity_of(token);
    let protected = client.get("/protected-resource", token);
    assert_eq!(
        protected.status_and_json(),
        (200, json!({ "message": "Hello, alice! This answer is for signed-in users only.", "claims": me }))
    );
    assert_eq!(protected.header("cache-control"), Some("no-store"));
    assert_eq!(client.get("/me", token).status_and_json(), (200, me));

    let refused = client.get("/admin-only", token);
    assert_eq!(
        refused.status_and_json(),
        (403, json!({ "error": "insufficient_scope", "message": "This needs the role `admin`." }))
    );
    assert_eq!(refused.header("www-authenticate"), Some(r#"Bearer realm="latchkey", error="insufficient_scope""#));

    let logout = client.post("/logout", token);
    assert_eq!((logout.status, logout.body.as_str()), (204, ""));
    for path in ["/protected-resource", "/me", "/admin-only"] {
        assert_eq!(client.get(path, token).status_and_json(), forbidden(), "{path} after logout");
    }
    assert_eq!(client.post("/logout", token).status_and_json(), forbidden());
}

#[test]
fn an_administrator_may_what_a_user_may_not() {
    let client = Client::from_env();
    let token = client.access_token(ADMIN);
    assert_eq!(
        client.get("/admin-only", &token).status_and_json(),
        (200, json!({ "message": "Hello, admin! This answer is for administrators only." }))
    );
}

#[test]
fn a_logout_ends_its_own_session_and_no_other() {
    let client = Client::from_env();
    let (one, other) = (client.access_token(ALICE), client.access_token(ALICE));
    assert_eq!(client.post("/logout", &one).status, 204);
    assert_eq!(client.get("/me", &one).status_and_json(), forbidden());
    assert_eq!(client.get("/me", &other).status, 200);
}

#[test]
fn an_access_token_has_the_claims_and_no_more() {
    let client = Client::from_env();
    let (header, claims) = unverified(&client.access_token(ALICE));
    let names = |value: &Value| {
        let mut names: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        names.sort();
        names
    };
    assert_eq!(names(&header), ["alg", "kid", "typ"]);
    assert_eq!((&header["alg"], &header["typ"]), (&json!("ES256"), &json!("at+jwt")));
    assert_eq!(
        names(&claims),
        ["aud", "client_id", "epoch", "exp", "iat", "iss", "jti", "nbf", "roles", "sid", "sub", "username"]
    );
    let number = |name: &str| claims[name].as_u64().unwrap();
    assert_eq!(number("exp") - number("iat"), 900);
    assert_eq!(number("iat") - number("nbf"), 5, "for verifiers whose clocks are behind");
    for name in ["jti", "sid", "sub"] {
        assert_eq!(claims[name].as_str().unwrap().len(), 22, "{name} carries 128 bits");
    }
}

#[test]
fn two_logins_share_no_identifier() {
    let client = Client::from_env();
    let (_, one) = unverified(&client.access_token(ALICE));
    let (_, other) = unverified(&client.access_token(ALICE));
    assert_eq!(one["sub"], other["sub"]);
    assert_ne!(one["jti"], other["jti"]);
    assert_ne!(one["sid"], other["sid"]);
}

#[test]
fn the_metadata_tells_what_there_is_and_nothing_else() {
    let client = Client::from_env();
    let (_, claims) = unverified(&client.access_token(ALICE));
    let issuer = claims["iss"].as_str().unwrap();
    let answer = client.send("GET", "/.well-known/oauth-authorization-server", &[], "");
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(
        answer.status_and_json(),
        (
            200,
            json!({
                "issuer": issuer,
                "token_endpoint": format!("{issuer}/token"),
                "token_endpoint_auth_methods_supported": ["none"],
                "jwks_uri": format!("{issuer}/.well-known/jwks.json"),
                "response_types_supported": [],
                "grant_types_supported": ["refresh_token"],
                "revocation_endpoint": format!("{issuer}/revoke"),
                "revocation_endpoint_auth_methods_supported": ["none"],
                "introspection_endpoint": format!("{issuer}/introspect"),
                "introspection_endpoint_auth_methods_supported": ["Bearer"],
            })
        )
    );
    // Each of them is there: it answers, and not with 404.
    for path in ["/token", "/revoke", "/introspect"] {
        assert_ne!(client.send("POST", path, &[], "").status, 404, "{path}");
    }
}

#[test]
fn the_key_set_has_the_key_of_a_token_and_may_be_cached() {
    let client = Client::from_env();
    let (header, _) = unverified(&client.access_token(ALICE));
    let answer = client.send("GET", "/.well-known/jwks.json", &[], "");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    let jwks = answer.json();
    let keys = jwks["keys"].as_array().unwrap();
    let key = keys.iter().find(|key| key["kid"] == header["kid"]).expect("the token's key is in the set");
    let mut names: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
}
