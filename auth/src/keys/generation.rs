//! Generates keys.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use latchkey_verifier::{MIN_HMAC_KEY_BYTES, SigningAlgorithm};
use pkcs8::PrivateKeyInfoRef;
use secrecy::SecretSlice;

use super::signing::encoding_key;
use super::wrapping::{EncryptionContext, KeyWrapper, WrappingError};
use crate::EpochSeconds;
use crate::id::KeyId;
use crate::random::{self, Random, RandomError};
use crate::signing_key::{KeyKind, KeyRecord, WrappedKey};

/// Bytes of a random `kid`: as many as a thumbprint.
const KID_BYTES: usize = 32;

/// A key could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// No random key.
    #[error("no key could be generated")]
    Random(#[from] RandomError),
    /// The private key could not be encoded.
    #[error("the private key could not be encoded")]
    Encode,
    /// The public key could not be encoded.
    #[error("the public key could not be written as a JWK")]
    Jwk(#[from] jsonwebtoken::errors::Error),
    /// The JWK could not be written as JSON.
    #[error("the JWK could not be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The private key could not be wrapped.
    #[error("the new key could not be wrapped")]
    Wrap(#[from] WrappingError),
}

/// A new key that signs from `activates_at` until `retires_at`. All parts are random or derived.
///
/// # Errors
/// The key could not be generated or wrapped.
pub async fn generate(
    kind: KeyKind,
    activates_at: EpochSeconds,
    retires_at: EpochSeconds,
    wrapper: &KeyWrapper,
) -> Result<WrappedKey, GenerationError> {
    let random = SystemRandom::new();
    let algorithm = kind.algorithm();
    let private_key = private_key(algorithm, &random)?;
    let (kid, public_jwk) = if algorithm.has_public_key() {
        let (kid, jwk) = public_jwk(algorithm, &private_key)?;
        (kid, Some(jwk))
    } else {
        // Not a thumbprint: a hash of a secret must not be published.
        (URL_SAFE_NO_PAD.encode(random::bytes::<KID_BYTES>(&random)?), None)
    };
    // Short, because a refresh token contains the id of its key.
    let kid = KeyId::new(if kind == KeyKind::RefreshToken { random::identifier(&random)? } else { kid });
    let context = EncryptionContext { kid: &kid, purpose: kind.purpose() };
    let wrapped_private_key = wrapper.wrap(context, &private_key).await?;
    let record = KeyRecord { kid, alg: algorithm.name().to_owned(), public_jwk, activates_at, retires_at };
    Ok(WrappedKey { record, wrapped_private_key })
}

/// A private key as [`super::signing::TokenSigner`] takes it. AWS-LC uses its own generator, regardless of what it is
/// handed.
fn private_key(algorithm: SigningAlgorithm, random: &Random) -> Result<SecretSlice<u8>, GenerationError> {
    let key = match algorithm {
        SigningAlgorithm::Es256 => {
            let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, random);
            pkcs8.map_err(|_| RandomError)?.as_ref().to_vec()
        }
        SigningAlgorithm::EdDsa => {
            // Version 1, without the public key: the form that `jsonwebtoken` reads.
            Ed25519KeyPair::generate_pkcs8v1(random).map_err(|_| RandomError)?.as_ref().to_vec()
        }
        SigningAlgorithm::Rs256 => {
            let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| RandomError)?;
            let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| GenerationError::Encode)?;
            // What is inside is PKCS #1, the form that `jsonwebtoken` reads.
            let info = PrivateKeyInfoRef::try_from(pkcs8.as_ref()).map_err(|_| GenerationError::Encode)?;
            info.private_key.as_bytes().to_vec()
        }
        SigningAlgorithm::Hs256 => random::bytes::<MIN_HMAC_KEY_BYTES>(random)?.to_vec(),
    };
    Ok(SecretSlice::from(key))
}

/// Thumbprint (RFC 7638) and public JWK in JSON.
fn public_jwk(algorithm: SigningAlgorithm, private_key: &SecretSlice<u8>) -> Result<(String, String), GenerationError> {
    let mut jwk = Jwk::from_encoding_key(&encoding_key(algorithm, private_key), algorithm.into())?;
    let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
    jwk.common.key_id = Some(kid.clone());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok((kid, serde_json::to_string(&jwk)?))
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use latchkey_verifier::VerificationKey;
    use secrecy::{ExposeSecret as _, SecretString};

    use super::*;
    use crate::keys::signing::TokenSigner;
    use crate::signing_key::KeyPurpose;

    fn wrapper() -> KeyWrapper {
        KeyWrapper::local(&SecretString::from(STANDARD.encode([7; 32]))).unwrap()
    }

    async fn key(kind: KeyKind) -> WrappedKey {
        generate(kind, EpochSeconds::new(100), EpochSeconds::new(200), &wrapper()).await.unwrap()
    }

    async fn unwrapped(key: &WrappedKey, purpose: KeyPurpose) -> SecretSlice<u8> {
        let context = EncryptionContext { kid: &key.record.kid, purpose };
        wrapper().unwrap(context, &key.wrapped_private_key).await.unwrap()
    }

    #[tokio::test]
    async fn an_access_token_key_publishes_its_public_half_and_nothing_else() {
        for (algorithm, members) in [
            (SigningAlgorithm::Es256, &["alg", "crv", "kid", "kty", "use", "x", "y"][..]),
            (SigningAlgorithm::Rs256, &["alg", "e", "kid", "kty", "n", "use"]),
            (SigningAlgorithm::EdDsa, &["alg", "crv", "kid", "kty", "use", "x"]),
        ] {
            let key = key(KeyKind::AccessToken(algorithm)).await;
            let jwk: serde_json::Value = serde_json::from_str(key.record.public_jwk.as_deref().unwrap()).unwrap();
            let mut found: Vec<_> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
            found.sort_unstable();
            assert_eq!(found, members, "{algorithm}");
            assert_eq!((&jwk["kid"], &jwk["alg"]), (&key.record.kid.as_str().into(), &algorithm.name().into()));
            assert_eq!(key.record.kid.as_str().len(), 43);
        }
    }

    #[tokio::test]
    async fn what_the_unwrapped_private_key_signs_its_public_key_verifies() {
        for algorithm in SigningAlgorithm::ALL {
            let key = key(KeyKind::AccessToken(algorithm)).await;
            let unwrapped = unwrapped(&key, KeyPurpose::AccessToken).await;
            let signer = TokenSigner::new(key.record.kid.clone(), algorithm, &unwrapped);
            let signature = jsonwebtoken::crypto::sign(b"message", signer.key(), algorithm.into()).unwrap();
            let found = match &key.record.public_jwk {
                Some(jwk) => VerificationKey::from_jwk(jwk),
                None => VerificationKey::from_secret(key.record.kid.to_string(), unwrapped.expose_secret()),
            }
            .unwrap();
            assert!(found.verifies(b"message", &signature), "{algorithm}");
            assert!(!found.verifies(b"massage", &signature), "{algorithm}");
        }
    }

    #[tokio::test]
    async fn a_secret_has_256_random_bits_and_no_public_half() {
        for kind in [KeyKind::AccessToken(SigningAlgorithm::Hs256), KeyKind::RefreshToken, KeyKind::LoginAttempts] {
            let (one, other) = (key(kind).await, key(kind).await);
            assert_eq!((one.record.public_jwk.as_ref(), one.record.alg.as_str()), (None, "HS256"));
            assert_ne!(one.record.kid, other.record.kid);
            let (one, other) = (unwrapped(&one, kind.purpose()).await, unwrapped(&other, kind.purpose()).await);
            assert_eq!(one.expose_secret().len() * 8, 256);
            assert_ne!(one.expose_secret(), other.expose_secret());
        }
    }
}
