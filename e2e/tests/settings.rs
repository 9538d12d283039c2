//! What the template's parameters switch: registration, and the grace window of refresh tokens. On a stack of its own.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use e2e::{ALICE, Client, Tokens};
use serde_json::json;
use xtask::install::Tools;
use xtask::stack::{Options, Stack};

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
    let sentence = "Registration is switched off. Ask an administrator for an account.";
    assert_eq!(refused.status_and_json(), (403, json!({ "error": "registration_disabled", "message": sentence })));

    // A token counts once: the second use ends the session, however soon it comes.
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
    // Who has a good token is not kept waiting by that.
    let tokens = client.tokens(ALICE);
    assert_eq!(client.refresh(&tokens.refresh).status, 200);
    stack.must_run().unwrap();
}
