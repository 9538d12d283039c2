//! The caller of a request that the authorizer has allowed.
//!
//! The authorizer puts a [`Caller`] into its answer's `context`; API Gateway hands it to the function behind it at
//! `requestContext.authorizer.lambda`. One type for both ends, so they cannot drift apart.

use serde::{Deserialize, Serialize};

use crate::http::error::RequestError;

/// The verified claims that a protected function gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The user's immutable id (RFC 7519 §4.1.2).
    pub sub: String,
    /// The user's name in its canonical spelling.
    pub username: String,
    pub roles: Vec<String>,
    /// The session that the token belongs to.
    pub sid: String,
    /// The token's own id (RFC 7519 §4.1.7).
    pub jti: String,
    /// When the token expires, in epoch seconds.
    pub exp: u64,
    /// The user's epoch when the token was issued.
    pub epoch: u64,
}

impl Caller {
    #[must_use]
    pub fn has_role(&self, role: &str) -> bool {
        self.roles.iter().any(|held| held == role)
    }

    /// Requires a role of the caller.
    ///
    /// # Errors
    /// The caller does not have it. The response is a 403.
    pub fn require_role(&self, role: &'static str) -> Result<(), RequestError> {
        if self.has_role(role) { Ok(()) } else { Err(RequestError::MissingRole(role)) }
    }
}
