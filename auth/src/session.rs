//! A session: it begins with a login, is continued by refresh tokens, and ends with a logout or when it expires.

use latchkey_verifier::{AccessTokenClaims, LEEWAY_SECONDS, MAX_ACCESS_TOKEN_LIFETIME_SECONDS};

use crate::EpochSeconds;
use crate::id::{SessionId, UserId};
use crate::user::Profile;
use crate::username::Username;

/// How long a session lasts without being used, in seconds: 7 days.
pub const IDLE_LIFETIME_SECONDS: u64 = 7 * 24 * 60 * 60;

/// How long a session lasts at most, in seconds: 30 days.
pub const ABSOLUTE_LIFETIME_SECONDS: u64 = 30 * 24 * 60 * 60;

/// Longest `User-Agent` that is kept, in characters.
const MAX_USER_AGENT_CHARACTERS: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    pub sid: SessionId,
    pub sub: UserId,
    /// The key by which the user is read at a refresh.
    pub username: Username,
    /// The user's epoch when the session began.
    pub epoch: u64,
    /// Which refresh token is the current one.
    pub generation: u64,
    pub created_at: EpochSeconds,
    /// When tokens were last issued for it.
    pub refreshed_at: EpochSeconds,
    /// When it expires unless it is used. DynamoDB's time to live deletes late, so that code compares it too.
    pub expires_at: EpochSeconds,
    /// The address that the login came from, as API Gateway saw it.
    pub source_address: Option<String>,
    /// The client's `User-Agent`, shortened.
    pub user_agent: Option<String>,
}

/// The origin of a login, for the user's list of sessions.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The client's address, as API Gateway saw it.
    pub source_address: Option<String>,
    /// The client's `User-Agent`.
    pub user_agent: Option<String>,
}

impl Session {
    /// A new session of a user.
    #[must_use]
    pub fn begin(sid: SessionId, user: &Profile, origin: &Origin, now: EpochSeconds) -> Self {
        let short = |agent: &String| agent.chars().take(MAX_USER_AGENT_CHARACTERS).collect();
        Self {
            sid,
            sub: user.user_id.clone(),
            username: user.username.clone(),
            epoch: user.epoch,
            generation: 0,
            created_at: now,
            refreshed_at: now,
            expires_at: now + IDLE_LIFETIME_SECONDS,
            source_address: origin.source_address.clone(),
            user_agent: origin.user_agent.as_ref().map(short),
        }
    }

    /// When it ends unless it is refreshed: by its idle or by its absolute lifetime.
    #[must_use]
    pub fn ends_at(&self) -> EpochSeconds {
        self.expires_at.min(self.created_at + ABSOLUTE_LIFETIME_SECONDS)
    }

    /// Whether it is within its idle and its absolute lifetime.
    #[must_use]
    pub fn is_live_at(&self, now: EpochSeconds) -> bool {
        now < self.ends_at()
    }
}

/// A user as a session or a token names one: with the session, and the epoch in which that began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    pub sub: UserId,
    pub username: Username,
    pub sid: SessionId,
    pub epoch: u64,
}

impl From<&Session> for SignedIn {
    fn from(session: &Session) -> Self {
        Self {
            sub: session.sub.clone(),
            username: session.username.clone(),
            sid: session.sid.clone(),
            epoch: session.epoch,
        }
    }
}

impl From<&AccessTokenClaims> for SignedIn {
    fn from(claims: &AccessTokenClaims) -> Self {
        Self {
            sub: UserId::new(&claims.sub),
            username: Username::from_stored(&claims.username),
            sid: SessionId::new(&claims.sid),
            epoch: claims.epoch,
        }
    }
}

/// When a revocation of all tokens that were issued up to `now` can be forgotten. The clock of the function that issued
/// them may be ahead, and the configured lifetime may have been longer then. The clock of DynamoDB, which deletes, may
/// be ahead of the clock of the function that verifies.
#[must_use]
pub fn revocation_expires_at(now: EpochSeconds) -> EpochSeconds {
    now + (LEEWAY_SECONDS + MAX_ACCESS_TOKEN_LIFETIME_SECONDS + LEEWAY_SECONDS)
}
