//! The claims of an access token (RFC 9068 §2.2, and four of Latchkey's own).

use serde::{Deserialize, Serialize};

use crate::time::EpochSeconds;

/// `typ` of an access token's header (RFC 9068 §2.1). No other token of Latchkey's carries it.
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";

/// The claims set, closed: a claim that is missing, unknown, repeated or of another type makes a token invalid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessTokenClaims {
    /// Who issued the token (RFC 7519 §4.1.1): an `https` URL.
    pub iss: String,
    /// The user's immutable random id (§4.1.2).
    pub sub: String,
    /// The audience of the token (§4.1.3): one, as a string.
    pub aud: String,
    /// When the token expires (§4.1.4).
    pub exp: EpochSeconds,
    /// When the token was issued (§4.1.6).
    pub iat: EpochSeconds,
    /// Before when the token must not be accepted (§4.1.5): a little earlier than `iat`.
    pub nbf: EpochSeconds,
    /// The token's own id, 128 random bits (§4.1.7).
    pub jti: String,
    /// The client that requested the token (RFC 9068 §2.2, RFC 8693 §4.3).
    pub client_id: String,
    /// The session that the token belongs to, 128 random bits.
    pub sid: String,
    /// The user's name in its canonical spelling. It is for display; `sub` identifies the user.
    pub username: String,
    /// What the user was allowed to do when the token was issued (RFC 9068 §2.2.3.1).
    pub roles: Vec<String>,
    /// The user's epoch when the token was issued, counted from 0. Whatever revokes everything a user has (a password
    /// change, a logout everywhere, disabling) raises the user's epoch, and tokens of earlier epochs are revoked.
    pub epoch: u64,
}
