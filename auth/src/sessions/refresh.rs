//! Refreshing: a refresh token for the next one and an access token (RFC 6749 §6, RFC 9700 §4.14.2).
//!
//! The MAC is verified before anything is read. One conditional write makes the next generation the current one. It
//! fails for a token whose generation is no longer current, and then:
//! - Within the grace window the token before the current one returns the *same* successor. A client that lost a
//!   response, or that has a second tab, stays signed in, and there is still only one current token.
//! - Anything older is reuse: two parties hold the session, and one of them may be a thief. The session ends, its
//!   access tokens are revoked, and an audit event is logged.
//!
//! Then the user is read: the refresh fails if the user was disabled or all sessions were revoked, and changed roles
//! take effect.

use crate::EpochSeconds;
use crate::keys::active::ActiveKeyError;
use crate::network::SourceNetwork;
use crate::random::{self, RandomError};
use crate::session::{Session, SignedIn};
use crate::sessions::{Sessions, TokenIssuer, Tokens};
use crate::store::StoreError;
use crate::store::sessions::Rotation;
use crate::store::users::UsersTable;
use crate::throttle::{Throttle, ThrottleError};
use crate::token::issuer::IssueError;
use crate::user::{Profile, UserStatus};

/// Why a refresh failed. The reasons are for logs; a client always gets `invalid_grant`.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// Not a refresh token that was issued here.
    #[error("the refresh token was not issued here")]
    NotOurs,
    /// Its session ended, or its item was deleted after it expired.
    #[error("the session ended")]
    SessionEnded,
    /// Its session was not used for too long, or is too old.
    #[error("the session expired")]
    SessionExpired,
    /// It was used before. The session has been ended.
    #[error("the refresh token was used before; the session was ended")]
    Reused,
    #[error("the user is disabled or deleted, or all of the user's sessions were revoked")]
    UserRevoked,
    #[error("too many failed refreshes, or they could not be counted")]
    Throttle(#[from] ThrottleError),
    #[error("the session or its user could not be read or written")]
    Store(#[from] StoreError),
    #[error("there is no key for the tokens")]
    Keys(#[from] ActiveKeyError),
    #[error("no tokens could be issued")]
    Issue(#[from] IssueError),
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
            Self::Throttle(ThrottleError::TooMany { .. } | ThrottleError::UsedUp | ThrottleError::DeviceUsedUp) => {
                "too_many_attempts"
            }
            Self::Throttle(ThrottleError::Store(_)) => "temporarily_unavailable",
            Self::Store(_) => "store_failed",
            Self::Keys(_) => "no_keys",
            Self::Issue(_) | Self::Random(_) => "no_token",
        }
    }

    /// Whether somebody may be trying tokens of others. A session that ended or expired is not suspicious.
    #[must_use]
    pub const fn is_suspicious(&self) -> bool {
        matches!(self, Self::NotOurs | Self::Reused)
    }
}

/// Refreshes sessions.
pub struct Refresher {
    pub sessions: Sessions,
    /// Where roles, status and epoch are read.
    pub users: UsersTable,
    pub tokens: TokenIssuer,
    pub throttle: Throttle,
    /// For how long a token may be sent again, in seconds. With 0 never.
    pub grace_seconds: u64,
}

impl Refresher {
    /// The next tokens of the session that `presented` belongs to. Suspicious failures are limited for each source
    /// network, which is only determined then.
    ///
    /// # Errors
    /// The token is not valid, or the answer is unknown.
    pub async fn refresh(
        &self,
        presented: &str,
        iss: &str,
        network: impl FnOnce() -> Option<SourceNetwork>,
        now: EpochSeconds,
    ) -> Result<Tokens, RefreshError> {
        match self.rotate(presented, iss, now).await {
            Err(error) if error.is_suspicious() => {
                self.throttle.count("refresh", network().as_ref(), now).await?;
                Err(error)
            }
            result => result,
        }
    }

    async fn rotate(&self, presented: &str, iss: &str, now: EpochSeconds) -> Result<Tokens, RefreshError> {
        let token = self.tokens.verify_refresh_token(presented, now).await?.ok_or(RefreshError::NotOurs)?;
        let span = tracing::Span::current();
        span.record("sid", token.sid.as_str());
        // Everything that can fail without the session comes first: after a rotation without a response the old token
        // is only valid for the grace window.
        let issuer = self.tokens.ready(now).await?;
        let call_id = random::identifier(&self.tokens.random)?;
        let session = match self.sessions.table.rotate(&token.sid, token.generation, &call_id, now).await? {
            Rotation::Rotated(session) => session,
            Rotation::Refused(None) => return Err(RefreshError::SessionEnded),
            Rotation::Refused(Some(session)) => {
                span.record("sub", session.sub.as_str());
                match StaleToken::classify(&session, token.generation, now, self.grace_seconds) {
                    StaleToken::SameSuccessor => session,
                    StaleToken::Expired => return Err(RefreshError::SessionExpired),
                    StaleToken::Reused => {
                        self.end_reused(&session, token.generation, now).await?;
                        return Err(RefreshError::Reused);
                    }
                }
            }
        };
        span.record("sub", session.sub.as_str());
        let user = current_user(&self.users, &session).await?.ok_or(RefreshError::UserRevoked)?;
        Ok(issuer.issue(iss, &user, &session, now)?)
    }

    async fn end_reused(&self, session: &Session, presented: u64, now: EpochSeconds) -> Result<(), StoreError> {
        let ended = self.sessions.end(&SignedIn::from(session), now).await;
        tracing::warn!(
            event = "refresh_token_reused",
            outcome = if ended.is_ok() { "session_ended" } else { "session_not_ended" },
            presented_generation = presented,
            current_generation = session.generation,
            "a refresh token was used again"
        );
        ended
    }
}

/// The session's user, if the session is still valid for that user.
///
/// # Errors
/// The user could not be read.
pub(crate) async fn current_user(users: &UsersTable, session: &Session) -> Result<Option<Profile>, StoreError> {
    let user = users.find_profile(&session.username).await?;
    Ok(user.filter(|user| {
        user.user_id == session.sub && user.epoch == session.epoch && user.status == UserStatus::Enabled
    }))
}

/// The meaning of a token that did not rotate its session: its generation is not the current one, or the session has
/// expired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StaleToken {
    /// It was rotated within the grace window: the current generation is its successor.
    SameSuccessor,
    /// The session has expired.
    Expired,
    /// It is older.
    Reused,
}

impl StaleToken {
    /// A generation later than the current one exists only if the table was restored from a backup; that session is not
    /// to be trusted either.
    #[must_use]
    pub fn classify(session: &Session, presented: u64, now: EpochSeconds, grace_seconds: u64) -> Self {
        if !session.is_live_at(now) {
            return Self::Expired;
        }
        let is_previous = presented.checked_add(1) == Some(session.generation);
        let is_in_grace = now.seconds_since(session.refreshed_at).unwrap_or_default() < grace_seconds;
        if is_previous && is_in_grace { Self::SameSuccessor } else { Self::Reused }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::{SessionId, UserId};
    use crate::username::Username;

    /// A session of generation 5 that was refreshed at 1000.
    fn session() -> Session {
        Session {
            sid: SessionId::new("s"),
            sub: UserId::new("sub"),
            username: Username::from_stored("alice"),
            epoch: 0,
            generation: 5,
            created_at: EpochSeconds::new(900),
            refreshed_at: EpochSeconds::new(1000),
            expires_at: EpochSeconds::new(5000),
            source_address: None,
            user_agent: None,
        }
    }

    fn classify(presented: u64, now: u64, grace_seconds: u64) -> StaleToken {
        StaleToken::classify(&session(), presented, EpochSeconds::new(now), grace_seconds)
    }

    #[test]
    fn the_generation_before_is_valid_until_the_end_of_the_grace_window() {
        assert_eq!(classify(4, 1000, 10), StaleToken::SameSuccessor);
        assert_eq!(classify(4, 1009, 10), StaleToken::SameSuccessor);
        assert_eq!(classify(4, 1010, 10), StaleToken::Reused);
        // The clock of the function that rotated is ahead.
        assert_eq!(classify(4, 995, 10), StaleToken::SameSuccessor);
    }

    #[test]
    fn with_grace_0_it_is_never_valid() {
        assert_eq!(classify(4, 1000, 0), StaleToken::Reused);
        assert_eq!(classify(4, 995, 0), StaleToken::Reused);
    }

    #[test]
    fn every_other_generation_is_reuse() {
        for presented in [0, 3, 6, u64::MAX] {
            assert_eq!(classify(presented, 1000, 10), StaleToken::Reused, "{presented}");
        }
    }

    #[test]
    fn an_expired_session_is_no_reuse() {
        assert_eq!(classify(5, 4999, 10), StaleToken::Reused, "no item looks like this");
        for presented in [3, 4, 5] {
            assert_eq!(classify(presented, 5000, 10), StaleToken::Expired);
        }
    }
}
