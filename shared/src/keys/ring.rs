//! The key ring: the keys that a verifier accepts.
//!
//! They are public keys. Under HS256 there are none, and a verifier that is to accept such tokens is given the secrets.

use std::collections::HashMap;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, JwkSet, KeyOperations, PublicKeyUse, ThumbprintHash,
};
use secrecy::{ExposeSecret as _, SecretSlice};

use super::algorithm::{SigningAlgorithm, UnknownAlgorithm};
use super::{KeyRecord, ShortSecret, check_hmac_key};
use crate::clock::EpochSeconds;
use crate::config::MAX_ACCESS_TOKEN_LIFETIME_SECONDS;

/// A stored key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// There is no public key in the item, and no secret was given for it.
    #[error("it has no public key, and this function is given no secrets")]
    NoPublicKey,
    /// The public key is no JWK.
    #[error("its public key is no JWK")]
    MalformedJwk(#[source] serde_json::Error),
    /// The JWK is not what the item says that it is.
    #[error("its public key does not fit its kid and alg")]
    Mismatch,
    /// The algorithm is not used here.
    #[error("its algorithm is not used here")]
    Algorithm(#[from] UnknownAlgorithm),
    /// It has a public key and is for HS256, which must never meet (RFC 8725 §2.1).
    #[error("it is for HS256 and has a public key")]
    PublicSecret,
    /// The JWK says that it is for something else than to verify signatures (RFC 7517 §4.2, §4.3).
    #[error("its public key is not for verifying signatures, by its `use` or `key_ops`")]
    OtherUse,
    /// The secret is too short.
    #[error(transparent)]
    ShortSecret(#[from] ShortSecret),
    /// The JWK's numbers are no key.
    #[error("its public key cannot be read")]
    Unreadable(#[source] jsonwebtoken::errors::Error),
}

/// A key with the one algorithm it is for.
pub struct VerificationKey {
    /// The public key; none for a secret.
    jwk: Option<Jwk>,
    kid: String,
    algorithm: SigningAlgorithm,
    key: DecodingKey,
    retires_at: EpochSeconds,
}

impl VerificationKey {
    fn new(record: &KeyRecord, secret: Option<&SecretSlice<u8>>) -> Result<Self, RingError> {
        let algorithm: SigningAlgorithm = record.alg.parse()?;
        let (jwk, key) = match (&record.public_jwk, secret) {
            (Some(_), _) if !algorithm.has_public_key() => return Err(RingError::PublicSecret),
            (Some(jwk), _) => {
                let jwk: Jwk = serde_json::from_str(jwk).map_err(RingError::MalformedJwk)?;
                if jwk.common.key_algorithm != Some(algorithm.into()) || jwk.common.key_id.as_ref() != Some(&record.kid)
                {
                    return Err(RingError::Mismatch);
                }
                if !is_for_verifying(&jwk.common) {
                    return Err(RingError::OtherUse);
                }
                // The id is the key's thumbprint (RFC 7638), so it names this key and no other.
                let thumbprint = jwk.thumbprint(ThumbprintHash::SHA256).map_err(RingError::Unreadable)?;
                if thumbprint != record.kid || !is_for(&jwk.algorithm, algorithm) {
                    return Err(RingError::Mismatch);
                }
                let key = DecodingKey::from_jwk(&jwk).map_err(RingError::Unreadable)?;
                (Some(jwk), key)
            }
            (None, Some(secret)) if !algorithm.has_public_key() => {
                check_hmac_key(secret)?;
                (None, DecodingKey::from_secret(secret.expose_secret()))
            }
            (None, _) => return Err(RingError::NoPublicKey),
        };
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

/// Whether a JWK may be used to verify signatures. `use` and `key_ops` may be left out; where they are there they must
/// say so, and be consistent with each other (RFC 7517 §4.2, §4.3).
fn is_for_verifying(key: &CommonParameters) -> bool {
    let has_use = key.public_key_use.as_ref().is_none_or(|of| *of == PublicKeyUse::Signature);
    let has_operation = key.key_operations.as_ref().is_none_or(|operations| {
        operations.contains(&KeyOperations::Verify)
            && operations.iter().all(|of| matches!(of, KeyOperations::Sign | KeyOperations::Verify))
    });
    has_use && has_operation
}

/// Whether a public key is of the kind and on the curve that an algorithm is defined for.
fn is_for(key: &AlgorithmParameters, algorithm: SigningAlgorithm) -> bool {
    match (algorithm, key) {
        (SigningAlgorithm::Es256, AlgorithmParameters::EllipticCurve(key)) => key.curve == EllipticCurve::P256,
        (SigningAlgorithm::EdDsa, AlgorithmParameters::OctetKeyPair(key)) => key.curve == EllipticCurve::Ed25519,
        (SigningAlgorithm::Rs256, AlgorithmParameters::RSA(_)) => true,
        _ => false,
    }
}

/// The keys of one reading of the table.
#[derive(Default)]
pub struct KeyRing(Vec<VerificationKey>);

impl KeyRing {
    /// Makes a ring of public keys.
    #[must_use]
    pub fn new(records: &[KeyRecord]) -> Self {
        Self::with_secrets(records, &HashMap::new())
    }

    /// Makes a ring with secrets in it, by `kid`. A key that cannot be used is left out and logged: it must not take
    /// the others with it.
    #[must_use]
    pub fn with_secrets(records: &[KeyRecord], secrets: &HashMap<String, SecretSlice<u8>>) -> Self {
        let usable = records.iter().filter_map(|record| match VerificationKey::new(record, secrets.get(&record.kid)) {
            Ok(key) => Some(key),
            // A secret that this function is not given is not for it.
            Err(RingError::NoPublicKey) if record.alg == SigningAlgorithm::Hs256.name() => None,
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

    /// The public keys as a JWK set (RFC 7517 §5), for other verifiers.
    #[must_use]
    pub fn jwks(&self, now: EpochSeconds) -> JwkSet {
        JwkSet { keys: self.0.iter().filter(|key| key.verifies_at(now)).filter_map(|key| key.jwk.clone()).collect() }
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::ThumbprintHash;
    use serde_json::{Value, json};

    use super::*;

    /// The public key of RFC 7517 Appendix A.1, with other members.
    fn record(members: &Value) -> KeyRecord {
        let mut jwk = json!({
            "kty": "EC",
            "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
            "alg": "ES256",
        });
        let key: Jwk = serde_json::from_value(jwk.clone()).unwrap();
        let kid = key.thumbprint(ThumbprintHash::SHA256).unwrap();
        jwk["kid"] = kid.clone().into();
        jwk.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        KeyRecord {
            kid,
            alg: "ES256".to_owned(),
            public_jwk: Some(jwk.to_string()),
            activates_at: 0,
            retires_at: EpochSeconds::MAX,
        }
    }

    #[test]
    fn a_public_key_verifies_only_what_its_use_and_its_operations_allow() {
        for members in [
            json!({}),
            json!({ "use": "sig" }),
            json!({ "key_ops": ["verify"] }),
            json!({ "use": "sig", "key_ops": ["sign", "verify"] }),
        ] {
            let record = record(&members);
            let ring = KeyRing::new(std::slice::from_ref(&record));
            assert!(ring.find(&record.kid).is_some(), "{members}");
        }
        for members in [
            json!({ "use": "enc" }),
            json!({ "use": "other" }),
            json!({ "key_ops": [] }),
            json!({ "key_ops": ["sign"] }),
            json!({ "key_ops": ["verify", "encrypt"] }),
            json!({ "use": "sig", "key_ops": ["deriveKey"] }),
            json!({ "use": "enc", "key_ops": ["verify"] }),
        ] {
            let refused = record(&members);
            assert!(matches!(VerificationKey::new(&refused, None), Err(RingError::OtherUse)), "{members}");
            let ring = KeyRing::new(std::slice::from_ref(&refused));
            assert!(ring.find(&refused.kid).is_none(), "{members}");
            assert!(ring.jwks(0).keys.is_empty(), "{members}: it is not published either");
        }
    }

    #[test]
    fn a_public_key_of_another_kind_than_its_algorithm_is_defined_for_is_left_out() {
        for algorithm in ["RS256", "EdDSA"] {
            let other = KeyRecord { alg: algorithm.to_owned(), ..record(&json!({ "alg": algorithm })) };
            assert!(matches!(VerificationKey::new(&other, None), Err(RingError::Mismatch)), "{algorithm}");
        }
    }

    #[test]
    fn a_public_key_is_published_as_long_as_it_verifies() {
        let key = KeyRecord { retires_at: 1000, ..record(&json!({ "use": "sig" })) };
        let ring = KeyRing::new(std::slice::from_ref(&key));
        let last = 1000 + MAX_ACCESS_TOKEN_LIFETIME_SECONDS;
        let published = |now| ring.jwks(now).keys.into_iter().filter_map(|key| key.common.key_id).collect::<Vec<_>>();
        assert_eq!(published(last - 1), std::slice::from_ref(&key.kid));
        assert!(published(last).is_empty());
    }

    #[test]
    fn a_secret_of_less_than_32_bytes_verifies_nothing_and_takes_no_other_with_it() {
        let record = |kid: &str| KeyRecord {
            kid: kid.to_owned(),
            alg: "HS256".to_owned(),
            public_jwk: None,
            activates_at: 0,
            retires_at: EpochSeconds::MAX,
        };
        let secret = |bytes: usize| SecretSlice::from(vec![7; bytes]);
        let secrets = [("empty", 0), ("short", 31), ("long enough", 32)];
        let secrets: HashMap<_, _> = secrets.map(|(kid, bytes)| (kid.to_owned(), secret(bytes))).into();
        let ring = KeyRing::with_secrets(&["empty", "short", "long enough"].map(record), &secrets);
        let found = ["empty", "short", "long enough"].map(|kid| ring.find(kid).is_some());
        assert_eq!(found, [false, false, true]);
        assert_eq!(
            VerificationKey::new(&record("short"), Some(&secret(31))).err().unwrap().to_string(),
            "its secret has 31 bytes, and HMAC-SHA-256 needs 32 (RFC 7518 §3.2)"
        );
    }
}
