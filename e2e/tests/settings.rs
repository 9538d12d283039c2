//! Parameters of the template: registration, and the grace window of refresh tokens. On a stack of its own.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::time::Duration;

use e2e::local::{invoke_at, sample_event};
use e2e::{ALICE, Client, Tokens};
use local_stack::install::Tools;
use local_stack::stack::{Options, Stack};
use serde_json::json;

#[test]
fn registration_can_be_switched_off_and_the_grace_window_closed() {
    let mut options = Options::for_test("settings");
    for (name, value) in [("Registration", "disabled"), ("RefreshGraceSeconds", "0"), ("FreeAttemptsPerAddress", "3")] {
        options.parameters.insert(name.to_owned(), value.to_owned());
    }
    let mut stack = Stack::start(&Tools::find_or_install().unwrap(), &options).unwrap();
    let client = Client::new(&stack.base_url());

    let body = json!({ "username": "carol", "password": "correct horse battery staple" }).to_string();
    let refused = client.send("POST", "/register", &[("content-type", "application/json")], body);
    let sentence = "Registration is disabled. Ask an administrator for an account.";
    assert_eq!(refused.status_and_json(), (403, json!({ "error": "registration_disabled", "message": sentence })));

    // A token is single-use: the second use always ends the session.
    let first = client.tokens(ALICE);
    let second = Tokens::of(&client.refresh(&first.refresh));
    assert_eq!(client.refresh(&first.refresh).json()["error"], "invalid_grant");
    assert_eq!(client.get("/me", &second.access).status, 403);
    assert_eq!(client.refresh(&second.refresh).json()["error"], "invalid_grant");

    // Failed refreshes of an address, of which this was the second.
    assert_eq!(client.refresh("garbage").status, 400);
    let mut answers = (0..4).map(|_| client.refresh("garbage"));
    let throttled = answers.find(|answer| answer.status == 429).expect("it has to wait");
    assert_eq!(throttled.json()["error"], "too_many_attempts");
    assert_eq!(throttled.json()["error_description"], throttled.json()["message"]);
    assert_eq!(throttled.header("retry-after"), Some(throttled.json()["retry_after"].to_string().as_str()));
    // A client with a valid token does not have to wait.
    let login = client.login(ALICE.0, ALICE.1);
    let device = login.json()["device_token"].as_str().unwrap().to_owned();
    let tokens = Tokens::of(&login);
    assert_eq!(client.refresh(&tokens.refresh).status, 200);

    let invoke_url = stack.invoke_url();
    addresses_are_read_as_they_are_written(&invoke_url);
    only_a_known_device_passes_a_used_up_address(&client, &device);
    stack.must_run().unwrap();
}

/// Logins from addresses of the test's own, without the gateway.
fn addresses_are_read_as_they_are_written(invoke_url: &str) {
    let refused = |name: &str, address: &str| {
        let event = sample_event("login-ok")
            .replace(r#""sourceIp": "192.0.2.10""#, &format!(r#""sourceIp": "{address}""#))
            .replace(r#"\"username\": \"alice\""#, &format!(r#"\"username\": \"{name}\""#));
        assert!(event.contains(name) && event.contains(address), "{event}");
        invoke_at(invoke_url, "login", &event).1["statusCode"].as_u64().unwrap()
    };
    // The first wait is of a second, which may be over: each attempt that fails makes it twice as long.
    let has_to_wait = |name: &str, address: &dyn Fn(u32) -> String| {
        let mut answers = (0..6).map(|number| refused(name, &address(number)));
        assert!(answers.any(|status| status == 429), "{name}");
    };
    // Unreadable addresses share no counter.
    for number in 0..8 {
        assert_eq!(refused(&format!("unreadable-{number}"), "unknown"), 401);
    }
    for address in ["203.0.113.9", "203.0.113.9:4711", "203.0.113.9:4712"] {
        assert_eq!(refused(&format!("with-port-{}", address.len()), address), 401);
    }
    has_to_wait("with-port", &|number| format!("203.0.113.9:{}", 4713 + number));
    for (number, address) in ["[2001:db8:1:2::3]:4711", "[2001:db8:1:2::4]", "2001:db8:1:2::5"].iter().enumerate() {
        assert_eq!(refused(&format!("in-brackets-{number}"), address), 401);
    }
    has_to_wait("in-brackets", &|number| format!("[2001:db8:1:2::{:x}]:4712", 6 + number));
    assert_eq!(refused("in-brackets", "[2001:db8:1:3::6]:4712"), 401);
}

/// Alice has logged in from this address, and the device is known.
fn only_a_known_device_passes_a_used_up_address(client: &Client, device: &str) {
    // The address's attempts are used up, for long enough to ask about several names.
    let mut number = 0;
    loop {
        number += 1;
        let answer = client.login(&format!("used-up-{number}"), "wrong");
        match answer.json()["retry_after"].as_u64() {
            Some(8..) => break,
            Some(seconds) => std::thread::sleep(Duration::from_secs(seconds)),
            None => assert_eq!(answer.status, 401),
        }
    }
    let answer = |name: &str, password: &str| {
        let answer = client.login(name, password);
        let mut body = answer.json();
        // Only the remaining seconds differ.
        let retry_after = body["retry_after"].take().as_u64().unwrap();
        assert!((1..=900).contains(&retry_after));
        assert_eq!(answer.header("retry-after"), Some(retry_after.to_string().as_str()));
        let message = body["message"].take();
        let seconds = if retry_after == 1 { "a second".to_owned() } else { format!("{retry_after} seconds") };
        assert_eq!(message, json!(format!("Too many attempts. Try again in {seconds}.")));
        (answer.status, body)
    };
    assert_eq!(answer("alice", "wrong"), answer("nobody-at-all", "wrong"));
    assert_eq!(answer(ALICE.0, ALICE.1), answer("nobody-at-all", "wrong"));
    let body =
        |password: &str| json!({ "username": ALICE.0, "password": password, "device_token": device }).to_string();
    assert_eq!(client.login_with_body(body("wrong")).status, 401);
    assert_eq!(client.login_with_body(body(ALICE.1)).status, 200);
}
