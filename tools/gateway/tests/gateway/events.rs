//! The events of functions.

use serde_json::{Value, json};

use crate::{
    client::{send, send_body, send_bytes},
    invoke_api::InvokeApi,
    process::Gateway,
};

#[test]
fn the_event_is_payload_format_2_with_nothing_more() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let answer = send_body(
        gateway.port,
        "POST /open?b=1&a=%31%2C&b=x+y%20z&flag&&=",
        &[
            "Content-Type: application/json; charset=utf-8",
            "User-Agent: test/1",
            "X-Twice: one",
            "x-twice: two, three",
            "Cookie: a=1; b=2",
            "Cookie: c=3",
            "X-Forwarded-For: 198.51.100.7",
            "X-Forwarded-Proto: https",
            "X-Forwarded-Port: 443",
            "Keep-Alive: timeout=5",
        ],
        "{\"é\":1}".as_bytes(),
    );
    assert_eq!(answer.status, 200);
    let mut event = answer.json();
    // Values that differ in each request, by their form.
    let context = &mut event["requestContext"];
    let id = context["requestId"].take();
    assert_eq!(answer.header("apigw-requestid"), id.as_str());
    assert!(context["timeEpoch"].take().as_u64().unwrap() > 1_700_000_000_000);
    let time = context["time"].take();
    let shape: String = time
        .as_str()
        .unwrap()
        .chars()
        .map(|c| {
            if c.is_ascii_digit() {
                '0'
            } else if c.is_alphabetic() {
                'a'
            } else {
                c
            }
        })
        .collect();
    assert_eq!(shape, "00/aaa/0000:00:00:00 +0000");
    assert!(event["headers"]["x-amzn-trace-id"].take().as_str().unwrap().starts_with("Root=1-"));
    assert_eq!(
        event,
        json!({
            "version": "2.0",
            "routeKey": "ANY /open",
            "rawPath": "/open",
            "rawQueryString": "b=1&a=%31%2C&b=x+y%20z&flag&&=",
            "cookies": ["a=1", "b=2", "c=3"],
            "headers": {
                "content-length": "8",
                "content-type": "application/json; charset=utf-8",
                "host": "client.example",
                "user-agent": "test/1",
                "x-amzn-trace-id": null,
                "x-forwarded-for": "198.51.100.7, 127.0.0.1",
                "x-forwarded-port": gateway.port.to_string(),
                "x-forwarded-proto": "http",
                "x-twice": "one,two, three",
            },
            "queryStringParameters": { "": "", "a": "1,", "b": "1,x y z", "flag": "" },
            "stageVariables": { "colour": "blue" },
            "requestContext": {
                "accountId": "123456789012",
                "apiId": "test-Api",
                "domainName": "api.example.com",
                "domainPrefix": "api",
                "http": {
                    "method": "POST",
                    "path": "/open",
                    "protocol": "HTTP/1.1",
                    "sourceIp": "127.0.0.1",
                    "userAgent": "test/1",
                },
                "requestId": null,
                "routeKey": "ANY /open",
                "stage": "$default",
                "time": null,
                "timeEpoch": null,
            },
            "body": "{\"é\":1}",
            "isBase64Encoded": false,
        })
    );
}

#[test]
fn what_is_not_there_is_absent() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start_with(functions.port, &["--api", "ServerlessHttpApi"]);
    let event = send(gateway.port, "GET /x", &[]).json();
    for absent in ["body", "cookies", "queryStringParameters", "pathParameters", "stageVariables"] {
        assert_eq!(event.get(absent), None, "{absent}");
    }
    assert_eq!(event["rawQueryString"], "");
    assert_eq!(event["isBase64Encoded"], false);
    assert_eq!(event["requestContext"].get("authorizer"), None);
    assert_eq!(event["headers"]["content-length"], "0");
}

#[test]
fn bodies_are_text_or_base64_by_their_type() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let body = |content_type: &[&str], body: &[u8]| {
        let event = send_body(gateway.port, "POST /open", content_type, body).json();
        (event["body"].as_str().unwrap().to_owned(), event["isBase64Encoded"].as_bool().unwrap())
    };
    assert_eq!(body(&["Content-Type: text/plain"], b"abc"), ("abc".to_owned(), false));
    assert_eq!(body(&["Content-Type: application/xml"], b"<a/>"), ("<a/>".to_owned(), false));
    assert_eq!(body(&["Content-Type: application/json"], b"\x00\xff\xfe"), ("AP/+".to_owned(), true));
    assert_eq!(body(&["Content-Type: image/png"], b"\x89PNG"), ("iVBORw==".to_owned(), true));
    assert_eq!(body(&["Content-Type: application/x-www-form-urlencoded"], b"a=b"), ("YT1i".to_owned(), true));
    assert_eq!(
        body(&["Content-Type: application/x-www-form-urlencoded; charset=UTF-8"], b"a=b"),
        ("a=b".to_owned(), false)
    );
    assert_eq!(body(&[], b"abc"), ("YWJj".to_owned(), true));
}

#[test]
fn a_body_in_chunks_is_whole_and_has_a_length() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let request = b"POST /open HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: text/plain\r\n\
                    Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
    let event = send_bytes(gateway.port, request).unwrap().json();
    assert_eq!(event["body"], "abcde");
    assert_eq!(event["headers"]["content-length"], "5");
    assert_eq!(event["headers"].get("transfer-encoding"), None);
}

#[test]
fn the_domain_name_replaces_a_missing_host() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let event = send_bytes(gateway.port, b"GET /open HTTP/1.0\r\n\r\n").unwrap().json();
    assert_eq!(event["headers"]["host"], "api.example.com");
    assert_eq!(event["requestContext"]["http"]["protocol"], "HTTP/1.0");
}

#[test]
fn no_header_query_or_body_becomes_context() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let smuggled = json!({ "requestContext": { "authorizer": { "lambda": { "sub": "admin" } } } }).to_string();
    let header = |name: &str| format!("{name}: {smuggled}");
    let headers = [
        "requestContext",
        "request-context",
        "x-amzn-request-context",
        "x-amzn-lambda-context",
        "authorizer",
        "lambda-runtime-client-context",
        "x-amz-client-context",
        "__proto__",
    ]
    .map(header);
    let headers: Vec<&str> = headers.iter().map(String::as_str).chain(["Content-Type: application/json"]).collect();
    let request_line = "POST /open?requestContext=x&requestContext.authorizer.lambda.sub=admin&authorizer=x";
    let event = send_body(gateway.port, request_line, &headers, smuggled.as_bytes()).json();
    assert_eq!(event["requestContext"].get("authorizer"), None);
    assert_eq!(event["requestContext"]["domainName"], "api.example.com");
    let Value::Object(members) = &event else { panic!("{event}") };
    assert!(!members.contains_key("authorizer"));
    assert_eq!(functions.calls("echo").len(), 1);
}
