//! Which requests are allowed, and the responses to the others.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    client::{Answer, send, send_body},
    invoke_api::{InvokeApi, Silence},
    process::Gateway,
};

fn with_token(gateway: &Gateway, token: &str) -> Answer {
    send(gateway.port, "GET /guarded", &[&format!("X-Token: {token}")])
}

#[test]
fn without_identity_it_is_401_and_the_authorizer_is_not_called() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    for headers in [&[][..], &["X-Token:"], &["X-Token:   "], &["X-Other: allow"], &["Cookie: X-Token=allow"]] {
        send(gateway.port, "GET /guarded", headers).assert_own(401, "Unauthorized");
    }
    send(gateway.port, "GET /guarded?X-Token=allow", &[]).assert_own(401, "Unauthorized");
    send(gateway.port, "GET /cached?tenant=", &["X-Token: allow"]).assert_own(401, "Unauthorized");
    send(gateway.port, "GET /cached", &["X-Token: allow"]).assert_own(401, "Unauthorized");
    assert_eq!(functions.count(), 0);
}

#[test]
fn another_spelling_of_a_path_is_guarded_alike() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let spellings = ["/%67uarded", "/guarde%64", "/%2567uarded", "/guarded%3Fx"];
    for path in spellings {
        let request_line = format!("GET {path}");
        send(gateway.port, &request_line, &[]).assert_own(401, "Unauthorized");
        assert_eq!(functions.count(), 0, "{path}");
    }
    for path in spellings {
        let request_line = format!("GET {path}");
        send(gateway.port, &request_line, &["X-Token: deny"]).assert_own(403, "Forbidden");
        assert!(functions.calls("echo").is_empty(), "{path}");
    }
    for path in spellings {
        let event = send(gateway.port, &format!("GET {path}"), &["X-Token: allow"]).json();
        assert_eq!((event["routeKey"].as_str(), event["rawPath"].as_str()), (Some("GET /guarded"), Some("/guarded")));
        assert_eq!(event["requestContext"]["authorizer"]["lambda"]["sub"], "u1", "{path}");
    }
    for asked in functions.calls("guard") {
        assert_eq!((asked["routeKey"].as_str(), asked["rawPath"].as_str()), (Some("GET /guarded"), Some("/guarded")));
        assert_eq!(asked["requestContext"]["http"]["path"], "/guarded");
        assert_eq!(asked["routeArn"], "arn:aws:execute-api:eu-west-1:123456789012:test-Api/$default/GET/guarded");
    }
}

#[test]
fn an_allowed_request_carries_the_context() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let answer = with_token(&gateway, "allow");
    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.json()["requestContext"]["authorizer"],
        json!({ "lambda": { "sub": "u1", "roles": ["user"], "n": 5, "ok": true } })
    );
    let answer = with_token(&gateway, "allow without context");
    assert_eq!(answer.json()["requestContext"]["authorizer"], json!({ "lambda": {} }));
}

#[test]
fn a_denied_request_is_403_and_the_function_is_not_called() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    with_token(&gateway, "deny").assert_own(403, "Forbidden");
    assert_eq!((functions.calls("guard").len(), functions.calls("echo").len()), (1, 0));
}

#[test]
fn an_invalid_authorizer_response_is_500_and_the_function_is_not_called() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    for token in ["fail", "garbage", "break", "no verdict", "text verdict", "policy"] {
        with_token(&gateway, token).assert_own(500, "Internal Server Error");
    }
    assert!(functions.calls("echo").is_empty());
    gateway.wait_for_error("authorizer of GET /guarded: the function failed with Oops: it broke");
    gateway.wait_for_error("authorizer of GET /guarded: its answer is not {\"isAuthorized\"");
}

#[test]
fn an_authorizer_has_ten_seconds() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let started = Instant::now();
    with_token(&gateway, "hang").assert_own(500, "Internal Server Error");
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(10) && took < Duration::from_secs(13), "{took:?}");
    assert!(functions.calls("echo").is_empty());
}

#[test]
fn an_authorizer_that_cannot_be_reached_is_500() {
    let silence = Silence::new();
    let gateway = Gateway::start(silence.port);
    with_token(&gateway, "allow").assert_own(500, "Internal Server Error");
    gateway.wait_for_error("cannot be reached; is `cargo lambda watch` running there?");
}

#[test]
fn the_authorizer_gets_the_request_without_its_body() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let headers = ["X-Token: allow", "Content-Type: text/plain", "Cookie: a=1"];
    let answer = send_body(gateway.port, "POST /guarded?q=%31", &headers, b"secret body");
    assert_eq!(answer.json()["body"], "secret body");
    let [event] = &functions.calls("guard")[..] else { panic!("one call") };
    assert_eq!(event["version"], "2.0");
    assert_eq!(event["type"], "REQUEST");
    assert_eq!(event["routeArn"], "arn:aws:execute-api:eu-west-1:123456789012:test-Api/$default/POST/guarded");
    assert_eq!(event["identitySource"], json!(["allow"]));
    assert_eq!(event["routeKey"], "POST /guarded");
    assert_eq!((event["rawPath"].as_str(), event["rawQueryString"].as_str()), (Some("/guarded"), Some("q=%31")));
    assert_eq!(event["cookies"], json!(["a=1"]));
    assert_eq!(event["headers"]["x-token"], "allow");
    assert_eq!(event["queryStringParameters"], json!({ "q": "1" }));
    assert_eq!(event["stageVariables"], json!({ "colour": "blue" }));
    assert_eq!(event["requestContext"]["http"]["sourceIp"], "127.0.0.1");
    assert_eq!(event["requestContext"]["requestId"], answer.json()["requestContext"]["requestId"]);
    for absent in ["body", "isBase64Encoded", "pathParameters"] {
        assert_eq!(event.get(absent), None, "{absent}");
    }
}

#[test]
fn repeated_identity_headers_are_one_value() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    send(gateway.port, "GET /guarded", &["X-Token: allow", "x-token: allow"]).assert_own(403, "Forbidden");
    assert_eq!(functions.calls("guard")[0]["identitySource"], json!(["allow,allow"]));
}

#[test]
fn decisions_are_cached_by_all_identity_sources_if_the_template_says_so() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let get = |tenant: &str, token: &str| {
        let answer = send(gateway.port, &format!("GET /cached?tenant={tenant}"), &[&format!("X-Token: {token}")]);
        (answer.status, functions.calls("guard").len())
    };
    assert_eq!(get("a", "allow"), (200, 1));
    assert_eq!(get("a", "allow"), (200, 1));
    assert_eq!(get("b", "allow"), (200, 2));
    assert_eq!(get("a", "deny"), (403, 3));
    assert_eq!(get("a", "deny"), (403, 3));
    assert_eq!(get("a", "fail"), (500, 4));
    assert_eq!(get("a", "fail"), (500, 5));
    // The route is one of the identity sources.
    assert_eq!(send(gateway.port, "POST /cached?tenant=a", &["X-Token: allow"]).status, 200);
    assert_eq!(functions.calls("guard").len(), 6);
    let cached = send(gateway.port, "GET /cached?tenant=a", &["X-Token: allow"]).json();
    assert_eq!(cached["requestContext"]["authorizer"]["lambda"]["sub"], "u1");
}

#[test]
fn decisions_are_not_cached_if_the_template_says_zero() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    with_token(&gateway, "allow");
    with_token(&gateway, "allow");
    assert_eq!(functions.calls("guard").len(), 2);
}

#[test]
fn a_route_that_needs_what_is_not_emulated_is_closed() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let answer = send(gateway.port, "GET /jwt", &["X-Token: allow", "Authorization: Bearer x"]);
    answer.assert_own(500, "Internal Server Error");
    assert_eq!(functions.count(), 0);
}
