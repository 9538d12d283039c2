//! Responses of functions, converted to HTTP.

use base64::{Engine, prelude::BASE64_STANDARD};
use http_body_util::Full;
use hyper::{
    StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, SET_COOKIE},
};
use serde_json::Value;

/// An answer to a client.
pub(crate) type Response = hyper::Response<Full<Bytes>>;

/// Why a function's response is invalid.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum Malformed {
    #[error("the function's answer is not JSON")]
    Json,
    #[error("statusCode is not a whole number from 200 to 599")]
    StatusCode,
    #[error("{0} is not of the type it must have")]
    Type(&'static str),
    #[error("the header {0} cannot be sent")]
    Header(String),
    #[error("isBase64Encoded is true, but body is not base64")]
    Base64,
}

/// Headers of the connection, which a function cannot set.
const CONNECTION_HEADERS: [&str; 7] =
    ["connection", "content-length", "keep-alive", "proxy-connection", "te", "transfer-encoding", "upgrade"];

/// An answer of headers alone.
pub(crate) fn empty(headers: HeaderMap) -> Response {
    let mut response = hyper::Response::new(Full::default());
    *response.headers_mut() = headers;
    response
}

/// The answer to a preflight of an HTTP API.
pub(crate) fn no_content(headers: HeaderMap) -> Response {
    let mut response = hyper::Response::new(Full::default());
    *response.status_mut() = StatusCode::NO_CONTENT;
    *response.headers_mut() = headers;
    response
}

/// Unwraps a function's answer in format 2.0. Without a `statusCode` the whole of it is the body of a 200.
pub(crate) fn from_function(answer: Bytes) -> Result<Response, Malformed> {
    let value: Value = serde_json::from_slice(&answer).map_err(|_| Malformed::Json)?;
    let Some(status) = value.get("statusCode") else {
        let mut response = hyper::Response::new(Full::new(answer));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        return Ok(response);
    };
    unwrapped(&value, status, "text/plain;charset=UTF-8", true)
}

/// Unwraps a function's answer in format 1.0. A base64 body is decoded if `decodes` is set: a REST API does that for
/// clients that accept one of its binary media types.
pub(crate) fn from_function_v1(answer: &Bytes, decodes: bool) -> Result<Response, Malformed> {
    let value: Value = serde_json::from_slice(answer).map_err(|_| Malformed::Json)?;
    let status = value.get("statusCode").ok_or(Malformed::StatusCode)?;
    unwrapped(&value, status, "application/json", decodes)
}

fn unwrapped(
    value: &Value,
    status: &Value,
    default_content_type: &'static str,
    decodes: bool,
) -> Result<Response, Malformed> {
    let status = status.as_u64().filter(|status| (200..=599).contains(status)).ok_or(Malformed::StatusCode)?;
    let status = u16::try_from(status).ok().and_then(|status| StatusCode::from_u16(status).ok());
    let mut response = hyper::Response::new(Full::new(body(value, decodes)?));
    *response.status_mut() = status.ok_or(Malformed::StatusCode)?;
    *response.headers_mut() = headers(value)?;
    if !response.headers().contains_key(CONTENT_TYPE) {
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(default_content_type));
    }
    Ok(response)
}

fn body(value: &Value, decodes: bool) -> Result<Bytes, Malformed> {
    let encoded = match value.get("isBase64Encoded") {
        None | Some(Value::Null) => false,
        Some(Value::Bool(encoded)) => *encoded && decodes,
        Some(_) => return Err(Malformed::Type("isBase64Encoded")),
    };
    match value.get("body") {
        None | Some(Value::Null) => Ok(Bytes::new()),
        Some(Value::String(body)) if encoded => {
            BASE64_STANDARD.decode(body).map(Bytes::from).map_err(|_| Malformed::Base64)
        }
        Some(Value::String(body)) => Ok(Bytes::from(body.clone())),
        Some(_) => Err(Malformed::Type("body")),
    }
}

fn headers(value: &Value) -> Result<HeaderMap, Malformed> {
    let mut headers = HeaderMap::new();
    for (name, value) in map(value, "headers")? {
        append(&mut headers, name, value, "headers")?;
    }
    // The same headers often stand in both maps; the one that can hold all values wins.
    let multiple = map(value, "multiValueHeaders")?;
    for (name, _) in &multiple {
        headers.remove(name.as_str());
    }
    for (name, values) in multiple {
        for value in values.as_array().ok_or(Malformed::Type("multiValueHeaders"))? {
            append(&mut headers, name, value, "multiValueHeaders")?;
        }
    }
    match value.get("cookies") {
        None | Some(Value::Null) => {}
        Some(Value::Array(cookies)) => {
            for cookie in cookies {
                append(&mut headers, SET_COOKIE.as_str(), cookie, "cookies")?;
            }
        }
        Some(_) => return Err(Malformed::Type("cookies")),
    }
    Ok(headers)
}

fn map<'v>(value: &'v Value, key: &'static str) -> Result<Vec<(&'v String, &'v Value)>, Malformed> {
    match value.get(key) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(entries)) => Ok(entries.iter().collect()),
        Some(_) => Err(Malformed::Type(key)),
    }
}

fn append(headers: &mut HeaderMap, name: &str, value: &Value, place: &'static str) -> Result<(), Malformed> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(boolean) => boolean.to_string(),
        _ => return Err(Malformed::Type(place)),
    };
    let unsendable = || Malformed::Header(name.to_owned());
    let name: HeaderName = name.parse().map_err(|_| unsendable())?;
    if !CONNECTION_HEADERS.contains(&name.as_str()) {
        // The bytes as they are: text beyond ASCII is sent as UTF-8.
        let value = HeaderValue::from_bytes(text.as_bytes()).map_err(|_| unsendable())?;
        headers.try_append(&name, value).map_err(|_| unsendable())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use hyper::body::Bytes;
    use serde_json::{Value, json};

    use super::{Malformed, from_function};

    fn unwrapped(answer: &Value) -> (u16, Vec<String>, Bytes) {
        parts(from_function(Bytes::from(answer.to_string())).unwrap())
    }

    fn parts(response: super::Response) -> (u16, Vec<String>, Bytes) {
        let (parts, body) = response.into_parts();
        let header = |(name, value): (_, &hyper::header::HeaderValue)| {
            format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()))
        };
        let mut headers: Vec<_> = parts.headers.iter().map(header).collect();
        headers.sort();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        (parts.status.as_u16(), headers, runtime.block_on(body.collect()).unwrap().to_bytes())
    }

    fn refused(answer: &Value) -> Malformed {
        from_function(Bytes::from(answer.to_string())).unwrap_err()
    }

    #[test]
    fn a_whole_answer_is_unwrapped() {
        let (status, headers, body) = unwrapped(&json!({
            "statusCode": 201,
            "headers": { "Content-Type": "application/json", "X-Number": 5, "x-both": "one", "Content-Length": "999" },
            "multiValueHeaders": { "X-Both": ["one", "two"] },
            "cookies": ["a=1; HttpOnly", "b=2"],
            "body": "{\"é\":1}",
            "isBase64Encoded": false,
        }));
        assert_eq!(status, 201);
        assert_eq!(
            headers,
            [
                "content-type: application/json",
                "set-cookie: a=1; HttpOnly",
                "set-cookie: b=2",
                "x-both: one",
                "x-both: two",
                "x-number: 5",
            ]
        );
        assert_eq!(body, "{\"é\":1}");
    }

    #[test]
    fn little_is_enough() {
        let (status, headers, body) = unwrapped(&json!({ "statusCode": 204 }));
        assert_eq!(
            (status, headers, body),
            (204, vec!["content-type: text/plain;charset=UTF-8".to_owned()], Bytes::new())
        );
        let (_, _, body) = unwrapped(&json!({ "statusCode": 200, "body": null, "headers": null, "cookies": null }));
        assert_eq!(body, "");
    }

    #[test]
    fn base64_is_decoded() {
        let (_, _, body) = unwrapped(&json!({ "statusCode": 200, "body": "AP8=", "isBase64Encoded": true }));
        assert_eq!(body, &[0_u8, 255][..]);
    }

    #[test]
    fn without_a_status_the_whole_answer_is_the_body() {
        for answer in [json!({ "body": "x" }), json!("text"), json!([1]), json!(null)] {
            let (status, headers, body) = unwrapped(&answer);
            assert_eq!((status, body), (200, Bytes::from(answer.to_string())));
            assert_eq!(headers, ["content-type: application/json"]);
        }
    }

    #[test]
    fn what_has_another_shape_is_refused() {
        assert_eq!(from_function(Bytes::from_static(b"<html>")).unwrap_err(), Malformed::Json);
        assert_eq!(from_function(Bytes::new()).unwrap_err(), Malformed::Json);
        for status in [json!("200"), json!(99), json!(101), json!(600), json!(200.5), json!(-1), json!(null)] {
            assert_eq!(refused(&json!({ "statusCode": status })), Malformed::StatusCode, "{status}");
        }
        let with = |key: &str, value: Value| refused(&json!({ "statusCode": 200, key: value }));
        assert_eq!(with("body", json!({ "a": 1 })), Malformed::Type("body"));
        assert_eq!(with("isBase64Encoded", json!("true")), Malformed::Type("isBase64Encoded"));
        assert_eq!(with("headers", json!(["a"])), Malformed::Type("headers"));
        assert_eq!(with("headers", json!({ "a": ["b"] })), Malformed::Type("headers"));
        assert_eq!(with("headers", json!({ "a b": "c" })), Malformed::Header("a b".to_owned()));
        assert_eq!(with("headers", json!({ "a": "b\r\nc: d" })), Malformed::Header("a".to_owned()));
        assert_eq!(with("multiValueHeaders", json!({ "a": "b" })), Malformed::Type("multiValueHeaders"));
        assert_eq!(with("cookies", json!("a=1")), Malformed::Type("cookies"));
        let not_base64 = json!({ "statusCode": 200, "body": "é", "isBase64Encoded": true });
        assert_eq!(refused(&not_base64), Malformed::Base64);
    }
}
