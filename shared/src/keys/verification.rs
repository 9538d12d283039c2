//! The authorizer's copy of the public keys, and when it is read again.
//!
//! It is read when the function starts, once a minute beside the denylist, and at an unknown `kid` at most once in ten
//! seconds, so that a stream of made-up tokens does not become a stream of reads.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::ring::KeyRing;
use super::{KeyPurpose, REREAD_AFTER_SECONDS, UNKNOWN_KID_REREAD_SECONDS, USABLE_FOR_SECONDS, is_due};
use crate::clock::EpochSeconds;
use crate::store::StoreError;
use crate::store::signing_keys::SigningKeysTable;

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
