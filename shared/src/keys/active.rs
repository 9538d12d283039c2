//! The keys that sign, opened once and kept while they are active.
//!
//! Opening a seal is the expensive part (in AWS a call to another service), so it happens once for each key and function
//! start. The table is read again once a minute, so that a withdrawn key stops to sign.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::algorithm::SigningAlgorithm;
use super::sealing::{EncryptionContext, Sealer, SealingError};
use super::signing::{RefreshTokenKey, TokenSigner};
use super::{KeyPurpose, KeyRecord, REREAD_AFTER_SECONDS, SealedKey, USABLE_FOR_SECONDS};
use crate::clock::EpochSeconds;
use crate::store::StoreError;
use crate::store::signing_keys::SigningKeysTable;

/// There is nothing to sign with.
#[derive(Debug, thiserror::Error)]
pub enum ActiveKeyError {
    /// The table did not answer.
    #[error("the signing keys could not be read")]
    Store(#[from] StoreError),
    /// The seal of the key does not open.
    #[error("the signing key could not be opened")]
    Seal(#[from] SealingError),
    /// No key is active. `latchkey keys init` makes the first ones.
    #[error("there is no active {0} key; `latchkey keys init` makes the first one")]
    None(KeyPurpose),
    /// The active key is of an algorithm that cannot be used.
    #[error("the active key {kid} has the algorithm {alg}, which cannot be used")]
    Algorithm {
        /// Which key.
        kid: String,
        /// Its `alg`.
        alg: String,
    },
}

/// The keys that make the tokens of a login.
pub struct ActiveKeys {
    /// Signs the access token.
    pub signer: TokenSigner,
    /// Authenticates the refresh token.
    pub refresh: RefreshTokenKey,
    records: [KeyRecord; 2],
}

impl ActiveKeys {
    fn are_active_at(&self, now: EpochSeconds) -> bool {
        self.records.iter().all(|record| record.is_active_at(now))
    }
}

/// Reads, opens and keeps the active keys.
pub struct ActiveKeyCache {
    table: SigningKeysTable,
    sealer: Sealer,
    state: Mutex<Option<(EpochSeconds, Arc<ActiveKeys>)>>,
}

impl ActiveKeyCache {
    /// A cache that has read nothing yet.
    #[must_use]
    pub fn new(table: SigningKeysTable, sealer: Sealer) -> Self {
        Self { table, sealer, state: Mutex::default() }
    }

    /// The keys that are active at `now`. If the table does not answer, keys read less than [`USABLE_FOR_SECONDS`] ago go on.
    ///
    /// # Errors
    /// There is no active key, or it cannot be read or opened.
    pub async fn get(&self, now: EpochSeconds) -> Result<Arc<ActiveKeys>, ActiveKeyError> {
        let kept = self.state().clone().filter(|(_, keys)| keys.are_active_at(now));
        let age = |read_at: EpochSeconds| now.checked_sub(read_at).unwrap_or(EpochSeconds::MAX);
        match kept {
            Some((read_at, keys)) if age(read_at) < REREAD_AFTER_SECONDS => Ok(keys),
            Some((read_at, keys)) => match self.read(now, Some(&keys)).await {
                Err(ActiveKeyError::Store(error)) if age(read_at) < USABLE_FOR_SECONDS => {
                    tracing::error!(
                        event = "load_keys",
                        outcome = "failed",
                        error = crate::telemetry::chain(&error),
                        "the keys could not be read again; the copy in memory goes on"
                    );
                    Ok(keys)
                }
                answer => answer,
            },
            None => self.read(now, None).await,
        }
    }

    async fn read(&self, now: EpochSeconds, kept: Option<&Arc<ActiveKeys>>) -> Result<Arc<ActiveKeys>, ActiveKeyError> {
        let (access, refresh) = tokio::try_join!(
            self.table.sealed_keys(KeyPurpose::AccessToken),
            self.table.sealed_keys(KeyPurpose::RefreshToken),
        )?;
        let access = newest_active(access, now).ok_or(ActiveKeyError::None(KeyPurpose::AccessToken))?;
        let refresh = newest_active(refresh, now).ok_or(ActiveKeyError::None(KeyPurpose::RefreshToken))?;
        let keys = match kept {
            Some(kept) if kept.records[0] == access.record && kept.records[1] == refresh.record => Arc::clone(kept),
            _ => Arc::new(self.open(access, refresh).await?),
        };
        *self.state() = Some((now, Arc::clone(&keys)));
        Ok(keys)
    }

    async fn open(&self, access: SealedKey, refresh: SealedKey) -> Result<ActiveKeys, ActiveKeyError> {
        let algorithm = SigningAlgorithm::from_name(&access.record.alg).ok_or_else(|| ActiveKeyError::Algorithm {
            kid: access.record.kid.clone(),
            alg: access.record.alg.clone(),
        })?;
        let context = EncryptionContext { kid: &access.record.kid, purpose: KeyPurpose::AccessToken };
        let pkcs8 = self.sealer.open(context, &access.sealed_private_key).await?;
        let context = EncryptionContext { kid: &refresh.record.kid, purpose: KeyPurpose::RefreshToken };
        let secret = self.sealer.open(context, &refresh.sealed_private_key).await?;
        Ok(ActiveKeys {
            signer: TokenSigner::new(access.record.kid.clone(), algorithm, &pkcs8),
            refresh: RefreshTokenKey::new(refresh.record.kid.clone(), &secret),
            records: [access.record, refresh.record],
        })
    }

    fn state(&self) -> MutexGuard<'_, Option<(EpochSeconds, Arc<ActiveKeys>)>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest of the keys that may sign at `now`. Two that begin in the same second are told apart by their id, so that
/// every function chooses the same one.
fn newest_active(keys: Vec<SealedKey>, now: EpochSeconds) -> Option<SealedKey> {
    keys.into_iter()
        .filter(|key| key.record.is_active_at(now))
        .max_by(|a, b| (a.record.activates_at, &a.record.kid).cmp(&(b.record.activates_at, &b.record.kid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kid: &str, activates_at: EpochSeconds, retires_at: EpochSeconds) -> SealedKey {
        let record =
            KeyRecord { kid: kid.to_owned(), alg: "ES256".to_owned(), public_jwk: None, activates_at, retires_at };
        SealedKey { record, sealed_private_key: Vec::new() }
    }

    fn chosen(keys: Vec<SealedKey>, now: EpochSeconds) -> Option<String> {
        newest_active(keys, now).map(|key| key.record.kid)
    }

    #[test]
    fn the_newest_key_that_has_begun_and_not_retired_signs() {
        let keys = || vec![key("old", 0, 100), key("current", 50, 150), key("standby", 120, 220)];
        assert_eq!(chosen(keys(), 49).as_deref(), Some("old"));
        assert_eq!(chosen(keys(), 50).as_deref(), Some("current"));
        assert_eq!(chosen(keys(), 119).as_deref(), Some("current"));
        assert_eq!(chosen(keys(), 120).as_deref(), Some("standby"));
        assert_eq!(chosen(keys(), 219).as_deref(), Some("standby"));
        assert_eq!(chosen(keys(), 220), None);
    }

    #[test]
    fn two_keys_of_one_second_are_chosen_between_in_the_same_way_by_all() {
        assert_eq!(chosen(vec![key("a", 0, 9), key("b", 0, 9)], 1), chosen(vec![key("b", 0, 9), key("a", 0, 9)], 1));
    }
}
