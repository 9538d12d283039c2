//! Registration: people create their own accounts, if the deployment allows it.

use aws_lc_rs::rand::SystemRandom;

use crate::EpochSeconds;
use crate::accounts::{AccountError, new_user};
use crate::network::SourceNetwork;
use crate::password::Password;
use crate::password::hash::Hasher;
use crate::password::policy::PasswordPolicy;
use crate::roles::Roles;
use crate::store::users::{Addition, UsersTable};
use crate::throttle::{Throttle, ThrottleError};
use crate::user::User;
use crate::username::Username;

/// Why registration failed.
#[derive(Debug, thiserror::Error)]
pub enum RegistrationError {
    #[error(transparent)]
    Throttle(#[from] ThrottleError),
    #[error(transparent)]
    Account(#[from] AccountError),
}

/// Adds users who register themselves.
pub struct Registration {
    pub users: UsersTable,
    pub throttle: Throttle,
    pub hasher: Hasher,
    pub policy: PasswordPolicy,
    pub random: SystemRandom,
}

impl Registration {
    /// Adds a user under a free name, with a password that is strong enough. Registrations are limited for each source
    /// address. Of two concurrent requests for one name, one succeeds. Attempts at the name from before are not counted
    /// for the new user, who has another counter.
    ///
    /// # Errors
    /// The name or the password is rejected, the name is taken, there were too many attempts, or the outcome is
    /// unknown.
    pub async fn register(
        &self,
        username: &str,
        password: &Password,
        network: Option<&SourceNetwork>,
        now: EpochSeconds,
    ) -> Result<User, RegistrationError> {
        self.throttle.count("register", network, now).await?;
        let user = self.add(username, password, now).await?;
        tracing::Span::current().record("sub", user.user_id.as_str());
        Ok(user)
    }

    async fn add(&self, username: &str, password: &Password, now: EpochSeconds) -> Result<User, AccountError> {
        let username = Username::parse(username)?;
        self.policy.check(password, &username)?;
        // Saves a hash. Whether the name is free is decided by the write.
        if self.users.find_epoch(&username).await?.is_some() {
            return Err(AccountError::Taken);
        }
        let user = new_user(&self.hasher, &self.random, username, password, Roles::registered(), now)?;
        match self.users.add(&user).await? {
            Addition::Added => Ok(user),
            Addition::NameTaken => Err(AccountError::Taken),
        }
    }
}
