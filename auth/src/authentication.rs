//! Authentication: a name and a password for a user.
//!
//! Attempts are counted before anything is hashed ([`crate::throttle`]). An unknown user, a wrong password and a
//! disabled user take the same calls and the same hash, and get the same response (OWASP ASVS 5.0, 6.3.8). Only the log
//! tells them apart. An attempt that may not be made takes no hash, whatever the name is.

use std::error::Error;

use aws_lc_rs::rand::SystemRandom;
use secrecy::{ExposeSecret as _, SecretString};

use crate::EpochSeconds;
use crate::device::{DeviceId, DeviceToken};
use crate::keys::active::ActiveKeyError;
use crate::keys::login_attempts::LoginAttemptsKeyCache;
use crate::network::SourceNetwork;
use crate::password::Password;
use crate::password::error::HashError;
use crate::password::hash::{Hasher, PasswordCheck};
use crate::random::RandomError;
use crate::session::SignedIn;
use crate::store::StoreError;
use crate::store::users::{Update, UsersTable};
use crate::throttle::{Account, Admission, Throttle, ThrottleError};
use crate::user::{User, UserStatus};
use crate::username::Username;

/// Why authentication failed. The first three are for logs; a client gets the same response for all of them.
#[derive(Debug, thiserror::Error)]
pub enum AuthenticationError {
    /// There is no user of this name, or it is not a valid name.
    #[error("there is no such user")]
    UnknownUser,
    #[error("the password is wrong")]
    WrongPassword,
    /// The password is right, but the user is disabled.
    #[error("the user is disabled")]
    DisabledUser,
    /// Too many attempts, or they could not be counted. The password was not compared with a hash.
    #[error("the attempt was not admitted")]
    Throttle(#[from] ThrottleError),
    /// Without the key of unknown names no attempt can be counted.
    #[error("the key of unknown names could not be used")]
    Keys(#[from] ActiveKeyError),
    /// Nobody is authenticated.
    #[error("the user could not be read, or the outcome not be counted")]
    Store(#[from] StoreError),
    /// The stored hash is unusable.
    #[error("the password could not be checked")]
    Hash(#[from] HashError),
    /// No device token could be made.
    #[error("no device token could be made")]
    Random(#[from] RandomError),
}

impl AuthenticationError {
    /// The name in logs and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::UnknownUser => "unknown_user",
            Self::WrongPassword => "wrong_password",
            Self::DisabledUser => "disabled_user",
            Self::Throttle(ThrottleError::TooMany { .. } | ThrottleError::UsedUp | ThrottleError::DeviceUsedUp) => {
                "throttled"
            }
            Self::Store(_) | Self::Throttle(ThrottleError::Store(_)) => "store_failed",
            Self::Keys(_) => "keys_failed",
            Self::Hash(_) => "hash_failed",
            Self::Random(_) => "random_failed",
        }
    }
}

/// What a user logs in with.
#[derive(Clone, Copy, Debug)]
pub struct Credentials<'a> {
    /// As it was typed.
    pub username: &'a str,
    pub password: &'a Password,
    /// What an earlier login from the same device returned.
    pub device: Option<&'a DeviceToken>,
}

/// A user who was authenticated, and the token by which the device is known from now on.
#[derive(Debug)]
pub struct Authenticated {
    pub user: User,
    pub device: DeviceToken,
}

/// Authenticates users by their passwords.
pub struct Authenticator {
    pub users: UsersTable,
    pub throttle: Throttle,
    pub unknown_names: LoginAttemptsKeyCache,
    pub hasher: Hasher,
    pub random: SystemRandom,
}

impl Authenticator {
    /// The user with this name and password. A hash of another scheme or other parameters is replaced.
    ///
    /// # Errors
    /// There is none, there were too many attempts, or the answer is unknown.
    pub async fn authenticate(
        &self,
        credentials: Credentials<'_>,
        network: Option<&SourceNetwork>,
        now: EpochSeconds,
    ) -> Result<Authenticated, AuthenticationError> {
        let Credentials { username, password, device } = credentials;
        // First, so that it takes as long for every name.
        let key = self.unknown_names.get(now).await?;
        let username = Username::canonicalize(username).ok();
        let user = match &username {
            Some(username) => self.users.find(username).await?,
            None => None,
        };
        let account = match &user {
            Some(user) => Some(account_of(user, user.password_epoch)),
            None => username.map(|username| Account::of_unknown_name(&username, key)),
        };
        let admission = self.throttle.admit_login(account.as_ref(), device, network, now).await?;
        let device = self.device(device)?;
        let known_as = |user: &User| account_of(user, user.password_epoch).device(&device);
        let user = self.verify_password(user, password, admission, known_as, now).await?;
        Ok(Authenticated { user, device })
    }

    /// The same for a signed-in user who enters the password again, to change it: the device is known for the next one.
    ///
    /// # Errors
    /// As for [`Self::authenticate`].
    pub async fn authenticate_again(
        &self,
        caller: &SignedIn,
        password: &Password,
        device: Option<&DeviceToken>,
        now: EpochSeconds,
    ) -> Result<Authenticated, AuthenticationError> {
        // A cached decision of the authorizer may be older than the revocation of everything the user had.
        let is_caller = |user: &User| user.user_id == caller.sub && user.epoch == caller.epoch;
        let user = self.users.find(&caller.username).await?.filter(is_caller);
        let caller = Account::User { sub: caller.sub.clone(), password_epoch: caller.epoch };
        let admission = self.throttle.admit_again(&caller, now).await?;
        let device = self.device(device)?;
        let known_as = |user: &User| account_of(user, user.epoch + 1).device(&device);
        let user = self.verify_password(user, password, admission, known_as, now).await?;
        Ok(Authenticated { user, device })
    }

    /// The token that the device has, or a new one.
    fn device(&self, presented: Option<&DeviceToken>) -> Result<DeviceToken, RandomError> {
        presented.cloned().map_or_else(|| DeviceToken::random(&self.random), Ok)
    }

    async fn verify_password(
        &self,
        user: Option<User>,
        password: &Password,
        admission: Admission<'_>,
        known_as: impl Fn(&User) -> DeviceId,
        now: EpochSeconds,
    ) -> Result<User, AuthenticationError> {
        match self.check(user, password) {
            Ok(user) => {
                admission.succeeded(&known_as(&user), now).await?;
                self.rehash(&user, password).await?;
                Ok(user)
            }
            Err(refusal) => {
                admission.failed(now).await?;
                Err(refusal)
            }
        }
    }

    /// The expensive part: one hash for every name.
    fn check(&self, user: Option<User>, password: &Password) -> Result<User, AuthenticationError> {
        let Some(user) = user else {
            self.hasher.verify_dummy(password)?;
            return Err(AuthenticationError::UnknownUser);
        };
        let check = self.hasher.verify(password, user.password_hash.expose_secret()).inspect_err(|_| {
            // The response is an internal error, and the log must name the user for the operator.
            tracing::Span::current().record("sub", user.user_id.as_str());
        })?;
        match check {
            PasswordCheck::Matches => {}
            PasswordCheck::Differs => return Err(AuthenticationError::WrongPassword),
        }
        match user.status {
            UserStatus::Enabled => Ok(user),
            UserStatus::Disabled => Err(AuthenticationError::DisabledUser),
        }
    }

    /// Replaces a hash of another scheme or other parameters. The user is already authenticated, so a table that does
    /// not answer does not fail the login: the next login tries again.
    async fn rehash(&self, user: &User, password: &Password) -> Result<(), HashError> {
        if !self.hasher.needs_rehash(user.password_hash.expose_secret()) {
            return Ok(());
        }
        let hash = SecretString::from(self.hasher.hash(password, &self.random)?);
        let sub = user.user_id.as_str();
        match self.users.replace_hash(user, &hash).await {
            Ok(Update::Applied) => tracing::info!(event = "rehash", outcome = "succeeded", sub),
            Ok(Update::Stale) => tracing::info!(event = "rehash", outcome = "skipped", sub, "changed meanwhile"),
            Err(error) => {
                let error: &(dyn Error + 'static) = &error;
                tracing::error!(event = "rehash", outcome = "failed", sub, error);
            }
        }
        Ok(())
    }
}

fn account_of(user: &User, password_epoch: u64) -> Account {
    Account::User { sub: user.user_id.clone(), password_epoch }
}
