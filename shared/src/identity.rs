//! Who a request comes from, once the authorizer has allowed it.
//!
//! The authorizer puts an [`Identity`] into its answer's `context`; API Gateway hands it to the function
//! behind it at `requestContext.authorizer.lambda`. One type for both ends, so they cannot drift apart.

use serde::{Deserialize, Serialize};

use crate::clock::EpochSeconds;

/// The verified claims that a protected function gets to see.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The user's immutable id (RFC 7519 §4.1.2).
    pub sub: String,
    /// The user's name in its canonical spelling.
    pub username: String,
    /// What the user may do.
    pub roles: Vec<String>,
    /// The session that the token belongs to.
    pub sid: String,
    /// The token's own id (RFC 7519 §4.1.7).
    pub jti: String,
    /// When the token expires.
    pub exp: EpochSeconds,
    /// The user's epoch when the token was issued.
    pub epoch: u64,
}

impl Identity {
    /// Whether the user has a role.
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held == role)
    }
}
