//! `POST /login`: the same response for every failed authentication, and a clear one for every invalid body.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::collections::BTreeSet;

use e2e::Client;
use e2e::local::add_user;
use serde_json::{Value, json};

const PASSWORD: &str = "correct horse battery staple";

fn invalid_credentials() -> (u16, Value) {
    (401, json!({ "error": "invalid_credentials", "message": "The username or the password is wrong." }))
}

fn not_json() -> (u16, Value) {
    let message = "The body is not JSON. It must be an object with the strings `username` and `password`, and if you have it \
                   `device_token` as a login returned it, each of them once and nothing else.";
    (400, json!({ "error": "invalid_request", "message": message }))
}

fn wrong_shape() -> (u16, Value) {
    let message = "The body must be an object with the strings `username` and `password`, and if you have it `device_token` as a \
                   login returned it, each of them once and nothing else.";
    (400, json!({ "error": "invalid_request", "message": message }))
}

#[test]
fn wrong_password_and_unknown_user_are_one_answer() {
    let client = Client::from_env();
    let name = add_user("login-one-answer", PASSWORD, &["user"]);
    let wrong_password = client.login(&name, "not the password");
    let unknown_user = client.login("nobody-of-this-name", "password");
    assert_eq!(wrong_password.status_and_json(), invalid_credentials());
    assert_eq!(unknown_user.status_and_json(), invalid_credentials());
    let names = |answer: &e2e::Answer| answer.headers.keys().map(ToString::to_string).collect::<BTreeSet<_>>();
    assert_eq!(names(&wrong_password), names(&unknown_user));
}

#[test]
fn names_that_can_be_no_users_are_the_same_answer() {
    let client = Client::from_env();
    for username in ["", " ", "a b", "\u{0}", "al\u{200b}ice", "../alice", &"x".repeat(5000), "\u{202e}alice"] {
        assert_eq!(client.login(username, "password").status_and_json(), invalid_credentials(), "{username:?}");
    }
    // Not trimmed, not folded, not cut.
    let others = ["", &PASSWORD.to_uppercase(), &format!("{PASSWORD} "), &"x".repeat(10_000), "\u{0}"];
    for (number, password) in others.into_iter().enumerate() {
        let name = add_user(&format!("login-passwords-{number}"), PASSWORD, &["user"]);
        assert_eq!(client.login(&name, password).status_and_json(), invalid_credentials(), "{password:?}");
    }
}

#[test]
fn a_name_is_the_same_in_any_case() {
    let client = Client::from_env();
    assert_eq!(client.login("ALICE", "password").json()["message"], "Welcome, alice!");
}

#[test]
fn a_body_that_is_not_json_is_refused() {
    let client = Client::from_env();
    for body in ["", "username=alice&password=password", "{", "{'username':'alice'}", r#"{"username":"alice""#] {
        assert_eq!(client.login_with_body(body).status_and_json(), not_json(), "{body:?}");
    }
}

#[test]
fn a_body_that_is_not_utf_8_is_refused() {
    let client = Client::from_env();
    // Gateways treat such bytes in a JSON body differently. As binary they reach the
    // function.
    let body = &b"{\"username\":\"al\xffce\",\"password\":\"password\"}"[..];
    let answer = client.send("POST", "/login", &[("content-type", "application/octet-stream")], body);
    assert_eq!(
        answer.status_and_json(),
        (400, json!({ "error": "invalid_request", "message": "The body is not UTF-8." }))
    );
}

#[test]
fn a_body_of_another_shape_is_refused() {
    let client = Client::from_env();
    for body in [
        json!(null),
        json!([]),
        json!("alice"),
        json!(["alice", "password"]),
        json!({}),
        json!({ "username": "alice" }),
        json!({ "password": "password" }),
        json!({ "username": "alice", "password": null }),
        json!({ "username": "alice", "password": 1 }),
        json!({ "username": ["alice"], "password": "password" }),
        json!({ "username": "alice", "password": "password", "remember": true }),
        json!({ "username": "alice", "password": "password", "device_token": "" }),
        json!({ "username": "alice", "password": "password", "device_token": 1 }),
        json!({ "username": "alice", "password": "password", "device_token": "pHg-9_W5v3ZwEtF6p_owOB" }),
    ] {
        assert_eq!(client.login_with_body(body.to_string()).status_and_json(), wrong_shape(), "{body}");
    }
    let twice = r#"{"username":"alice","username":"admin","password":"password"}"#;
    assert_eq!(client.login_with_body(twice).status_and_json(), wrong_shape());
}

#[test]
fn a_body_that_is_too_large_is_refused() {
    let client = Client::from_env();
    let body = json!({ "username": "alice", "password": "x".repeat(16 * 1024) }).to_string();
    assert_eq!(
        client.login_with_body(body).status_and_json(),
        (413, json!({ "error": "payload_too_large", "message": "The body is longer than 16384 bytes." }))
    );
}

#[test]
fn an_error_repeats_nothing_of_the_body() {
    let client = Client::from_env();
    for body in [
        r#"{"username":"alice","password":["s3cr3t-value"]}"#,
        r#"{"username":"alice","s3cr3t-value":"x","password":"y"}"#,
        r#"{"username":"alice","password":"s3cr3t-value""#,
        r#"{"username":"alice","password":"password","device_token":"s3cr3t-value"}"#,
    ] {
        assert!(!client.login_with_body(body).body.contains("s3cr3t-value"), "{body}");
    }
}

#[test]
fn the_content_type_does_not_matter_but_the_body_does() {
    let client = Client::from_env();
    let body = json!({ "username": "alice", "password": "password" }).to_string();
    for content_type in ["application/json; charset=utf-8", "text/plain", "application/x-www-form-urlencoded"] {
        let answer = client.send("POST", "/login", &[("content-type", content_type)], body.clone());
        assert_eq!(answer.status, 200, "{content_type}");
    }
}
