//! The keys that sign, opened once and kept while they are active.
//!
//! Opening a seal is the expensive part (in AWS a call to another service), so it happens once for each key and
//! function start, and for an older key of refresh tokens only when one of its tokens comes in. The table is read again
//! once a minute, so that a withdrawn key stops to sign, and at an unknown `kid` of a refresh token at most once in ten
//! seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::algorithm::SigningAlgorithm;
use super::sealing::{EncryptionContext, Sealer, SealingError};
use super::signing::{RefreshTokenKey, TokenSigner};
use super::{
    KeyPurpose, KeyRecord, REREAD_AFTER_SECONDS, RETRY_AFTER_SECONDS, SealedKey, ShortSecret, USABLE_FOR_SECONDS,
    UnknownKid, check_hmac_key, copy_goes_on, is_due,
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
    /// The secret of a key is too short.
    #[error("the key {kid} cannot be used")]
    ShortSecret {
        /// Which key.
        kid: String,
        /// Why.
        #[source]
        source: ShortSecret,
    },
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

/// Reads, opens and keeps the active keys.
pub struct ActiveKeyCache {
    table: SigningKeysTable,
    sealer: Sealer,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What the table had, sealed.
    access_keys: Vec<SealedKey>,
    refresh_keys: Vec<SealedKey>,
    /// When that was read, and when reading was last tried.
    read_at: Option<EpochSeconds>,
    tried_at: Option<EpochSeconds>,
    unknown_kid: UnknownKid,
    /// The active keys, opened.
    active: Option<Arc<ActiveKeys>>,
    /// Keys of refresh tokens that were opened.
    opened: HashMap<String, Arc<RefreshTokenKey>>,
}

impl ActiveKeyCache {
    /// A cache that has read nothing yet.
    #[must_use]
    pub fn new(table: SigningKeysTable, sealer: Sealer) -> Self {
        Self { table, sealer, state: Mutex::default() }
    }

    /// The keys that are active at `now`. If the table does not answer, keys read less than [`USABLE_FOR_SECONDS`] ago
    /// go on.
    ///
    /// # Errors
    /// There is no active key, or it cannot be read or opened.
    pub async fn get(&self, now: EpochSeconds) -> Result<Arc<ActiveKeys>, ActiveKeyError> {
        self.reread_if_due(now).await?;
        let (access, refresh, kept) = {
            let state = self.state();
            let newest =
                |keys: &[SealedKey], purpose| newest_active(keys, now).cloned().ok_or(ActiveKeyError::None(purpose));
            (
                newest(&state.access_keys, KeyPurpose::AccessToken)?,
                newest(&state.refresh_keys, KeyPurpose::RefreshToken)?,
                state.active.clone(),
            )
        };
        match kept {
            Some(kept) if kept.records[0] == access.record && kept.records[1] == refresh.record => Ok(kept),
            _ => {
                let opened = Arc::new(self.open(&access, &refresh).await?);
                self.state().active = Some(Arc::clone(&opened));
                Ok(opened)
            }
        }
    }

    /// The key with this id that refresh tokens may be authenticated with at `now`, be it the active one or an older
    /// one. It needs no key that signs: what is to be revoked can be revoked whatever became of those.
    ///
    /// # Errors
    /// The keys cannot be read, or this one cannot be opened.
    pub async fn refresh_token_key(
        &self,
        kid: &str,
        now: EpochSeconds,
    ) -> Result<Option<Arc<RefreshTokenKey>>, ActiveKeyError> {
        self.reread_if_due(now).await?;
        if let Some(key) = self.known_refresh_token_key(kid, now).await? {
            return Ok(Some(key));
        }
        if !self.state().unknown_kid.may_reread(now)? {
            return Ok(None);
        }
        let read = self.read(now).await;
        self.state().unknown_kid.was_reread(now, read.is_ok());
        read?;
        self.known_refresh_token_key(kid, now).await
    }

    async fn known_refresh_token_key(
        &self,
        kid: &str,
        now: EpochSeconds,
    ) -> Result<Option<Arc<RefreshTokenKey>>, ActiveKeyError> {
        let sealed = {
            let state = self.state();
            let Some(sealed) = state.refresh_keys.iter().find(|key| key.record.kid == kid) else { return Ok(None) };
            // A session can be as old as its absolute lifetime when it presents the last token that the key made.
            if now >= sealed.record.retires_at.saturating_add(ABSOLUTE_LIFETIME_SECONDS) {
                return Ok(None);
            }
            sealed.clone()
        };
        self.open_refresh_token_key(&sealed).await.map(Some)
    }

    /// Reads the table once a minute. While it does not answer, the copy goes on for a while, and the table is asked
    /// again every few seconds only, so that not every request waits for it.
    async fn reread_if_due(&self, now: EpochSeconds) -> Result<(), ActiveKeyError> {
        let (read_at, tried_at) = {
            let state = self.state();
            (state.read_at, state.tried_at)
        };
        if !is_due(read_at, REREAD_AFTER_SECONDS, now) {
            return Ok(());
        }
        let is_usable = !is_due(read_at, USABLE_FOR_SECONDS, now);
        if is_usable && !is_due(tried_at, RETRY_AFTER_SECONDS, now) {
            return Ok(());
        }
        match self.read(now).await {
            Ok(()) => Ok(()),
            Err(error) if is_usable => {
                copy_goes_on(&error);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What the table says now counts from now on, whether it can be opened or not: a key that was withdrawn is
    /// forgotten.
    async fn read(&self, now: EpochSeconds) -> Result<(), StoreError> {
        self.state().tried_at = Some(now);
        let (access_keys, refresh_keys) = tokio::try_join!(
            self.table.sealed_keys(KeyPurpose::AccessToken),
            self.table.sealed_keys(KeyPurpose::RefreshToken),
        )?;
        let mut state = self.state();
        state.opened.retain(|kid, _| refresh_keys.iter().any(|key| key.record.kid == *kid));
        state.access_keys = access_keys;
        state.refresh_keys = refresh_keys;
        state.read_at = Some(now);
        Ok(())
    }

    async fn open(&self, access: &SealedKey, refresh: &SealedKey) -> Result<ActiveKeys, ActiveKeyError> {
        let algorithm: SigningAlgorithm = access.record.alg.parse().map_err(|_| ActiveKeyError::Algorithm {
            kid: access.record.kid.clone(),
            alg: access.record.alg.clone(),
        })?;
        let context = EncryptionContext { kid: &access.record.kid, purpose: KeyPurpose::AccessToken };
        // Side by side: where the seal is another service's, that is one round trip.
        let (private_key, refresh_token_key) = tokio::try_join!(
            async { Ok(self.sealer.open(context, &access.sealed_private_key).await?) },
            self.open_refresh_token_key(refresh),
        )?;
        if !algorithm.has_public_key() {
            check_hmac_key(&private_key).map_err(|source| short(&access.record.kid, source))?;
        }
        Ok(ActiveKeys {
            signer: TokenSigner::new(access.record.kid.clone(), algorithm, &private_key),
            refresh: refresh_token_key,
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
        check_hmac_key(&secret).map_err(|source| short(kid, source))?;
        let key = Arc::new(RefreshTokenKey::new(kid.clone(), &secret));
        self.state().opened.insert(kid.clone(), Arc::clone(&key));
        Ok(key)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn short(kid: &str, source: ShortSecret) -> ActiveKeyError {
    ActiveKeyError::ShortSecret { kid: kid.to_owned(), source }
}

/// The newest of the keys that may sign at `now`. Two that begin in the same second are told apart by their id, so that
/// every function chooses the same one. A key of an algorithm that this version does not know is none: an older one
/// signs on.
fn newest_active(keys: &[SealedKey], now: EpochSeconds) -> Option<&SealedKey> {
    keys.iter()
        .filter(|key| key.record.is_active_at(now) && key.record.alg.parse::<SigningAlgorithm>().is_ok())
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
