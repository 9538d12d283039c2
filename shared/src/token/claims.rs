//! The claims of an access token (RFC 9068 §2.2, and four of Latchkey's own).

use serde::{Deserialize, Serialize};

use crate::clock::EpochSeconds;
use crate::identity::Identity;

/// `typ` of an access token's header (RFC 9068 §2.1). No other token of Latchkey's carries it.
pub const ACCESS_TOKEN_TYPE: &str = "at+jwt";

/// `client_id` of tokens that a login issues: Latchkey's own login is the only client there is.
pub const FIRST_PARTY_CLIENT_ID: &str = "latchkey";

/// The claims set, closed: a claim that is missing, unknown, doubled or of another type makes a token invalid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessTokenClaims {
    /// Who issued the token (RFC 7519 §4.1.1).
    pub iss: String,
    /// The user's immutable random id (§4.1.2).
    pub sub: String,
    /// For whom it is (§4.1.3). One audience, as a string.
    pub aud: String,
    /// From when on it must not be accepted (§4.1.4). Whole seconds.
    pub exp: EpochSeconds,
    /// When it was issued (§4.1.6). Whole seconds.
    pub iat: EpochSeconds,
    /// Before when it must not be accepted (§4.1.5). Whole seconds; a little earlier than `iat`.
    pub nbf: EpochSeconds,
    /// Its own id, 128 random bits (§4.1.7).
    pub jti: String,
    /// The client that asked for it (RFC 9068 §2.2, RFC 8693 §4.3).
    pub client_id: String,
    /// The session it belongs to, 128 random bits.
    pub sid: String,
    /// The user's name, for people.
    pub username: String,
    /// What the user could do when it was issued (RFC 9068 §2.2.3.1).
    pub roles: Vec<String>,
    /// The user's epoch when it was issued, a count from 0. A token of an earlier epoch than the user's is dead.
    pub epoch: u64,
}

impl From<AccessTokenClaims> for Identity {
    fn from(claims: AccessTokenClaims) -> Self {
        Self {
            sub: claims.sub,
            username: claims.username,
            roles: claims.roles,
            sid: claims.sid,
            jti: claims.jti,
            exp: claims.exp,
            epoch: claims.epoch,
        }
    }
}
