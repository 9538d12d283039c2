//! Users: their names, roles and status, and which of their tokens are valid.
//!
//! **The epoch** is an integer of each user, 0 at first, that every token and session copies. Revoking everything a
//! user has raises it: a token or a session of an earlier epoch is revoked. It is not a time, because a cut-off by time
//! is wrong for tokens of the same second.

use secrecy::SecretString;

use crate::EpochSeconds;
use crate::id::UserId;
use crate::roles::{Role, Roles};
use crate::username::Username;

/// Whether a user may log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserStatus {
    Enabled,
    Disabled,
}

impl UserStatus {
    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
        }
    }

    /// The status that is stored by this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Enabled, Self::Disabled].into_iter().find(|status| status.as_str() == name)
    }
}

#[derive(Clone, Debug)]
pub struct User {
    pub username: Username,
    pub user_id: UserId,
    /// The hash of the password, a PHC string.
    pub password_hash: SecretString,
    pub roles: Vec<Role>,
    pub status: UserStatus,
    pub epoch: u64,
    pub created_at: EpochSeconds,
    /// The epoch since which the password is the present one; 0 for the first password.
    pub password_epoch: u64,
}

/// A user without the password's hash: the data in tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub username: Username,
    pub user_id: UserId,
    pub roles: Vec<Role>,
    pub status: UserStatus,
    pub epoch: u64,
}

/// Who a user is, and the epoch that the user's tokens must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEpoch {
    pub username: Username,
    pub user_id: UserId,
    pub epoch: u64,
}

impl Profile {
    #[must_use]
    pub fn at_epoch(&self) -> UserEpoch {
        UserEpoch { username: self.username.clone(), user_id: self.user_id.clone(), epoch: self.epoch }
    }
}

impl User {
    /// A new user of the first epoch who may log in.
    #[must_use]
    pub fn new(
        user_id: UserId,
        username: Username,
        password_hash: SecretString,
        roles: Roles,
        now: EpochSeconds,
    ) -> Self {
        let roles = roles.into_inner();
        Self {
            username,
            user_id,
            password_hash,
            roles,
            status: UserStatus::Enabled,
            epoch: 0,
            created_at: now,
            password_epoch: 0,
        }
    }

    #[must_use]
    pub fn profile(&self) -> Profile {
        Profile {
            username: self.username.clone(),
            user_id: self.user_id.clone(),
            roles: self.roles.clone(),
            status: self.status,
            epoch: self.epoch,
        }
    }

    #[must_use]
    pub fn at_epoch(&self) -> UserEpoch {
        UserEpoch { username: self.username.clone(), user_id: self.user_id.clone(), epoch: self.epoch }
    }
}

/// What else changes when a user's epoch is raised.
#[derive(Clone, Copy, Debug)]
pub enum Change<'a> {
    /// Nothing: sessions and tokens are revoked, and that is all.
    Nothing,
    /// The user may no longer log in.
    Disable,
    PasswordHash(&'a SecretString),
}
