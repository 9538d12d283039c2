//! Responses: JSON in UTF-8. No cache may store one unless the function allows it.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, StatusCode};
use lambda_http::Body;
use serde::Serialize;

/// A response of a function.
pub type Response = http::Response<Body>;

/// A value could not be written as JSON.
#[derive(Debug, thiserror::Error)]
#[error("the response could not be written as JSON")]
pub struct ResponseError(#[from] serde_json::Error);

/// A response with a JSON body, not to be stored (RFC 6749 §5.1 requires it for tokens; claims and errors are as
/// personal).
///
/// # Errors
/// The value cannot be written as JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Response, ResponseError> {
    let body = serde_json::to_string(value)?;
    let mut response = empty(status);
    *response.body_mut() = Body::Text(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// A response without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
