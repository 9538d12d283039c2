//! A session: it begins with a login, is kept alive by refresh tokens ([`rotation`]), and ends with a logout.

pub mod rotation;

use secrecy::SecretString;

use crate::account::Accounts;
use crate::clock::EpochSeconds;
use crate::config::MAX_ACCESS_TOKEN_LIFETIME_SECONDS;
use crate::identity::Identity;
use crate::keys::active::ActiveKeys;
use crate::random::{self, Random, RandomError};
use crate::store::StoreError;
use crate::store::sessions::{IDLE_LIFETIME_SECONDS, Session, SessionsTable};
use crate::store::users::{Profile, User};
use crate::token::issuer::{IssueError, Issuer, Subject};
use crate::token::refresh;
use crate::token::verifier::LEEWAY_SECONDS;

/// Longest id that is looked up, in bytes. DynamoDB refuses keys of more than 2048.
const MAX_SID_BYTES: usize = 64;

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
    /// How long the access token lasts, in seconds.
    pub expires_in: EpochSeconds,
    /// The session's id, for the log.
    pub sid: String,
}

/// What tokens are made with.
#[derive(Clone, Copy)]
pub struct Issuance<'a> {
    /// What signs.
    pub keys: &'a ActiveKeys,
    /// What makes access tokens.
    pub issuer: &'a Issuer,
    /// `iss` of the tokens.
    pub iss: &'a str,
    /// Where ids come from.
    pub random: &'a Random,
}

impl Issuance<'_> {
    /// The tokens of a session's current generation. They say what the user may do now.
    pub(crate) fn tokens(&self, user: &Profile, session: &Session, now: EpochSeconds) -> Result<Tokens, IssueError> {
        let subject = Subject {
            sub: &user.user_id,
            username: &user.username,
            roles: &user.roles,
            epoch: session.epoch,
            sid: &session.sid,
        };
        Ok(Tokens {
            access_token: self.issuer.issue(&self.keys.signer, self.iss, subject, now, self.random)?,
            refresh_token: refresh::issue(&self.keys.refresh, &session.sid, session.generation),
            expires_in: self.issuer.lifetime_seconds,
            sid: session.sid.clone(),
        })
    }
}

/// Begins a session for a user who was authenticated. The tokens exist only once the session is stored.
///
/// # Errors
/// It could not be stored, or no token could be made.
pub async fn begin(
    sessions: &SessionsTable,
    with: Issuance<'_>,
    user: &User,
    origin: Origin,
    now: EpochSeconds,
) -> Result<Tokens, SessionError> {
    let session = new_session(user, origin, now, with.random)?;
    let tokens = with.tokens(&user.profile(), &session, now)?;
    sessions.add(&session).await?;
    Ok(tokens)
}

/// The session that a user begins now. It is not stored yet.
pub(crate) fn new_session(
    user: &User,
    origin: Origin,
    now: EpochSeconds,
    random: &Random,
) -> Result<Session, RandomError> {
    Ok(Session {
        sid: random::identifier(random)?,
        sub: user.user_id.clone(),
        username: user.username.clone(),
        epoch: user.epoch,
        generation: 0,
        created_at: now,
        refreshed_at: now,
        expires_at: now.saturating_add(IDLE_LIFETIME_SECONDS),
        source_address: origin.source_address,
        user_agent: origin.user_agent.map(|agent| agent.chars().take(MAX_USER_AGENT_CHARACTERS).collect()),
    })
}

/// The caller's sessions that still count, newest first; of very many, the newest hundred.
///
/// # Errors
/// They could not be read.
pub async fn list(sessions: &SessionsTable, caller: &Identity, now: EpochSeconds) -> Result<Vec<Session>, StoreError> {
    let mut sessions = sessions.of_user(&caller.sub).await?;
    sessions.retain(|session| is_callers(session, caller, now));
    Ok(sessions)
}

/// Ends one of the caller's own sessions. `false` where the caller has no such session, whoever else may have it.
///
/// # Errors
/// It is not known to have ended.
pub async fn end_own(
    sessions: &SessionsTable,
    accounts: Accounts<'_>,
    caller: &Identity,
    sid: &str,
    now: EpochSeconds,
) -> Result<bool, StoreError> {
    if sid.is_empty() || sid.len() > MAX_SID_BYTES {
        return Ok(false);
    }
    match sessions.find(sid).await? {
        Some(session) if is_callers(&session, caller, now) => {
            accounts.end_session(sessions, caller.into(), sid, now).await?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// A session of an earlier epoch is dead, and the caller's own token is of the current one.
fn is_callers(session: &Session, caller: &Identity, now: EpochSeconds) -> bool {
    session.sub == caller.sub && session.epoch == caller.epoch && session.is_live_at(now)
}

/// When a revocation of all tokens that were issued up to `now` can be forgotten. The clock of the function that issued
/// them may be ahead, and the configured lifetime may have been longer then; and the clock of DynamoDB, which deletes,
/// may be ahead of the clock of the function that verifies.
#[must_use]
pub fn revocation_expires_at(now: EpochSeconds) -> EpochSeconds {
    now.saturating_add(LEEWAY_SECONDS + MAX_ACCESS_TOKEN_LIFETIME_SECONDS + LEEWAY_SECONDS)
}
