//! Keys: created by the function and by the operator's command, for every algorithm, and known to every verifier.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use e2e::local::{invoke, latchkey_in, response_url, sample_event};
use e2e::{ALICE, Client, Tokens, unverified};
use local_stack::install::Tools;
use local_stack::stack::{Options, Stack};
use serde_json::{Value, json};

#[test]
fn rotate_keys_answers_cloudformation_at_the_response_url() {
    for request_type in ["Create", "Update", "Delete"] {
        let (url, taker) = response_url("200 OK");
        let event = sample_event("rotate-keys-create")
            .replace("RESPONSE_URL", &url)
            .replace("\"Create\"", &json!(request_type).to_string());
        let (status, answer) = invoke("rotate-keys", &event);
        assert_eq!((status, answer), (200, json!(null)), "{request_type}");
        let (head, body) = taker.join().unwrap();
        assert!(head.starts_with("PUT /answer?Signature=s3cr3t HTTP/1.1\r\n"), "{head}");
        let event: Value = serde_json::from_str(&event).unwrap();
        assert_eq!(
            body,
            json!({
                "Status": "SUCCESS", "Reason": "", "PhysicalResourceId": "latchkey-keys",
                "StackId": event["StackId"], "RequestId": event["RequestId"], "LogicalResourceId": "Keys",
            })
        );
    }
}

#[test]
fn an_answer_that_is_not_taken_is_an_error_so_that_lambda_tries_again() {
    let (url, taker) = response_url("403 Forbidden");
    let (status, problem) = invoke("rotate-keys", &sample_event("rotate-keys-create").replace("RESPONSE_URL", &url));
    taker.join().unwrap();
    assert_eq!((status, &problem["errorMessage"]), (500, &json!("CloudFormation did not take the answer")));
    assert!(!e2e::local::log_lines().iter().any(|line| line.contains("s3cr3t") && line.starts_with('{')));
}

#[test]
fn rotate_keys_finds_nothing_due_on_its_schedule() {
    assert_eq!(invoke("rotate-keys", &sample_event("rotate-keys-schedule")), (200, json!(null)));
    let (status, problem) = invoke("rotate-keys", r#"{"RequestType":"Create"}"#);
    assert_eq!((status, &problem["errorType"]), (500, &json!("EventError")));
}

fn list(environment: &std::collections::BTreeMap<String, String>) -> Vec<Value> {
    let output = latchkey_in(environment, &["keys", "list", "--json"], "");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn failure(environment: &std::collections::BTreeMap<String, String>, arguments: &[&str]) -> Value {
    let output = latchkey_in(environment, &[&["keys", "--json"][..], arguments].concat(), "");
    assert!(!output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stderr).unwrap()
}

/// A stack whose access tokens have this algorithm.
fn stack_of(algorithm: &str) -> Stack {
    let mut options = Options::for_test(&format!("keys-{}", algorithm.to_lowercase()));
    // Remains of an earlier run.
    let _ = std::fs::remove_dir_all(&options.directory);
    options.parameters.insert("SigningAlgorithm".to_owned(), algorithm.to_owned());
    if algorithm == "HS256" {
        options.parameters.insert("Hs256".to_owned(), "accepted".to_owned());
    }
    Stack::start(&Tools::find_or_install().unwrap(), &options).unwrap()
}

#[test]
fn keys_are_listed_rotated_and_revoked() {
    let stack = stack_of("ES256");
    let environment = stack.command_environment();
    let client = Client::new(&stack.base_url());
    let before = client.tokens(ALICE);
    let first = list(environment);
    assert_eq!(
        first.iter().map(|key| &key["purpose"]).collect::<Vec<_>>(),
        ["access-token", "refresh-token", "login-attempts"]
    );
    let old = first[0]["kid"].as_str().unwrap();
    assert_eq!(unverified(&before.access).0["kid"], old);

    let refused = failure(environment, &["revoke", old]);
    assert_eq!(refused["error"], "only_key");
    // A key that signs nothing stays.
    let of_attempts = first[2]["kid"].as_str().unwrap();
    for at_once in [&[][..], &["--at-once"]] {
        assert_eq!(failure(environment, &[&["revoke", of_attempts][..], at_once].concat())["error"], "signs_nothing");
    }
    assert_eq!(failure(environment, &["export", of_attempts])["error"], "not_exportable");
    let usage = latchkey_in(environment, &["keys", "rotate", "--purpose", "login-attempts"], "");
    assert_eq!(usage.status.code(), Some(2), "{usage:?}");
    // The older name of the same command.
    assert_eq!(failure(environment, &["retire", "no-such-key"])["error"], "unknown_key");
    assert_eq!(failure(environment, &["export", old])["error"], "not_exportable");

    let rotated =
        latchkey_in(environment, &["keys", "rotate", "--now", "--purpose", "access-token", "--algorithm", "RS256"], "");
    let printed = String::from_utf8(rotated.stdout).unwrap();
    assert!(rotated.status.success() && printed.contains("(RS256), which signs from now on"), "{printed}");
    let later = latchkey_in(environment, &["keys", "rotate", "--purpose", "refresh-token"], "");
    assert!(String::from_utf8(later.stdout).unwrap().contains("which is published now and signs in 24 h"));
    let keys = list(environment);
    assert_eq!(keys.len(), 5);
    // All tokens stay valid, and the new key is published.
    assert_eq!(client.get("/me", &before.access).status, 200);
    assert_eq!(client.refresh(&before.refresh).status, 200);

    let revoked = latchkey_in(environment, &["keys", "revoke", "--at-once", old], "");
    assert!(revoked.status.success(), "{revoked:?}");
    assert_eq!(list(environment).len(), 4);
    // A rotation of all keys leaves it alone.
    let rotated = latchkey_in(environment, &["keys", "rotate", "--now"], "");
    assert!(rotated.status.success(), "{rotated:?}");
    assert!(list(environment).iter().any(|key| key["kid"] == of_attempts && key["is_active"] == true));
}

#[test]
fn hs256_signs_and_verifies_where_it_was_accepted_and_its_secret_can_be_handed_to_a_verifier() {
    let stack = stack_of("HS256");
    let client = Client::new(&stack.base_url());
    let tokens = client.tokens(ALICE);
    let (header, _) = unverified(&tokens.access);
    assert_eq!(header["alg"], "HS256");
    assert_eq!(client.get("/me", &tokens.access).status, 200);
    assert_eq!(client.get("/me", &format!("{}x", tokens.access)).status, 403);
    let tokens = Tokens::of(&client.refresh(&tokens.refresh));
    let admin = client.access_token(e2e::ADMIN);
    let state = client.post_form("/introspect", Some(&admin), &[("token", &tokens.access)]).json();
    assert_eq!(state["active"], true);
    // There is nothing to publish.
    assert_eq!(client.send("GET", "/.well-known/jwks.json", &[], "").json(), json!({ "keys": [] }));

    let kid = header["kid"].as_str().unwrap();
    let exported = latchkey_in(stack.command_environment(), &["keys", "export", kid], "");
    assert!(exported.status.success(), "{exported:?}");
    let secret = String::from_utf8(exported.stdout).unwrap();
    assert_eq!(URL_SAFE_NO_PAD.decode(secret.trim()).unwrap().len() * 8, 256);
    // Another verifier, with nothing but the standard library of Python.
    let program = "import base64,hashlib,hmac,sys\n\
        decode=lambda text: base64.urlsafe_b64decode(text+'='*(-len(text)%4))\n\
        message,_,signature=sys.argv[2].rpartition('.')\n\
        sys.exit(not hmac.compare_digest(hmac.new(decode(sys.argv[1]),message.encode(),hashlib.sha256).digest(),decode(signature)))";
    let verified = std::process::Command::new("python3").args(["-c", program, secret.trim(), &tokens.access]).status();
    assert!(verified.unwrap().success());
    // The secret is in no log.
    for log in [stack.functions_log(), stack.gateway_log()] {
        assert!(!std::fs::read_to_string(log).unwrap().contains(secret.trim()));
    }
}

#[test]
fn only_functions_that_seal_or_sign_have_the_sealing_key() {
    let key = e2e::local::variable("LATCHKEY_SEALING_KEY");
    let environments = local_stack::workspace::local().join("test/e2e/environments");
    for function in ["login", "token", "rotate-keys", "logout", "account", "authorizer", "protected", "discovery"] {
        let text = std::fs::read_to_string(environments.join(format!("{function}.json"))).unwrap();
        assert_eq!(text.contains(&key), ["login", "token", "rotate-keys"].contains(&function), "{function}");
    }
}
