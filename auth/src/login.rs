//! Login and password change: both verify a password and return the tokens of a new session.

use secrecy::SecretString;

use crate::EpochSeconds;
use crate::accounts::{AccountError, Accounts};
use crate::authentication::{AuthenticationError, Authenticator};
use crate::id::SessionId;
use crate::keys::active::ActiveKeyError;
use crate::password::Password;
use crate::password::policy::PasswordPolicy;
use crate::session::{Origin, Session, SignedIn};
use crate::sessions::{SessionError, TokenIssuer, Tokens};
use crate::store::sessions::SessionsTable;
use crate::store::users::Update;
use crate::throttle::SourceNetwork;
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

/// Logs users in, and changes their passwords.
pub struct Login {
    pub authenticator: Authenticator,
    pub accounts: Accounts,
    pub sessions: SessionsTable,
    pub tokens: TokenIssuer,
    pub policy: PasswordPolicy,
}

impl Login {
    /// The user with this name and password, and the tokens of a new session. The tokens exist only once the session is
    /// stored.
    ///
    /// # Errors
    /// The user could not be authenticated, or the session could not be begun.
    pub async fn log_in(
        &self,
        username: &str,
        password: &Password,
        source: &RequestSource,
        now: EpochSeconds,
    ) -> Result<(User, Tokens), LoginError> {
        let span = tracing::Span::current();
        let user = self.authenticator.authenticate(username, password, source.network.as_ref(), now).await?;
        span.record("sub", user.user_id.as_str());
        let tokens = self.begin(&user, source, now).await?;
        span.record("sid", tokens.sid.as_str());
        Ok((user, tokens))
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

    /// Replaces the password of a caller who knows the current one. Everything else the user had is revoked, and the
    /// tokens are those of a new session.
    ///
    /// # Errors
    /// The current password is wrong, the new one is rejected, or the outcome is unknown.
    pub async fn change_password(
        &self,
        caller: &SignedIn,
        current: &Password,
        new: &Password,
        source: &RequestSource,
        now: EpochSeconds,
    ) -> Result<Tokens, ChangePasswordError> {
        let network = source.network.as_ref();
        let user = self
            .authenticator
            .authenticate_again(caller, current, network, now)
            .await
            .map_err(ChangePasswordError::CurrentPassword)?;
        let tokens = self.replace_password(user, new, source, now).await?;
        tracing::Span::current().record("sid", tokens.sid.as_str());
        Ok(tokens)
    }

    /// The new password is valid, everything else the user had is revoked, and these tokens are of a new session: one
    /// transaction, all or nothing. `user` is the user as read for the current password. If the user was
    /// changed since, nothing is done and the error is [`AccountError::Unknown`].
    ///
    /// # Errors
    /// The password is rejected, or the outcome is unknown.
    pub async fn replace_password(
        &self,
        user: User,
        password: &Password,
        source: &RequestSource,
        now: EpochSeconds,
    ) -> Result<Tokens, ChangePasswordError> {
        let issuer = self.tokens.ready(now).await?;
        self.policy.check(password, &user.username).map_err(AccountError::from)?;
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
