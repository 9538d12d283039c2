//! Why a password could not be hashed, or a stored hash could not be used.

use crate::random::RandomError;

/// A hash could not be computed or read.
#[derive(Debug, thiserror::Error)]
pub enum HashError {
    /// The stored text is not a hash.
    #[error("the stored password hash cannot be read")]
    Unreadable(#[source] argon2::password_hash::phc::Error),
    /// The stored parameters or the algorithm are not supported.
    #[error("the stored password hash has an algorithm or parameters that are not accepted")]
    Unsupported,
    /// Verifying it would take too much work.
    #[error("{parameter} is {value}; the limit is {limit}")]
    TooCostly {
        /// The parameter, or the product of parameters.
        parameter: &'static str,
        /// Its value in the hash.
        value: u64,
        /// The most that is accepted.
        limit: u64,
    },
    /// The text looks like a bcrypt hash, but is not one.
    #[error("the stored bcrypt hash cannot be read")]
    Bcrypt(#[source] bcrypt::BcryptError),
    /// Argon2 refused its input.
    #[error("the password could not be hashed")]
    Argon2(#[source] argon2::Error),
    /// The generator gave no salt.
    #[error("no salt for the password hash")]
    Random(#[from] RandomError),
}

impl From<argon2::password_hash::phc::Error> for HashError {
    fn from(error: argon2::password_hash::phc::Error) -> Self {
        Self::Unreadable(error)
    }
}
