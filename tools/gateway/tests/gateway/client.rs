//! An HTTP client that sends exact bytes, which no library does.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpStream},
    time::Duration,
};

use serde_json::Value;

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case, in the order they came.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The only value of a header, if it is there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let values = self.all(name);
        assert!(values.len() < 2, "{name} comes {} times", values.len());
        values.first().copied()
    }

    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
    }

    /// The names and values of the headers about other origins, sorted.
    pub(crate) fn cors(&self) -> Vec<String> {
        let about_origins = |(name, _): &&(String, String)| name.starts_with("access-control-");
        let mut headers: Vec<_> =
            self.headers.iter().filter(about_origins).map(|(name, value)| format!("{name}: {value}")).collect();
        headers.sort();
        headers
    }

    /// Asserts status, whole body and content type of an answer that is API Gateway's own.
    #[track_caller]
    pub(crate) fn assert_own(&self, status: u16, message: &str) {
        assert_eq!((self.status, self.text()), (status, format!(r#"{{"message":"{message}"}}"#).as_str()));
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("apigw-requestid").map(str::len), Some(16));
    }
}

/// Sends a request without a body. `headers` are whole lines.
pub(crate) fn send(port: u16, request_line: &str, headers: &[&str]) -> Answer {
    send_body(port, request_line, headers, b"")
}

/// Sends a request with a body, its length announced.
pub(crate) fn send_body(port: u16, request_line: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut message = format!("{request_line} HTTP/1.1\r\nHost: client.example\r\nConnection: close\r\n").into_bytes();
    for header in headers {
        message.extend_from_slice(header.as_bytes());
        message.extend_from_slice(b"\r\n");
    }
    if !body.is_empty() {
        message.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    message.extend_from_slice(b"\r\n");
    message.extend_from_slice(body);
    send_bytes(port, &message).expect("an answer")
}

/// Sends bytes and reads until the other side closes. `None` is no answer at all.
pub(crate) fn send_bytes(port: u16, message: &[u8]) -> Option<Answer> {
    let mut stream = connect(port);
    // The other side may close the connection early, also by a reset.
    let _ = stream.write_all(message);
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received);
    (!received.is_empty()).then(|| parse(&received).0)
}

pub(crate) fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    stream
}

/// Reads the first answer of `received`; what comes after it is returned too.
pub(crate) fn parse(received: &[u8]) -> (Answer, &[u8]) {
    let end = received.windows(4).position(|window| window == b"\r\n\r\n").expect("a whole head");
    let head = String::from_utf8_lossy(&received[..end]);
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<_> = lines
        .map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.to_owned())).unwrap())
        .collect();
    let length =
        headers.iter().find(|(name, _)| name == "content-length").map_or(0, |(_, value)| value.parse().unwrap());
    let rest = &received[end + 4..];
    let body = rest[..length.min(rest.len())].to_vec();
    let following = &rest[body.len()..];
    (Answer { status, headers, body }, following)
}
