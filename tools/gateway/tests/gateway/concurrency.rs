//! The limit of running invocations, and invocations without the API.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::{
    client::{Answer, send, send_bytes},
    invoke_api::InvokeApi,
    process::Gateway,
};

/// Concurrent requests, and their responses.
fn at_once(number: usize, send: impl Fn() -> Answer + Clone + Send + 'static) -> Vec<Answer> {
    let requests: Vec<_> = (0..number)
        .map(|_| {
            let send = send.clone();
            thread::spawn(send)
        })
        .collect();
    requests.into_iter().map(|request| request.join().unwrap()).collect()
}

#[test]
fn of_300_concurrent_slow_requests_all_are_answered_and_90_run_at_once() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let port = gateway.port;
    let answers = at_once(300, move || send(port, "GET /pause", &[]));
    let (served, throttled): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    for answer in &throttled {
        answer.assert_own(503, "Service Unavailable");
    }
    // On a slow machine a late request may find a free place again.
    assert!(served.len() >= 90 && throttled.len() >= 100, "{} served", served.len());
    assert_eq!(functions.most_at_once(), 90);
    gateway.wait_for_error(
        "pause: 90 invocations are already running, the limit set by --concurrency: this one is throttled",
    );
    assert_eq!(send(port, "GET /pause", &[]).status, 200, "there is room again");
}

#[test]
fn a_burst_waits_a_moment_for_places() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let port = gateway.port;
    for answer in at_once(300, move || send(port, "GET /open", &[])) {
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[test]
fn the_limit_is_chosen_and_holds_for_each_function() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start_with(functions.port, &["--api", "Api", "--concurrency", "2"]);
    let port = gateway.port;
    let answers = at_once(20, move || send(port, "GET /pause", &[]));
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 2);
    assert_eq!(functions.most_at_once(), 2);
    let paused = thread::spawn(move || at_once(2, move || send(port, "GET /pause", &[])));
    thread::sleep(Duration::from_millis(200));
    assert_eq!(send(port, "GET /pause", &[]).status, 503);
    assert_eq!(send(port, "GET /open", &[]).status, 200, "another function has its own");
    assert!(paused.join().unwrap().iter().all(|answer| answer.status == 200));
}

#[test]
fn an_abandoned_invocation_keeps_its_place() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start_with(functions.port, &["--api", "Api", "--concurrency", "1"]);
    let port = gateway.port;
    // The client is gone before the function answers.
    let request = b"GET /pause HTTP/1.1\r\nHost: client.example\r\n\r\n";
    let mut stream = crate::client::connect(port);
    std::io::Write::write_all(&mut stream, request).unwrap();
    thread::sleep(Duration::from_millis(100));
    drop(stream);
    let started = Instant::now();
    assert_eq!(send(port, "GET /pause", &[]).status, 503);
    while send(port, "GET /pause", &[]).status == 503 {
        assert!(started.elapsed() < Duration::from_secs(10));
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(functions.most_at_once(), 1);
}

#[test]
fn people_invoke_functions_at_a_port_of_their_own_and_web_pages_do_not() {
    let functions = InvokeApi::start();
    let port = crate::invoke_api::free_port();
    let _gateway = Gateway::start_with(functions.port, &["--api", "Api", "--invoke-port", &port.to_string()]);
    let invoke = |function: &str, headers: &[&str]| {
        let event = r#"{"body":"an event"}"#;
        let length = format!("Content-Length: {}", event.len());
        let first = format!("POST /2015-03-31/functions/{function}/invocations HTTP/1.1");
        let lines = [&[first.as_str(), "Connection: close", &length], headers].concat().join("\r\n");
        send_bytes(port, format!("{lines}\r\n\r\n{event}").as_bytes()).expect("an answer")
    };
    let own = format!("Host: localhost:{port}");
    let answer = invoke("respond", &[&own]);
    assert_eq!((answer.status, answer.text()), (200, "an event"));
    let failed = invoke("fail", &[&own]);
    assert_eq!((failed.status, failed.json()), (500, json!({ "errorType": "Oops", "errorMessage": "it broke" })));
    assert_eq!(invoke("nobody", &[&own]).status, 404);

    let invoked = functions.count();
    let page = "A web page may not invoke functions: the request has Origin or Sec-Fetch-Site, which browsers add.";
    let name = "Functions are invoked at localhost, 127.0.0.1 or [::1], and by no other name.";
    for (headers, message) in [
        (&[own.as_str(), "Origin: https://evil.example", "Content-Type: text/plain"][..], page),
        (&[&own, "Origin: null", "Sec-Fetch-Site: cross-site"], page),
        (&[&own, "Sec-Fetch-Site: same-site"], page),
        (&["Host: evil.example"], name),
        (&[], name),
    ] {
        let answer = invoke("respond", headers);
        assert_eq!((answer.status, answer.json()), (403, json!({ "message": message })), "{headers:?}");
    }
    assert_eq!(functions.count(), invoked, "nothing was invoked");
    let other = send_bytes(port, format!("GET / HTTP/1.1\r\n{own}\r\nConnection: close\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(other.status, 404);
}
