//! The operator's command, on the tables of the running stack.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::process::Output;

use e2e::Client;
use e2e::local::latchkey;

const PASSWORD: &str = "correct horse battery staple";

fn text(output: &Output) -> (bool, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn failure(message: &str) -> (bool, String, String) {
    (false, String::new(), format!("latchkey: {message}"))
}

#[test]
fn a_user_from_being_added_to_being_disabled() {
    let name = format!("operator-{}", std::process::id());
    let (added, said, _) = text(&latchkey(&["user", "add", &name, "--role", "user", "--role", "ops"], PASSWORD));
    assert!(added && said.starts_with(&format!("added {name}, id ")) && said.ends_with("roles user, ops"), "{said}");

    let client = Client::from_env();
    let token = client.access_token((&name, PASSWORD));
    assert_eq!(client.get("/me", &token).json()["roles"], serde_json::json!(["user", "ops"]));

    let (_, shown, _) = text(&latchkey(&["user", "show", &name.to_uppercase()], ""));
    assert!(shown.contains(&format!("username    {name}")) && shown.contains("status      enabled"), "{shown}");
    assert!(!shown.contains("argon2"), "{shown}");

    let (disabled, said, _) = text(&latchkey(&["user", "disable", &name], ""));
    assert!(disabled && said.starts_with(&format!("disabled {name}")), "{said}");
    assert_eq!(client.get("/me", &token).status, 403, "its tokens are dead");
    let refused = client.login(&name, PASSWORD);
    assert_eq!(refused.status_and_json(), client.login("nobody-at-all", PASSWORD).status_and_json());
    assert_eq!(refused.status, 401);

    let again = latchkey(&["user", "disable", &name], "");
    assert_eq!(text(&again), (true, format!("{name} was disabled already"), String::new()));
}

#[test]
fn what_cannot_be_added_says_why() {
    let name = format!("refused-{}", std::process::id());
    let add = |name: &str, password: &str| text(&latchkey(&["user", "add", name], password));
    assert_eq!(add(&name, "too short"), failure("the password has 9 characters; it needs 15 to 128"));
    assert_eq!(add(&name, ""), failure("the password is empty; type it, or pipe it in as one line"));
    assert_eq!(
        add("a b", PASSWORD),
        failure(
            "\"a b\" cannot be a user's name: a user name consists of letters, digits and the characters . _ - + @"
        )
    );
    assert!(add(&name, PASSWORD).0);
    assert_eq!(add(&name, PASSWORD), failure(&format!("there is a user {name} already; nothing was changed")));
    assert_eq!(text(&latchkey(&["user", "show", "nobody-at-all"], "")), failure("there is no user nobody-at-all"));
}

#[test]
fn first_keys_are_made_once() {
    let (done, said, _) = text(&latchkey(&["keys", "init"], ""));
    assert!(done, "{said}");
    for line in said.lines() {
        assert!(line.ends_with("signs already"), "{line}");
    }
    assert_eq!(said.lines().count(), 2);
}
