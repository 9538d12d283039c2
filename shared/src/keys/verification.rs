//! The authorizer's copy of the public keys, and when it is read again.
//!
//! It is read when the function starts, once a minute beside the denylist, and at an unknown `kid` at most once in ten
//! seconds, so that a stream of made-up tokens does not become a stream of reads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ring::KeyRing;
use super::{KeyPurpose, REREAD_AFTER_SECONDS, USABLE_FOR_SECONDS};
use crate::clock::EpochSeconds;
use crate::store::StoreError;
use crate::store::signing_keys::SigningKeysTable;

/// Shortest time between two readings for an unknown `kid`, in seconds.
pub const UNKNOWN_KID_REREAD_SECONDS: EpochSeconds = 10;

/// The public keys of access tokens.
pub struct VerificationKeys {
    table: SigningKeysTable,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ring: Arc<KeyRing>,
    loaded_at: Option<EpochSeconds>,
    unknown_kid_at: Option<EpochSeconds>,
}

/// Whether `since` is `seconds` ago or was never. A clock that was set back counts as long ago.
fn is_due(since: Option<EpochSeconds>, seconds: EpochSeconds, now: EpochSeconds) -> bool {
    since.and_then(|since| now.checked_sub(since)).is_none_or(|elapsed| elapsed >= seconds)
}

impl VerificationKeys {
    /// A copy that has not been read yet.
    #[must_use]
    pub fn new(table: SigningKeysTable) -> Self {
        Self { table, state: Mutex::default() }
    }

    /// The ring to verify with, read now if it never was.
    ///
    /// # Errors
    /// It was never read and cannot be read now.
    pub async fn ring(&self, now: EpochSeconds) -> Result<Arc<KeyRing>, StoreError> {
        if self.state().loaded_at.is_none() {
            return self.read(now).await;
        }
        Ok(Arc::clone(&self.state().ring))
    }

    /// A newer ring for a `kid` that the current one does not have; `None` where one was read for that reason less than
    /// [`UNKNOWN_KID_REREAD_SECONDS`] ago.
    ///
    /// # Errors
    /// The table did not answer: whether the key exists is not known.
    pub async fn reread_for_unknown_kid(&self, now: EpochSeconds) -> Result<Option<Arc<KeyRing>>, StoreError> {
        {
            let mut state = self.state();
            if !is_due(state.unknown_kid_at, UNKNOWN_KID_REREAD_SECONDS, now) {
                return Ok(None);
            }
            state.unknown_kid_at = Some(now);
        }
        self.read(now).await.map(Some)
    }

    /// A newer ring, once a minute; `None` where the current one is young enough. If the table does not answer, the
    /// current one goes on for a while.
    ///
    /// # Errors
    /// The table did not answer, and the current ring is older than [`USABLE_FOR_SECONDS`].
    pub async fn reread_if_due(&self, now: EpochSeconds) -> Result<Option<Arc<KeyRing>>, StoreError> {
        let loaded_at = self.state().loaded_at;
        if !is_due(loaded_at, REREAD_AFTER_SECONDS, now) {
            return Ok(None);
        }
        match self.read(now).await {
            Ok(ring) => Ok(Some(ring)),
            Err(error) if is_due(loaded_at, USABLE_FOR_SECONDS, now) => Err(error),
            Err(error) => {
                tracing::error!(
                    event = "load_keys",
                    outcome = "failed",
                    error = crate::telemetry::chain(&error),
                    "the keys could not be read again; the copy in memory goes on"
                );
                Ok(None)
            }
        }
    }

    async fn read(&self, now: EpochSeconds) -> Result<Arc<KeyRing>, StoreError> {
        let ring = Arc::new(KeyRing::new(&self.table.public_keys(KeyPurpose::AccessToken).await?));
        let mut state = self.state();
        state.ring = Arc::clone(&ring);
        state.loaded_at = Some(now);
        Ok(ring)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_is_due_at_its_interval_and_after_a_clock_set_back() {
        assert!(is_due(None, 60, 0));
        assert!(!is_due(Some(100), 60, 100));
        assert!(!is_due(Some(100), 60, 159));
        assert!(is_due(Some(100), 60, 160));
        assert!(is_due(Some(100), 60, 99));
    }
}
