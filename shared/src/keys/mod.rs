//! Keys: which one signs, which ones verify, and how private ones are kept.
//!
//! A key is one item of the SigningKeys table, and nothing in the item changes after it is written. The signer is the
//! newest key with `activates_at <= now < retires_at`. Verifiers accept a key from its creation, so that it is known
//! before it is used, until the last token it signed has expired. So a rotation is one new item, two rotations at once
//! are harmless, and deleting an item is the emergency stop.

pub mod active;
pub mod algorithm;
pub mod generation;
pub mod ring;
pub mod rotation;
pub mod sealing;
pub mod signing;
pub mod verification;

use std::fmt;

use secrecy::{ExposeSecret as _, SecretSlice};

use crate::clock::EpochSeconds;
use crate::config::MAX_ACCESS_TOKEN_LIFETIME_SECONDS;
use crate::store::StoreError;
use algorithm::SigningAlgorithm;

/// How old a function lets its copy of the keys become before it reads them again, in seconds.
pub const REREAD_AFTER_SECONDS: EpochSeconds = 60;

/// How old the copy may become while reading it fails, in seconds. Then the function refuses: it can no longer know
/// whether a key was withdrawn.
pub const USABLE_FOR_SECONDS: EpochSeconds = 300;

/// How soon a reading that failed is tried again while the copy still goes on, in seconds.
pub const RETRY_AFTER_SECONDS: EpochSeconds = 10;

/// Shortest time between two readings for an unknown `kid`, in seconds.
pub const UNKNOWN_KID_REREAD_SECONDS: EpochSeconds = 10;

/// Fewest bytes of an HMAC key: as many as HMAC-SHA-256 puts out (RFC 7518 §3.2).
pub const MIN_HMAC_KEY_BYTES: usize = 32;

/// A secret is too short to be an HMAC key.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("its secret has {0} bytes, and HMAC-SHA-256 needs {MIN_HMAC_KEY_BYTES} (RFC 7518 §3.2)")]
pub struct ShortSecret(usize);

/// Makes sure that a secret is long enough for HMAC-SHA-256.
///
/// # Errors
/// It is not.
fn check_hmac_key(secret: &SecretSlice<u8>) -> Result<(), ShortSecret> {
    let bytes = secret.expose_secret().len();
    if bytes < MIN_HMAC_KEY_BYTES { Err(ShortSecret(bytes)) } else { Ok(()) }
}

/// When the table was last read for a `kid` that nobody knew, so that a stream of made-up tokens does not become a
/// stream of reads.
#[derive(Clone, Copy, Debug, Default)]
struct UnknownKid {
    reread_at: Option<EpochSeconds>,
    failed: bool,
}

impl UnknownKid {
    /// Whether the table may be read for another one now. If not, the key does not exist as far as the last reading
    /// knows.
    ///
    /// # Errors
    /// The last reading failed a moment ago: whether the key exists is not known.
    fn may_reread(&mut self, now: EpochSeconds) -> Result<bool, StoreError> {
        if is_due(self.reread_at, UNKNOWN_KID_REREAD_SECONDS, now) {
            // Others who come while it is read do not read it too.
            *self = Self { reread_at: Some(now), failed: false };
            return Ok(true);
        }
        if self.failed { Err(StoreError::failed_a_moment_ago("reading the keys")) } else { Ok(false) }
    }

    fn was_reread(&mut self, now: EpochSeconds, succeeded: bool) {
        *self = Self { reread_at: Some(now), failed: !succeeded };
    }
}

/// A reading failed, and the copy in memory is young enough to go on.
fn copy_goes_on(error: &StoreError) {
    tracing::error!(
        event = "load_keys",
        outcome = "failed",
        error = crate::telemetry::chain(error),
        "the keys could not be read again; the copy in memory goes on"
    );
}

/// Whether `since` is `seconds` ago or was never. A clock that was set back counts as long ago.
fn is_due(since: Option<EpochSeconds>, seconds: EpochSeconds, now: EpochSeconds) -> bool {
    since.and_then(|since| now.checked_sub(since)).is_none_or(|elapsed| elapsed >= seconds)
}

/// What a key is for. It is the partition key of the table, so one purpose cannot reach the keys of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPurpose {
    /// Signs access tokens.
    AccessToken,
    /// Authenticates refresh tokens (HMAC).
    RefreshToken,
}

impl KeyPurpose {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::AccessToken, Self::RefreshToken];

    /// The purpose that is stored by this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|purpose| purpose.as_str() == name)
    }

    /// As it is stored.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "access-token",
            Self::RefreshToken => "refresh-token",
        }
    }
}

impl fmt::Display for KeyPurpose {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

/// What a new key is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// For access tokens.
    AccessToken(SigningAlgorithm),
    /// For refresh tokens: HMAC-SHA-256, whatever the access tokens have.
    RefreshToken,
}

impl KeyKind {
    /// A key for `purpose`; one for access tokens is to be of `algorithm`.
    #[must_use]
    pub const fn of(purpose: KeyPurpose, algorithm: SigningAlgorithm) -> Self {
        match purpose {
            KeyPurpose::AccessToken => Self::AccessToken(algorithm),
            KeyPurpose::RefreshToken => Self::RefreshToken,
        }
    }

    /// What it is for.
    #[must_use]
    pub const fn purpose(self) -> KeyPurpose {
        match self {
            Self::AccessToken(_) => KeyPurpose::AccessToken,
            Self::RefreshToken => KeyPurpose::RefreshToken,
        }
    }

    /// `alg` of its record.
    #[must_use]
    pub const fn algorithm(self) -> SigningAlgorithm {
        match self {
            Self::AccessToken(algorithm) => algorithm,
            Self::RefreshToken => SigningAlgorithm::Hs256,
        }
    }
}

/// The part of a key that is no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// Its id: the RFC 7638 thumbprint of the public key, or 256 random bits where there is none.
    pub kid: String,
    /// `alg` of RFC 7518 §3.1.
    pub alg: String,
    /// The public key as a JWK (RFC 7517) in JSON; none for an HMAC key.
    pub public_jwk: Option<String>,
    /// From when on it may sign. Epoch seconds.
    pub activates_at: EpochSeconds,
    /// When it stops to sign; it verifies for as long as its last token can live. Epoch seconds.
    pub retires_at: EpochSeconds,
}

impl KeyRecord {
    /// Whether the key may sign.
    #[must_use]
    pub fn is_active_at(&self, now: EpochSeconds) -> bool {
        (self.activates_at..self.retires_at).contains(&now)
    }

    /// Whether the last access token that the key can have signed is still within its time.
    #[must_use]
    pub fn verifies_access_tokens_at(&self, now: EpochSeconds) -> bool {
        now < self.retires_at.saturating_add(MAX_ACCESS_TOKEN_LIFETIME_SECONDS)
    }
}

/// A key as it is stored: the record, and the private half under seal.
#[derive(Clone, Debug)]
pub struct SealedKey {
    /// What is no secret.
    pub record: KeyRecord,
    /// What only functions that sign can open.
    pub sealed_private_key: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kid_is_looked_for_once_in_ten_seconds_and_a_failure_is_no_answer() {
        let mut unknown = UnknownKid::default();
        assert!(unknown.may_reread(100).unwrap());
        unknown.was_reread(100, true);
        assert!(!unknown.may_reread(109).unwrap());
        assert!(unknown.may_reread(110).unwrap());
        unknown.was_reread(110, false);
        assert!(unknown.may_reread(119).is_err(), "whether the key exists is not known");
        assert!(unknown.may_reread(120).unwrap());
    }

    #[test]
    fn a_reading_is_due_at_its_interval_and_after_a_clock_set_back() {
        assert!(is_due(None, 60, 0));
        assert!(!is_due(Some(100), 60, 100));
        assert!(!is_due(Some(100), 60, 159));
        assert!(is_due(Some(100), 60, 160));
        assert!(is_due(Some(100), 60, 99));
    }
}
