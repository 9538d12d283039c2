//! An HTTP API in a stage with a name, payload format 1.0, and IAM policies: of tests/gateway/policies.yaml.

use std::path::Path;

use serde_json::json;

use crate::{
    client::{Answer, send, send_body},
    invoke_api::InvokeApi,
    process::Gateway,
};

fn start(functions: &InvokeApi) -> Gateway {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/policies.yaml");
    Gateway::start_template(functions.port, &template, &[])
}

fn get(gateway: &Gateway, path: &str, token: &str) -> Answer {
    send(gateway.port, &format!("GET {path}"), &[&format!("X-Token: {token}")])
}

#[test]
fn a_policy_that_allows_the_method_lets_it_pass_with_its_context() {
    let functions = InvokeApi::start();
    let gateway = start(&functions);
    let event = get(&gateway, "/beta/items/1", "policy for this").json();
    let expected = json!({ "principalId": "u1", "sub": "u1", "n": 5, "ok": true });
    assert_eq!(event["requestContext"]["authorizer"], expected);
    assert_eq!(event["version"], "1.0");
    assert_eq!((event["path"].as_str(), event["resource"].as_str()), (Some("/beta/items/1"), Some("/items/{id}")));
    assert_eq!(event["pathParameters"], json!({ "id": "1" }));
    assert_eq!(event["requestContext"]["stage"], "beta");
    let [asked] = &functions.calls("guard")[..] else { panic!("one call") };
    assert_eq!(asked["version"], "1.0");
    assert_eq!((asked["type"].as_str(), asked["identitySource"].as_str()), (Some("REQUEST"), Some("policy for this")));
    assert_eq!(asked["methodArn"], "arn:aws:execute-api:eu-west-1:123456789012:test-Api/beta/GET/items/1");
}

#[test]
fn format_1_has_the_path_encoded_and_its_context_has_it_decoded() {
    let functions = InvokeApi::start();
    let gateway = start(&functions);
    let event = get(&gateway, "/%62eta/%69tems/%61%20%C3%A9%2521", "policy for this").json();
    assert_eq!(
        (event["path"].as_str(), event["resource"].as_str()),
        (Some("/beta/items/a%20%C3%A9!"), Some("/items/{id}"))
    );
    assert_eq!(event["requestContext"]["path"], "/beta/items/a é!");
    assert_eq!(event["pathParameters"], json!({ "id": "a é!" }));
    let [asked] = &functions.calls("guard")[..] else { panic!("one call") };
    assert_eq!((&asked["path"], &asked["requestContext"]["path"]), (&event["path"], &event["requestContext"]["path"]));
    assert_eq!(asked["methodArn"], "arn:aws:execute-api:eu-west-1:123456789012:test-Api/beta/GET/items/a é!");
}

#[test]
fn format_2_can_be_answered_with_a_policy_too() {
    let functions = InvokeApi::start();
    let gateway = start(&functions);
    let event = get(&gateway, "/beta/new", "policy for this").json();
    assert_eq!(event["requestContext"]["authorizer"], json!({ "lambda": { "sub": "u1", "n": 5, "ok": true } }));
    assert_eq!(event["rawPath"], "/beta/new");
    get(&gateway, "/beta/new", "policy against").assert_own(403, "Forbidden");
    // Not a policy.
    get(&gateway, "/beta/new", "allow").assert_own(500, "Internal Server Error");
}

#[test]
fn a_policy_that_was_kept_is_evaluated_for_each_method() {
    let functions = InvokeApi::start();
    let gateway = start(&functions);
    let post = |path: &str, token: &str| {
        send_body(gateway.port, &format!("POST {path}"), &[&format!("X-Token: {token}")], b"{}")
    };
    assert_eq!(get(&gateway, "/beta/items/1", "policy for reading").status, 200);
    post("/beta/items/1", "policy for reading").assert_own(403, "Forbidden");
    assert_eq!(get(&gateway, "/beta/items/2", "policy for reading").status, 200);
    assert_eq!(get(&gateway, "/beta/items/1", "policy for this").status, 200);
    get(&gateway, "/beta/items/2", "policy for this").assert_own(403, "Forbidden");
    assert_eq!(functions.calls("guard").len(), 2);
}

#[test]
fn anything_but_an_allow_denies_and_an_invalid_policy_is_an_error() {
    let functions = InvokeApi::start();
    let gateway = start(&functions);
    get(&gateway, "/beta/items/1", "policy against").assert_own(403, "Forbidden");
    for token in ["allow", "deny", "policy", "garbage", "fail", "unauthorized"] {
        get(&gateway, "/beta/items/1", token).assert_own(500, "Internal Server Error");
    }
    send(gateway.port, "GET /beta/items/1", &[]).assert_own(401, "Unauthorized");
    assert!(functions.calls("echo").is_empty());
}

#[test]
fn nothing_is_outside_of_the_stage() {
    let functions = InvokeApi::start();
    let gateway = start(&functions);
    for path in ["/items/1", "/Beta/items/1", "/betaa/items/1", "/beta//items/1", "/beta/items/1/", "//beta/items/1"] {
        get(&gateway, path, "policy for all").assert_own(404, "Not Found");
    }
    assert_eq!(functions.count(), 0);
}
