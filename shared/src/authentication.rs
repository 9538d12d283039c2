//! Who is this? A name and a password for a user.
//!
//! Unknown user, wrong password and disabled user cost the same hash and are one answer to the caller (OWASP ASVS 5.0, 6.3.8).
//! Which of them it was is for the log.

use secrecy::ExposeSecret as _;

use crate::password::Password;
use crate::password::hash::{HashError, Hasher};
use crate::store::StoreError;
use crate::store::users::{User, UserStatus, UsersTable};
use crate::username::Username;

/// Why nobody was authenticated. The three refusals are for logs; a client sees one answer.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// There is no user of this name, or the name can be no user's.
    #[error("there is no such user")]
    UnknownUser,
    /// The password is another.
    #[error("the password is wrong")]
    WrongPassword,
    /// The password is right, but the user is disabled.
    #[error("the user is disabled")]
    DisabledUser,
    /// The users could not be read. Nobody is let in.
    #[error("the user could not be read")]
    Store(#[from] StoreError),
    /// The stored hash is unusable.
    #[error("the password could not be checked")]
    Hash(#[from] HashError),
}

impl AuthenticationError {
    /// The name in logs and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::DisabledUser => "disabled_user",
            Self::Store(_) => "store_failed",
            Self::Hash(_) => "hash_failed",
        }
    }
}

/// The user with this name and password.
///
/// # Errors
/// There is none, or it cannot be known.
pub async fn authenticate(
    users: &UsersTable,
    hasher: &Hasher,
    username: &str,
    password: &Password,
) -> Result<User, AuthenticationError> {
    let user = match Username::parse(username) {
        Ok(username) => users.find(&username).await?,
        Err(_) => None,
    };
    let Some(user) = user else {
        hasher.absent_user(password)?;
        return Err(AuthenticationError::UnknownUser);
    };
    if !hasher.verify(password, user.password_hash.expose_secret())? {
        return Err(AuthenticationError::WrongPassword);
    }
    match user.status {
        UserStatus::Enabled => Ok(user),
        UserStatus::Disabled => Err(AuthenticationError::DisabledUser),
    }
}
