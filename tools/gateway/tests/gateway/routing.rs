//! Which requests reach a function, and which are unknown.

use crate::{client::send, invoke_api::InvokeApi, process::Gateway};

#[test]
fn a_path_that_only_looks_like_a_route_is_unknown() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    for path in [
        "/open/",
        "//open",
        "/%6fpen/",
        "//%6fpen",
        "/x/../open",
        "/./open",
        "/open;x",
        "/OPEN",
        "/open%2f",
        "/%2Fopen",
        "/x%2Fopen",
        "/x%252F..%252Fopen",
        "/open%00",
        "/",
        "*",
        "/items",
        "/items/",
        "/items/1/",
        "/items/1/2",
        "/items/1%2F2",
        "/files",
        "/files/",
        "/guarded/",
        "//guarded",
        "/%67uarded/",
        "//%67uarded",
        "/x/%2e%2e/guarded",
        "/x/../guarded",
    ] {
        let answer = send(gateway.port, &format!("GET {path}"), &["X-Token: allow"]);
        answer.assert_own(404, "Not Found");
    }
    assert_eq!(functions.count(), 0);
}

#[test]
fn a_known_path_with_another_method_is_unknown() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    for method in ["POST", "DELETE", "PUT", "get", "PROPFIND"] {
        send(gateway.port, &format!("{method} /items/1"), &[]).assert_own(404, "Not Found");
    }
    assert_eq!(functions.count(), 0);
}

#[test]
fn routes_take_variables_any_method_and_the_rest_of_a_path() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let event = |request_line: &str| send(gateway.port, request_line, &[]).json();

    let item = event("GET /items/a%20b%252Fc");
    assert_eq!(item["routeKey"], "GET /items/{id}");
    assert_eq!(item["rawPath"], "/items/a b/c");
    assert_eq!(item["pathParameters"], serde_json::json!({ "id": "a b/c" }));

    let files = event("GET /files/a//b/../c%20d%2Fe?x");
    assert_eq!(files["routeKey"], "GET /files/{path+}");
    assert_eq!(files["rawPath"], "/files/a//b/../c d/e");
    assert_eq!(files["pathParameters"], serde_json::json!({ "path": "a//b/../c d/e" }));

    for method in ["GET", "PATCH", "MADEUP"] {
        let any = event(&format!("{method} /open"));
        assert_eq!(
            (any["routeKey"].as_str(), any["requestContext"]["http"]["method"].as_str()),
            (Some("ANY /open"), Some(method))
        );
        assert_eq!(any.get("pathParameters"), None);
    }
}

#[test]
fn an_encoded_path_takes_the_route_of_the_decoded_one() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    for path in ["/%6fpen", "/%6F%70%65%6e", "/%256fpen", "/open%3Fb=2"] {
        let event = send(gateway.port, &format!("GET {path}?a=%31"), &[]).json();
        assert_eq!(event["routeKey"], "ANY /open", "{path}");
        assert_eq!(event["rawPath"], "/open", "{path}");
        assert_eq!(event["requestContext"]["http"]["path"], "/open", "{path}");
        assert_eq!(event["rawQueryString"], "a=%31", "{path}");
    }
}

#[test]
fn a_path_that_cannot_be_decoded_is_400() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    for path in ["/open%", "/open%2", "/open%zz", "/100%25", "/%25zz", "/%ff", "/%C3%28", "/%25ff", "/items/%"] {
        send(gateway.port, &format!("GET {path}"), &["X-Token: allow"]).assert_own(400, "Bad Request");
    }
    assert_eq!(functions.count(), 0);
}

#[test]
fn an_absolute_target_is_the_path_in_it() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let event = send(gateway.port, "GET http://elsewhere.example/open?a=1", &[]).json();
    assert_eq!((event["rawPath"].as_str(), event["rawQueryString"].as_str()), (Some("/open"), Some("a=1")));
    assert_eq!(event["requestContext"]["domainName"], "api.example.com");
}

#[test]
fn the_implicit_api_has_a_default_route() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start_with(functions.port, &["--api", "ServerlessHttpApi"]);
    for request_line in ["GET /", "DELETE /any//path/", "OPTIONS /x"] {
        let answer = send(gateway.port, request_line, &[]);
        assert_eq!((answer.status, answer.json()["routeKey"].as_str()), (200, Some("$default")), "{request_line}");
    }
}
