//! Private keys, opened: they exist in the memory of functions that sign, and cannot be printed.

use aws_lc_rs::hmac;
use jsonwebtoken::{Algorithm, EncodingKey};
use secrecy::{ExposeSecret as _, SecretSlice};

/// Signs access tokens.
pub struct TokenSigner {
    kid: String,
    algorithm: Algorithm,
    key: EncodingKey,
}

impl TokenSigner {
    /// An ES256 key (RFC 7518 §3.4) from its PKCS #8 form.
    #[must_use]
    pub fn es256(kid: String, pkcs8: &SecretSlice<u8>) -> Self {
        Self { kid, algorithm: Algorithm::ES256, key: EncodingKey::from_ec_der(pkcs8.expose_secret()) }
    }

    /// The key's id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The algorithm that the key is for.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    pub(crate) fn key(&self) -> &EncodingKey {
        &self.key
    }
}

/// Authenticates refresh tokens.
pub struct RefreshTokenKey {
    kid: String,
    key: hmac::Key,
}

impl RefreshTokenKey {
    /// An HMAC-SHA-256 key.
    #[must_use]
    pub fn new(kid: String, secret: &SecretSlice<u8>) -> Self {
        Self { kid, key: hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret()) }
    }

    /// The key's id.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    pub(crate) fn key(&self) -> &hmac::Key {
        &self.key
    }
}
