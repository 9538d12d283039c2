//! The key set: the keys that a verifier accepts (RFC 7517).
//!
//! They are public keys. For HS256 there is none: a verifier that accepts such tokens is given the secret
//! ([`VerificationKey::from_secret`]).

use std::fmt;

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{
    AlgorithmParameters, CommonParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse, ThumbprintHash,
};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::algorithm::{SigningAlgorithm, UnknownAlgorithm};
use crate::backend;
use crate::time::EpochSeconds;

/// Fewest bytes of an HMAC key: as many as HMAC-SHA-256 puts out (RFC 7518 §3.2).
pub const MIN_HMAC_KEY_BYTES: usize = 32;

/// A secret is too short for an HMAC key.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("its secret has {0} bytes, and HMAC-SHA-256 needs {MIN_HMAC_KEY_BYTES} (RFC 7518 §3.2)")]
pub struct ShortSecret(usize);

/// Checks that a secret is long enough for HMAC-SHA-256.
///
/// # Errors
/// It has fewer than [`MIN_HMAC_KEY_BYTES`].
pub fn check_hmac_key(secret: &[u8]) -> Result<(), ShortSecret> {
    if secret.len() < MIN_HMAC_KEY_BYTES { Err(ShortSecret(secret.len())) } else { Ok(()) }
}

/// A key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is not a JWK of a supported kind.
    #[error("its public key is not a JWK")]
    MalformedJwk(#[source] serde_json::Error),
    /// The `kid` is not the key's thumbprint (RFC 7638), or the key is not of the kind or on the curve of its `alg`.
    #[error("its public key does not fit its kid and alg")]
    Mismatch,
    /// `alg` is missing or not supported.
    #[error("its algorithm is not used here")]
    Algorithm(#[from] UnknownAlgorithm),
    /// It is a public key for HS256, which must never meet (RFC 8725 §2.1).
    #[error("it is for HS256 and has a public key")]
    PublicSecret,
    /// Its `use` or `key_ops` say that it is not for verifying signatures (RFC 7517 §4.2, §4.3).
    #[error("its public key is not for verifying signatures, by its `use` or `key_ops`")]
    OtherUse,
    /// The secret is too short.
    #[error(transparent)]
    ShortSecret(#[from] ShortSecret),
    /// The numbers of the JWK are no key.
    #[error("its public key cannot be read")]
    Unreadable(#[source] jsonwebtoken::errors::Error),
}

/// The text is not a key set.
#[derive(Debug, thiserror::Error)]
#[error("this is not a key set: a JSON object with the array `keys` (RFC 7517 §5)")]
pub struct KeySetError(#[source] serde_json::Error);

/// A key, with the one algorithm that it is for.
pub struct VerificationKey {
    /// The public key; `None` for a secret.
    jwk: Option<Jwk>,
    kid: String,
    algorithm: SigningAlgorithm,
    key: DecodingKey,
    expires_at: EpochSeconds,
}

impl VerificationKey {
    /// A public key from a JWK in JSON. It needs `kid` and `alg`, and the `kid` must be the key's thumbprint, so that
    /// it names this key and no other.
    ///
    /// # Errors
    /// The key cannot be used.
    pub fn from_jwk(jwk: &str) -> Result<Self, KeyError> {
        backend::install();
        let jwk: Jwk = serde_json::from_str(jwk).map_err(KeyError::MalformedJwk)?;
        let algorithm = jwk.common.key_algorithm.ok_or(UnknownAlgorithm)?;
        let algorithm = SigningAlgorithm::ALL.into_iter().find(|known| algorithm == (*known).into());
        let algorithm = algorithm.ok_or(UnknownAlgorithm)?;
        if !algorithm.has_public_key() {
            return Err(KeyError::PublicSecret);
        }
        if !is_for_verifying(&jwk.common) {
            return Err(KeyError::OtherUse);
        }
        let kid = jwk.thumbprint(ThumbprintHash::SHA256).map_err(KeyError::Unreadable)?;
        if jwk.common.key_id.as_ref() != Some(&kid) || !is_for(&jwk.algorithm, algorithm) {
            return Err(KeyError::Mismatch);
        }
        let key = DecodingKey::from_jwk(&jwk).map_err(KeyError::Unreadable)?;
        Ok(Self { jwk: Some(jwk), kid, algorithm, key, expires_at: EpochSeconds::MAX })
    }

    /// A secret for HS256. Whoever has it can also sign.
    ///
    /// # Errors
    /// It is shorter than [`MIN_HMAC_KEY_BYTES`].
    pub fn from_secret(kid: String, secret: &[u8]) -> Result<Self, KeyError> {
        backend::install();
        check_hmac_key(secret)?;
        let key = DecodingKey::from_secret(secret);
        Ok(Self { jwk: None, kid, algorithm: SigningAlgorithm::Hs256, key, expires_at: EpochSeconds::MAX })
    }

    /// The same key, which verifies nothing from `expires_at` on: when the last token that it can have signed has
    /// expired.
    #[must_use]
    pub fn expiring_at(self, expires_at: EpochSeconds) -> Self {
        Self { expires_at, ..self }
    }

    /// The key's id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm of the tokens that the key signs.
    #[must_use]
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// Whether the last token that the key can have signed has not expired yet.
    #[must_use]
    pub fn verifies_at(&self, now: EpochSeconds) -> bool {
        now < self.expires_at
    }

    /// Whether `signature` (base64url) is this key's over `message`.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        jsonwebtoken::crypto::verify(signature, message, &self.key, self.algorithm.into()).unwrap_or(false)
    }
}

impl fmt::Debug for VerificationKey {
    /// The key itself may be a secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = formatter.debug_struct("VerificationKey");
        key.field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Whether a JWK may be used to verify signatures. `use` and `key_ops` are optional; where they are present they must
/// allow it, and be consistent with each other (RFC 7517 §4.2, §4.3).
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

/// The keys that a verifier accepts.
#[derive(Debug, Default)]
pub struct KeySet(Vec<VerificationKey>);

impl KeySet {
    /// The keys of a JWK set in JSON (RFC 7517 §5), as `GET /.well-known/jwks.json` answers it. Keys that cannot be
    /// used are left out, as the RFC asks: they must not make the other keys unusable. [`VerificationKey::from_jwk`]
    /// says what is wrong with one.
    ///
    /// # Errors
    /// The text is not a JWK set.
    pub fn from_jwks(jwks: &str) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Jwks<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        let Jwks { keys } = serde_json::from_str(jwks).map_err(KeySetError)?;
        Ok(keys.into_iter().filter_map(|jwk| VerificationKey::from_jwk(jwk.get()).ok()).collect())
    }

    /// The key with exactly this id.
    #[must_use]
    pub fn find(&self, kid: &str) -> Option<&VerificationKey> {
        self.0.iter().find(|key| key.kid == kid)
    }

    /// The public keys that verify at `now`, to be published as a JWK set (RFC 7517 §5). Secrets are not among them.
    #[must_use]
    pub fn to_jwks(&self, now: EpochSeconds) -> impl Serialize + use<'_> {
        #[derive(Serialize)]
        struct Jwks<'a> {
            keys: Vec<&'a Jwk>,
        }
        Jwks { keys: self.0.iter().filter(|key| key.verifies_at(now)).filter_map(|key| key.jwk.as_ref()).collect() }
    }
}

impl FromIterator<VerificationKey> for KeySet {
    fn from_iter<I: IntoIterator<Item = VerificationKey>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The public key of RFC 7517 Appendix A.1, with other members.
    fn jwk(members: &Value) -> Value {
        backend::install();
        let mut jwk = json!({
            "kty": "EC",
            "crv": "P-256",
            "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
            "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
            "alg": "ES256",
        });
        let key: Jwk = serde_json::from_value(jwk.clone()).unwrap();
        jwk["kid"] = key.thumbprint(ThumbprintHash::SHA256).unwrap().into();
        jwk.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        jwk
    }

    fn kid(jwk: &Value) -> &str {
        jwk["kid"].as_str().unwrap()
    }

    fn key_set(jwk: &Value) -> KeySet {
        KeySet::from_jwks(&json!({ "keys": [jwk] }).to_string()).unwrap()
    }

    fn error(jwk: &Value) -> KeyError {
        VerificationKey::from_jwk(&jwk.to_string()).unwrap_err()
    }

    fn published(keys: &KeySet, now: EpochSeconds) -> Vec<Value> {
        serde_json::to_value(keys.to_jwks(now)).unwrap()["keys"].as_array().unwrap().clone()
    }

    #[test]
    fn a_public_key_verifies_only_what_its_use_and_its_operations_allow() {
        for members in [
            json!({}),
            json!({ "use": "sig" }),
            json!({ "key_ops": ["verify"] }),
            json!({ "use": "sig", "key_ops": ["sign", "verify"] }),
        ] {
            let jwk = jwk(&members);
            assert!(key_set(&jwk).find(kid(&jwk)).is_some(), "{members}");
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
            let refused = jwk(&members);
            assert!(matches!(error(&refused), KeyError::OtherUse), "{members}");
            let keys = key_set(&refused);
            assert!(keys.find(kid(&refused)).is_none(), "{members}");
            assert!(published(&keys, EpochSeconds::new(0)).is_empty(), "{members}: it is not published either");
        }
    }

    #[test]
    fn a_public_key_of_another_kind_than_its_algorithm_is_defined_for_is_left_out() {
        for algorithm in ["RS256", "EdDSA"] {
            assert!(matches!(error(&jwk(&json!({ "alg": algorithm }))), KeyError::Mismatch), "{algorithm}");
        }
    }

    #[test]
    fn a_public_key_of_each_kind_is_known_by_its_thumbprint() {
        // RFC 7638 §3.1, and RFC 8037 appendix A.2 and A.3.
        let rsa = json!({
            "kty": "RSA",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3\
                  oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdA\
                  ZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-\
                  kEgU8awapJzKnqDKgw",
            "e": "AQAB",
            "alg": "RS256",
            "kid": "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
        });
        let ed25519 = json!({
            "kty": "OKP",
            "crv": "Ed25519",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
            "alg": "EdDSA",
            "kid": "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        });
        for (jwk, algorithm) in [
            (rsa, SigningAlgorithm::Rs256),
            (ed25519, SigningAlgorithm::EdDsa),
            (jwk(&json!({})), SigningAlgorithm::Es256),
        ] {
            let key = VerificationKey::from_jwk(&jwk.to_string()).unwrap();
            assert_eq!((key.kid(), key.algorithm()), (kid(&jwk), algorithm));
        }
    }

    #[test]
    fn a_public_key_under_another_id_than_its_thumbprint_is_left_out() {
        let other = json!({ "kid": "0123456789012345678901234567890123456789012" });
        assert!(matches!(error(&jwk(&other)), KeyError::Mismatch));
        let mut without = jwk(&json!({}));
        without.as_object_mut().unwrap().remove("kid");
        assert!(matches!(error(&without), KeyError::Mismatch));
    }

    #[test]
    fn a_public_key_needs_an_algorithm_that_has_public_keys() {
        assert!(matches!(error(&jwk(&json!({ "alg": "HS256" }))), KeyError::PublicSecret));
        assert!(matches!(error(&jwk(&json!({ "alg": "ES384" }))), KeyError::Algorithm(UnknownAlgorithm)));
        let mut without = jwk(&json!({}));
        without.as_object_mut().unwrap().remove("alg");
        assert!(matches!(error(&without), KeyError::Algorithm(UnknownAlgorithm)));
        assert!(matches!(error(&json!(7)), KeyError::MalformedJwk(_)));
    }

    #[test]
    fn a_public_key_is_published_as_long_as_it_verifies() {
        let jwk = jwk(&json!({ "use": "sig" }));
        let expires_at = EpochSeconds::new(4600);
        let keys: KeySet =
            [VerificationKey::from_jwk(&jwk.to_string()).unwrap().expiring_at(expires_at)].into_iter().collect();
        let kids = |now| published(&keys, now).iter().map(|jwk| kid(jwk).to_owned()).collect::<Vec<_>>();
        assert_eq!(kids(expires_at - 1), [kid(&jwk)]);
        assert!(kids(expires_at).is_empty());
    }

    #[test]
    fn a_secret_has_at_least_32_bytes_and_is_not_published() {
        for bytes in [0, 31] {
            let error = VerificationKey::from_secret("short".to_owned(), &vec![7; bytes]).unwrap_err();
            let message = format!("its secret has {bytes} bytes, and HMAC-SHA-256 needs 32 (RFC 7518 §3.2)");
            assert_eq!(error.to_string(), message);
        }
        let key = VerificationKey::from_secret("long enough".to_owned(), &[7; 32]).unwrap();
        assert_eq!(format!("{key:?}"), r#"VerificationKey { kid: "long enough", algorithm: Hs256, .. }"#);
        let keys: KeySet = [key].into_iter().collect();
        assert!(keys.find("long enough").is_some());
        assert!(published(&keys, EpochSeconds::new(0)).is_empty());
    }

    #[test]
    fn a_key_that_cannot_be_used_takes_no_other_with_it() {
        let good = jwk(&json!({}));
        let set = json!({ "keys": [{ "kty": "unknown" }, 7, jwk(&json!({ "use": "enc" })), good], "other": 1 });
        let keys = KeySet::from_jwks(&set.to_string()).unwrap();
        assert_eq!(published(&keys, EpochSeconds::new(0)).len(), 1);
        assert!(keys.find(kid(&good)).is_some());
        for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[]"#] {
            assert!(KeySet::from_jwks(text).is_err(), "{text}");
        }
    }
}
