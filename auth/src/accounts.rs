//! What happens to a user after registration: another password, other roles, and the revocation of everything the user
//! has.
//!
//! Every operation that revokes all sessions of a user raises the user's epoch, in one transaction with the denylist
//! item: when the call returns, no token and no session of an earlier epoch is valid ([`crate::user`]).
//!
//! An operation that ends one session or one token adds one item to the denylist. When a user has too many, the epoch
//! is raised instead ([`crate::revocation`]), so that the cost of a request does not grow with what its user has
//! revoked.

use latchkey_verifier::{AccessTokenClaims, LEEWAY_SECONDS};
use secrecy::SecretString;

use crate::EpochSeconds;
use crate::id::UserId;
use crate::password::Password;
use crate::password::error::HashError;
use crate::password::hash::Hasher;
use crate::password::policy::{PasswordPolicy, Weakness};
use crate::random::{Random, RandomError};
use crate::revocation::{Revocation, Revocations};
use crate::roles::Roles;
use crate::session::{Session, SignedIn, revocation_expires_at};
use crate::store::StoreError;
use crate::store::denylist::DenylistTable;
use crate::store::retry::Attempts;
use crate::store::sessions::SessionsTable;
use crate::store::users::{Update, UsersTable};
use crate::user::{Change, User, UserEpoch, UserStatus};
use crate::username::{Username, UsernameError};

/// The name of the operation that changes a user.
const CHANGING: &str = "changing a user";

/// Why a user was not added or not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error("the name is not valid")]
    Username(#[from] UsernameError),
    #[error("the new password is too weak")]
    Password(#[from] Weakness),
    #[error("a user of this name exists")]
    Taken,
    /// There is no such user, or the user was changed concurrently.
    #[error("there is no such user")]
    Unknown,
    #[error("the password could not be hashed")]
    Hash(#[from] HashError),
    #[error("no id for the user")]
    Random(#[from] RandomError),
    #[error("the user could not be read or written")]
    Store(#[from] StoreError),
}

/// Whether an operation had to change anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    Changed,
    /// The user was in that state already.
    Unchanged,
}

/// A new user who may log in.
///
/// # Errors
/// The password could not be hashed, or there is no random id.
pub fn new_user(
    hasher: &Hasher,
    random: &Random,
    username: Username,
    password: &Password,
    roles: Roles,
    now: EpochSeconds,
) -> Result<User, AccountError> {
    let hash = SecretString::from(hasher.hash(password, random)?);
    Ok(User::new(UserId::random(random)?, username, hash, roles, now))
}

/// Changes users, and revokes what they have.
#[derive(Clone, Debug)]
pub struct Accounts {
    users: UsersTable,
    denylist: DenylistTable,
}

impl Accounts {
    #[must_use]
    pub fn new(users: UsersTable, denylist: DenylistTable) -> Self {
        Self { users, denylist }
    }

    /// Revokes every session and every access token of a user.
    ///
    /// # Errors
    /// There is no such user, or the outcome is unknown.
    pub async fn revoke(&self, username: &Username, now: EpochSeconds) -> Result<(), AccountError> {
        self.raise_epoch(username, Change::Nothing, now).await
    }

    /// The same for the owner of a session or a token. If its epoch has already been replaced, there is nothing left to
    /// revoke. A user who was deleted, or whose name now belongs to another user, has no sessions; only the access
    /// tokens remain, and they are revoked.
    ///
    /// # Errors
    /// The outcome is unknown.
    pub async fn revoke_own(&self, owner: &SignedIn, now: EpochSeconds) -> Result<(), StoreError> {
        let mut attempts = Attempts::at(CHANGING);
        loop {
            let user = self.users.find_epoch(&owner.username).await?.filter(|user| user.user_id == owner.sub);
            let Some(user) = user else {
                let found = self.denylist.revocations(&owner.sub, now).await?;
                let everything = Revocation::Epoch(owner.epoch.saturating_add(1));
                return self.denylist.deny(&owner.sub, &everything, revocation_expires_at(now), &found).await;
            };
            if user.epoch > owner.epoch {
                return Ok(());
            }
            match self.raise(&user, Change::Nothing, None, now).await? {
                Update::Applied => return Ok(()),
                Update::Stale => attempts.pause().await?,
            }
        }
    }

    /// Ends one session and revokes its access tokens; or, after too many single revocations, everything the owner
    /// has.
    ///
    /// # Errors
    /// The outcome is unknown.
    pub(crate) async fn end_session(
        &self,
        sessions: &SessionsTable,
        owner: &SignedIn,
        now: EpochSeconds,
    ) -> Result<(), StoreError> {
        let found = self.denylist.revocations(&owner.sub, now).await?;
        if found.is_full() {
            return self.revoke_everything_of(owner, now).await;
        }
        sessions.end((&self.denylist, &found), &owner.sub, &owner.sid, revocation_expires_at(now)).await
    }

    /// Revokes one access token that `found` does not cover; or, after too many single revocations, everything the
    /// owner has.
    ///
    /// # Errors
    /// The outcome is unknown.
    pub(crate) async fn deny_token(
        &self,
        claims: &AccessTokenClaims,
        found: &Revocations,
        now: EpochSeconds,
    ) -> Result<(), StoreError> {
        let owner = SignedIn::from(claims);
        if found.is_full() {
            return self.revoke_everything_of(&owner, now).await;
        }
        // The clock of DynamoDB, which deletes, may be ahead of the clock of the function that verifies.
        let expires_at = claims.exp + LEEWAY_SECONDS;
        self.denylist.deny(&owner.sub, &Revocation::Token(claims.jti.clone()), expires_at, found).await
    }

    async fn revoke_everything_of(&self, owner: &SignedIn, now: EpochSeconds) -> Result<(), StoreError> {
        tracing::warn!(
            event = "revocations_full",
            outcome = "epoch_raised",
            sub = owner.sub.as_str(),
            "the user revoked so many sessions and tokens one by one that all of them are revoked"
        );
        self.revoke_own(owner, now).await
    }

    /// Disables a user: logins are rejected, and every session and token is revoked.
    ///
    /// # Errors
    /// There is no such user, or the outcome is unknown.
    pub async fn disable(&self, username: &Username, now: EpochSeconds) -> Result<Effect, AccountError> {
        let mut attempts = Attempts::at(CHANGING);
        loop {
            let user = self.users.find_profile(username).await?.ok_or(AccountError::Unknown)?;
            if user.status == UserStatus::Disabled {
                return Ok(Effect::Unchanged);
            }
            match self.raise(&user.at_epoch(), Change::Disable, None, now).await? {
                Update::Applied => return Ok(Effect::Changed),
                Update::Stale => attempts.pause().await?,
            }
        }
    }

    /// Lets a user log in again. Revoked sessions and tokens stay revoked.
    ///
    /// # Errors
    /// There is no such user, or the table did not answer.
    pub async fn enable(&self, username: &Username) -> Result<Effect, AccountError> {
        let user = self.users.find(username).await?.ok_or(AccountError::Unknown)?;
        if user.status == UserStatus::Enabled {
            return Ok(Effect::Unchanged);
        }
        match self.users.enable(&user).await? {
            Update::Applied => Ok(Effect::Changed),
            Update::Stale => Err(AccountError::Unknown),
        }
    }

    /// Sets a user's roles, which take effect at the next login or refresh. Tokens that were issued before keep
    /// the old ones until they expire.
    ///
    /// # Errors
    /// There is no such user, or the table did not answer.
    pub async fn set_roles(&self, username: &Username, roles: &Roles) -> Result<(), AccountError> {
        let user = self.users.find(username).await?.ok_or(AccountError::Unknown)?;
        match self.users.set_roles(&user, roles.as_slice()).await? {
            Update::Applied => Ok(()),
            Update::Stale => Err(AccountError::Unknown),
        }
    }

    /// Sets a user's password, for an operator. Every earlier session and token is revoked.
    ///
    /// # Errors
    /// There is no such user, the password is rejected, or the outcome is unknown.
    pub async fn set_password(
        &self,
        hasher: &Hasher,
        policy: PasswordPolicy,
        random: &Random,
        username: &Username,
        password: &Password,
        now: EpochSeconds,
    ) -> Result<(), AccountError> {
        policy.check(password, username)?;
        let hash = SecretString::from(hasher.hash(password, random)?);
        self.raise_epoch(username, Change::PasswordHash(&hash), now).await
    }

    /// Retries after a lost conditional write.
    async fn raise_epoch(
        &self,
        username: &Username,
        change: Change<'_>,
        now: EpochSeconds,
    ) -> Result<(), AccountError> {
        let mut attempts = Attempts::at(CHANGING);
        loop {
            let user = self.users.find_epoch(username).await?.ok_or(AccountError::Unknown)?;
            match self.raise(&user, change, None, now).await? {
                Update::Applied => return Ok(()),
                Update::Stale => attempts.pause().await?,
            }
        }
    }

    /// Raises the epoch of `user`, which was read before: the denylist has every epoch item that the user's epoch
    /// stands for. The same transaction makes the `change` and adds the `session`.
    ///
    /// # Errors
    /// The outcome is unknown.
    pub(crate) async fn raise(
        &self,
        user: &UserEpoch,
        change: Change<'_>,
        session: Option<(&SessionsTable, &Session)>,
        now: EpochSeconds,
    ) -> Result<Update, StoreError> {
        let found = self.denylist.revocations(&user.user_id, now).await?;
        let expires_at = revocation_expires_at(now);
        self.users.raise_epoch((&self.denylist, &found), user, change, session, expires_at).await
    }
}
