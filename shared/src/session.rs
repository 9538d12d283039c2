//! A session: it begins with a login, is kept alive by refresh tokens, and ends with a logout.

use secrecy::SecretString;

use crate::clock::EpochSeconds;
use crate::config::MAX_ACCESS_TOKEN_LIFETIME_SECONDS;
use crate::keys::active::ActiveKeys;
use crate::random::{self, Random, RandomError};
use crate::store::StoreError;
use crate::store::denylist::DenylistTable;
use crate::store::sessions::{Session, SessionsTable};
use crate::store::users::{User, UserStatus, UsersTable};
use crate::token::issuer::{IssueError, Issuer, Subject};
use crate::token::refresh;
use crate::token::verifier::LEEWAY_SECONDS;
use crate::username::Username;

/// How long a session lasts without being used, in seconds: 7 days.
pub const IDLE_LIFETIME_SECONDS: EpochSeconds = 7 * 24 * 60 * 60;

/// How long a session lasts at the most, in seconds: 30 days.
pub const ABSOLUTE_LIFETIME_SECONDS: EpochSeconds = 30 * 24 * 60 * 60;

/// Longest `User-Agent` that is kept, in characters.
const MAX_USER_AGENT_CHARACTERS: usize = 256;

/// A session could not be begun.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// No id for it.
    #[error("no id for the session")]
    Random(#[from] RandomError),
    /// No token for it.
    #[error("no token for the session")]
    Issue(#[from] IssueError),
    /// It could not be written.
    #[error("the session could not be stored")]
    Store(#[from] StoreError),
}

/// Where a login came from, for the user's list of sessions.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The client's address, as API Gateway saw it.
    pub source_address: Option<String>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
}

/// What a client holds of a session.
pub struct Tokens {
    /// For requests.
    pub access_token: SecretString,
    /// For the next access token.
    pub refresh_token: SecretString,
    /// The session's id, for the log.
    pub sid: String,
}

/// What the functions that begin sessions have in common.
pub struct Issuance<'a> {
    /// Where sessions are kept.
    pub sessions: &'a SessionsTable,
    /// What signs.
    pub keys: &'a ActiveKeys,
    /// What makes access tokens.
    pub issuer: &'a Issuer,
    /// `iss` of the tokens.
    pub iss: &'a str,
    /// Where ids come from.
    pub random: &'a Random,
}

/// Begins a session for a user who was authenticated. The tokens exist only once the session is stored.
///
/// # Errors
/// It could not be stored, or no token could be made.
pub async fn begin(with: Issuance<'_>, user: &User, origin: Origin, now: EpochSeconds) -> Result<Tokens, SessionError> {
    let Issuance { sessions, keys, issuer, iss, random } = with;
    let sid = random::identifier(random)?;
    let session = Session {
        sid: sid.clone(),
        sub: user.user_id.clone(),
        username: user.username.clone(),
        epoch: user.epoch,
        generation: 0,
        created_at: now,
        refreshed_at: now,
        expires_at: now.saturating_add(IDLE_LIFETIME_SECONDS),
        source_address: origin.source_address,
        user_agent: origin.user_agent.map(|agent| agent.chars().take(MAX_USER_AGENT_CHARACTERS).collect()),
    };
    sessions.add(&session).await?;
    let subject =
        Subject { sub: &user.user_id, username: &user.username, roles: &user.roles, epoch: user.epoch, sid: &sid };
    Ok(Tokens {
        access_token: issuer.issue(&keys.signer, iss, subject, now, random)?,
        refresh_token: refresh::issue(&keys.refresh, &sid, session.generation),
        sid,
    })
}

/// Ends a session. When this returns, none of its access tokens counts any more, and none can be had for it.
///
/// # Errors
/// It is not known to have ended.
pub async fn end(
    sessions: &SessionsTable,
    denylist: &DenylistTable,
    sub: &str,
    sid: &str,
    now: EpochSeconds,
) -> Result<(), StoreError> {
    sessions.end(denylist, sub, sid, last_moment_of_tokens_issued_until(now)).await
}

/// Disables a user. When this returns, the user cannot log in and none of the user's access tokens counts any more.
/// `None` where there is no such user, `Some(false)` where the user was disabled already.
///
/// # Errors
/// The user is not known to be disabled.
pub async fn disable_user(
    users: &UsersTable,
    denylist: &DenylistTable,
    username: &Username,
    now: EpochSeconds,
) -> Result<Option<bool>, StoreError> {
    loop {
        let Some(user) = users.find(username).await? else { return Ok(None) };
        if user.status == UserStatus::Disabled {
            return Ok(Some(false));
        }
        // Someone else changed the user meanwhile: look again.
        if users.disable(denylist, &user, last_moment_of_tokens_issued_until(now)).await? {
            return Ok(Some(true));
        }
    }
}

/// Until when a token that was issued up to `now` can still verify. The issuing function's clock may be ahead, and the
/// configured lifetime may have been longer when it was issued.
fn last_moment_of_tokens_issued_until(now: EpochSeconds) -> EpochSeconds {
    now.saturating_add(LEEWAY_SECONDS).saturating_add(MAX_ACCESS_TOKEN_LIFETIME_SECONDS)
}
