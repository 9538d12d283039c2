//! Bodies that more than one function answers.

use auth::sessions::Tokens;
use secrecy::ExposeSecret as _;
use serde_json::json;
use shared::http::StatusCode;
use shared::http::response::{self, Response, ResponseError};

/// The response with tokens (RFC 6749 §5.1).
///
/// # Errors
/// It cannot be written as JSON.
pub fn tokens(tokens: &Tokens) -> Result<Response, ResponseError> {
    response::json(
        StatusCode::OK,
        &json!({
            "access_token": tokens.access_token.expose_secret(),
            "token_type": "Bearer",
            "expires_in": tokens.expires_in,
            "refresh_token": tokens.refresh_token.expose_secret(),
        }),
    )
}
