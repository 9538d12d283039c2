//! Answers: JSON in UTF-8. Nothing may be stored by a cache unless a function says so.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};
use lambda_http::Body;
use serde::Serialize;

use super::error::ApiError;

/// An answer with a JSON body, not to be stored (RFC 6749 §5.1 asks it of tokens; claims and errors are as personal).
///
/// # Errors
/// The value cannot be written as JSON.
pub fn json(status: StatusCode, value: &impl Serialize) -> Result<Response<Body>, ApiError> {
    let body = serde_json::to_string(value).map_err(ApiError::Response)?;
    let mut response = empty(status);
    *response.body_mut() = Body::Text(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The answer that hands out tokens (RFC 6749 §5.1).
///
/// # Errors
/// It cannot be written as JSON.
#[cfg(feature = "store")]
pub fn tokens(tokens: &crate::session::Tokens) -> Result<Response<Body>, ApiError> {
    use secrecy::ExposeSecret as _;
    json(
        StatusCode::OK,
        &serde_json::json!({
            "access_token": tokens.access_token.expose_secret(),
            "token_type": "Bearer",
            "expires_in": tokens.expires_in,
            "refresh_token": tokens.refresh_token.expose_secret(),
        }),
    )
}

/// An answer without a body.
#[must_use]
pub fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::Empty);
    *response.status_mut() = status;
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
