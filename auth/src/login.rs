//! Login and password change: both verify a password and return the tokens of a new session.

use secrecy::SecretString;

use crate::EpochSeconds;
use crate::accounts::{AccountError, Accounts};
use crate::authentication::{Authenticated, AuthenticationError, Authenticator, Credentials};
use crate::device::DeviceToken;
use crate::id::SessionId;
use crate::keys::active::ActiveKeyError;
use crate::network::SourceNetwork;
use crate::password::Password;
use crate::password::policy::PasswordPolicy;
use crate::session::{Origin, Session, SignedIn};
use crate::sessions::{SessionError, TokenIssuer, Tokens};
use crate::store::sessions::SessionsTable;
use crate::store::users::Update;
use crate::token::issuer::IssueError;
use crate::user::{Change, User};

/// Where a login or a change of the password comes from.
#[derive(Clone, Debug, Default)]
pub struct RequestSource {
    /// `iss` of the tokens to issue.
    pub issuer: String,
    /// The network by which attempts are counted; `None` if it is unknown.
    pub network: Option<SourceNetwork>,
    /// For the user's list of sessions.
    pub origin: Origin,
}

/// Why a login failed.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    #[error(transparent)]
    Authentication(#[from] AuthenticationError),
    #[error(transparent)]
    Keys(#[from] ActiveKeyError),
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// Why a password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ChangePasswordError {
    /// The caller did not authenticate with the current password.
    #[error(transparent)]
    CurrentPassword(AuthenticationError),
    #[error(transparent)]
    Keys(#[from] ActiveKeyError),
    #[error(transparent)]
    Account(#[from] AccountError),
    #[error("no tokens could be issued")]
    Issue(#[from] IssueError),
}

/// The tokens of a new session, and the token of the device that it was begun on.
pub struct LoggedIn {
    pub user: User,
    pub tokens: Tokens,
    pub device: DeviceToken,
}

/// Logs users in, and changes their passwords.
pub struct Login {
    pub authenticator: Authenticator,
    pub accounts: Accounts,
    pub sessions: SessionsTable,
    pub tokens: TokenIssuer,
    pub policy: PasswordPolicy,
}

impl Login {
    /// Reads and unwraps the keys of a login, all at the same time.
    ///
    /// # Errors
    /// A key is missing, or cannot be read or unwrapped.
    pub async fn warm_up(&self, now: EpochSeconds) -> Result<(), ActiveKeyError> {
        tokio::try_join!(Box::pin(self.tokens.ready(now)), Box::pin(self.authenticator.unknown_names.get(now)))?;
        Ok(())
    }

    /// The user with these credentials, and the tokens of a new session. The tokens exist only once the session is
    /// stored.
    ///
    /// # Errors
    /// The user could not be authenticated, or the session could not be begun.
    pub async fn log_in(
        &self,
        credentials: Credentials<'_>,
        source: &RequestSource,
        now: EpochSeconds,
    ) -> Result<LoggedIn, LoginError> {
        let span = tracing::Span::current();
        let Authenticated { user, device } =
            self.authenticator.authenticate(credentials, source.network.as_ref(), now).await?;
        span.record("sub", user.user_id.as_str());
        let tokens = self.begin(&user, source, now).await?;
        span.record("sid", tokens.sid.as_str());
        Ok(LoggedIn { user, tokens, device })
    }

    /// Begins a session for a user who was authenticated.
    ///
    /// # Errors
    /// It could not be stored, or no token could be issued.
    pub async fn begin(&self, user: &User, source: &RequestSource, now: EpochSeconds) -> Result<Tokens, LoginError> {
        let issuer = self.tokens.ready(now).await?;
        let profile = user.profile();
        let sid = SessionId::random(&self.tokens.random).map_err(SessionError::from)?;
        let session = Session::begin(sid, &profile, &source.origin, now);
        let tokens = issuer.issue(&source.issuer, &profile, &session, now).map_err(SessionError::from)?;
        self.sessions.add(&session).await.map_err(SessionError::from)?;
        Ok(tokens)
    }

    /// Replaces the password of a caller who knows the current one. Everything else the user had is revoked, the tokens
    /// are those of a new session, and no other device is known any more.
    ///
    /// # Errors
    /// The current password is wrong, the new one is rejected, or the outcome is unknown.
    pub async fn change_password(
        &self,
        caller: &SignedIn,
        current: &Password,
        new: &Password,
        device: Option<&DeviceToken>,
        source: &RequestSource,
        now: EpochSeconds,
    ) -> Result<(Tokens, DeviceToken), ChangePasswordError> {
        // Before anything is counted or remembered for the new password.
        self.policy.check(new, &caller.username).map_err(AccountError::from)?;
        let Authenticated { user, device } = self
            .authenticator
            .authenticate_again(caller, current, device, now)
            .await
            .map_err(ChangePasswordError::CurrentPassword)?;
        let tokens = self.replace_password(user, new, source, now).await?;
        tracing::Span::current().record("sid", tokens.sid.as_str());
        Ok((tokens, device))
    }

    /// The new password is valid, everything else the user had is revoked, and these tokens are of a new session: one
    /// transaction, all or nothing. `user` is the user as read for the current password. If the user was
    /// changed since, nothing is done and the error is [`AccountError::Unknown`].
    ///
    /// # Errors
    /// The outcome is unknown.
    pub async fn replace_password(
        &self,
        user: User,
        password: &Password,
        source: &RequestSource,
        now: EpochSeconds,
    ) -> Result<Tokens, ChangePasswordError> {
        let issuer = self.tokens.ready(now).await?;
        let hash = self.authenticator.hasher.hash(password, &self.tokens.random).map_err(AccountError::from)?;
        let hash = SecretString::from(hash);
        let (epoch, before) = (user.epoch + 1, user.at_epoch());
        let changed = User { epoch, ..user }.profile();
        let sid = SessionId::random(&self.tokens.random).map_err(AccountError::from)?;
        let session = Session::begin(sid, &changed, &source.origin, now);
        let tokens = issuer.issue(&source.issuer, &changed, &session, now)?;
        let change = Change::PasswordHash(&hash);
        let write = self.accounts.raise(&before, change, Some((&self.sessions, &session)), now).await;
        match write.map_err(AccountError::from)? {
            Update::Applied => Ok(tokens),
            Update::Stale => Err(AccountError::Unknown.into()),
        }
    }
}
