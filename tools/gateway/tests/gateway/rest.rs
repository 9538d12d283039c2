//! A REST API: of tests/gateway/rest.yaml. Status, whole body and kind of every answer that is API Gateway's own.

use std::path::Path;

use serde_json::{Value, json};

use crate::{
    client::{Answer, send, send_body},
    invoke_api::{InvokeApi, Silence},
    process::Gateway,
};

fn start(invoke_port: u16) -> Gateway {
    let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/rest.yaml");
    Gateway::start_template(invoke_port, &template, &[])
}

fn get(gateway: &Gateway, path: &str, token: &str) -> Answer {
    send(gateway.port, &format!("GET {path}"), &[&format!("X-Token: {token}")])
}

#[track_caller]
fn assert_own(answer: &Answer, status: u16, kind: &str, body: &Value) {
    assert_eq!((answer.status, &answer.json()), (status, body));
    assert_eq!(answer.header("x-amzn-errortype"), Some(kind));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.header("x-amzn-requestid").is_some() && answer.header("apigw-requestid").is_none());
}

#[test]
fn a_token_authorizer_gets_only_the_token_and_its_context_becomes_text() {
    let functions = InvokeApi::start();
    let gateway = start(functions.port);
    let answer = send(gateway.port, "GET /prod/items/a%20b?q=1&q=2", &["X-Token: policy for all", "X-A: 1", "X-A: 2"]);
    assert_eq!(answer.status, 200);
    let event = answer.json();
    let expected = json!({ "principalId": "u1", "sub": "u1", "n": "5", "ok": "true" });
    assert_eq!(event["requestContext"]["authorizer"], expected);
    assert_eq!(event.get("version"), None);
    assert_eq!((event["resource"].as_str(), event["path"].as_str()), (Some("/items/{id}"), Some("/items/a%20b")));
    assert_eq!(event["requestContext"]["path"], "/prod/items/a%20b");
    assert_eq!(event["requestContext"]["resourcePath"], "/items/{id}");
    assert_eq!(event["pathParameters"], json!({ "id": "a%20b" }));
    assert_eq!(event["queryStringParameters"], json!({ "q": "2" }));
    assert_eq!(event["multiValueQueryStringParameters"], json!({ "q": ["1", "2"] }));
    assert_eq!((&event["headers"]["x-a"], &event["multiValueHeaders"]["x-a"]), (&json!("2"), &json!(["1", "2"])));
    assert_eq!(event["stageVariables"], json!({ "colour": "blue" }));
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!(null), &json!(false)));
    assert_eq!(
        functions.calls("guard"),
        [json!({
            "type": "TOKEN",
            "methodArn": "arn:aws:execute-api:eu-west-1:123456789012:test-Shop/prod/GET/items/a%20b",
            "authorizationToken": "policy for all",
        })]
    );
}

#[test]
fn a_request_authorizer_gets_the_request() {
    let functions = InvokeApi::start();
    let gateway = start(functions.port);
    assert_eq!(get(&gateway, "/prod/requested?tenant=a", "policy for this").status, 200);
    let [event] = &functions.calls("guard")[..] else { panic!("one call") };
    assert_eq!((event["type"].as_str(), event["httpMethod"].as_str()), (Some("REQUEST"), Some("GET")));
    assert_eq!(event["methodArn"], "arn:aws:execute-api:eu-west-1:123456789012:test-Shop/prod/GET/requested");
    assert_eq!(event["headers"]["x-token"], "policy for this");
    assert_eq!(event["queryStringParameters"], json!({ "tenant": "a" }));
    assert_eq!(event["requestContext"]["identity"]["sourceIp"], "127.0.0.1");
    for absent in ["body", "isBase64Encoded", "version", "identitySource"] {
        assert_eq!(event.get(absent), None, "{absent}");
    }
    let unauthorized = json!({ "message": "Unauthorized" });
    assert_own(&get(&gateway, "/prod/requested", "policy for all"), 401, "UnauthorizedException", &unauthorized);
}

#[test]
fn without_a_well_formed_token_it_is_401_and_the_authorizer_is_not_called() {
    let functions = InvokeApi::start();
    let gateway = start(functions.port);
    for headers in [&[][..], &["X-Token:"], &["X-Token: NOT LIKE THIS"], &["X-Token: almost 1"]] {
        let answer = send(gateway.port, "GET /prod/items", headers);
        assert_own(&answer, 401, "UnauthorizedException", &json!({ "message": "Unauthorized" }));
    }
    assert_eq!(functions.count(), 0);
}

#[test]
fn a_denied_client_gets_the_response_of_its_api() {
    let functions = InvokeApi::start();
    let gateway = start(functions.port);
    let denied = |how: &str| json!({ "Message": format!("User is not authorized to access this resource{how}") });
    let explicitly = denied(" with an explicit deny");
    for (token, status, kind, body) in [
        ("unauthorized", 401, "UnauthorizedException", json!({ "message": "Unauthorized" })),
        ("policy against", 403, "AccessDeniedException", explicitly),
        ("fail", 500, "AuthorizerConfigurationException", json!({ "message": null })),
        ("garbage", 500, "AuthorizerConfigurationException", json!({ "message": null })),
        ("allow", 500, "AuthorizerConfigurationException", json!({ "message": null })),
        ("policy of nobody", 500, "AuthorizerConfigurationException", json!({ "message": null })),
        ("policy with a list", 500, "AuthorizerConfigurationException", json!({ "message": null })),
    ] {
        assert_own(&get(&gateway, "/prod/items", token), status, kind, &body);
    }
    assert!(functions.calls("echo").is_empty());
    // A policy for one method, cached and used for another.
    assert_eq!(get(&gateway, "/prod/items/1", "policy for this").status, 200);
    assert_own(&get(&gateway, "/prod/items/2", "policy for this"), 403, "AccessDeniedException", &denied(""));
}

#[test]
fn what_is_no_route_is_403() {
    let functions = InvokeApi::start();
    let gateway = start(functions.port);
    let missing = json!({ "message": "Missing Authentication Token" });
    for path in ["/prod/", "/prod/nothing", "/prod//items", "/prod/items/1/", "/prod/%69tems/", "/prod/x/../items"] {
        let answer = get(&gateway, path, "policy for all");
        assert_own(&answer, 403, "MissingAuthenticationTokenException", &missing);
    }
    let answer = send_body(gateway.port, "DELETE /prod/items", &["X-Token: policy for all"], b"");
    assert_own(&answer, 403, "MissingAuthenticationTokenException", &missing);
    for path in ["/items", "/", "/Prod/items", "/production/items"] {
        let answer = get(&gateway, path, "policy for all");
        assert_own(&answer, 403, "ForbiddenException", &json!({ "message": "Forbidden" }));
    }
    assert_eq!(functions.count(), 0);
}

#[test]
fn an_encoded_path_takes_the_route_of_the_decoded_one_and_is_passed_on_encoded() {
    let functions = InvokeApi::start();
    let gateway = start(functions.port);
    let missing = send(gateway.port, "GET /prod/%69tems", &[]);
    assert_own(&missing, 401, "UnauthorizedException", &json!({ "message": "Unauthorized" }));
    assert_eq!(functions.count(), 0);
    // The cached policy of one spelling is also that of the other.
    for path in ["/prod/items", "/prod/%69tems", "/%70rod/item%73"] {
        let event = get(&gateway, path, "policy for this").json();
        assert_eq!((event["resource"].as_str(), event["path"].as_str()), (Some("/items"), Some("/items")), "{path}");
        assert_eq!(event["requestContext"]["path"], "/prod/items", "{path}");
    }
    assert_eq!(functions.calls("guard").len(), 1);

    for id in ["a%2Fb", "a%252Fb", "a%3Fb", "100%25", "%C3%A9", "%FF", "a!b"] {
        let event = get(&gateway, &format!("/prod/items/{id}"), "policy for all").json();
        assert_eq!(event["resource"], "/items/{id}", "{id}");
        assert_eq!(event["path"], format!("/items/{id}"));
        assert_eq!(event["pathParameters"], json!({ "id": id }));
    }
}

#[test]
fn a_function_that_fails_is_502_and_one_that_is_late_504() {
    let functions = InvokeApi::start();
    let gateway = start(functions.port);
    let failed = json!({ "message": "Internal server error" });
    let kind = "InternalServerErrorException";
    assert_own(&send(gateway.port, "GET /prod/fail", &[]), 502, kind, &failed);
    for malformed in ["<html>", "{}", r#"{"statusCode":"200"}"#, r#"{"statusCode":200,"body":{}}"#, r#""text""#] {
        let answer = send_body(gateway.port, "POST /prod/respond", &[], malformed.as_bytes());
        assert_own(&answer, 502, kind, &failed);
    }
    let late = json!({ "message": "Endpoint request timed out" });
    assert_own(&send(gateway.port, "GET /prod/hang", &[]), 504, kind, &late);
    let silence = Silence::new();
    assert_own(&send(start(silence.port).port, "GET /prod/open", &[]), 500, kind, &failed);
}

#[test]
fn bodies_are_binary_where_the_template_says_so() {
    let functions = InvokeApi::start();
    let gateway = start(functions.port);
    let echoed = |content_type: &str, body: &[u8]| {
        let header = format!("Content-Type: {content_type}");
        let event = send_body(gateway.port, "POST /prod/open", &[&header], body).json();
        (event["body"].as_str().unwrap().to_owned(), event["isBase64Encoded"] == true)
    };
    assert_eq!(echoed("image/png", b"abc"), ("YWJj".to_owned(), true));
    assert_eq!(echoed("application/octet-stream", b"abc"), ("abc".to_owned(), false));

    let wanted = |accept: &str| {
        let answer =
            br#"{"statusCode":200,"headers":{"content-type":"image/png"},"body":"YWJj","isBase64Encoded":true}"#;
        send_body(gateway.port, "POST /prod/respond", &[&format!("Accept: {accept}")], answer).text().to_owned()
    };
    assert_eq!(wanted("image/png, */*"), "abc");
    assert_eq!(wanted("*/*, image/png"), "YWJj");
    assert_eq!(wanted("text/html"), "YWJj");
}

#[test]
fn preflights_are_answered_by_a_mock_and_all_else_by_functions() {
    let functions = InvokeApi::start();
    let gateway = start(functions.port);
    let answer = send(gateway.port, "OPTIONS /prod/items", &["Origin: https://other.example.com"]);
    assert_eq!((answer.status, answer.text()), (200, ""));
    assert_eq!(
        answer.cors(),
        [
            "access-control-allow-headers: authorization,x-token",
            "access-control-allow-methods: GET,OPTIONS,POST",
            "access-control-allow-origin: https://app.example.com",
            "access-control-max-age: 60",
        ]
    );
    assert_eq!(send(gateway.port, "OPTIONS /prod/nothing", &[]).status, 403);
    assert_eq!(functions.count(), 0);
    let answer = send(gateway.port, "GET /prod/open", &["Origin: https://app.example.com"]);
    assert_eq!((answer.status, answer.cors()), (200, Vec::new()));
}

#[test]
fn greedy_variables_and_any_method() {
    let functions = InvokeApi::start();
    let gateway = start(functions.port);
    let event = send(gateway.port, "GET /prod/files/a/b%2Fc", &[]).json();
    assert_eq!(event["pathParameters"], json!({ "proxy": "a/b%2Fc" }));
    assert_eq!(event["resource"], "/files/{proxy+}");
    assert_eq!(send(gateway.port, "PATCH /prod/open", &[]).json()["httpMethod"], "PATCH");
}

#[test]
fn what_iam_would_decide_is_closed() {
    let functions = InvokeApi::start();
    let gateway = start(functions.port);
    let failed = json!({ "message": "Internal server error" });
    assert_own(&send(gateway.port, "GET /prod/iam", &[]), 500, "InternalServerErrorException", &failed);
    gateway.wait_for_error("not emulated: IAM authorization: every route of the authorizer AWS_IAM answers 500");
    assert_eq!(functions.count(), 0);
}
