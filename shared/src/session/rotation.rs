//! Refreshing: a refresh token for the next one and an access token (RFC 6749 §6, RFC 9700 §4.14.2).
//!
//! The MAC is checked before anything is read. One conditional write makes the next generation the current one. It
//! fails for a token whose generation is no longer current, and then:
//! - Within the grace window the token before the current one still counts, and brings the *same* successor. A client
//!   whose answer was lost, or that has a second tab, is not logged out, and no second line of tokens begins.
//! - Anything older is reuse: two hold the session, and one of them is a thief. The session ends, its access tokens are
//!   denied, and an audit event says so.
//!
//! Then the user is read: a user who was disabled, or whose sessions were all ended, gets nothing, and changed roles
//! take effect.

use crate::account::Accounts;
use crate::clock::EpochSeconds;
use crate::keys::active::{ActiveKeyCache, ActiveKeyError};
use crate::random::{self, Random, RandomError};
use crate::session::{Issuance, Tokens};
use crate::store::StoreError;
use crate::store::denylist::DenylistTable;
use crate::store::sessions::{Rotation, Session, SessionsTable};
use crate::store::users::{Profile, UserStatus, UsersTable};
use crate::token::issuer::{IssueError, Issuer};
use crate::token::refresh::{RefreshToken, Unverified};
use crate::username::Username;

/// Why a refresh token brings nothing. The refusals are for logs; a client sees one `invalid_grant`.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// Not a refresh token that was issued here.
    #[error("the refresh token is none of ours")]
    NotOurs,
    /// Its session ended, or is forgotten.
    #[error("the session ended")]
    SessionEnded,
    /// Its session was not used for too long, or is too old.
    #[error("the session expired")]
    SessionExpired,
    /// It was used before. The session has been ended.
    #[error("the refresh token was used before; the session was ended")]
    Reused,
    /// The user is disabled or gone, or all sessions were ended.
    #[error("the user is disabled or gone, or all of the user's sessions were ended")]
    UserRevoked,
    /// A table did not answer.
    #[error("the session or its user could not be read or written")]
    Store(#[from] StoreError),
    /// There is no key to check or to sign with.
    #[error("there is no key for the tokens")]
    Keys(#[from] ActiveKeyError),
    /// No access token.
    #[error("no tokens could be made")]
    Issue(#[from] IssueError),
    /// No random id.
    #[error("no id for the call")]
    Random(#[from] RandomError),
}

impl RefreshError {
    /// The name in logs and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotOurs => "not_ours",
            Self::SessionEnded => "session_ended",
            Self::SessionExpired => "session_expired",
            Self::Reused => "refresh_token_reused",
            Self::UserRevoked => "user_revoked",
            Self::Store(_) => "store_failed",
            Self::Keys(_) => "no_keys",
            Self::Issue(_) | Self::Random(_) => "no_token",
        }
    }

    /// Whether somebody may be trying tokens that are not theirs. A session that ended or expired is everyday life.
    #[must_use]
    pub const fn is_suspicious(&self) -> bool {
        matches!(self, Self::NotOurs | Self::Reused)
    }

    /// Whether it is the token that is not good, and not the system.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::NotOurs | Self::SessionEnded | Self::SessionExpired | Self::Reused | Self::UserRevoked)
    }
}

/// What a refresh needs.
#[derive(Clone, Copy)]
pub struct Refresh<'a> {
    /// Where sessions are kept.
    pub sessions: &'a SessionsTable,
    /// Where the session of a reused token is denied.
    pub denylist: &'a DenylistTable,
    /// Where roles, status and epoch are read.
    pub users: &'a UsersTable,
    /// What checks and signs.
    pub keys: &'a ActiveKeyCache,
    /// What makes access tokens.
    pub issuer: &'a Issuer,
    /// `iss` of the tokens.
    pub iss: &'a str,
    /// Where ids come from.
    pub random: &'a Random,
    /// For how long a token may be presented again, in seconds. With 0 it counts once.
    pub grace_seconds: EpochSeconds,
}

/// The next tokens of the session that `presented` belongs to.
///
/// # Errors
/// It brings none, or that could not be found out.
pub async fn refresh(with: Refresh<'_>, presented: &str, now: EpochSeconds) -> Result<Tokens, RefreshError> {
    let token = verify(with.keys, presented, now).await?.ok_or(RefreshError::NotOurs)?;
    let span = tracing::Span::current();
    span.record("sid", &token.sid);
    // Whatever can fail without the session comes before it: a token that was rotated in vain counts for a moment only.
    let keys = with.keys.get(now).await?;
    let call_id = random::identifier(with.random)?;
    let session = match with.sessions.rotate(&token.sid, token.generation, &call_id, now).await? {
        Rotation::Rotated(session) => session,
        Rotation::Refused(None) => return Err(RefreshError::SessionEnded),
        Rotation::Refused(Some(session)) => {
            span.record("sub", &session.sub);
            match judge(&session, token.generation, now, with.grace_seconds) {
                Verdict::SameSuccessor => session,
                Verdict::Expired => return Err(RefreshError::SessionExpired),
                Verdict::Reused => {
                    let accounts = Accounts { users: with.users, denylist: with.denylist };
                    let ended = accounts.end_session(with.sessions, (&session).into(), &session.sid, now).await;
                    tracing::warn!(
                        event = "refresh_token_reused",
                        outcome = if ended.is_ok() { "session_ended" } else { "session_not_ended" },
                        presented_generation = token.generation,
                        current_generation = session.generation,
                        "a refresh token was used again"
                    );
                    ended?;
                    return Err(RefreshError::Reused);
                }
            }
        }
    };
    span.record("sub", &session.sub);
    let user = live_user(with.users, &session).await?.ok_or(RefreshError::UserRevoked)?;
    let issuance = Issuance { keys: &keys, issuer: with.issuer, iss: with.iss, random: with.random };
    Ok(issuance.tokens(&user, &session, now)?)
}

/// What a refresh token says, if it is one of ours, whatever became of its session. Nothing of it is read from a table
/// but the keys, when they are due.
///
/// # Errors
/// The keys are not known.
pub async fn verify(
    keys: &ActiveKeyCache,
    presented: &str,
    now: EpochSeconds,
) -> Result<Option<RefreshToken>, ActiveKeyError> {
    let Some(unverified) = Unverified::parse(presented) else { return Ok(None) };
    let key = keys.refresh_token_key(unverified.kid(), now).await?;
    Ok(key.and_then(|key| unverified.verify(&key)))
}

/// The session's user, if the session still counts for that user.
///
/// # Errors
/// The user could not be read.
pub async fn live_user(users: &UsersTable, session: &Session) -> Result<Option<Profile>, StoreError> {
    let Ok(username) = Username::parse(&session.username) else { return Ok(None) };
    let user = users.find_profile(&username).await?;
    Ok(user.filter(|user| {
        user.user_id == session.sub && user.epoch == session.epoch && user.status == UserStatus::Enabled
    }))
}

/// What a token that did not rotate its session means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It was rotated a moment ago: the current generation is its successor.
    SameSuccessor,
    /// The session's time is over.
    Expired,
    /// It is older.
    Reused,
}

/// Judges a token of a generation that is not the current one, or whose session has expired. A generation later than
/// the current one can only be there if the table was set back; that session is not to be trusted either.
#[must_use]
pub fn judge(session: &Session, presented: u64, now: EpochSeconds, grace_seconds: EpochSeconds) -> Verdict {
    if !session.is_live_at(now) {
        return Verdict::Expired;
    }
    let is_previous = presented.checked_add(1) == Some(session.generation);
    if is_previous && now.saturating_sub(session.refreshed_at) < grace_seconds {
        Verdict::SameSuccessor
    } else {
        Verdict::Reused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session of generation 5 that was refreshed at 1000.
    fn session() -> Session {
        Session {
            sid: "s".to_owned(),
            sub: "sub".to_owned(),
            username: "alice".to_owned(),
            epoch: 0,
            generation: 5,
            created_at: 900,
            refreshed_at: 1000,
            expires_at: 5000,
            source_address: None,
            user_agent: None,
        }
    }

    #[test]
    fn the_generation_before_counts_until_the_end_of_the_grace_window() {
        assert_eq!(judge(&session(), 4, 1000, 10), Verdict::SameSuccessor);
        assert_eq!(judge(&session(), 4, 1009, 10), Verdict::SameSuccessor);
        assert_eq!(judge(&session(), 4, 1010, 10), Verdict::Reused);
        // The clock of the function that rotated is ahead.
        assert_eq!(judge(&session(), 4, 995, 10), Verdict::SameSuccessor);
    }

    #[test]
    fn with_grace_0_it_never_counts() {
        assert_eq!(judge(&session(), 4, 1000, 0), Verdict::Reused);
        assert_eq!(judge(&session(), 4, 995, 0), Verdict::Reused);
    }

    #[test]
    fn every_other_generation_is_reuse() {
        for presented in [0, 3, 6, u64::MAX] {
            assert_eq!(judge(&session(), presented, 1000, 10), Verdict::Reused, "{presented}");
        }
    }

    #[test]
    fn an_expired_session_is_no_reuse() {
        assert_eq!(judge(&session(), 5, 4999, 10), Verdict::Reused, "no row looks like this");
        for presented in [3, 4, 5] {
            assert_eq!(judge(&session(), presented, 5000, 10), Verdict::Expired);
        }
    }
}
