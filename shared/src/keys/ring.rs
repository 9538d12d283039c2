//! The key ring: the public keys that a verifier accepts.

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{Jwk, JwkSet};

use super::KeyRecord;
use super::algorithm::SigningAlgorithm;
use crate::clock::EpochSeconds;
use crate::config::MAX_ACCESS_TOKEN_LIFETIME_SECONDS;

/// A stored key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// There is no public key in the item.
    #[error("it has no public key")]
    NoPublicKey,
    /// The public key is no JWK.
    #[error("its public key is no JWK")]
    MalformedJwk(#[source] serde_json::Error),
    /// The JWK is of a kind that is not used here, or is not what the item says that it is.
    #[error("its public key does not fit its kid and alg")]
    Mismatch,
    /// The JWK's numbers are no key.
    #[error("its public key cannot be read")]
    Unreadable(#[source] jsonwebtoken::errors::Error),
}

/// A public key with the one algorithm it is for.
#[derive(Debug)]
pub struct VerificationKey {
    jwk: Jwk,
    kid: String,
    algorithm: SigningAlgorithm,
    key: DecodingKey,
    retires_at: EpochSeconds,
}

impl VerificationKey {
    fn new(record: &KeyRecord) -> Result<Self, RingError> {
        let jwk = record.public_jwk.as_deref().ok_or(RingError::NoPublicKey)?;
        let jwk: Jwk = serde_json::from_str(jwk).map_err(RingError::MalformedJwk)?;
        let algorithm = SigningAlgorithm::from_name(&record.alg).ok_or(RingError::Mismatch)?;
        if jwk.common.key_algorithm != Some(algorithm.into()) || jwk.common.key_id.as_ref() != Some(&record.kid) {
            return Err(RingError::Mismatch);
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(RingError::Unreadable)?;
        Ok(Self { jwk, kid: record.kid.clone(), algorithm, key, retires_at: record.retires_at })
    }

    /// Whether the last token the key can have signed is still within its time.
    #[must_use]
    pub fn verifies_at(&self, now: EpochSeconds) -> bool {
        now < self.retires_at.saturating_add(MAX_ACCESS_TOKEN_LIFETIME_SECONDS)
    }

    /// The algorithm of tokens that this key signs.
    #[must_use]
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// Whether `signature` (base64url) is this key's over `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.key, self.algorithm.into()).unwrap_or(false)
    }
}

/// The keys of one reading of the table.
#[derive(Debug, Default)]
pub struct KeyRing(Vec<VerificationKey>);

impl KeyRing {
    /// Makes a ring. A key that cannot be used is left out and logged: it must not take the others with it.
    #[must_use]
    pub fn new(records: &[KeyRecord]) -> Self {
        let usable = records.iter().filter_map(|record| match VerificationKey::new(record) {
            Ok(key) => Some(key),
            Err(error) => {
                tracing::error!(
                    event = "load_keys",
                    outcome = "failed",
                    kid = record.kid,
                    error = crate::telemetry::chain(&error),
                    "a key of the SigningKeys table was left out"
                );
                None
            }
        });
        Self(usable.collect())
    }

    /// The key with exactly this id.
    #[must_use]
    pub fn find(&self, kid: &str) -> Option<&VerificationKey> {
        self.0.iter().find(|key| key.kid == kid)
    }

    /// The keys as a JWK set (RFC 7517 §5), for other verifiers.
    #[must_use]
    pub fn jwks(&self, now: EpochSeconds) -> JwkSet {
        JwkSet { keys: self.0.iter().filter(|key| key.verifies_at(now)).map(|key| key.jwk.clone()).collect() }
    }
}
