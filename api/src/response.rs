//! Bodies that more than one function answers.

use auth::sessions::Tokens;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

/// The body with tokens (RFC 6749 §5.1).
#[must_use]
pub fn tokens(tokens: &Tokens) -> Value {
    json!({
        "access_token": tokens.access_token.expose_secret(),
        "token_type": "Bearer",
        "expires_in": tokens.expires_in,
        "refresh_token": tokens.refresh_token.expose_secret(),
    })
}
