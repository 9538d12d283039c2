//! Making keys.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use secrecy::SecretSlice;

use super::algorithm::SigningAlgorithm;
use super::sealing::{EncryptionContext, Sealer, SealingError};
use super::{KeyPurpose, KeyRecord, SealedKey};
use crate::clock::EpochSeconds;
use crate::random::{self, RandomError};

/// The algorithm of new access-token keys.
const ALGORITHM: SigningAlgorithm = SigningAlgorithm::Es256;

/// Bytes of a refresh-token key: as many as HMAC-SHA-256 puts out (RFC 2104 §3).
const REFRESH_TOKEN_KEY_BYTES: usize = 32;

/// A key could not be made.
#[derive(Debug, thiserror::Error)]
pub enum GenerationError {
    /// No random key.
    #[error("no key could be generated")]
    Random(#[from] RandomError),
    /// The public half could not be written down.
    #[error("the public key could not be written as a JWK")]
    Jwk(#[from] jsonwebtoken::errors::Error),
    /// The JWK could not be written as JSON.
    #[error("the JWK could not be written as JSON")]
    Json(#[from] serde_json::Error),
    /// The private half could not be sealed.
    #[error("the new key could not be sealed")]
    Seal(#[from] SealingError),
}

/// A new key for `purpose` that signs from `activates_at` until `retires_at`.
///
/// # Errors
/// No key could be generated or sealed.
pub async fn generate(
    purpose: KeyPurpose,
    activates_at: EpochSeconds,
    retires_at: EpochSeconds,
    sealer: &Sealer,
) -> Result<SealedKey, GenerationError> {
    let (kid, alg, public_jwk, private_key) = match purpose {
        KeyPurpose::AccessToken => {
            let (kid, public_jwk, private_key) = es256()?;
            (kid, ALGORITHM.name(), Some(public_jwk), private_key)
        }
        KeyPurpose::RefreshToken => {
            let random = SystemRandom::new();
            let secret = random::bytes::<REFRESH_TOKEN_KEY_BYTES>(&random)?;
            (random::identifier(&random)?, "HS256", None, SecretSlice::from(secret.to_vec()))
        }
    };
    let sealed_private_key = sealer.seal(EncryptionContext { kid: &kid, purpose }, &private_key).await?;
    let record = KeyRecord { kid, alg: alg.to_owned(), public_jwk, activates_at, retires_at };
    Ok(SealedKey { record, sealed_private_key })
}

/// A P-256 key pair: thumbprint, public JWK in JSON, and the private key in PKCS #8.
fn es256() -> Result<(String, String, SecretSlice<u8>), GenerationError> {
    // AWS-LC takes the key from its own generator, whatever it is handed.
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
        .map_err(|_| RandomError)?;
    let mut jwk = Jwk::from_encoding_key(&EncodingKey::from_ec_der(pkcs8.as_ref()), ALGORITHM.into())?;
    let kid = jwk.thumbprint(ThumbprintHash::SHA256)?;
    jwk.common.key_id = Some(kid.clone());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok((kid, serde_json::to_string(&jwk)?, SecretSlice::from(pkcs8.as_ref().to_vec())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::ring::KeyRing;
    use crate::keys::signing::TokenSigner;
    use base64::Engine as _;
    use secrecy::SecretString;

    fn sealer() -> Sealer {
        Sealer::local(&SecretString::from(base64::engine::general_purpose::STANDARD.encode([7; 32]))).unwrap()
    }

    #[tokio::test]
    async fn an_access_token_key_publishes_its_public_half_and_nothing_else() {
        let key = generate(KeyPurpose::AccessToken, 100, 200, &sealer()).await.unwrap();
        let jwk: serde_json::Value = serde_json::from_str(key.record.public_jwk.as_deref().unwrap()).unwrap();
        let mut members: Vec<_> = jwk.as_object().unwrap().keys().map(String::as_str).collect();
        members.sort_unstable();
        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
        assert_eq!(jwk["kid"], key.record.kid);
        assert_eq!(key.record.kid.len(), 43);
    }

    #[tokio::test]
    async fn what_the_opened_private_half_signs_the_public_half_verifies() {
        let key = generate(KeyPurpose::AccessToken, 100, 200, &sealer()).await.unwrap();
        let context = EncryptionContext { kid: &key.record.kid, purpose: KeyPurpose::AccessToken };
        let opened = sealer().open(context, &key.sealed_private_key).await.unwrap();
        let signer = TokenSigner::new(key.record.kid.clone(), ALGORITHM, &opened);
        let signature = jsonwebtoken::crypto::sign(b"message", signer.key(), signer.algorithm().into()).unwrap();
        let ring = KeyRing::new(std::slice::from_ref(&key.record));
        let public = ring.find(&key.record.kid).unwrap();
        assert!(public.verifies(b"message", &signature));
        assert!(!public.verifies(b"massage", &signature));
    }

    #[tokio::test]
    async fn a_refresh_token_key_has_no_public_half() {
        let key = generate(KeyPurpose::RefreshToken, 100, 200, &sealer()).await.unwrap();
        assert_eq!(key.record.public_jwk, None);
    }
}
