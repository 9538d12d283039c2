//! The tokens of a session.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use secrecy::SecretString;

use crate::EpochSeconds;
use crate::id::SessionId;
use crate::keys::active::{ActiveKeyCache, ActiveKeyError, ActiveKeys};
use crate::session::Session;
use crate::token::issuer::{IssueError, Issuer};
use crate::token::refresh::{self, RefreshToken, Unverified};
use crate::user::Profile;

/// The tokens that a client gets for a session.
pub struct Tokens {
    pub access_token: SecretString,
    pub refresh_token: SecretString,
    /// The lifetime of the access token, in seconds.
    pub expires_in: u64,
    pub sid: SessionId,
}

/// Issues the tokens of sessions.
#[derive(Clone)]
pub struct TokenIssuer {
    keys: Arc<ActiveKeyCache>,
    access_tokens: Issuer,
    pub(crate) random: SystemRandom,
}

impl TokenIssuer {
    #[must_use]
    pub fn new(keys: ActiveKeyCache, access_tokens: Issuer, random: SystemRandom) -> Self {
        Self { keys: Arc::new(keys), access_tokens, random }
    }

    /// The issuer with the keys that are active at `now`. Everything that can fail without the session comes first.
    ///
    /// # Errors
    /// There is no active key, or it cannot be read or unwrapped.
    pub async fn ready(&self, now: EpochSeconds) -> Result<ReadyIssuer<'_>, ActiveKeyError> {
        Ok(ReadyIssuer { keys: self.keys.get(now).await?, issuer: self })
    }

    /// The content of a refresh token, if it was issued here, even if its session has ended. Only the keys are read,
    /// when they are due.
    ///
    /// # Errors
    /// The keys are not known.
    pub async fn verify_refresh_token(
        &self,
        presented: &str,
        now: EpochSeconds,
    ) -> Result<Option<RefreshToken>, ActiveKeyError> {
        let Some(unverified) = Unverified::parse(presented) else { return Ok(None) };
        let key = self.keys.refresh_token_key(unverified.kid(), now).await?;
        Ok(key.and_then(|key| unverified.verify(&key)))
    }
}

/// A [`TokenIssuer`] with its keys.
pub struct ReadyIssuer<'a> {
    keys: Arc<ActiveKeys>,
    issuer: &'a TokenIssuer,
}

impl ReadyIssuer<'_> {
    /// The tokens of a session's current generation. They carry the user's current roles.
    ///
    /// # Errors
    /// No access token could be issued.
    pub(crate) fn issue(
        &self,
        iss: &str,
        user: &Profile,
        session: &Session,
        now: EpochSeconds,
    ) -> Result<Tokens, IssueError> {
        let TokenIssuer { access_tokens, random, .. } = self.issuer;
        Ok(Tokens {
            access_token: access_tokens.issue(&self.keys.signer, iss, user, session, now, random)?,
            refresh_token: refresh::issue(&self.keys.refresh, &session.sid, session.generation),
            expires_in: access_tokens.lifetime_seconds,
            sid: session.sid.clone(),
        })
    }
}
