//! What happens to a user between being added and being forgotten: registration, another password, other roles, and the
//! end of everything the user has.
//!
//! Whatever ends a user's sessions raises the user's epoch, in one transaction with the denylist item: when the call
//! returns, no token and no session of an earlier epoch is valid. An integer and no time, because a cut-off by time is
//! wrong for tokens of the same second.
//!
//! What ends one session or one token adds one item to the denylist, until there are so many of one user that the epoch
//! is raised instead ([`crate::store::denylist`]): what a request reads must not grow with what its user has revoked.

use secrecy::SecretString;

use crate::clock::EpochSeconds;
use crate::identity::Identity;
use crate::password::Password;
use crate::password::hash::{HashError, Hasher};
use crate::password::policy::{PasswordPolicy, Weakness};
use crate::random::{self, Random, RandomError};
use crate::roles::Roles;
use crate::session::{self, Issuance, Origin, Tokens};
use crate::store::StoreError;
use crate::store::denylist::{DenylistTable, Revocation, Revocations};
use crate::store::retry::Attempts;
use crate::store::sessions::{Session, SessionsTable};
use crate::store::users::{Change, User, UserEpoch, UserStatus, UsersTable};
use crate::token::claims::AccessTokenClaims;
use crate::token::issuer::IssueError;
use crate::token::verifier::LEEWAY_SECONDS;
use crate::username::{Username, UsernameError};

/// What an operation is called that changes a user.
const CHANGING: &str = "changing a user";

/// Why a user was not added or not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// The name can be no user's.
    #[error("the name can be no user's")]
    Username(#[from] UsernameError),
    /// The new password is too weak.
    #[error("the new password is too weak")]
    Password(#[from] Weakness),
    /// There is a user of this name.
    #[error("there is a user of this name already")]
    Taken,
    /// There is no such user.
    #[error("there is no such user")]
    Unknown,
    /// The new password could not be hashed.
    #[error("the password could not be hashed")]
    Hash(#[from] HashError),
    /// No random id.
    #[error("no id for the user")]
    Random(#[from] RandomError),
    /// No tokens for the new session.
    #[error("no tokens could be made")]
    Issue(#[from] IssueError),
    /// A table did not answer.
    #[error("the user could not be read or written")]
    Store(#[from] StoreError),
}

/// A new user who may log in.
///
/// # Errors
/// The password could not be hashed, or there is no random id.
pub fn new_user(
    hasher: &Hasher,
    random: &Random,
    username: &Username,
    password: &Password,
    roles: Roles,
    now: EpochSeconds,
) -> Result<User, AccountError> {
    let hash = SecretString::from(hasher.hash(password, random)?);
    Ok(user_with_hash(random, username, hash, roles, now)?)
}

/// A new user whose password was hashed elsewhere.
///
/// # Errors
/// There is no random id.
pub fn user_with_hash(
    random: &Random,
    username: &Username,
    password_hash: SecretString,
    roles: Roles,
    now: EpochSeconds,
) -> Result<User, RandomError> {
    Ok(User {
        username: username.as_str().to_owned(),
        user_id: random::identifier(random)?,
        password_hash,
        roles: roles.into_inner(),
        status: UserStatus::Enabled,
        epoch: 0,
        created_at: now,
    })
}

/// Adds a user under a name that nobody has, with a password that is strong enough. Of two who ask for one name at
/// once, one gets it.
///
/// # Errors
/// The name or the password is refused, the name is taken, or that is not known.
pub async fn register(
    users: &UsersTable,
    hasher: &Hasher,
    policy: PasswordPolicy,
    random: &Random,
    username: &str,
    password: &Password,
    now: EpochSeconds,
) -> Result<User, AccountError> {
    let username = Username::parse(username)?;
    policy.check(password, &username)?;
    // Before a hash is computed for nothing. Whether the name is free is decided by the write.
    if users.find_epoch(&username).await?.is_some() {
        return Err(AccountError::Taken);
    }
    let user = new_user(hasher, random, &username, password, Roles::registered(), now)?;
    if users.add(&user).await? { Ok(user) } else { Err(AccountError::Taken) }
}

/// Whose a session or a token is, and of which epoch, as it says itself.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The user's id.
    pub sub: &'a str,
    /// The user's name.
    pub username: &'a str,
    /// The user's epoch when the session began.
    pub epoch: u64,
}

impl<'a> From<&'a Identity> for Owner<'a> {
    fn from(caller: &'a Identity) -> Self {
        Self { sub: &caller.sub, username: &caller.username, epoch: caller.epoch }
    }
}

impl<'a> From<&'a Session> for Owner<'a> {
    fn from(session: &'a Session) -> Self {
        Self { sub: &session.sub, username: &session.username, epoch: session.epoch }
    }
}

impl<'a> From<&'a AccessTokenClaims> for Owner<'a> {
    fn from(claims: &'a AccessTokenClaims) -> Self {
        Self { sub: &claims.sub, username: &claims.username, epoch: claims.epoch }
    }
}

/// Where the consequences of a change to a user are written.
#[derive(Clone, Copy)]
pub struct Accounts<'a> {
    /// The users.
    pub users: &'a UsersTable,
    /// Where their tokens are denied.
    pub denylist: &'a DenylistTable,
}

impl Accounts<'_> {
    /// Ends every session and denies every access token of a user.
    ///
    /// # Errors
    /// There is no such user, or it is not known to be done.
    pub async fn revoke(&self, username: &Username, now: EpochSeconds) -> Result<(), AccountError> {
        self.raise_epoch(username, Change::Nothing, now).await
    }

    /// The same for the owner of a session or a token. Where its epoch is over already, there is nothing left to end. A
    /// user who is gone by now, or whose name is another's, has no sessions left; what remains are access tokens, and
    /// they are denied.
    ///
    /// # Errors
    /// It is not known to be done.
    pub async fn revoke_own(&self, owner: Owner<'_>, now: EpochSeconds) -> Result<(), StoreError> {
        let mut attempts = Attempts::at(CHANGING);
        loop {
            let user = match Username::parse(owner.username) {
                Ok(username) => self.users.find_epoch(&username).await?.filter(|user| user.user_id == owner.sub),
                Err(_) => None,
            };
            let Some(user) = user else {
                let found = self.denylist.revocations(owner.sub, now).await?;
                let everything = Revocation::Epoch(owner.epoch.saturating_add(1));
                return self.denylist.deny(owner.sub, &everything, session::revocation_expires_at(now), &found).await;
            };
            if user.epoch > owner.epoch || self.raise(&user, Change::Nothing, now).await? {
                return Ok(());
            }
            attempts.pause().await?;
        }
    }

    /// Ends one session and denies its access tokens; or, where too many were ended one by one, all the owner has.
    ///
    /// # Errors
    /// It is not known to be done.
    pub async fn end_session(
        &self,
        sessions: &SessionsTable,
        owner: Owner<'_>,
        sid: &str,
        now: EpochSeconds,
    ) -> Result<(), StoreError> {
        let found = self.denylist.revocations(owner.sub, now).await?;
        if found.is_full() {
            return self.revoke_all_of(owner, now).await;
        }
        sessions.end((self.denylist, &found), owner.sub, sid, session::revocation_expires_at(now)).await
    }

    /// Denies one access token that was `found` to be on the denylist in no form; or, where too many were, all the
    /// owner has.
    ///
    /// # Errors
    /// It is not known to be done.
    pub async fn deny_token(
        &self,
        claims: &AccessTokenClaims,
        found: &Revocations,
        now: EpochSeconds,
    ) -> Result<(), StoreError> {
        if found.is_full() {
            return self.revoke_all_of(claims.into(), now).await;
        }
        // DynamoDB, which deletes, may have a clock ahead of the function that verifies.
        let expires_at = claims.exp.saturating_add(LEEWAY_SECONDS);
        self.denylist.deny(&claims.sub, &Revocation::Token(claims.jti.clone()), expires_at, found).await
    }

    async fn revoke_all_of(&self, owner: Owner<'_>, now: EpochSeconds) -> Result<(), StoreError> {
        tracing::warn!(
            event = "revocations_full",
            outcome = "epoch_raised",
            sub = owner.sub,
            "so many sessions and tokens were revoked one by one that all of the user's are"
        );
        self.revoke_own(owner, now).await
    }

    /// Disables a user: no login any more, and every session and token is dead. `false` where the user was disabled
    /// already.
    ///
    /// # Errors
    /// There is no such user, or it is not known to be done.
    pub async fn disable(&self, username: &Username, now: EpochSeconds) -> Result<bool, AccountError> {
        let mut attempts = Attempts::at(CHANGING);
        loop {
            let user = self.users.find_profile(username).await?.ok_or(AccountError::Unknown)?;
            if user.status == UserStatus::Disabled {
                return Ok(false);
            }
            if self.raise(&user.at_epoch(), Change::Disable, now).await? {
                return Ok(true);
            }
            attempts.pause().await?;
        }
    }

    /// Lets a user log in again. What was ended stays ended. `false` where the user was enabled already.
    ///
    /// # Errors
    /// There is no such user, or the table did not answer.
    pub async fn enable(&self, username: &Username) -> Result<bool, AccountError> {
        let user = self.users.find(username).await?.ok_or(AccountError::Unknown)?;
        if user.status == UserStatus::Enabled {
            return Ok(false);
        }
        if self.users.enable(&user).await? { Ok(true) } else { Err(AccountError::Unknown) }
    }

    /// Gives a user other roles, which count from the next login or refresh on. Tokens that were issued before keep the
    /// old ones until they expire.
    ///
    /// # Errors
    /// There is no such user, or the table did not answer.
    pub async fn set_roles(&self, username: &Username, roles: &Roles) -> Result<(), AccountError> {
        let user = self.users.find(username).await?.ok_or(AccountError::Unknown)?;
        if self.users.set_roles(&user, roles.as_slice()).await? { Ok(()) } else { Err(AccountError::Unknown) }
    }

    /// Gives a user another password, as an operator does. Every session and token so far is dead.
    ///
    /// # Errors
    /// There is no such user, the password is refused, or it is not known to be done.
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

    /// Repeats until the user is not changed by somebody else between reading and writing.
    async fn raise_epoch(
        &self,
        username: &Username,
        change: Change<'_>,
        now: EpochSeconds,
    ) -> Result<(), AccountError> {
        let mut attempts = Attempts::at(CHANGING);
        loop {
            let user = self.users.find_epoch(username).await?.ok_or(AccountError::Unknown)?;
            if self.raise(&user, change, now).await? {
                return Ok(());
            }
            attempts.pause().await?;
        }
    }

    /// `user` was read before this: the denylist has every epoch item that the user's epoch stands for.
    async fn raise(&self, user: &UserEpoch, change: Change<'_>, now: EpochSeconds) -> Result<bool, StoreError> {
        let found = self.denylist.revocations(&user.user_id, now).await?;
        let expires_at = session::revocation_expires_at(now);
        self.users.raise_epoch((self.denylist, &found), user, change, None, expires_at).await
    }
}

/// A user's own change of the password, once the current one was proved.
pub struct PasswordChange<'a> {
    /// Where it is written.
    pub accounts: Accounts<'a>,
    /// Where the new session is stored.
    pub sessions: &'a SessionsTable,
    /// What hashes.
    pub hasher: &'a Hasher,
    /// What a new password must be.
    pub policy: PasswordPolicy,
    /// What makes the new tokens.
    pub issuance: Issuance<'a>,
}

impl PasswordChange<'_> {
    /// The new password counts, everything else the user had is dead, and these tokens are of a new session: one
    /// transaction, all or nothing. `user` is the user as the current password proved it; if somebody else changed that
    /// user meanwhile, nothing is done and the user is [`AccountError::Unknown`].
    ///
    /// # Errors
    /// The password is refused, or the change is not known to be done.
    pub async fn make(
        self,
        user: User,
        password: &Password,
        origin: Origin,
        now: EpochSeconds,
    ) -> Result<Tokens, AccountError> {
        let username = Username::parse(&user.username)?;
        self.policy.check(password, &username)?;
        let hash = SecretString::from(self.hasher.hash(password, self.issuance.random)?);
        let changed = User { epoch: user.epoch + 1, ..user.clone() };
        let session = session::new_session(&changed, origin, now, self.issuance.random)?;
        let tokens = self.issuance.tokens(&changed.profile(), &session, now)?;
        let Accounts { users, denylist } = self.accounts;
        let put = self.sessions.put(&session)?;
        let found = denylist.revocations(&user.user_id, now).await?;
        let expires_at = session::revocation_expires_at(now);
        let change = Change::PasswordHash(&hash);
        if users.raise_epoch((denylist, &found), &user.at_epoch(), change, Some(put), expires_at).await? {
            Ok(tokens)
        } else {
            Err(AccountError::Unknown)
        }
    }
}
