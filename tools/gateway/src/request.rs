//! A request as API Gateway sees it: the content of events, independent of their format.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    time::{Duration, SystemTime},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use hyper::{
    Version,
    body::Bytes,
    header::{CONTENT_LENGTH, COOKIE, HOST, HeaderMap},
    http::request::Parts,
};
use percent_encoding::percent_decode;

/// A request that has arrived in full.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) time: SystemTime,
    pub(crate) source_ip: IpAddr,
    pub(crate) method: String,
    /// In the form of [`crate::path`].
    pub(crate) path: String,
    /// As it came, still percent-encoded.
    pub(crate) query: String,
    pub(crate) protocol: &'static str,
    /// Names in lower case, repeated ones joined by commas, without cookies.
    pub(crate) headers: BTreeMap<String, String>,
    /// The same with cookies, and every value by itself.
    pub(crate) header_lists: BTreeMap<String, Vec<String>>,
    pub(crate) cookies: Vec<String>,
    /// Decoded, repeated ones joined by commas.
    pub(crate) query_parameters: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

/// The source and time of a request.
#[derive(Debug, Clone)]
pub(crate) struct Arrival {
    pub(crate) id: String,
    pub(crate) time: SystemTime,
    pub(crate) source_ip: IpAddr,
    /// The port it came to.
    pub(crate) port: u16,
}

impl Arrival {
    /// Records the arrival of a request, with a new request id.
    pub(crate) fn now(source_ip: IpAddr, port: u16) -> Self {
        #[expect(clippy::disallowed_methods, reason = "this is where the time of a request is read, once")]
        let time = SystemTime::now();
        Self { id: new_id(), time, source_ip: source_ip.to_canonical(), port }
    }

    /// The time since 1970.
    fn since_epoch(&self) -> Duration {
        self.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
    }
}

/// Hop-by-hop headers, which no function gets.
const HOP_BY_HOP: [&str; 8] =
    ["connection", "expect", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"];

impl Request {
    /// Makes a request of what has been received. `domain_name` replaces a missing `Host`.
    pub(crate) fn new(parts: &Parts, path: String, body: Bytes, arrival: &Arrival, domain_name: &str) -> Self {
        let query = parts.uri.query().unwrap_or_default();
        let headers = headers(&parts.headers, body.len(), arrival, domain_name);
        Self {
            id: arrival.id.clone(),
            time: arrival.time,
            source_ip: arrival.source_ip,
            method: parts.method.as_str().to_owned(),
            path,
            query: query.to_owned(),
            protocol: if parts.version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" },
            header_lists: header_lists(&parts.headers, &headers),
            headers,
            cookies: cookies(&parts.headers),
            query_parameters: query_parameters(query),
            body,
        }
    }

    /// The query's parameters, decoded, every value by itself.
    pub(crate) fn query_lists(&self) -> BTreeMap<String, Vec<String>> {
        let mut lists = BTreeMap::<String, Vec<String>>::new();
        for pair in self.query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            lists.entry(decoded(name)).or_default().push(decoded(value));
        }
        lists
    }
}

/// `headers` with the values that a client sent under one name apart again.
fn header_lists(received: &HeaderMap, headers: &BTreeMap<String, String>) -> BTreeMap<String, Vec<String>> {
    let mut lists: BTreeMap<_, _> = headers.iter().map(|(name, value)| (name.clone(), vec![value.clone()])).collect();
    for name in received.keys().map(hyper::header::HeaderName::as_str) {
        // Headers that API Gateway has set stay unchanged.
        let is_clients = name == COOKIE || (headers.contains_key(name) && !name.starts_with("x-forwarded-"));
        if is_clients && name != CONTENT_LENGTH && name != "x-amzn-trace-id" {
            let values = received.get_all(name).iter();
            let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
            lists.insert(name.to_owned(), values);
        }
    }
    lists
}

/// The client's headers and those API Gateway adds. The client's values for port and protocol are replaced, and its
/// address is appended to `X-Forwarded-For`.
fn headers(received: &HeaderMap, length: usize, arrival: &Arrival, domain_name: &str) -> BTreeMap<String, String> {
    let mut headers = BTreeMap::new();
    for name in received.keys() {
        if name != COOKIE && !HOP_BY_HOP.contains(&name.as_str()) {
            headers.insert(name.as_str().to_owned(), joined(received, name.as_str(), ","));
        }
    }
    headers.insert(CONTENT_LENGTH.as_str().to_owned(), length.to_string());
    headers.entry(HOST.as_str().to_owned()).or_insert_with(|| domain_name.to_owned());
    let source = arrival.source_ip.to_string();
    let forwarded_for = headers.entry("x-forwarded-for".to_owned()).or_default();
    if !forwarded_for.is_empty() {
        forwarded_for.push_str(", ");
    }
    forwarded_for.push_str(&source);
    headers.insert("x-forwarded-port".to_owned(), arrival.port.to_string());
    headers.insert("x-forwarded-proto".to_owned(), "http".to_owned());
    let seconds = arrival.since_epoch().as_secs();
    headers.insert("x-amzn-trace-id".to_owned(), format!("Root=1-{seconds:08x}-{:024x}", random() >> 32));
    headers
}

fn cookies(received: &HeaderMap) -> Vec<String> {
    let all = joined(received, COOKIE.as_str(), ";");
    all.split(';').map(str::trim).filter(|cookie| !cookie.is_empty()).map(str::to_owned).collect()
}

fn joined(received: &HeaderMap, name: &str, separator: &str) -> String {
    let values: Vec<_> = received.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
    values.join(separator)
}

fn query_parameters(query: &str) -> BTreeMap<String, String> {
    let mut parameters = BTreeMap::<String, String>::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let value = decoded(value);
        parameters
            .entry(decoded(name))
            .and_modify(|values| {
                values.push(',');
                values.push_str(&value);
            })
            .or_insert(value);
    }
    parameters
}

fn decoded(text: &str) -> String {
    let spaced = text.replace('+', " ");
    percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned()
}

/// A request id in API Gateway's form. It must be new, not secret.
fn new_id() -> String {
    BASE64_STANDARD.encode(&random().to_be_bytes()[..11])
}

/// 128 bits from the randomness the standard library keeps for its hash maps.
fn random() -> u128 {
    let half = || u128::from(RandomState::new().hash_one(0_u8));
    half() << 64 | half()
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use hyper::body::Bytes;

    use super::{Arrival, Request, new_id, query_parameters};

    fn request(uri: &str, headers: &[(&str, &[u8])]) -> Request {
        let mut builder = hyper::Request::builder().method("POST").uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        let (parts, ()) = builder.body(()).unwrap().into_parts();
        let arrival = Arrival::now(IpAddr::V4(Ipv4Addr::LOCALHOST), 3000);
        Request::new(&parts, parts.uri.path().to_owned(), Bytes::from_static(b"abc"), &arrival, "localhost")
    }

    #[test]
    fn the_query_is_as_it_came() {
        let request = request("/?x=%31&x=2&&y", &[]);
        assert_eq!(request.query, "x=%31&x=2&&y");
    }

    #[test]
    fn headers_are_in_lower_case_and_joined() {
        let request = request("/", &[("X-A", b"1"), ("x-b", b"\xff"), ("x-a", b"2"), ("Connection", b"close")]);
        assert_eq!(request.headers["x-a"], "1,2");
        assert_eq!(request.headers["x-b"], "\u{fffd}");
        assert!(!request.headers.contains_key("connection"));
    }

    #[test]
    fn cookies_are_apart() {
        let request = request("/", &[("cookie", b"a=1; b=2"), ("Cookie", b"c=3;")]);
        assert_eq!(request.cookies, ["a=1", "b=2", "c=3"]);
        assert!(!request.headers.contains_key("cookie"));
    }

    #[test]
    fn what_api_gateway_adds_is_not_the_clients_to_say() {
        let request = request(
            "/",
            &[("x-forwarded-for", b"9.9.9.9"), ("x-forwarded-port", b"1"), ("x-forwarded-proto", b"https")],
        );
        assert_eq!(request.headers["x-forwarded-for"], "9.9.9.9, 127.0.0.1");
        assert_eq!(request.headers["x-forwarded-port"], "3000");
        assert_eq!(request.headers["x-forwarded-proto"], "http");
        assert_eq!(request.headers["host"], "localhost");
        assert_eq!(request.headers["content-length"], "3");
        assert!(request.headers["x-amzn-trace-id"].starts_with("Root=1-"));
    }

    #[test]
    fn query_parameters_are_decoded_and_joined() {
        let parameters = query_parameters("a=1&b=x%20y+z&a=%2C2&c&=d&%ff=%ff&&a=");
        let pairs: Vec<_> = parameters.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("", "d"), ("a", "1,,2,"), ("b", "x y z"), ("c", ""), ("\u{fffd}", "\u{fffd}")]);
    }

    #[test]
    fn ids_differ_and_look_like_api_gateways() {
        let (one, other) = (new_id(), new_id());
        assert_ne!(one, other);
        assert_eq!((one.len(), one.ends_with('=')), (16, true));
    }
}
