//! Clients of every kind, and the shutdown.

use std::{
    io::{Read, Write},
    sync::Barrier,
    thread,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;

use crate::{
    client::{connect, parse, send, send_bytes},
    invoke_api::InvokeApi,
    process::Gateway,
};

#[test]
fn one_connection_carries_many_requests() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let mut stream = connect(gateway.port);
    stream
        .write_all(
            b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\nGET /open HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        )
        .unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    let (first, rest) = parse(&received);
    let (second, rest) = parse(rest);
    assert_eq!((first.status, second.status, rest.len()), (404, 200, 0));
    assert_ne!(first.header("apigw-requestid"), second.header("apigw-requestid"));
}

#[test]
fn nonsense_is_refused_and_the_gateway_lives_on() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let long_header = format!("GET /open HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(1_000_000));
    let many_headers = format!("GET /open HTTP/1.1\r\nHost: x\r\n{}\r\n", "X: 1\r\n".repeat(500));
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..],
        b"GET\r\n\r\n",
        b"GET /open HTTP/9.9\r\n\r\n",
        b"GET /op\x00en HTTP/1.1\r\n\r\n",
        b"GET /open HTTP/1.1\r\nX\xff: 1\r\n\r\n",
        b"GET open HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"POST /open HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /open HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /open HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET /%zz%ff%00?%zz=%ff%&=&&%\xc3\xa9 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        long_header.as_bytes(),
        many_headers.as_bytes(),
    ] {
        if let Some(answer) = send_bytes(gateway.port, nonsense) {
            assert!(
                (400..500).contains(&answer.status),
                "{} for {:?}",
                answer.status,
                String::from_utf8_lossy(nonsense)
            );
        }
    }
    assert_eq!(functions.count(), 0);
    assert_eq!(send(gateway.port, "GET /open", &[]).status, 200);
    let panics: Vec<_> = gateway.errors().into_iter().filter(|line| line.contains("panicked")).collect();
    assert_eq!(panics, [""; 0]);
}

#[test]
fn odd_but_lawful_input_reaches_the_function() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let answer = send(gateway.port, "GET /items/%00%F0%9F%98%8A%22?%zz=%ff%&%", &["X-Odd: \u{e9}\t\"", "Cookie: ;;=;"]);
    let event = answer.json();
    assert_eq!(event["pathParameters"]["id"], "\0\u{1f60a}\"");
    assert_eq!(event["queryStringParameters"], serde_json::json!({ "%": "", "%zz": "\u{fffd}%" }));
    assert_eq!(event["headers"]["x-odd"], "\u{e9}\t\"");
    assert_eq!(event["cookies"], serde_json::json!(["="]));
}

#[test]
fn a_client_that_does_not_finish_its_head_is_let_go() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let mut stream = connect(gateway.port);
    stream.write_all(b"GET /open HTTP/1.1\r\nHost: x\r\n").unwrap();
    let started = Instant::now();
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received);
    let took = started.elapsed();
    assert!(took >= Duration::from_secs(18) && took < Duration::from_secs(25), "{took:?}");
    assert_eq!(functions.count(), 0);
    assert_eq!(gateway.errors().iter().filter(|line| line.contains("connection")).count(), 0);
}

#[test]
fn a_client_that_leaves_in_the_middle_of_its_body_is_no_news() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let mut stream = connect(gateway.port);
    stream.write_all(b"POST /open HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc").unwrap();
    drop(stream);
    assert_eq!(send(gateway.port, "GET /open", &[]).status, 200);
    assert_eq!(functions.calls("echo").len(), 1);
    assert_eq!(gateway.errors().iter().filter(|line| line.contains("connection")).count(), 0);
}

#[test]
fn requests_are_served_side_by_side() {
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let port = gateway.port;
    let slow = thread::spawn(move || send(port, "GET /hang", &[]).status);
    thread::sleep(Duration::from_millis(200));
    let started = Instant::now();
    assert_eq!(send(port, "GET /open", &[]).status, 200);
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(slow.join().unwrap(), 503);
}

#[test]
fn two_hundred_connections_at_once_are_all_served() {
    const CONNECTIONS: usize = 200;
    const REQUESTS: usize = 10;
    let functions = InvokeApi::start();
    let gateway = Gateway::start(functions.port);
    let port = gateway.port;
    let all_are_open = Barrier::new(CONNECTIONS);
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut stream = connect(port);
                all_are_open.wait();
                for number in 1..=REQUESTS {
                    let end = if number == REQUESTS { "Connection: close\r\n" } else { "" };
                    let request = format!("GET /guarded HTTP/1.1\r\nHost: x\r\nX-Token: allow\r\n{end}\r\n");
                    stream.write_all(request.as_bytes()).unwrap();
                }
                let mut received = Vec::new();
                stream.read_to_end(&mut received).unwrap();
                let mut rest = &received[..];
                for _ in 0..REQUESTS {
                    let (answer, following) = parse(rest);
                    assert_eq!(answer.status, 200, "{}", answer.text());
                    rest = following;
                }
                assert!(rest.is_empty());
            });
        }
    });
    let each = CONNECTIONS * REQUESTS;
    assert_eq!((functions.calls("guard").len(), functions.calls("echo").len()), (each, each));
}

#[test]
fn it_stops_on_sigterm_and_lets_running_requests_finish() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let functions = InvokeApi::start();
        let mut gateway = Gateway::start(functions.port);
        let port = gateway.port;
        let idle = connect(port);
        let running = thread::spawn(move || send(port, "GET /hang", &[]));
        while functions.calls("hang").is_empty() {
            thread::sleep(Duration::from_millis(10));
        }
        gateway.signal(signal);
        running.join().unwrap().assert_own(503, "Service Unavailable");
        assert_eq!(gateway.wait().code(), Some(0), "{signal}");
        drop(idle);
    }
}
