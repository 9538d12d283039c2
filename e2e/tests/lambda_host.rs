//! The host of bootstraps answers the Lambda Invoke API as Lambda does.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::time::Duration;

use e2e::local::{invoke_at, sample_event};
use local_stack::process::{Supervised, command};
use local_stack::{port, workspace};
use serde_json::json;

#[test]
fn a_bootstrap_is_started_asked_and_told_from_one_that_ends() {
    let directory = workspace::local().join("test/lambda-host");
    std::fs::create_dir_all(&directory).unwrap();
    let file = directory.join("functions.json");
    let function = |name: &str, program: &std::path::Path| json!({ "name": name, "program": program, "memory_megabytes": 128, "timeout_seconds": 10 });
    let functions = json!([
        function("protected", &workspace::binary("protected")),
        // It has none of its variables, so it does not start.
        function("authorizer", &workspace::binary("authorizer")),
        function("absent", "/no/such/bootstrap".as_ref()),
    ]);
    std::fs::write(&file, functions.to_string()).unwrap();
    let port = port::free().unwrap();
    let mut host = command(workspace::binary("lambda-host"));
    host.arg("--functions").arg(&file).args(["--port", &port.to_string()]);
    let mut host = Supervised::start("lambda-host", host, &directory.join("functions.log")).unwrap();
    host.wait_until(Duration::from_secs(20), || port::is_answered(port)).unwrap();
    let url = format!("http://127.0.0.1:{port}");

    for _ in 0..2 {
        let (status, answer) = invoke_at(&url, "protected", &sample_event("protected-with-context"));
        assert_eq!((status, &answer["statusCode"]), (200, &json!(200)), "{answer}");
    }
    let (status, problem) = invoke_at(&url, "nobody", "{}");
    assert_eq!(
        (status, problem),
        (404, json!({ "errorType": "ResourceNotFoundException", "errorMessage": "there is no function nobody" }))
    );
    for (name, message) in [
        ("authorizer", "the process of authorizer ended with exit status: 1"),
        ("absent", "/no/such/bootstrap cannot be started"),
    ] {
        let (status, problem) = invoke_at(&url, name, "{}");
        assert_eq!((status, problem), (200, json!({ "errorType": "Runtime.ExitError", "errorMessage": message })));
    }
    host.must_run().unwrap();
}
