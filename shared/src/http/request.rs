//! What is read of a request behind an HTTP API (payload format 2.0).

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt as _};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::error::ApiError;
use crate::config::TokenParties;
use crate::identity::Identity;

/// Longest body that is read, in bytes.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// A body that cannot be used. None of these repeats any of it: it may hold a password.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum BodyError {
    /// Longer than [`MAX_BODY_BYTES`].
    #[error("The body is longer than {MAX_BODY_BYTES} bytes.")]
    TooLarge,
    /// Not UTF-8 (RFC 8259 §8.1).
    #[error("The body is not UTF-8.")]
    NotUtf8,
    /// Not JSON. It says which object is asked for.
    #[error("The body is not JSON. It must be {0}, each of them once and nothing else.")]
    NotJson(&'static str),
    /// JSON, but not the object that is asked for. It says which is.
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

/// The context that API Gateway made for this request.
#[must_use]
pub fn context(request: &Request) -> Option<&ApiGatewayV2httpRequestContext> {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => Some(context),
        _ => None,
    }
}

/// The route that API Gateway matched, `GET /me`. Not taken from the path, so that no spelling of a path can reach what
/// its route does not.
#[must_use]
pub fn route_key(request: &Request) -> Option<&str> {
    context(request)?.route_key.as_deref()
}

/// Who the caller is, by the authorizer's context alone. `None` where there is none, or not a whole one: a route
/// without its authorizer. No header can stand in for it.
#[must_use]
fn identity(request: &Request) -> Option<Identity> {
    let claims = &context(request)?.authorizer.as_ref()?.fields;
    serde_json::from_value(claims.clone().into_iter().collect()).ok()
}

/// `iss` of the tokens that this request is about.
///
/// # Errors
/// It is neither configured nor known from the request.
pub fn issuer(request: &Request, parties: &TokenParties) -> Result<String, ApiError> {
    let domain_name = context(request).and_then(|context| context.domain_name.as_deref());
    parties.issuer(domain_name).ok_or(ApiError::NoIssuer)
}

/// Where the request came from.
#[cfg(feature = "store")]
#[must_use]
pub fn origin(request: &Request) -> crate::session::Origin {
    let context = context(request);
    crate::session::Origin {
        source_address: context.and_then(|context| context.http.source_ip.clone()),
        user_agent: context.and_then(|context| context.http.user_agent.clone()),
    }
}

/// The network that the request came from, by which attempts are counted. `None` where the address cannot be read: an
/// error of ours, or of what stands before the API, that must not make all clients one.
#[cfg(feature = "store")]
#[must_use]
pub fn network(request: &Request) -> Option<crate::throttle::SourceNetwork> {
    let address = context(request).and_then(|context| context.http.source_ip.as_deref());
    let network = address.and_then(crate::throttle::SourceNetwork::of);
    if network.is_none() {
        // Not what it is: nobody knows what it holds.
        tracing::error!(
            event = "source_address",
            outcome = "failed",
            reason = "unreadable_source_address",
            "the request's sourceIp is no address; nothing is counted for its network"
        );
    }
    network
}

/// The caller, who must be known. What is logged for the request says who it was.
///
/// # Errors
/// The route has no authorizer, or its context is not ours.
pub fn caller(request: &Request) -> Result<Identity, ApiError> {
    let caller = identity(request).ok_or(ApiError::Unauthenticated)?;
    let span = tracing::Span::current();
    span.record("sub", &caller.sub);
    span.record("sid", &caller.sid);
    Ok(caller)
}

/// Reads the body as JSON into a type that accepts nothing else. `shape` says what it must be, for the error.
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
