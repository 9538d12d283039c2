//! Who is this? A name and a password for a user.
//!
//! Attempts are counted before anything is hashed ([`crate::throttle`]). Unknown user, wrong password and disabled user
//! cost the same calls and the same hash, and are one answer to the caller (OWASP ASVS 5.0, 6.3.8). Which of them it
//! was is for the log. An attempt that is refused costs a hash too: a failure that is told the same must not be told
//! apart by its time.

use secrecy::{ExposeSecret as _, SecretString};

use crate::clock::EpochSeconds;
use crate::identity::Identity;
use crate::password::Password;
use crate::password::hash::{HashError, Hasher};
use crate::random::Random;
use crate::store::StoreError;
use crate::store::users::{User, UserStatus, UsersTable};
use crate::throttle::{Admission, Claimant, SourceNetwork, Throttle, ThrottleError};
use crate::username::Username;

/// Why nobody was authenticated. The first three refusals are for logs; a client sees one answer.
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
    /// Too many attempts, or they could not be counted. The password was not held against any hash, or a failure must
    /// not be told from that.
    #[error("the attempt was not admitted")]
    Throttle(#[from] ThrottleError),
    /// The users could not be read, or the outcome not be counted. Nobody is let in.
    #[error("the user could not be read, or the outcome not be counted")]
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
            Self::Throttle(ThrottleError::TooMany { .. }) => "throttled",
            Self::Store(_) | Self::Throttle(ThrottleError::Store(_)) => "store_failed",
            Self::Hash(_) => "hash_failed",
        }
    }
}

/// What proves passwords.
#[derive(Clone, Copy)]
pub struct Authenticator<'a> {
    /// The users.
    pub users: &'a UsersTable,
    /// What counts attempts.
    pub throttle: &'a Throttle,
    /// What hashes.
    pub hasher: &'a Hasher,
    /// Where salts come from.
    pub random: &'a Random,
}

impl Authenticator<'_> {
    /// The user with this name and password. A hash that is not made as new ones are is replaced.
    ///
    /// # Errors
    /// There is none, too many attempts failed, or it cannot be known.
    pub async fn authenticate(
        &self,
        username: &str,
        password: &Password,
        network: Option<&SourceNetwork>,
        now: EpochSeconds,
    ) -> Result<User, AuthenticationError> {
        let username = Username::parse(username).ok();
        let user = match &username {
            Some(username) => self.users.find(username).await?,
            None => None,
        };
        let claimant = Claimant::Stranger { username: username.as_ref(), exists: user.is_some() };
        let admission = match self.throttle.admit(claimant, network, now).await {
            Ok(admission) => admission,
            Err(refusal) => {
                // As long as a failure takes at an address that the user is known at, which gets the same answer.
                if matches!(refusal, ThrottleError::TooMany { .. }) && username.is_some() {
                    self.hasher.absent_user(password)?;
                }
                return Err(refusal.into());
            }
        };
        self.prove(user, password, admission, now).await
    }

    /// The same for somebody who is signed in already and proves the password again.
    ///
    /// # Errors
    /// As for [`Self::authenticate`].
    pub async fn authenticate_again(
        &self,
        caller: &Identity,
        password: &Password,
        network: Option<&SourceNetwork>,
        now: EpochSeconds,
    ) -> Result<User, AuthenticationError> {
        let username = Username::parse(&caller.username).map_err(|_| AuthenticationError::UnknownUser)?;
        // A cached verdict of the authorizer may be older than the end of everything the user had.
        let is_caller = |user: &User| user.user_id == caller.sub && user.epoch == caller.epoch;
        let user = self.users.find(&username).await?.filter(is_caller);
        let admission = self.throttle.admit(Claimant::SignedIn(&username), network, now).await?;
        self.prove(user, password, admission, now).await
    }

    async fn prove(
        &self,
        user: Option<User>,
        password: &Password,
        admission: Admission<'_>,
        now: EpochSeconds,
    ) -> Result<User, AuthenticationError> {
        match self.check(user, password) {
            Ok(user) => {
                admission.succeeded(now).await?;
                self.improve_hash(&user, password).await?;
                Ok(user)
            }
            Err(refusal) => {
                admission.failed(now).await?;
                Err(refusal)
            }
        }
    }

    /// The part that costs time: one hash, whoever it is.
    fn check(&self, user: Option<User>, password: &Password) -> Result<User, AuthenticationError> {
        let Some(user) = user else {
            self.hasher.absent_user(password)?;
            return Err(AuthenticationError::UnknownUser);
        };
        let verified = self.hasher.verify(password, user.password_hash.expose_secret()).inspect_err(|_| {
            // The answer is an internal error, and an operator has to learn whose hash it is.
            tracing::Span::current().record("sub", &user.user_id);
        })?;
        if !verified {
            return Err(AuthenticationError::WrongPassword);
        }
        match user.status {
            UserStatus::Enabled => Ok(user),
            UserStatus::Disabled => Err(AuthenticationError::DisabledUser),
        }
    }

    /// Replaces a hash of another scheme or of other parameters. The user is who the user says, so a table that does
    /// not answer now is no reason to turn the user away: the next login tries again.
    async fn improve_hash(&self, user: &User, password: &Password) -> Result<(), HashError> {
        if !self.hasher.needs_rehash(user.password_hash.expose_secret()) {
            return Ok(());
        }
        let hash = SecretString::from(self.hasher.hash(password, self.random)?);
        match self.users.replace_hash(user, &hash).await {
            Ok(true) => tracing::info!(event = "rehash", outcome = "succeeded", sub = user.user_id),
            Ok(false) => tracing::info!(event = "rehash", outcome = "skipped", sub = user.user_id, "changed meanwhile"),
            Err(error) => {
                let error = crate::telemetry::chain(&error);
                tracing::error!(event = "rehash", outcome = "failed", sub = user.user_id, error);
            }
        }
        Ok(())
    }
}
