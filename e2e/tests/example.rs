//! The example that creates a token by hand runs, and checks itself.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::process::Command;

#[test]
fn a_token_made_by_hand_is_the_one_of_the_rfc_and_of_the_library() {
    // `cargo test` has built it.
    let output = Command::new(local_stack::workspace::binary("examples/jwt_by_hand")).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{printed}");
    assert!(printed.contains(r#""iss":"joe""#) && printed.ends_with("are rejected\n"), "{printed}");
    let source = std::fs::read_to_string(local_stack::workspace::root().join("auth/examples/jwt_by_hand.rs")).unwrap();
    assert!(source.lines().count() < 100, "it is short");
}
