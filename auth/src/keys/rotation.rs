//! Rotation: which key is made next, and when it takes over.
//!
//! A rotation is one new item, so a crash leaves nothing half done. The new key is published first and signs later: by
//! then every verifier has read it. The old one keeps verifying until its last token has expired. Two concurrent
//! rotations create two keys, of which all functions choose the same one.
//!
//! Only the very first key signs immediately. For it one writer wins, because no verifier could have read a second
//! key before its tokens arrive.

use latchkey_verifier::{LEEWAY_SECONDS, MAX_ACCESS_TOKEN_LIFETIME_SECONDS};

use super::generation::{GenerationError, generate};
use super::wrapping::{KeyWrapper, WrappingError};
use crate::EpochSeconds;
use crate::session::ABSOLUTE_LIFETIME_SECONDS;
use crate::signing_key::{KeyKind, KeyPurpose, KeyRecord};
use crate::store::StoreError;
use crate::store::signing_keys::{FirstKey, SigningKeysTable};

const DAY: u64 = 24 * 60 * 60;

/// When keys follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RotationPolicy {
    /// How long a key is published before it signs: longer than any function or cache takes to read the keys again.
    pub publish_ahead_seconds: u64,
    /// How old the signing key becomes before a successor is published.
    pub rotate_after_seconds: u64,
    /// How long a key may sign. As long as it exceeds `rotate_after_seconds`, rotation may fail.
    pub sign_for_seconds: u64,
}

impl RotationPolicy {
    /// A key that does not rotate: one for a hundred years.
    const NEVER: Self =
        Self { publish_ahead_seconds: DAY, rotate_after_seconds: 100 * 365 * DAY, sign_for_seconds: 100 * 365 * DAY };
}

impl Default for RotationPolicy {
    /// A new key every 30 days, published a day ahead; rotating may fail for 60 days before nobody can log in.
    fn default() -> Self {
        Self { publish_ahead_seconds: DAY, rotate_after_seconds: 30 * DAY, sign_for_seconds: 90 * DAY }
    }
}

/// When a new key is to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing is due.
    Nothing,
    /// No key signs: the first one is due, or the first after all were revoked.
    First,
    /// A successor, which takes over at `activates_at`.
    Successor { activates_at: EpochSeconds },
}

/// A key could not be created or written.
#[derive(Debug, thiserror::Error)]
pub enum RotationError {
    /// The table did not answer.
    #[error("the keys could not be read or written")]
    Store(#[from] StoreError),
    /// No key.
    #[error("no key could be created")]
    Generation(#[from] GenerationError),
}

impl RotationError {
    /// Whether the role lacks a permission that a rotation needs.
    #[must_use]
    pub fn is_access_denied(&self) -> bool {
        match self {
            Self::Store(error) => error.is_access_denied(),
            Self::Generation(GenerationError::Wrap(error)) => matches!(error, WrappingError::KmsDenied { .. }),
            Self::Generation(_) => false,
        }
    }
}

/// What a rotation did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rotated {
    /// Nothing was due. The key that signs.
    NotDue(KeyRecord),
    /// A new key was written.
    Made(KeyRecord),
    /// Somebody else wrote the first key at the same time; this one.
    MadeByAnother(KeyRecord),
}

/// Decides what is due. The key that takes over last must be of the wanted algorithm and young enough. For a key that
/// is to sign immediately only keys that already sign matter: keys that were published ahead are ignored.
#[must_use]
pub fn next(records: &[KeyRecord], kind: KeyKind, policy: RotationPolicy, now: EpochSeconds) -> Next {
    let is_at_once = policy.publish_ahead_seconds == 0;
    let matters = |record: &&KeyRecord| record.is_active_at(now) || (!is_at_once && now < record.retires_at);
    let last = records.iter().filter(matters).max_by_key(|record| record.activates_at);
    let Some(last) = last.filter(|_| records.iter().any(|record| record.is_active_at(now))) else { return Next::First };
    let is_wanted = last.alg == kind.algorithm().name();
    if is_wanted && now < last.activates_at + policy.rotate_after_seconds {
        return Next::Nothing;
    }
    // Later than the key that would otherwise take over last.
    let activates_at = (now + policy.publish_ahead_seconds).max(last.activates_at + 1);
    Next::Successor { activates_at }
}

/// Creates the key that is due, if one is. It is idempotent, and may run concurrently. A key for login attempts is due
/// only where there is none, whatever the policy is.
///
/// # Errors
/// The table did not answer, or no key could be created or wrapped. The keys are as they were.
pub async fn rotate(
    table: &SigningKeysTable,
    wrapper: &KeyWrapper,
    kind: KeyKind,
    policy: RotationPolicy,
    now: EpochSeconds,
) -> Result<Rotated, RotationError> {
    let policy = match kind {
        KeyKind::AccessToken(_) | KeyKind::RefreshToken => policy,
        KeyKind::LoginAttempts => RotationPolicy::NEVER,
    };
    let records = table.public_keys(kind.purpose()).await?;
    let activates_at = match next(&records, kind, policy, now) {
        Next::Nothing => {
            let newest = records.into_iter().filter(|record| record.is_active_at(now));
            return match newest.max_by_key(|record| record.activates_at) {
                Some(record) => Ok(Rotated::NotDue(record)),
                // `next` says `First` where no key signs.
                None => Err(StoreError::MalformedItem { table: "SigningKeys", attribute: "activates_at" }.into()),
            };
        }
        Next::First => now,
        Next::Successor { activates_at } => activates_at,
    };
    let retires_at = activates_at + policy.sign_for_seconds;
    let key = generate(kind, activates_at, retires_at, wrapper).await?;
    let expires_at = expires_at(kind.purpose(), retires_at);
    if next(&records, kind, policy, now) != Next::First {
        table.add(kind.purpose(), &key, expires_at).await?;
        return Ok(Rotated::Made(key.record));
    }
    match table.add_first(kind.purpose(), &key, expires_at, now).await? {
        FirstKey::Written => return Ok(Rotated::Made(key.record)),
        // The first writer has won, and the next read is consistent.
        FirstKey::AnotherIsFirst => {}
    }
    let records = table.public_keys(kind.purpose()).await?;
    let made = records.into_iter().filter(|record| record.is_active_at(now)).max_by_key(|record| record.activates_at);
    made.map(Rotated::MadeByAnother).ok_or_else(|| StoreError::failed_a_moment_ago("making the first key").into())
}

/// When a key is no longer needed: the last token that it can have signed has expired everywhere.
#[must_use]
pub fn expires_at(purpose: KeyPurpose, retires_at: EpochSeconds) -> EpochSeconds {
    let longest_token = match purpose {
        KeyPurpose::AccessToken => MAX_ACCESS_TOKEN_LIFETIME_SECONDS,
        KeyPurpose::RefreshToken => ABSOLUTE_LIFETIME_SECONDS,
        // It makes no tokens.
        KeyPurpose::LoginAttempts => 0,
    };
    retires_at + (longest_token + 2 * LEEWAY_SECONDS)
}

#[cfg(test)]
mod tests {
    use latchkey_verifier::SigningAlgorithm;

    use super::*;
    use crate::id::KeyId;

    const KIND: KeyKind = KeyKind::AccessToken(SigningAlgorithm::Es256);
    const POLICY: RotationPolicy =
        RotationPolicy { publish_ahead_seconds: 100, rotate_after_seconds: 1000, sign_for_seconds: 3000 };

    fn record(alg: &str, activates_at: u64) -> KeyRecord {
        let activates_at = EpochSeconds::new(activates_at);
        KeyRecord {
            kid: KeyId::new(format!("{alg}{activates_at}")),
            alg: alg.to_owned(),
            public_jwk: None,
            activates_at,
            retires_at: activates_at + POLICY.sign_for_seconds,
        }
    }

    fn at(records: &[KeyRecord], now: u64) -> Next {
        next(records, KIND, POLICY, EpochSeconds::new(now))
    }

    fn successor(activates_at: u64) -> Next {
        Next::Successor { activates_at: EpochSeconds::new(activates_at) }
    }

    #[test]
    fn without_a_key_that_signs_the_first_one_is_due() {
        assert_eq!(at(&[], 5000), Next::First);
        assert_eq!(at(&[record("ES256", 2000)], 5000), Next::First, "it has retired");
        assert_eq!(at(&[record("ES256", 5001)], 5000), Next::First, "it does not sign yet");
    }

    #[test]
    fn a_successor_is_due_when_the_signing_key_is_old_enough_and_is_published_ahead() {
        let keys = [record("ES256", 5000)];
        assert_eq!(at(&keys, 5000), Next::Nothing);
        assert_eq!(at(&keys, 5999), Next::Nothing);
        assert_eq!(at(&keys, 6000), successor(6100));
    }

    #[test]
    fn while_a_successor_waits_no_other_is_due() {
        let keys = [record("ES256", 5000), record("ES256", 6100)];
        assert_eq!(at(&keys, 6001), Next::Nothing);
        assert_eq!(at(&keys, 7099), Next::Nothing);
        assert_eq!(at(&keys, 7100), successor(7200));
    }

    #[test]
    fn another_algorithm_is_a_rotation() {
        assert_eq!(at(&[record("RS256", 5000)], 5001), successor(5101));
        // The key of the wanted algorithm that there still is would not take over.
        assert_eq!(at(&[record("ES256", 4000), record("RS256", 5000)], 5001), successor(5101));
        // One that waits takes over first, so the successor comes after it.
        assert_eq!(at(&[record("ES256", 5000), record("RS256", 9000)], 5001), successor(9001));
    }

    #[test]
    fn a_key_that_has_stopped_signing_is_no_successor() {
        let retired = KeyRecord { retires_at: EpochSeconds::new(3500), ..record("ES256", 3000) };
        let keys = [record("ES256", 2000), retired];
        assert_eq!(at(&keys, 3499), Next::Nothing);
        assert_eq!(at(&keys, 3500), successor(3600));
    }

    #[test]
    fn a_key_that_is_to_sign_now_does_not_wait_for_one_that_is_published() {
        let at_once = RotationPolicy { publish_ahead_seconds: 0, rotate_after_seconds: 0, ..POLICY };
        let now = |records: &[KeyRecord]| next(records, KIND, at_once, EpochSeconds::new(5001));
        assert_eq!(now(&[record("ES256", 5000)]), successor(5001));
        for waits in ["ES256", "RS256"] {
            assert_eq!(now(&[record("ES256", 5000), record(waits, 9000)]), successor(5001));
        }
        // One that signs since this very second has to be followed.
        assert_eq!(now(&[record("ES256", 5001), record("ES256", 9000)]), successor(5002));
    }

    #[test]
    fn from_the_first_key_on_there_is_always_one_that_signs() {
        let mut keys: Vec<KeyRecord> = Vec::new();
        // Rotating is tried every 700 seconds, and fails twice out of three times.
        for round in 0..100 {
            let now = 10_000 + round * 700;
            assert!(round == 0 || keys.iter().any(|key| key.is_active_at(EpochSeconds::new(now))), "round {round}");
            if round % 3 == 0 {
                match at(&keys, now) {
                    Next::Nothing => {}
                    Next::First => keys.push(record("ES256", now)),
                    Next::Successor { activates_at } => keys.push(record("ES256", activates_at.get())),
                }
            }
        }
    }
}
