//! JWT libraries that know nothing of Latchkey verify its tokens through its key set, for every algorithm that has one.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs::File;
use std::process::{Command, Output, Stdio};

use e2e::local::variable;
use e2e::{ALICE, Client, unverified};
use local_stack::install::Tools;
use local_stack::stack::{Options, Stack};

fn must_succeed(output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}\n{}", output.status, text(&output.stdout), text(&output.stderr));
}

/// A stack with this algorithm, a token of it, and three libraries in two languages.
fn verify_elsewhere(algorithm: &str) {
    let mut options = Options::for_test(&format!("interop-{}", algorithm.to_lowercase()));
    // Remains of an earlier run.
    let _ = std::fs::remove_dir_all(&options.directory);
    options.parameters.insert("SigningAlgorithm".to_owned(), algorithm.to_owned());
    let stack = Stack::start(&Tools::find_or_install().unwrap(), &options).unwrap();
    let token = Client::new(&stack.base_url()).access_token(ALICE);
    assert_eq!(unverified(&token).0["alg"], algorithm);

    let scripts = local_stack::workspace::root().join("e2e/oauth-client");
    let node = Command::new("node")
        // A module read from standard input finds packages from the working directory.
        .args(["--input-type=module", "-", &stack.base_url(), &token])
        .current_dir(variable("LATCHKEY_OAUTH_CLIENT"))
        .env_remove("NODE_USE_ENV_PROXY")
        .stdin(Stdio::from(File::open(scripts.join("verify-token.mjs")).unwrap()))
        .output()
        .expect("node starts");
    must_succeed(&node);
    let python = Command::new(local_stack::install::pyjwt().unwrap())
        .arg(scripts.join("verify_token.py"))
        .args([&stack.base_url(), &token])
        // This machine is not behind a proxy.
        .env("no_proxy", "127.0.0.1")
        .output()
        .expect("python starts");
    must_succeed(&python);
}

#[test]
fn es256_verifies_elsewhere() {
    verify_elsewhere("ES256");
}

#[test]
fn rs256_verifies_elsewhere() {
    verify_elsewhere("RS256");
}

#[test]
fn eddsa_verifies_elsewhere() {
    verify_elsewhere("EdDSA");
}
