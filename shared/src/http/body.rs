//! JSON bodies of requests.

use lambda_http::Request;
use serde::de::DeserializeOwned;
use serde_json::error::Category;

/// Longest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// An invalid body. No error repeats any part of it: it may contain a password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BodyError {
    /// Longer than [`MAX_BODY_BYTES`].
    #[error("The body is longer than {MAX_BODY_BYTES} bytes.")]
    TooLarge,
    /// Not UTF-8 (RFC 8259 §8.1).
    #[error("The body is not UTF-8.")]
    NotUtf8,
    /// Not JSON. The message describes the required object.
    #[error("The body is not JSON. It must be {0}, each of them once and nothing else.")]
    NotJson(&'static str),
    /// JSON, but not the required object. The message describes it.
    #[error("The body must be {0}, each of them once and nothing else.")]
    WrongShape(&'static str),
    /// Not a form, by its media type.
    #[error("The body must be a form: Content-Type application/x-www-form-urlencoded.")]
    NotForm,
    /// A parameter is there twice (RFC 6749 §3.2).
    #[error("The form has a parameter more than once.")]
    RepeatedParameter,
    /// A parameter is not there.
    #[error("The form needs the parameter `{0}`.")]
    MissingParameter(&'static str),
}

/// Parses the body as JSON into a type that rejects other members. `shape` says what it must be, for the error.
///
/// # Errors
/// The body is something else.
pub fn json_body<T: DeserializeOwned>(request: &Request, shape: &'static str) -> Result<T, BodyError> {
    let body: &[u8] = request.body();
    if body.len() > MAX_BODY_BYTES {
        return Err(BodyError::TooLarge);
    }
    let body = std::str::from_utf8(body).map_err(|_| BodyError::NotUtf8)?;
    // Serde would take an array for a struct, member by position.
    let is_object = body.trim_ascii_start().starts_with('{');
    match serde_json::from_str(body) {
        Ok(value) if is_object => Ok(value),
        Err(error) if error.classify() != Category::Data => Err(BodyError::NotJson(shape)),
        Ok(_) | Err(_) => Err(BodyError::WrongShape(shape)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lambda_http::Body;
    use serde::Deserialize;

    #[derive(Debug, Deserialize, PartialEq, Eq)]
    #[serde(deny_unknown_fields)]
    struct Pair {
        a: String,
        b: String,
    }

    fn read(body: impl Into<Body>) -> Result<Pair, BodyError> {
        json_body(&Request::new(body.into()), "a pair")
    }

    #[test]
    fn an_object_with_the_members_is_read() {
        assert_eq!(read(r#" {"b":"2","a":"1"} "#), Ok(Pair { a: "1".into(), b: "2".into() }));
    }

    #[test]
    fn what_is_not_json() {
        for body in ["", "a=1&b=2", "{", r#"{"a":"1","b":"2"}x"#, r#"{"a":"1","b":"2",}"#, "\u{feff}{}"] {
            assert_eq!(read(body), Err(BodyError::NotJson("a pair")), "{body:?}");
        }
    }

    #[test]
    fn what_is_not_utf_8() {
        assert_eq!(read(&b"{\"a\":\"\xff\",\"b\":\"2\"}"[..]), Err(BodyError::NotUtf8));
    }

    #[test]
    fn what_is_too_large() {
        let filling = MAX_BODY_BYTES - r#"{"a":"","b":"2"}"#.len();
        assert!(read(format!(r#"{{"a":"{}","b":"2"}}"#, "x".repeat(filling))).is_ok());
        assert_eq!(read(format!(r#"{{"a":"{}","b":"2"}}"#, "x".repeat(filling + 1))), Err(BodyError::TooLarge));
    }

    #[test]
    fn another_shape() {
        for body in [
            "null",
            "1",
            r#""a""#,
            r#"["1","2"]"#,
            r#"{"a":"1"}"#,
            r#"{"a":"1","b":2}"#,
            r#"{"a":"1","b":null}"#,
            r#"{"a":"1","b":"2","c":"3"}"#,
            r#"{"a":"1","a":"1","b":"2"}"#,
        ] {
            assert_eq!(read(body), Err(BodyError::WrongShape("a pair")), "{body}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_does_not_overflow() {
        assert!(read(format!(r#"{{"a":{}"#, "[".repeat(10_000))).is_err());
    }
}
