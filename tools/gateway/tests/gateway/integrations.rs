//! Responses of functions, and responses when they fail.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{
    client::{Answer, send, send_body, send_bytes},
    invoke_api::{InvokeApi, Silence},
    process::Gateway,
};

fn respond(gateway: &Gateway, answer: &str) -> Answer {
    send_body(gateway.port, "POST /respond", &["Content-Type: application/octet-stream"], answer.as_bytes())
}

fn say_json(gateway: &Gateway, answer: &Value) -> Answer {
    respond(gateway, &answer.to_string())
}

#[test]
fn an_answer_is_unwrapped() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let answer = say_json(
        &gateway,
        &json!({
            "statusCode": 418,
            "headers": { "Content-Type": "text/x; charset=utf-8", "X-One": "1", "x-both": "first" },
            "multiValueHeaders": { "X-Both": ["first", "second"] },
            "cookies": ["a=1; HttpOnly; Path=/", "b=2"],
            "body": "tea é",
            "isBase64Encoded": false,
        }),
    );
    assert_eq!((answer.status, answer.text()), (418, "tea é"));
    assert_eq!(answer.header("content-type"), Some("text/x; charset=utf-8"));
    assert_eq!(answer.header("x-one"), Some("1"));
    assert_eq!(answer.all("x-both"), ["first", "second"]);
    assert_eq!(answer.all("set-cookie"), ["a=1; HttpOnly; Path=/", "b=2"]);
    assert_eq!(answer.header("apigw-requestid").map(str::len), Some(16));
}

#[test]
fn binary_answers_are_decoded() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let answer = say_json(&gateway, &json!({ "statusCode": 200, "body": "AP/+iVBO", "isBase64Encoded": true }));
    assert_eq!((answer.status, answer.body), (200, b"\x00\xff\xfe\x89PN".to_vec()));
}

#[test]
fn without_a_status_the_answer_itself_is_the_body() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    for whole in [r#"{"a": 1, "body": "x"}"#, r#""text""#, "[1, 2]", "null", "5"] {
        let answer = respond(&gateway, whole);
        assert_eq!((answer.status, answer.text()), (200, whole));
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[test]
fn an_answer_of_another_shape_is_500() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    for garbage in [
        "<html>",
        "{",
        r#"{"statusCode":"200"}"#,
        r#"{"statusCode":101}"#,
        r#"{"statusCode":200,"body":{"a":1}}"#,
        r#"{"statusCode":200,"headers":{"x":"a\r\nSet-Cookie: b"}}"#,
        r#"{"statusCode":200,"cookies":"a"}"#,
        r#"{"statusCode":200,"isBase64Encoded":true,"body":"%%"}"#,
    ] {
        respond(&gateway, garbage).assert_own(500, "Internal Server Error");
    }
    // An empty response too: an empty body reaches the function as none, and it returns the same.
    send(gateway.port, "POST /respond", &[]).assert_own(500, "Internal Server Error");
    assert_eq!(say_json(&gateway, &json!({ "statusCode": 200 })).status, 200);
}

#[test]
fn more_headers_than_a_message_can_hold_are_500() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let many: serde_json::Map<_, _> = (0..40_000).map(|n| (format!("x-{n}"), json!("1"))).collect();
    say_json(&gateway, &json!({ "statusCode": 200, "headers": many })).assert_own(500, "Internal Server Error");
}

#[test]
fn a_functions_error_is_500_and_its_text_stays_here() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    send(gateway.port, "GET /fail", &[]).assert_own(500, "Internal Server Error");
    gateway.wait_for_error("fail: the function failed with Oops: it broke");
    send(gateway.port, "GET /unknown", &[]).assert_own(500, "Internal Server Error");
    gateway.wait_for_error("unknown: the Invoke API answered 404 Not Found");
    send(gateway.port, "GET /huge", &[]).assert_own(500, "Internal Server Error");
    gateway.wait_for_error("huge: the function's answer is larger than 6 MB");
}

#[test]
fn a_function_that_does_not_answer_in_its_routes_time_is_503() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let started = Instant::now();
    send(gateway.port, "GET /hang", &[]).assert_own(503, "Service Unavailable");
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(5), "{took:?}");
    gateway.wait_for_error("hang: no answer in 2.0 s");
}

#[test]
fn a_function_has_its_own_time_once_it_has_started() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    assert_eq!(respond(&gateway, "{}").status, 200);
    let started = Instant::now();
    respond(&gateway, "hang").assert_own(503, "Service Unavailable");
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(1) && took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_function_that_has_never_answered_has_the_time_of_a_start_too() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let started = Instant::now();
    respond(&gateway, "hang").assert_own(503, "Service Unavailable");
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(11) && took < Duration::from_secs(14), "{took:?}");
}

#[test]
fn functions_that_cannot_be_reached_are_503() {
    let silence = Silence::new();
    let port = silence.port;
    let gateway = Gateway::start(port);
    send(gateway.port, "GET /open", &[]).assert_own(503, "Service Unavailable");
    gateway
        .wait_for_error(&format!("echo: 127.0.0.1:{port} cannot be reached; is `cargo lambda watch` running there?"));

    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    send(gateway.port, "GET /break", &[]).assert_own(503, "Service Unavailable");
    assert_eq!(send(gateway.port, "GET /open", &[]).status, 200);
}

#[test]
fn ten_megabytes_are_taken_and_not_one_byte_more() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let limit = 10 * 1024 * 1024;
    let mut payload = vec![b'x'; limit];
    let binary = ["Content-Type: image/png"];
    let answer = send_body(gateway.port, "POST /size", &binary, &payload);
    assert_eq!((answer.status, answer.text()), (200, limit.to_string().as_str()));
    payload.push(b'x');
    send_body(gateway.port, "POST /size", &binary, &payload).assert_own(413, "Request Entity Too Large");
    send_body(gateway.port, "POST /nowhere", &binary, &payload).assert_own(413, "Request Entity Too Large");

    let mut chunked =
        b"POST /size HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in payload.chunks(1024 * 1024) {
        chunked.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend_from_slice(chunk);
        chunked.extend_from_slice(b"\r\n");
    }
    chunked.extend_from_slice(b"0\r\n\r\n");
    send_bytes(gateway.port, &chunked).unwrap().assert_own(413, "Request Entity Too Large");
    assert_eq!(functions.calls("size").len(), 1);
}

#[test]
fn a_client_that_expects_100_continue_gets_a_413_for_a_large_body() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let head = "POST /size HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 10485761\r\n\r\n";
    send_bytes(gateway.port, head.as_bytes()).unwrap().assert_own(413, "Request Entity Too Large");
}

#[test]
fn head_is_a_method_of_its_own_and_has_no_body() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let answer = send(gateway.port, "HEAD /open", &[]);
    assert_eq!((answer.status, answer.body.len()), (200, 0));
    assert_eq!(functions.calls("echo")[0]["requestContext"]["http"]["method"], "HEAD");
    assert_eq!(send(gateway.port, "HEAD /items/1", &[]).status, 404);
}
