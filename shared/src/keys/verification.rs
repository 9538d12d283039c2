//! The authorizer's copy of the keys, and when it is read again.
//!
//! It is read when the function starts, once a minute beside the denylist, and at an unknown `kid` at most once in ten
//! seconds, so that a stream of made-up tokens does not become a stream of reads.
//!
//! It holds public keys. Only where tokens of HS256 are to be accepted does it open secrets too, each once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::SecretSlice;

use super::algorithm::SigningAlgorithm;
use super::ring::KeyRing;
use super::sealing::{EncryptionContext, Sealer};
use super::{
    KeyPurpose, REREAD_AFTER_SECONDS, RETRY_AFTER_SECONDS, SealedKey, USABLE_FOR_SECONDS, UnknownKid, copy_goes_on,
    is_due,
};
use crate::clock::EpochSeconds;
use crate::store::StoreError;
use crate::store::signing_keys::SigningKeysTable;

/// The keys that verify access tokens.
pub struct VerificationKeys {
    table: SigningKeysTable,
    /// What opens secrets; none where tokens of HS256 are refused.
    sealer: Option<Sealer>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    ring: Arc<KeyRing>,
    /// Secrets that were opened, by their `kid`.
    secrets: HashMap<String, SecretSlice<u8>>,
    read_at: Option<EpochSeconds>,
    tried_at: Option<EpochSeconds>,
    unknown_kid: UnknownKid,
}

impl VerificationKeys {
    /// A copy that has not been read yet, of public keys; with a `sealer`, of the secrets of HS256 too.
    #[must_use]
    pub fn new(table: SigningKeysTable, sealer: Option<Sealer>) -> Self {
        Self { table, sealer, state: Mutex::default() }
    }

    /// The ring as it was last read; `None` if it never was.
    #[must_use]
    pub fn last_read(&self) -> Option<Arc<KeyRing>> {
        let state = self.state();
        state.read_at.map(|_| Arc::clone(&state.ring))
    }

    /// The ring to verify with, read now if it never was.
    ///
    /// # Errors
    /// It was never read and cannot be read now.
    pub async fn ring(&self, now: EpochSeconds) -> Result<Arc<KeyRing>, StoreError> {
        match self.last_read() {
            Some(ring) => Ok(ring),
            None => self.read(now).await,
        }
    }

    /// A newer ring for a `kid` that the current one does not have; `None` where one was read for that reason less than
    /// [`super::UNKNOWN_KID_REREAD_SECONDS`] ago.
    ///
    /// # Errors
    /// The table did not answer, now or a moment ago: whether the key exists is not known.
    pub async fn reread_for_unknown_kid(&self, now: EpochSeconds) -> Result<Option<Arc<KeyRing>>, StoreError> {
        if !self.state().unknown_kid.may_reread(now)? {
            return Ok(None);
        }
        let read = self.read(now).await;
        self.state().unknown_kid.was_reread(now, read.is_ok());
        read.map(Some)
    }

    /// A newer ring, once a minute; `None` where the current one is young enough. If the table does not answer, the
    /// current one goes on for a while, and the table is asked again every few seconds only.
    ///
    /// # Errors
    /// The table did not answer, and the current ring is older than [`USABLE_FOR_SECONDS`].
    pub async fn reread_if_due(&self, now: EpochSeconds) -> Result<Option<Arc<KeyRing>>, StoreError> {
        let (read_at, tried_at) = {
            let state = self.state();
            (state.read_at, state.tried_at)
        };
        let is_usable = !is_due(read_at, USABLE_FOR_SECONDS, now);
        let is_tried = is_usable && !is_due(tried_at, RETRY_AFTER_SECONDS, now);
        if !is_due(read_at, REREAD_AFTER_SECONDS, now) || is_tried {
            return Ok(None);
        }
        match self.read(now).await {
            Ok(ring) => Ok(Some(ring)),
            Err(error) if is_usable => {
                copy_goes_on(&error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn read(&self, now: EpochSeconds) -> Result<Arc<KeyRing>, StoreError> {
        self.state().tried_at = Some(now);
        let records = match &self.sealer {
            None => self.table.public_keys(KeyPurpose::AccessToken).await?,
            Some(sealer) => {
                let keys = self.table.sealed_keys(KeyPurpose::AccessToken).await?;
                self.open_secrets(sealer, &keys, now).await;
                keys.into_iter().map(|key| key.record).collect()
            }
        };
        let mut state = self.state();
        // A key that was withdrawn is forgotten.
        state.secrets.retain(|kid, _| records.iter().any(|record| record.kid == *kid));
        let ring = Arc::new(KeyRing::with_secrets(&records, &state.secrets));
        state.ring = Arc::clone(&ring);
        state.read_at = Some(now);
        Ok(ring)
    }

    /// Opens the secrets that can still verify, each once. One that does not open is left out and logged: it must not take the
    /// other keys with it.
    async fn open_secrets(&self, sealer: &Sealer, keys: &[SealedKey], now: EpochSeconds) {
        for SealedKey { record, sealed_private_key } in keys {
            let is_wanted = record.alg == SigningAlgorithm::Hs256.name() && record.verifies_access_tokens_at(now);
            if !is_wanted || self.state().secrets.contains_key(&record.kid) {
                continue;
            }
            let context = EncryptionContext { kid: &record.kid, purpose: KeyPurpose::AccessToken };
            match sealer.open(context, sealed_private_key).await {
                Ok(secret) => {
                    self.state().secrets.insert(record.kid.clone(), secret);
                }
                Err(error) => tracing::error!(
                    event = "load_keys",
                    outcome = "failed",
                    kid = record.kid,
                    error = crate::telemetry::chain(&error),
                    "a secret of the SigningKeys table was left out"
                ),
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
