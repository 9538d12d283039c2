//! Whether a request is authorized: the rules of the verifier, then the denylist.
//!
//! A rejected token costs no read, except for an unknown `kid`, at most once in ten seconds. An accepted one costs one
//! round trip: the denylist, and once a minute the keys concurrently. Anything that is not known for certain is an
//! error, and an error never allows a request.

use std::sync::Arc;

use latchkey_verifier::{AccessTokenClaims, Expected, KeySet, Refusal, verify, verify_signature};

use crate::EpochSeconds;
use crate::id::UserId;
use crate::keys::verification::VerificationKeys;
use crate::revocation::{Revocations, Revoked};
use crate::store::StoreError;
use crate::store::denylist::DenylistTable;

/// Why a request is not authorized.
#[derive(Debug, thiserror::Error)]
pub enum AuthorizationError {
    /// The token is not valid.
    #[error("the token was rejected")]
    Refused(#[from] Refusal),
    /// The token is revoked.
    #[error("the token was rejected")]
    Revoked(#[from] Revoked),
    /// Whether the token is valid is not known.
    #[error("it could not be found out whether the token is valid")]
    Store(#[from] StoreError),
}

impl AuthorizationError {
    /// The name in logs and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.reason(),
            Self::Revoked(revoked) => revoked.reason(),
            Self::Store(_) => "store_failed",
        }
    }
}

/// Authorizes requests by their access tokens.
pub struct AccessTokenAuthorizer {
    keys: VerificationKeys,
    denylist: DenylistTable,
}

impl AccessTokenAuthorizer {
    /// An authorizer that has not read keys yet.
    #[must_use]
    pub fn new(keys: VerificationKeys, denylist: DenylistTable) -> Self {
        Self { keys, denylist }
    }

    /// Reads the keys and opens the connection, in the function's init phase, which has a full CPU.
    ///
    /// # Errors
    /// The store did not answer. The first request tries again.
    pub async fn warm_up(&self, now: EpochSeconds) -> Result<(), StoreError> {
        self.keys.key_set(now).await.map(|_| ())
    }

    /// The claims of a token that is valid at `now`.
    ///
    /// # Errors
    /// The token is invalid, or the answer is unknown.
    pub async fn authorize(
        &self,
        token: &str,
        expected: Expected<'_>,
        now: EpochSeconds,
    ) -> Result<AccessTokenClaims, AuthorizationError> {
        let rules = |keys: &KeySet| verify(token, keys, expected, now);
        let (claims, revocations) = self.examine(rules, || Refusal::UnknownKid.into(), now).await?;
        revocations.check(&claims)?;
        Ok(claims)
    }

    /// The claims of a token that was issued here, and the revocations of its user: all that is needed to revoke it.
    /// The values of claims do not matter. A token that is rejected for them now may be valid by another host name, or
    /// in a few seconds.
    ///
    /// # Errors
    /// No key of this deployment has signed it, or the answer is unknown.
    pub async fn issued(
        &self,
        token: &str,
        now: EpochSeconds,
    ) -> Result<(AccessTokenClaims, Revocations), AuthorizationError> {
        // A key may have started to sign since the keys were read: an unknown key does not mean that the token is
        // invalid.
        let not_known =
            || StoreError::call("reading the keys", "they were read a moment ago, and not for this key").into();
        self.examine(|keys| verify_signature(token, keys, now), not_known, now).await
    }

    /// Applies the rules with the newest keys, and reads the denylist. `not_read_again` is the error for a token whose
    /// key is unknown, while the keys may not be read again for it.
    async fn examine(
        &self,
        rules: impl Fn(&KeySet) -> Result<AccessTokenClaims, Refusal>,
        not_read_again: impl FnOnce() -> AuthorizationError,
        now: EpochSeconds,
    ) -> Result<(AccessTokenClaims, Revocations), AuthorizationError> {
        let claims = self.with_newest_keys(&rules, not_read_again, now).await?;
        let sub = UserId::new(&claims.sub);
        let (revocations, newer_keys) =
            tokio::try_join!(self.denylist.revocations(&sub, now), self.keys.reread_if_due(now))?;
        if let Some(keys) = newer_keys {
            // The key may have been revoked: this request is the first that can detect it.
            rules(&keys)?;
        }
        Ok((claims, revocations))
    }

    async fn with_newest_keys(
        &self,
        rules: impl Fn(&KeySet) -> Result<AccessTokenClaims, Refusal>,
        not_read_again: impl FnOnce() -> AuthorizationError,
        now: EpochSeconds,
    ) -> Result<AccessTokenClaims, AuthorizationError> {
        let keys: Arc<KeySet> = match self.keys.last_read() {
            Some(keys) => keys,
            None => match rules(&KeySet::default()) {
                // No key is known yet, and this token needs one.
                Err(Refusal::UnknownKid) => self.keys.key_set(now).await?,
                result => return Ok(result?),
            },
        };
        match rules(&keys) {
            Err(Refusal::UnknownKid) => match self.keys.reread_for_unknown_kid(now).await? {
                Some(keys) => Ok(rules(&keys)?),
                None => Err(not_read_again()),
            },
            result => Ok(result?),
        }
    }
}
