//! The key by which names that no user has are counted, unwrapped once.
//!
//! People type passwords and other people's addresses where a name belongs, so such a name must not be stored: its
//! HMAC is. The key does not rotate, because a new one would forget every count. It is read before the user is, so that
//! the time of a login does not depend on whether the name exists.

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latchkey_verifier::check_hmac_key;
use secrecy::{ExposeSecret as _, SecretSlice};
use tokio::sync::OnceCell;

use super::active::{ActiveKeyError, newest_active, short};
use super::wrapping::{EncryptionContext, KeyWrapper};
use crate::EpochSeconds;
use crate::signing_key::KeyPurpose;
use crate::store::signing_keys::SigningKeysTable;
use crate::username::Username;

/// Names are counted under an HMAC-SHA-256 of this key. It cannot print.
pub struct LoginAttemptsKey(hmac::Key);

impl LoginAttemptsKey {
    #[must_use]
    pub fn new(secret: &SecretSlice<u8>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.expose_secret()))
    }

    /// What stands for a name: 43 characters of base64url.
    pub(crate) fn of_name(&self, username: &Username) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, username.as_str().as_bytes()))
    }
}

/// Reads and unwraps the key, once in the life of a function.
pub struct LoginAttemptsKeyCache {
    table: SigningKeysTable,
    wrapper: KeyWrapper,
    key: OnceCell<LoginAttemptsKey>,
}

impl LoginAttemptsKeyCache {
    /// A cache that has read nothing yet.
    #[must_use]
    pub fn new(table: SigningKeysTable, wrapper: KeyWrapper) -> Self {
        Self { table, wrapper, key: OnceCell::new() }
    }

    /// The key. A failure is not kept: the next caller tries again.
    ///
    /// # Errors
    /// There is none, or it cannot be read or unwrapped.
    pub async fn get(&self, now: EpochSeconds) -> Result<&LoginAttemptsKey, ActiveKeyError> {
        self.key.get_or_try_init(|| self.read(now)).await
    }

    async fn read(&self, now: EpochSeconds) -> Result<LoginAttemptsKey, ActiveKeyError> {
        const PURPOSE: KeyPurpose = KeyPurpose::LoginAttempts;
        let keys = self.table.wrapped_keys(PURPOSE).await?;
        let wrapped = newest_active(&keys, now).ok_or(ActiveKeyError::None(PURPOSE))?;
        let kid = &wrapped.record.kid;
        let context = EncryptionContext { kid, purpose: PURPOSE };
        let secret = self.wrapper.unwrap(context, &wrapped.wrapped_private_key).await?;
        check_hmac_key(secret.expose_secret()).map_err(|source| short(kid, source))?;
        Ok(LoginAttemptsKey::new(&secret))
    }
}
