//! The keys that sign, opened once and kept while they are active.
//!
//! Opening a seal is the expensive part (in AWS a call to another service), so it happens once for each key and function
//! start, and for an older key of refresh tokens only when one of its tokens comes in. The table is read again once a minute,
//! so that a withdrawn key stops to sign, and at an unknown `kid` of a refresh token at most once in ten seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::algorithm::SigningAlgorithm;
use super::sealing::{EncryptionContext, Sealer, SealingError};
use super::signing::{RefreshTokenKey, TokenSigner};
use super::{
    KeyPurpose, KeyRecord, REREAD_AFTER_SECONDS, SealedKey, UNKNOWN_KID_REREAD_SECONDS, USABLE_FOR_SECONDS, is_due,
};
use crate::clock::EpochSeconds;
use crate::store::StoreError;
use crate::store::sessions::ABSOLUTE_LIFETIME_SECONDS;
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
    pub refresh: Arc<RefreshTokenKey>,
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
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    read_at: Option<EpochSeconds>,
    active: Option<Arc<ActiveKeys>>,
    /// Every key that refresh tokens may still be authenticated with, sealed.
    refresh_ring: Vec<SealedKey>,
    /// Those of them that were opened.
    opened: HashMap<String, Arc<RefreshTokenKey>>,
    unknown_kid_at: Option<EpochSeconds>,
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
        let (read_at, kept) = {
            let state = self.state();
            (state.read_at, state.active.clone().filter(|keys| keys.are_active_at(now)))
        };
        match kept {
            Some(keys) if !is_due(read_at, REREAD_AFTER_SECONDS, now) => Ok(keys),
            Some(keys) => match self.read(now).await {
                Err(ActiveKeyError::Store(error)) if !is_due(read_at, USABLE_FOR_SECONDS, now) => {
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
            None => self.read(now).await,
        }
    }

    /// The key with this id that refresh tokens may be authenticated with at `now`, be it the active one or an older one.
    ///
    /// # Errors
    /// The keys cannot be read, or this one cannot be opened.
    pub async fn refresh_token_key(
        &self,
        kid: &str,
        now: EpochSeconds,
    ) -> Result<Option<Arc<RefreshTokenKey>>, ActiveKeyError> {
        self.get(now).await?;
        if let Some(key) = self.known_refresh_token_key(kid, now).await? {
            return Ok(Some(key));
        }
        {
            let mut state = self.state();
            if !is_due(state.unknown_kid_at, UNKNOWN_KID_REREAD_SECONDS, now) {
                return Ok(None);
            }
            state.unknown_kid_at = Some(now);
        }
        self.read(now).await?;
        self.known_refresh_token_key(kid, now).await
    }

    async fn known_refresh_token_key(
        &self,
        kid: &str,
        now: EpochSeconds,
    ) -> Result<Option<Arc<RefreshTokenKey>>, ActiveKeyError> {
        let sealed = {
            let state = self.state();
            let Some(sealed) = state.refresh_ring.iter().find(|key| key.record.kid == kid) else { return Ok(None) };
            // A session can be as old as its absolute lifetime when it presents the last token that the key made.
            if now >= sealed.record.retires_at.saturating_add(ABSOLUTE_LIFETIME_SECONDS) {
                return Ok(None);
            }
            if let Some(opened) = state.opened.get(kid) {
                return Ok(Some(Arc::clone(opened)));
            }
            sealed.clone()
        };
        self.open_refresh_token_key(&sealed).await.map(Some)
    }

    async fn read(&self, now: EpochSeconds) -> Result<Arc<ActiveKeys>, ActiveKeyError> {
        let (access_keys, refresh_keys) = tokio::try_join!(
            self.table.sealed_keys(KeyPurpose::AccessToken),
            self.table.sealed_keys(KeyPurpose::RefreshToken),
        )?;
        let access = newest_active(&access_keys, now).ok_or(ActiveKeyError::None(KeyPurpose::AccessToken))?;
        let refresh = newest_active(&refresh_keys, now).ok_or(ActiveKeyError::None(KeyPurpose::RefreshToken))?;
        let kept = self.state().active.clone();
        let active = match kept {
            Some(kept) if kept.records[0] == access.record && kept.records[1] == refresh.record => kept,
            _ => Arc::new(self.open(access, refresh).await?),
        };
        let mut state = self.state();
        // A key that was withdrawn is forgotten, opened or not.
        state.opened.retain(|kid, _| refresh_keys.iter().any(|key| key.record.kid == *kid));
        state.refresh_ring = refresh_keys;
        state.active = Some(Arc::clone(&active));
        state.read_at = Some(now);
        Ok(active)
    }

    async fn open(&self, access: &SealedKey, refresh: &SealedKey) -> Result<ActiveKeys, ActiveKeyError> {
        let algorithm = SigningAlgorithm::from_name(&access.record.alg).ok_or_else(|| ActiveKeyError::Algorithm {
            kid: access.record.kid.clone(),
            alg: access.record.alg.clone(),
        })?;
        let context = EncryptionContext { kid: &access.record.kid, purpose: KeyPurpose::AccessToken };
        let pkcs8 = self.sealer.open(context, &access.sealed_private_key).await?;
        Ok(ActiveKeys {
            signer: TokenSigner::new(access.record.kid.clone(), algorithm, &pkcs8),
            refresh: self.open_refresh_token_key(refresh).await?,
            records: [access.record.clone(), refresh.record.clone()],
        })
    }

    async fn open_refresh_token_key(&self, sealed: &SealedKey) -> Result<Arc<RefreshTokenKey>, ActiveKeyError> {
        let kid = &sealed.record.kid;
        if let Some(opened) = self.state().opened.get(kid) {
            return Ok(Arc::clone(opened));
        }
        let context = EncryptionContext { kid, purpose: KeyPurpose::RefreshToken };
        let secret = self.sealer.open(context, &sealed.sealed_private_key).await?;
        let key = Arc::new(RefreshTokenKey::new(kid.clone(), &secret));
        self.state().opened.insert(kid.clone(), Arc::clone(&key));
        Ok(key)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The newest of the keys that may sign at `now`. Two that begin in the same second are told apart by their id, so that
/// every function chooses the same one.
fn newest_active(keys: &[SealedKey], now: EpochSeconds) -> Option<&SealedKey> {
    keys.iter()
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

    fn chosen(keys: &[SealedKey], now: EpochSeconds) -> Option<String> {
        newest_active(keys, now).map(|key| key.record.kid.clone())
    }

    #[test]
    fn the_newest_key_that_has_begun_and_not_retired_signs() {
        let keys = [key("old", 0, 100), key("current", 50, 150), key("standby", 120, 220)];
        assert_eq!(chosen(&keys, 49).as_deref(), Some("old"));
        assert_eq!(chosen(&keys, 50).as_deref(), Some("current"));
        assert_eq!(chosen(&keys, 119).as_deref(), Some("current"));
        assert_eq!(chosen(&keys, 120).as_deref(), Some("standby"));
        assert_eq!(chosen(&keys, 219).as_deref(), Some("standby"));
        assert_eq!(chosen(&keys, 220), None);
    }

    #[test]
    fn two_keys_of_one_second_are_chosen_between_in_the_same_way_by_all() {
        assert_eq!(chosen(&[key("a", 0, 9), key("b", 0, 9)], 1), chosen(&[key("b", 0, 9), key("a", 0, 9)], 1));
    }
}
