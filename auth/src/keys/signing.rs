//! Unwrapped private keys. They exist in the memory of functions that sign, and cannot be printed.

use aws_lc_rs::hmac;
use jsonwebtoken::EncodingKey;
use latchkey_verifier::SigningAlgorithm;
use secrecy::{ExposeSecret as _, SecretSlice};

use crate::id::KeyId;

/// Signs access tokens.
pub struct TokenSigner {
    kid: KeyId,
    algorithm: SigningAlgorithm,
    key: EncodingKey,
}

impl TokenSigner {
    /// The key for `algorithm` from its private key: PKCS #8 of an elliptic curve, PKCS #1 of RSA, the bytes of a
    /// secret.
    #[must_use]
    pub fn new(kid: KeyId, algorithm: SigningAlgorithm, private_key: &SecretSlice<u8>) -> Self {
        let key = encoding_key(algorithm, private_key);
        Self { kid, algorithm, key }
    }

    #[must_use]
    pub fn kid(&self) -> &KeyId {
        &self.kid
    }

    #[must_use]
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    pub(crate) fn key(&self) -> &EncodingKey {
        &self.key
    }
}

/// As `jsonwebtoken` takes it.
pub(super) fn encoding_key(algorithm: SigningAlgorithm, private_key: &SecretSlice<u8>) -> EncodingKey {
    let private_key = private_key.expose_secret();
    match algorithm {
        SigningAlgorithm::Es256 => EncodingKey::from_ec_der(private_key),
        SigningAlgorithm::Rs256 => EncodingKey::from_rsa_der(private_key),
        SigningAlgorithm::EdDsa => EncodingKey::from_ed_der(private_key),
        SigningAlgorithm::Hs256 => EncodingKey::from_secret(private_key),
    }
}

/// Authenticates refresh tokens.
pub struct RefreshTokenKey {
    kid: KeyId,
    key: hmac::Key,
}

impl RefreshTokenKey {
    /// An HMAC-SHA-256 key.
    #[must_use]
    pub fn new(kid: KeyId, secret: &SecretSlice<u8>) -> Self {
        Self { kid, key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret()) }
    }

    #[must_use]
    pub fn kid(&self) -> &KeyId {
        &self.kid
    }

    pub(crate) fn key(&self) -> &hmac::Key {
        &self.key
    }
}
