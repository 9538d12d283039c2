//! Refresh tokens: `1.<kid>.<sid>.<generation>.<MAC>`, opaque to clients.
//!
//! The MAC is HMAC-SHA-256 over what stands before it, under a sealed key. So garbage is refused without a read, and the
//! session's row needs no token and no hash of one, only the current generation.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use secrecy::SecretString;

use crate::keys::signing::RefreshTokenKey;

/// First part of every refresh token. Another layout would get another number.
pub const VERSION: &str = "1";

/// The refresh token of one generation of a session.
#[must_use]
pub fn issue(key: &RefreshTokenKey, sid: &str, generation: u64) -> SecretString {
    let message = format!("{VERSION}.{}.{sid}.{generation}", key.kid());
    let mac = hmac::sign(key.key(), message.as_bytes());
    SecretString::from(format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac)))
}
