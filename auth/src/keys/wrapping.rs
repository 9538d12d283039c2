//! Wrapping: private keys are stored encrypted, so that only functions that sign can read them.
//!
//! Every private key passes through [`KeyWrapper`], bound to an [`EncryptionContext`] that identifies it: a wrapped key
//! that is moved to another item cannot be unwrapped. In AWS the wrapping key is a KMS key, which never leaves KMS; on
//! a laptop it is a local AES-256-GCM key. The first byte of a wrapped key says which of the two.

use std::error::Error;

use aws_config::SdkConfig;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_sdk_kms::config::http::HttpResponse;
use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kms::primitives::Blob;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use zeroize::Zeroizing;

use crate::id::KeyId;
use crate::signing_key::KeyPurpose;

/// First byte of what a local key wrapped.
const LOCAL_VERSION: u8 = 1;
/// First byte of what KMS wrapped.
const KMS_VERSION: u8 = 2;

/// A key could not be wrapped or unwrapped.
#[derive(Debug, thiserror::Error)]
pub enum WrappingError {
    /// The local wrapping key is not 32 bytes in base64.
    #[error("LATCHKEY_SEALING_KEY is not 32 bytes in base64; make one with `openssl rand -base64 32`")]
    MalformedKey,
    /// The cipher failed.
    #[error("the key {kid} could not be wrapped")]
    Wrap { kid: KeyId },
    /// It was wrapped by another wrapping key or for another context, or it was changed.
    #[error("the key {kid} ({purpose}) cannot be unwrapped with this wrapping key")]
    Unwrap { kid: KeyId, purpose: KeyPurpose },
    /// The KMS key does not exist or is disabled.
    #[error("the KMS key {key_id} is missing or disabled ({code}); LATCHKEY_KMS_KEY_ID names it")]
    KmsKey {
        key_id: String,
        /// The error code of KMS.
        code: String,
    },
    /// The role may not use the KMS key.
    #[error("this role may not call kms:{operation} with the key {key_id}")]
    KmsDenied { key_id: String, operation: &'static str },
    /// KMS did not answer, or refused for another reason.
    #[error("KMS did not answer {operation}")]
    Kms {
        operation: &'static str,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// What a wrapped key is, authenticated together with it.
#[derive(Clone, Copy, Debug)]
pub struct EncryptionContext<'a> {
    pub kid: &'a KeyId,
    pub purpose: KeyPurpose,
}

impl EncryptionContext<'_> {
    /// Unambiguous: neither part can hold a zero byte.
    fn additional_data(&self) -> Aad<Vec<u8>> {
        Aad::from([self.purpose.as_str().as_bytes(), &[0], self.kid.as_str().as_bytes()].concat())
    }
}

/// The key that wraps private keys, as it is configured.
#[derive(Clone, Debug)]
pub enum WrappingKey {
    /// A local key, for a machine without KMS: 32 bytes in base64.
    Local(SecretString),
    /// A KMS key, by its id, its ARN or an alias.
    Kms(String),
}

/// Wraps and unwraps private keys. It cannot print.
pub struct KeyWrapper(Backend);

enum Backend {
    Local(RandomizedNonceKey),
    Kms { client: aws_sdk_kms::Client, key_id: String },
}

impl KeyWrapper {
    /// The wrapper of a configured key.
    ///
    /// # Errors
    /// The local key is malformed.
    pub fn new(key: &WrappingKey, sdk_config: &SdkConfig) -> Result<Self, WrappingError> {
        match key {
            WrappingKey::Local(key) => Self::local(key),
            WrappingKey::Kms(key_id) => Ok(Self::kms(aws_sdk_kms::Client::new(sdk_config), key_id.clone())),
        }
    }

    /// Wraps with a local key: 32 bytes in base64.
    ///
    /// # Errors
    /// It is something else.
    pub fn local(key: &SecretString) -> Result<Self, WrappingError> {
        let key = STANDARD.decode(key.expose_secret()).map(Zeroizing::new).map_err(|_| WrappingError::MalformedKey)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| WrappingError::MalformedKey)?;
        Ok(Self(Backend::Local(key)))
    }

    /// Wraps with a symmetric KMS key, by its id, its ARN or an alias.
    #[must_use]
    pub fn kms(client: aws_sdk_kms::Client, key_id: String) -> Self {
        Self(Backend::Kms { client, key_id })
    }

    /// Wraps a private key. The first byte of the result is the kind of wrapping key. KMS accepts up to 4096 bytes.
    ///
    /// # Errors
    /// The cipher failed, or KMS refused or did not answer.
    pub async fn wrap(
        &self,
        context: EncryptionContext<'_>,
        private_key: &SecretSlice<u8>,
    ) -> Result<Vec<u8>, WrappingError> {
        match &self.0 {
            Backend::Local(key) => {
                let mut wrapped = Zeroizing::new(private_key.expose_secret().to_vec());
                let nonce = key
                    .seal_in_place_append_tag(context.additional_data(), &mut *wrapped)
                    .map_err(|_| WrappingError::Wrap { kid: context.kid.clone() })?;
                Ok([&[LOCAL_VERSION], nonce.as_ref().as_slice(), &wrapped].concat())
            }
            Backend::Kms { client, key_id } => {
                let answer = client
                    .encrypt()
                    .key_id(key_id)
                    .plaintext(Blob::new(private_key.expose_secret()))
                    .encryption_context("kid", context.kid.as_str())
                    .encryption_context("purpose", context.purpose.as_str())
                    .send()
                    .await
                    .map_err(|error| kms_error("Encrypt", key_id, context, error))?;
                let ciphertext = answer.ciphertext_blob.unwrap_or_default().into_inner();
                if ciphertext.is_empty() {
                    return Err(WrappingError::Wrap { kid: context.kid.clone() });
                }
                Ok([&[KMS_VERSION], ciphertext.as_slice()].concat())
            }
        }
    }

    /// Unwraps what [`KeyWrapper::wrap`] made for the same context.
    ///
    /// # Errors
    /// It was wrapped by another key or for another context, or was changed; or KMS refused or did not answer.
    pub async fn unwrap(
        &self,
        context: EncryptionContext<'_>,
        wrapped: &[u8],
    ) -> Result<SecretSlice<u8>, WrappingError> {
        let refused = || WrappingError::Unwrap { kid: context.kid.clone(), purpose: context.purpose };
        let (version, rest) = wrapped.split_first().ok_or_else(refused)?;
        match (&self.0, *version) {
            (Backend::Local(key), LOCAL_VERSION) => {
                let (nonce, ciphertext) = rest.split_at_checked(NONCE_LEN).ok_or_else(refused)?;
                let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
                let mut buffer = Zeroizing::new(ciphertext.to_vec());
                let unwrapped =
                    key.open_in_place(nonce, context.additional_data(), &mut buffer).map_err(|_| refused())?;
                Ok(SecretSlice::from(unwrapped.to_vec()))
            }
            (Backend::Kms { client, key_id }, KMS_VERSION) => {
                let answer = client
                    .decrypt()
                    // Naming the key rejects anything that another key of the account wrapped (AWS KMS, Decrypt).
                    .key_id(key_id)
                    .ciphertext_blob(Blob::new(rest))
                    .encryption_context("kid", context.kid.as_str())
                    .encryption_context("purpose", context.purpose.as_str())
                    .send()
                    .await
                    .map_err(|error| kms_error("Decrypt", key_id, context, error))?;
                answer.plaintext.map(|plaintext| SecretSlice::from(plaintext.into_inner())).ok_or_else(refused)
            }
            _ => Err(refused()),
        }
    }
}

/// What an error of KMS means.
fn kms_error<E>(
    operation: &'static str,
    key_id: &str,
    context: EncryptionContext<'_>,
    error: SdkError<E, HttpResponse>,
) -> WrappingError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    let is_forbidden = error.raw_response().is_some_and(|response| response.status().as_u16() == 403);
    match code {
        "InvalidCiphertextException" | "IncorrectKeyException" => {
            WrappingError::Unwrap { kid: context.kid.clone(), purpose: context.purpose }
        }
        "NotFoundException" | "DisabledException" | "KMSInvalidStateException" | "InvalidKeyUsageException" => {
            WrappingError::KmsKey { key_id: key_id.to_owned(), code: code.to_owned() }
        }
        "AccessDeniedException" => WrappingError::KmsDenied { key_id: key_id.to_owned(), operation },
        _ if is_forbidden => WrappingError::KmsDenied { key_id: key_id.to_owned(), operation },
        _ => WrappingError::Kms { operation, source: error.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrapper(byte: u8) -> KeyWrapper {
        KeyWrapper::local(&SecretString::from(STANDARD.encode([byte; 32]))).unwrap()
    }

    #[tokio::test]
    async fn what_is_wrapped_can_be_unwrapped_in_its_context_only() {
        let (kid, other) = (KeyId::new("one"), KeyId::new("other"));
        let context = EncryptionContext { kid: &kid, purpose: KeyPurpose::AccessToken };
        let private_key = SecretSlice::from(b"private".to_vec());
        let wrapped = wrapper(1).wrap(context, &private_key).await.unwrap();
        assert!(!wrapped.windows(7).any(|window| window == b"private"));
        assert_eq!(wrapper(1).unwrap(context, &wrapped).await.unwrap().expose_secret(), b"private");

        let other_kid = EncryptionContext { kid: &other, ..context };
        assert!(wrapper(1).unwrap(other_kid, &wrapped).await.is_err());
        let other_purpose = EncryptionContext { purpose: KeyPurpose::RefreshToken, ..context };
        assert!(wrapper(1).unwrap(other_purpose, &wrapped).await.is_err());
        assert!(wrapper(2).unwrap(context, &wrapped).await.is_err());
    }

    #[tokio::test]
    async fn what_was_changed_or_cut_cannot_be_unwrapped() {
        let kid = KeyId::new("one");
        let context = EncryptionContext { kid: &kid, purpose: KeyPurpose::AccessToken };
        let wrapped = wrapper(1).wrap(context, &SecretSlice::from(vec![7; 32])).await.unwrap();
        for position in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[position] ^= 1;
            assert!(wrapper(1).unwrap(context, &changed).await.is_err(), "byte {position}");
            assert!(wrapper(1).unwrap(context, &wrapped[..position]).await.is_err(), "cut at {position}");
        }
    }

    #[test]
    fn a_local_wrapping_key_is_32_bytes_in_base64() {
        for key in ["", "short", &STANDARD.encode([0; 31]), &STANDARD.encode([0; 33]), "not base64 at all, is it?"] {
            assert!(KeyWrapper::local(&SecretString::from(key.to_owned())).is_err(), "{key}");
        }
    }
}
