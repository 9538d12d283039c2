//! A key: what it is for, when it signs, and its public half.
//!
//! A key is one item of the SigningKeys table, and nothing in the item changes after it is written. The signer is the
//! newest key with `activates_at <= now < retires_at`. Verifiers accept a key from its creation, so that it is known
//! before it signs, until the last token that it signed has expired.

use std::fmt;

use latchkey_verifier::{MAX_ACCESS_TOKEN_LIFETIME_SECONDS, SigningAlgorithm};

use crate::EpochSeconds;
use crate::id::KeyId;

/// What a key is for. It is the partition key of the table, so one purpose cannot reach the keys of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPurpose {
    /// Signs access tokens.
    AccessToken,
    /// Authenticates refresh tokens (HMAC).
    RefreshToken,
    /// Turns names that no user has into keys of the LoginAttempts table (HMAC). It does not rotate.
    LoginAttempts,
}

impl KeyPurpose {
    pub const ALL: [Self; 3] = [Self::AccessToken, Self::RefreshToken, Self::LoginAttempts];

    /// The purpose that is stored by this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == name)
    }

    /// The name by which it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "access-token",
            Self::RefreshToken => "refresh-token",
            Self::LoginAttempts => "login-attempts",
        }
    }
}

impl fmt::Display for KeyPurpose {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What kind of key to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    AccessToken(SigningAlgorithm),
    /// For refresh tokens: always HMAC-SHA-256.
    RefreshToken,
    /// For login attempts: always HMAC-SHA-256.
    LoginAttempts,
}

impl KeyKind {
    /// A key for `purpose`. `algorithm` is that of access-token keys.
    #[must_use]
    pub const fn of(purpose: KeyPurpose, algorithm: SigningAlgorithm) -> Self {
        match purpose {
            KeyPurpose::AccessToken => Self::AccessToken(algorithm),
            KeyPurpose::RefreshToken => Self::RefreshToken,
            KeyPurpose::LoginAttempts => Self::LoginAttempts,
        }
    }

    #[must_use]
    pub const fn purpose(self) -> KeyPurpose {
        match self {
            Self::AccessToken(_) => KeyPurpose::AccessToken,
            Self::RefreshToken => KeyPurpose::RefreshToken,
            Self::LoginAttempts => KeyPurpose::LoginAttempts,
        }
    }

    #[must_use]
    pub const fn algorithm(self) -> SigningAlgorithm {
        match self {
            Self::AccessToken(algorithm) => algorithm,
            Self::RefreshToken | Self::LoginAttempts => SigningAlgorithm::Hs256,
        }
    }
}

/// The public part of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    pub kid: KeyId,
    /// `alg` (RFC 7518 §3.1).
    pub alg: String,
    /// The public key as a JWK (RFC 7517) in JSON; `None` for an HMAC key.
    pub public_jwk: Option<String>,
    /// From when on it may sign.
    pub activates_at: EpochSeconds,
    /// When it stops signing. It verifies until the last token that it signed has expired.
    pub retires_at: EpochSeconds,
}

impl KeyRecord {
    /// Whether the key may sign.
    #[must_use]
    pub fn is_active_at(&self, now: EpochSeconds) -> bool {
        (self.activates_at..self.retires_at).contains(&now)
    }

    /// When the last access token that the key can have signed has expired.
    #[must_use]
    pub fn access_tokens_expire_at(&self) -> EpochSeconds {
        self.retires_at + MAX_ACCESS_TOKEN_LIFETIME_SECONDS
    }
}

/// A key as it is stored: the record, and the wrapped private key.
#[derive(Clone, Debug)]
pub struct WrappedKey {
    pub record: KeyRecord,
    /// What only functions that sign can unwrap.
    pub wrapped_private_key: Vec<u8>,
}
