//! The keys that verify access tokens: the cached key set, and when it is read again.
//!
//! It is read when the function starts, once a minute concurrently with the denylist, and for an unknown `kid` at most
//! once in ten seconds, so that a stream of forged tokens does not become a stream of reads.
//!
//! It holds public keys. Only where tokens of HS256 are accepted does it unwrap secrets too, each once.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use latchkey_verifier::{KeyError, KeySet, SigningAlgorithm, UnknownAlgorithm, VerificationKey};
use secrecy::{ExposeSecret as _, SecretSlice};

use super::freshness::{
    REREAD_AFTER_SECONDS, RETRY_AFTER_SECONDS, USABLE_FOR_SECONDS, UnknownKid, is_due, using_cached_keys,
};
use super::wrapping::{EncryptionContext, KeyWrapper};
use crate::EpochSeconds;
use crate::id::KeyId;
use crate::signing_key::{KeyPurpose, KeyRecord, WrappedKey};
use crate::store::StoreError;
use crate::store::signing_keys::SigningKeysTable;

/// A stored key that cannot be used to verify.
#[derive(Debug, thiserror::Error)]
enum UnusableKey {
    /// There is no public key in the item, and no secret was given for it.
    #[error("it has no public key, and this function is given no secrets")]
    NoPublicKey,
    /// The JWK does not match the item.
    #[error("its public key does not fit its kid and alg")]
    Mismatch,
    #[error("its algorithm is not used here")]
    Algorithm(#[from] UnknownAlgorithm),
    /// It has a public key and is for HS256, which must never meet (RFC 8725 §2.1).
    #[error("it is for HS256 and has a public key")]
    PublicSecret,
    #[error(transparent)]
    Key(#[from] KeyError),
}

/// The key of an item, with its secret where the function is given it.
fn verification_key(record: &KeyRecord, secret: Option<&SecretSlice<u8>>) -> Result<VerificationKey, UnusableKey> {
    let algorithm: SigningAlgorithm = record.alg.parse()?;
    let key = match (&record.public_jwk, secret) {
        (Some(_), _) if !algorithm.has_public_key() => return Err(UnusableKey::PublicSecret),
        (Some(jwk), _) => {
            let key = VerificationKey::from_jwk(jwk)?;
            if key.kid() != record.kid.as_str() || key.algorithm() != algorithm {
                return Err(UnusableKey::Mismatch);
            }
            key
        }
        (None, Some(secret)) if !algorithm.has_public_key() => {
            VerificationKey::from_secret(record.kid.to_string(), secret.expose_secret())?
        }
        (None, _) => return Err(UnusableKey::NoPublicKey),
    };
    Ok(key.expiring_at(record.access_tokens_expire_at()))
}

/// The key set of these items, with the secrets in it that are given, by `kid`. A key that cannot be used is left out
/// and logged: it must not make the other keys unusable.
#[must_use]
pub fn key_set(records: &[KeyRecord], secrets: &HashMap<KeyId, SecretSlice<u8>>) -> KeySet {
    let usable = records.iter().filter_map(|record| match verification_key(record, secrets.get(&record.kid)) {
        Ok(key) => Some(key),
        // A function without the secret does not verify with it.
        Err(UnusableKey::NoPublicKey) if record.alg == SigningAlgorithm::Hs256.name() => None,
        Err(error) => {
            let (kid, error) = (record.kid.as_str(), &error as &(dyn Error + 'static));
            tracing::error!(
                event = "load_keys",
                outcome = "failed",
                kid,
                error,
                "a key of the SigningKeys table was left out"
            );
            None
        }
    });
    usable.collect()
}

/// The keys that verify access tokens.
pub struct VerificationKeys {
    table: SigningKeysTable,
    /// Unwraps secrets; `None` where tokens of HS256 are rejected.
    wrapper: Option<KeyWrapper>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    key_set: Arc<KeySet>,
    /// Secrets that were unwrapped.
    secrets: HashMap<KeyId, SecretSlice<u8>>,
    read_at: Option<EpochSeconds>,
    tried_at: Option<EpochSeconds>,
    unknown_kid: UnknownKid,
}

impl VerificationKeys {
    /// A cache that has read nothing yet, of public keys; with a `wrapper`, of the secrets of HS256 too.
    #[must_use]
    pub fn new(table: SigningKeysTable, wrapper: Option<KeyWrapper>) -> Self {
        Self { table, wrapper, state: Mutex::default() }
    }

    /// The key set as it was last read; `None` if it never was.
    #[must_use]
    pub fn last_read(&self) -> Option<Arc<KeySet>> {
        let state = self.state();
        state.read_at.map(|_| Arc::clone(&state.key_set))
    }

    /// The key set to verify with, read now if it never was.
    ///
    /// # Errors
    /// It was never read and cannot be read now.
    pub async fn key_set(&self, now: EpochSeconds) -> Result<Arc<KeySet>, StoreError> {
        match self.last_read() {
            Some(key_set) => Ok(key_set),
            None => self.read(now).await,
        }
    }

    /// A newer key set for a `kid` that the current one does not have; `None` where one was read for that reason less
    /// than [`super::UNKNOWN_KID_REREAD_SECONDS`] ago.
    ///
    /// # Errors
    /// The table did not answer, now or a moment ago: whether the key exists is not known.
    pub async fn reread_for_unknown_kid(&self, now: EpochSeconds) -> Result<Option<Arc<KeySet>>, StoreError> {
        if !self.state().unknown_kid.may_reread(now)? {
            return Ok(None);
        }
        let read = self.read(now).await;
        self.state().unknown_kid.was_reread(now, read.is_ok());
        read.map(Some)
    }

    /// A newer key set, once a minute; `None` where the current one is fresh enough. If the table does not answer, the
    /// current one is used for a while, and the table is asked again only every few seconds.
    ///
    /// # Errors
    /// The table did not answer, and the current key set is older than [`USABLE_FOR_SECONDS`].
    pub async fn reread_if_due(&self, now: EpochSeconds) -> Result<Option<Arc<KeySet>>, StoreError> {
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
            Ok(key_set) => Ok(Some(key_set)),
            Err(error) if is_usable => {
                using_cached_keys(&error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    async fn read(&self, now: EpochSeconds) -> Result<Arc<KeySet>, StoreError> {
        self.state().tried_at = Some(now);
        let records = match &self.wrapper {
            None => self.table.public_keys(KeyPurpose::AccessToken).await?,
            Some(wrapper) => {
                let keys = self.table.wrapped_keys(KeyPurpose::AccessToken).await?;
                self.unwrap_secrets(wrapper, &keys, now).await;
                keys.into_iter().map(|key| key.record).collect()
            }
        };
        let mut state = self.state();
        // A key that was revoked is forgotten.
        state.secrets.retain(|kid, _| records.iter().any(|record| record.kid == *kid));
        let key_set = Arc::new(key_set(&records, &state.secrets));
        state.key_set = Arc::clone(&key_set);
        state.read_at = Some(now);
        Ok(key_set)
    }

    /// Unwraps the secrets that can still verify, each once. One that cannot be unwrapped is left out and logged: it
    /// must not make the other keys unusable.
    async fn unwrap_secrets(&self, wrapper: &KeyWrapper, keys: &[WrappedKey], now: EpochSeconds) {
        for WrappedKey { record, wrapped_private_key } in keys {
            let is_wanted = record.alg == SigningAlgorithm::Hs256.name() && now < record.access_tokens_expire_at();
            if !is_wanted || self.state().secrets.contains_key(&record.kid) {
                continue;
            }
            let context = EncryptionContext { kid: &record.kid, purpose: KeyPurpose::AccessToken };
            match wrapper.unwrap(context, wrapped_private_key).await {
                Ok(secret) => {
                    self.state().secrets.insert(record.kid.clone(), secret);
                }
                Err(error) => {
                    let (kid, error) = (record.kid.as_str(), &error as &(dyn Error + 'static));
                    tracing::error!(
                        event = "load_keys",
                        outcome = "failed",
                        kid,
                        error,
                        "a secret of the SigningKeys table was left out"
                    );
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public key of RFC 7517 Appendix A.1, under its thumbprint.
    const JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","alg":"ES256",
        "kid":"cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s"}"#;
    const KID: &str = "cn-I_WNMClehiVp51i_0VpOENW1upEerA8sEam5hn-s";

    fn record(kid: &str, alg: &str, public_jwk: Option<&str>) -> KeyRecord {
        KeyRecord {
            kid: KeyId::new(kid),
            alg: alg.to_owned(),
            public_jwk: public_jwk.map(str::to_owned),
            activates_at: EpochSeconds::new(0),
            retires_at: EpochSeconds::new(1000),
        }
    }

    #[test]
    fn a_public_key_verifies_until_the_last_token_that_it_signed_has_expired() {
        let key = verification_key(&record(KID, "ES256", Some(JWK)), None).unwrap();
        assert!(key.verifies_at(EpochSeconds::new(1000 + 3600 - 1)));
        assert!(!key.verifies_at(EpochSeconds::new(1000 + 3600)));
    }

    #[test]
    fn a_public_key_that_is_not_what_its_item_says_is_left_out() {
        let error = |record: &KeyRecord, secret| verification_key(record, secret).unwrap_err();
        let secret = SecretSlice::from(vec![7; 32]);
        assert!(matches!(error(&record("other", "ES256", Some(JWK)), None), UnusableKey::Mismatch));
        assert!(matches!(error(&record(KID, "RS256", Some(JWK)), None), UnusableKey::Mismatch));
        assert!(matches!(error(&record(KID, "ES384", Some(JWK)), None), UnusableKey::Algorithm(_)));
        assert!(matches!(error(&record(KID, "HS256", Some(JWK)), Some(&secret)), UnusableKey::PublicSecret));
        assert!(matches!(error(&record(KID, "ES256", Some("{}")), None), UnusableKey::Key(_)));
        assert!(matches!(error(&record(KID, "ES256", None), Some(&secret)), UnusableKey::NoPublicKey));
        assert!(matches!(error(&record(KID, "HS256", None), None), UnusableKey::NoPublicKey));
    }

    #[test]
    fn a_secret_of_less_than_32_bytes_verifies_nothing_and_takes_no_other_with_it() {
        let secrets = [("empty", 0), ("short", 31), ("long enough", 32)];
        let secrets: HashMap<_, _> =
            secrets.map(|(kid, bytes)| (KeyId::new(kid), SecretSlice::from(vec![7; bytes]))).into();
        let keys = key_set(&["empty", "short", "long enough"].map(|kid| record(kid, "HS256", None)), &secrets);
        let found = ["empty", "short", "long enough"].map(|kid| keys.find(kid).is_some());
        assert_eq!(found, [false, false, true]);
    }
}
