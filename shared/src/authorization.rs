//! May this request pass? The verifier's rules, then the denylist.
//!
//! A refused token costs no read, but for an unknown `kid`, at most once in ten seconds. An accepted one costs one
//! round trip: the denylist, with the keys beside it once a minute. Whatever is not known for certain is an error, and
//! an error is never an allow.

use std::sync::Arc;

use crate::clock::EpochSeconds;
use crate::keys::ring::KeyRing;
use crate::keys::verification::VerificationKeys;
use crate::store::StoreError;
use crate::store::denylist::{DenylistTable, Revocation, Revocations};
use crate::token::claims::AccessTokenClaims;
use crate::token::verifier::{Expected, Refusal, verify, verify_signature};

/// Why a request does not pass.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizationError {
    /// The token is not valid.
    #[error("the token was refused")]
    Refused(#[from] Refusal),
    /// It could not be found out whether the token is valid.
    #[error("it could not be found out whether the token is valid")]
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

    /// The claims of a token that is valid at `now`.
    ///
    /// # Errors
    /// It is not, or that could not be found out.
    pub async fn authorize(
        &self,
        token: &str,
        expected: Expected<'_>,
        now: EpochSeconds,
    ) -> Result<AccessTokenClaims, AuthorizationError> {
        let rules = |ring: &KeyRing| verify(token, ring, expected, now);
        let (claims, revocations) = self.examine(rules, || Refusal::UnknownKid.into(), now).await?;
        match refusal(&revocations, &claims) {
            Some(refusal) => Err(refusal.into()),
            None => Ok(claims),
        }
    }

    /// The claims of a token that was issued here, with what is revoked of its user's: all that is needed to revoke it.
    /// Values of claims do not matter. A token that is refused by them now may be valid by another host name, or in a
    /// few seconds.
    ///
    /// # Errors
    /// No key of ours has signed it, or that could not be found out.
    pub async fn issued(
        &self,
        token: &str,
        now: EpochSeconds,
    ) -> Result<(AccessTokenClaims, Revocations), AuthorizationError> {
        // A key may have begun to sign since the keys were read: that it is not known yet does not say that the token
        // is invalid.
        let not_known =
            || StoreError::call("reading the keys", "they were read a moment ago, and not for this key").into();
        self.examine(|ring| verify_signature(token, ring, now), not_known, now).await
    }

    /// Holds the rules against the newest keys, and reads the denylist. `not_read_again` says what is to become of a
    /// token whose key is unknown, while the keys may not be read again for it.
    async fn examine(
        &self,
        rules: impl Fn(&KeyRing) -> Result<AccessTokenClaims, Refusal>,
        not_read_again: impl FnOnce() -> AuthorizationError,
        now: EpochSeconds,
    ) -> Result<(AccessTokenClaims, Revocations), AuthorizationError> {
        let claims = self.with_newest_keys(&rules, not_read_again, now).await?;
        let (revocations, newer_ring) =
            tokio::try_join!(self.denylist.revocations(&claims.sub, now), self.keys.reread_if_due(now))?;
        if let Some(ring) = newer_ring {
            // The key may have been withdrawn: this request is the first that can know.
            rules(&ring)?;
        }
        Ok((claims, revocations))
    }

    async fn with_newest_keys(
        &self,
        rules: impl Fn(&KeyRing) -> Result<AccessTokenClaims, Refusal>,
        not_read_again: impl FnOnce() -> AuthorizationError,
        now: EpochSeconds,
    ) -> Result<AccessTokenClaims, AuthorizationError> {
        let ring: Arc<KeyRing> = match self.keys.last_read() {
            Some(ring) => ring,
            None => match rules(&KeyRing::default()) {
                // No key is known yet, and the token is one that a key is needed for.
                Err(Refusal::UnknownKid) => self.keys.ring(now).await?,
                verdict => return Ok(verdict?),
            },
        };
        match rules(&ring) {
            Err(Refusal::UnknownKid) => match self.keys.reread_for_unknown_kid(now).await? {
                Some(ring) => Ok(rules(&ring)?),
                None => Err(not_read_again()),
            },
            verdict => Ok(verdict?),
        }
    }
}

/// The refusal that a user's revocations mean for these claims, if there is one.
#[must_use]
pub fn refusal(revocations: &Revocations, claims: &AccessTokenClaims) -> Option<Refusal> {
    let covered = revocations.iter().find_map(|revocation| match revocation {
        Revocation::Token(jti) => (*jti == claims.jti).then_some(Refusal::RevokedToken),
        Revocation::Session(sid) => (*sid == claims.sid).then_some(Refusal::RevokedSession),
        Revocation::Epoch(min_epoch) => (claims.epoch < *min_epoch).then_some(Refusal::RevokedEpoch),
    });
    covered.or_else(|| (!revocations.is_decisive()).then_some(Refusal::TooManyRevocations))
}
