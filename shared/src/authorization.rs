//! May this request pass? The verifier's rules, then the denylist.
//!
//! A refused token costs no read, but for an unknown `kid`, at most once in ten seconds. An accepted one costs one round
//! trip: the denylist, with the keys beside it once a minute. Whatever is not known for certain is an error, and an
//! error is never an allow.

use std::sync::Arc;

use crate::clock::EpochSeconds;
use crate::keys::ring::KeyRing;
use crate::keys::verification::VerificationKeys;
use crate::store::StoreError;
use crate::store::denylist::{DenylistTable, Revocation};
use crate::token::claims::AccessTokenClaims;
use crate::token::verifier::{Expected, Refusal, verify};

/// Why a request does not pass.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizationError {
    /// The token does not count.
    #[error("the token was refused")]
    Refused(#[from] Refusal),
    /// It could not be found out whether the token counts.
    #[error("it could not be found out whether the token counts")]
    Store(#[from] StoreError),
}

impl AuthorizationError {
    /// The name in logs and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.reason(),
            Self::Store(_) => "store_failed",
        }
    }
}

/// Decides about access tokens.
pub struct AccessTokenAuthorizer {
    keys: VerificationKeys,
    denylist: DenylistTable,
}

impl AccessTokenAuthorizer {
    /// Puts it together. Nothing is read yet.
    #[must_use]
    pub fn new(keys: VerificationKeys, denylist: DenylistTable) -> Self {
        Self { keys, denylist }
    }

    /// Reads the keys and opens the connection, in the function's init phase, which has a full CPU.
    ///
    /// # Errors
    /// The store did not answer. The first request tries again.
    pub async fn warm_up(&self, now: EpochSeconds) -> Result<(), StoreError> {
        self.keys.ring(now).await.map(|_| ())
    }

    /// The claims of a token that counts at `now`.
    ///
    /// # Errors
    /// It does not count, or that could not be found out.
    pub async fn authorize(
        &self,
        token: &str,
        expected: Expected<'_>,
        now: EpochSeconds,
    ) -> Result<AccessTokenClaims, AuthorizationError> {
        let claims = self.verify_with_newest_keys(token, expected, now).await?;
        let (revocations, newer_ring) =
            tokio::try_join!(self.denylist.revocations(&claims.sub, now), self.keys.reread_if_due(now))?;
        if let Some(ring) = newer_ring {
            // The key may have been withdrawn: this request is the first that can know.
            verify(token, &ring, expected, now)?;
        }
        match revocations.iter().find_map(|revocation| refusal_by(revocation, &claims)) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(claims),
        }
    }

    async fn verify_with_newest_keys(
        &self,
        token: &str,
        expected: Expected<'_>,
        now: EpochSeconds,
    ) -> Result<AccessTokenClaims, AuthorizationError> {
        let ring: Arc<KeyRing> = match self.keys.last_read() {
            Some(ring) => ring,
            None => match verify(token, &KeyRing::default(), expected, now) {
                // No key is known yet, and the token is one that a key is needed for.
                Err(Refusal::UnknownKid) => self.keys.ring(now).await?,
                verdict => return Ok(verdict?),
            },
        };
        match verify(token, &ring, expected, now) {
            Err(Refusal::UnknownKid) => match self.keys.reread_for_unknown_kid(now).await? {
                Some(ring) => Ok(verify(token, &ring, expected, now)?),
                None => Err(Refusal::UnknownKid.into()),
            },
            verdict => Ok(verdict?),
        }
    }
}

/// The refusal that a revocation means for these claims, if it covers them.
#[must_use]
pub fn refusal_by(revocation: &Revocation, claims: &AccessTokenClaims) -> Option<Refusal> {
    match revocation {
        Revocation::Token(jti) => (*jti == claims.jti).then_some(Refusal::RevokedToken),
        Revocation::Session(sid) => (*sid == claims.sid).then_some(Refusal::RevokedSession),
        Revocation::Epoch(min_epoch) => (claims.epoch < *min_epoch).then_some(Refusal::RevokedEpoch),
    }
}
