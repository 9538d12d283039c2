//! A function with an invalid environment does not start, and names the variable in one line of its log.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::process::Command;

use serde_json::{Value, json};

/// Starts a function with only these variables; it must fail. Returns the error of its one log line.
fn error_of(function: &str, variables: &[(&str, &str)]) -> Value {
    let binary = local_stack::workspace::binary(function);
    let output = Command::new(binary).env_clear().envs(variables.iter().copied()).output().unwrap();
    assert!(!output.status.success(), "{function} started");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "the log is standard output alone");
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&line["event"], &line["outcome"]), (&json!("start"), &json!("failed")), "{line}");
    line["error"].clone()
}

#[test]
fn a_missing_variable_is_named() {
    for (function, variable) in [
        ("login", "LATCHKEY_AUDIENCE"),
        ("token", "LATCHKEY_AUDIENCE"),
        ("logout", "USERS_TABLE_NAME"),
        ("account", "LATCHKEY_REGISTRATION"),
        ("authorizer", "LATCHKEY_AUDIENCE"),
        ("discovery", "LATCHKEY_AUDIENCE"),
        ("rotate-keys", "LATCHKEY_SIGNING_ALGORITHM"),
    ] {
        let error = error_of(function, &[]);
        let start = format!("the environment variable {variable} is not set");
        assert!(error.as_str().unwrap().starts_with(&start), "{function}: {error}");
    }
}

#[test]
fn a_wrong_variable_is_named_and_its_value_is_not() {
    let good = [
        ("LATCHKEY_AUDIENCE", "latchkey"),
        ("LATCHKEY_ACCESS_TOKEN_LIFETIME_SECONDS", "900"),
        ("LATCHKEY_MIN_PASSWORD_LENGTH", "15"),
        ("LATCHKEY_FREE_ATTEMPTS_PER_ADDRESS", "100"),
        ("LATCHKEY_KMS_KEY_ID", "alias/latchkey"),
        ("USERS_TABLE_NAME", "users"),
        ("SESSIONS_TABLE_NAME", "sessions"),
        ("DENYLIST_TABLE_NAME", "denylist"),
        ("LOGIN_ATTEMPTS_TABLE_NAME", "attempts"),
        ("SIGNING_KEYS_TABLE_NAME", "keys"),
    ];
    for (name, value) in [
        ("LATCHKEY_LOG_LEVEL", "warn"),
        ("LATCHKEY_ISSUER", "http://issuer.example"),
        ("LATCHKEY_ACCESS_TOKEN_LIFETIME_SECONDS", "59"),
        ("LATCHKEY_ACCESS_TOKEN_LIFETIME_SECONDS", "3601"),
        ("LATCHKEY_ACCESS_TOKEN_LIFETIME_SECONDS", "soon"),
        ("LATCHKEY_MIN_PASSWORD_LENGTH", "7"),
        ("LATCHKEY_FREE_ATTEMPTS_PER_ADDRESS", "-1"),
        ("LATCHKEY_SEALING_KEY", "a key that is too short"),
    ] {
        let error = error_of("login", &[&good[..], &[(name, value)]].concat());
        let error = error.as_str().unwrap();
        assert!(error.contains(name) && !error.contains(value), "{error}");
    }
}
