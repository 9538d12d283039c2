//! The keys that sign, unwrapped once and cached while they are active.
//!
//! Unwrapping is the expensive part (in AWS a call to KMS), so it happens once for each key and function start, and for
//! an older refresh-token key only when one of its tokens is presented. The table is read again once a minute, so that
//! a revoked key stops signing, and for an unknown `kid` of a refresh token at most once in ten seconds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use latchkey_verifier::{ShortSecret, SigningAlgorithm, check_hmac_key};
use secrecy::ExposeSecret as _;

use super::freshness::{
    REREAD_AFTER_SECONDS, RETRY_AFTER_SECONDS, USABLE_FOR_SECONDS, UnknownKid, is_due, using_cached_keys,
};
use super::signing::{RefreshTokenKey, TokenSigner};
use super::wrapping::{EncryptionContext, KeyWrapper, WrappingError};
use crate::EpochSeconds;
use crate::id::KeyId;
use crate::session::ABSOLUTE_LIFETIME_SECONDS;
use crate::signing_key::{KeyPurpose, KeyRecord, WrappedKey};
use crate::store::StoreError;
use crate::store::signing_keys::SigningKeysTable;

/// There is no key to sign with.
#[derive(Debug, thiserror::Error)]
pub enum ActiveKeyError {
    /// The table did not answer.
    #[error("the signing keys could not be read")]
    Store(#[from] StoreError),
    /// The key could not be unwrapped.
    #[error("the signing key could not be unwrapped")]
    Unwrap(#[from] WrappingError),
    /// The secret of a key is too short.
    #[error("the key {kid} cannot be used")]
    ShortSecret {
        kid: KeyId,
        #[source]
        source: ShortSecret,
    },
    /// No key is active. `latchkey keys init` makes the first ones.
    #[error("there is no active {0} key; `latchkey keys init` makes the first one")]
    None(KeyPurpose),
    /// The active key is of an algorithm that cannot be used.
    #[error("the active key {kid} has the algorithm {alg}, which cannot be used")]
    Algorithm { kid: KeyId, alg: String },
}

/// The keys that make the tokens of a login.
pub struct ActiveKeys {
    /// Signs the access token.
    pub signer: TokenSigner,
    /// Authenticates the refresh token.
    pub refresh: Arc<RefreshTokenKey>,
    records: [KeyRecord; 2],
}

/// Reads, unwraps and caches the active keys.
pub struct ActiveKeyCache {
    table: SigningKeysTable,
    wrapper: KeyWrapper,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The content of the table.
    access_keys: Vec<WrappedKey>,
    refresh_keys: Vec<WrappedKey>,
    /// When it was read, and when reading was last tried.
    read_at: Option<EpochSeconds>,
    tried_at: Option<EpochSeconds>,
    unknown_kid: UnknownKid,
    /// The active keys, unwrapped.
    active: Option<Arc<ActiveKeys>>,
    /// Refresh-token keys that were unwrapped.
    unwrapped: HashMap<KeyId, Arc<RefreshTokenKey>>,
}

impl ActiveKeyCache {
    /// A cache that has read nothing yet.
    #[must_use]
    pub fn new(table: SigningKeysTable, wrapper: KeyWrapper) -> Self {
        Self { table, wrapper, state: Mutex::default() }
    }

    /// The keys that are active at `now`. If the table does not answer, keys that were read less than
    /// [`USABLE_FOR_SECONDS`] ago are used.
    ///
    /// # Errors
    /// There is no active key, or it cannot be read or unwrapped.
    pub async fn get(&self, now: EpochSeconds) -> Result<Arc<ActiveKeys>, ActiveKeyError> {
        self.reread_if_due(now).await?;
        let (access, refresh, kept) = {
            let state = self.state();
            let newest =
                |keys: &[WrappedKey], purpose| newest_active(keys, now).cloned().ok_or(ActiveKeyError::None(purpose));
            (
                newest(&state.access_keys, KeyPurpose::AccessToken)?,
                newest(&state.refresh_keys, KeyPurpose::RefreshToken)?,
                state.active.clone(),
            )
        };
        match kept {
            Some(kept) if kept.records[0] == access.record && kept.records[1] == refresh.record => Ok(kept),
            _ => {
                let unwrapped = Arc::new(self.unwrap(&access, &refresh).await?);
                self.state().active = Some(Arc::clone(&unwrapped));
                Ok(unwrapped)
            }
        }
    }

    /// The key with this id that authenticates refresh tokens at `now`: the active one or an older one. It needs no
    /// active key: a token can be revoked even if they are gone.
    ///
    /// # Errors
    /// The keys cannot be read, or this one cannot be unwrapped.
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
        let wrapped = {
            let state = self.state();
            let Some(wrapped) = state.refresh_keys.iter().find(|key| key.record.kid == *kid) else { return Ok(None) };
            // A session can be as old as its absolute lifetime when it presents the last token that the key made.
            if now >= wrapped.record.retires_at + ABSOLUTE_LIFETIME_SECONDS {
                return Ok(None);
            }
            wrapped.clone()
        };
        self.unwrap_refresh_token_key(&wrapped).await.map(Some)
    }

    /// Reads the table once a minute. While it does not answer, cached keys are used for a while, and the table is
    /// read again only every few seconds, so that not every request waits for it.
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
                using_cached_keys(&error);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The new content replaces the cached keys even if it cannot be unwrapped: a revoked key must not be
    /// used.
    async fn read(&self, now: EpochSeconds) -> Result<(), StoreError> {
        self.state().tried_at = Some(now);
        let (access_keys, refresh_keys) = tokio::try_join!(
            self.table.wrapped_keys(KeyPurpose::AccessToken),
            self.table.wrapped_keys(KeyPurpose::RefreshToken),
        )?;
        let mut state = self.state();
        state.unwrapped.retain(|kid, _| refresh_keys.iter().any(|key| key.record.kid == *kid));
        state.access_keys = access_keys;
        state.refresh_keys = refresh_keys;
        state.read_at = Some(now);
        Ok(())
    }

    async fn unwrap(&self, access: &WrappedKey, refresh: &WrappedKey) -> Result<ActiveKeys, ActiveKeyError> {
        let algorithm: SigningAlgorithm = access.record.alg.parse().map_err(|_| ActiveKeyError::Algorithm {
            kid: access.record.kid.clone(),
            alg: access.record.alg.clone(),
        })?;
        let context = EncryptionContext { kid: &access.record.kid, purpose: KeyPurpose::AccessToken };
        // Concurrently: with KMS that is one round trip.
        let (private_key, refresh_token_key) = tokio::try_join!(
            async { Ok(self.wrapper.unwrap(context, &access.wrapped_private_key).await?) },
            self.unwrap_refresh_token_key(refresh),
        )?;
        if !algorithm.has_public_key() {
            check_hmac_key(private_key.expose_secret()).map_err(|source| short(&access.record.kid, source))?;
        }
        Ok(ActiveKeys {
            signer: TokenSigner::new(access.record.kid.clone(), algorithm, &private_key),
            refresh: refresh_token_key,
            records: [access.record.clone(), refresh.record.clone()],
        })
    }

    async fn unwrap_refresh_token_key(&self, wrapped: &WrappedKey) -> Result<Arc<RefreshTokenKey>, ActiveKeyError> {
        let kid = &wrapped.record.kid;
        if let Some(key) = self.state().unwrapped.get(kid) {
            return Ok(Arc::clone(key));
        }
        let context = EncryptionContext { kid, purpose: KeyPurpose::RefreshToken };
        let secret = self.wrapper.unwrap(context, &wrapped.wrapped_private_key).await?;
        check_hmac_key(secret.expose_secret()).map_err(|source| short(kid, source))?;
        let key = Arc::new(RefreshTokenKey::new(kid.clone(), &secret));
        self.state().unwrapped.insert(kid.clone(), Arc::clone(&key));
        Ok(key)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) fn short(kid: &KeyId, source: ShortSecret) -> ActiveKeyError {
    ActiveKeyError::ShortSecret { kid: kid.clone(), source }
}

/// The newest of the keys that may sign at `now`. Two that begin in the same second are told apart by their id, so that
/// every function chooses the same one. A key of an algorithm that this version does not know is ignored: an older key
/// keeps signing.
pub(super) fn newest_active(keys: &[WrappedKey], now: EpochSeconds) -> Option<&WrappedKey> {
    keys.iter()
        .filter(|key| key.record.is_active_at(now) && key.record.alg.parse::<SigningAlgorithm>().is_ok())
        .max_by(|a, b| (a.record.activates_at, &a.record.kid).cmp(&(b.record.activates_at, &b.record.kid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(kid: &str, activates_at: u64, retires_at: u64) -> WrappedKey {
        let (activates_at, retires_at) = (EpochSeconds::new(activates_at), EpochSeconds::new(retires_at));
        let record =
            KeyRecord { kid: KeyId::new(kid), alg: "ES256".to_owned(), public_jwk: None, activates_at, retires_at };
        WrappedKey { record, wrapped_private_key: Vec::new() }
    }

    fn chosen(keys: &[WrappedKey], now: u64) -> Option<String> {
        newest_active(keys, EpochSeconds::new(now)).map(|key| key.record.kid.to_string())
    }

    #[test]
    fn the_newest_active_key_signs() {
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
