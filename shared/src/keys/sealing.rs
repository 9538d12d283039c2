//! Sealing: private keys are stored so that only functions that sign can read them.
//!
//! Every private key passes through [`Sealer`], bound to an [`EncryptionContext`] that names what it is. A sealed key moved
//! to another item does not open. In AWS the seal is a KMS key's, which never leaves KMS; on a laptop it is a local AES-256-GCM
//! key. The first byte of what was sealed says which of the two.

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

use super::KeyPurpose;
use crate::config::SealingConfig;

/// First byte of what a local key sealed.
const LOCAL_VERSION: u8 = 1;
/// First byte of what KMS sealed.
const KMS_VERSION: u8 = 2;

/// Sealing or opening failed.
#[derive(Debug, thiserror::Error)]
pub enum SealingError {
    /// The sealing key is not 32 bytes in base64.
    #[error("LATCHKEY_SEALING_KEY is not 32 bytes in base64; make one with `openssl rand -base64 32`")]
    MalformedKey,
    /// The private key could not be sealed.
    #[error("the key {kid} could not be sealed")]
    Seal {
        /// Which key.
        kid: String,
    },
    /// The seal does not open: another sealing key made it, or it was made for another key, or it was changed.
    #[error("the sealed key {kid} ({purpose}) does not open with this sealing key")]
    Open {
        /// Which key.
        kid: String,
        /// What it is for.
        purpose: KeyPurpose,
    },
    /// The KMS key is not there, or is switched off.
    #[error("the KMS key {key_id} is missing or disabled ({code}); LATCHKEY_KMS_KEY_ID names it")]
    KmsKey {
        /// Which KMS key.
        key_id: String,
        /// What KMS said.
        code: String,
    },
    /// The role may not use the KMS key.
    #[error("this role may not call kms:{operation} with the key {key_id}")]
    KmsDenied {
        /// Which KMS key.
        key_id: String,
        /// What was called.
        operation: &'static str,
    },
    /// KMS did not answer, or refused for another reason.
    #[error("KMS did not answer {operation}")]
    Kms {
        /// What was called.
        operation: &'static str,
        /// Why.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
}

/// What a sealed key is, authenticated together with it.
#[derive(Clone, Copy, Debug)]
pub struct EncryptionContext<'a> {
    /// The key's id.
    pub kid: &'a str,
    /// What it is for.
    pub purpose: KeyPurpose,
}

impl EncryptionContext<'_> {
    /// Unambiguous: neither part can hold a zero byte.
    fn additional_data(&self) -> Aad<Vec<u8>> {
        Aad::from([self.purpose.as_str().as_bytes(), &[0], self.kid.as_bytes()].concat())
    }
}

/// Seals and opens. It cannot print.
pub struct Sealer(Seal);

enum Seal {
    Local(RandomizedNonceKey),
    Kms { client: aws_sdk_kms::Client, key_id: String },
}

impl Sealer {
    /// What the environment asks for.
    ///
    /// # Errors
    /// The local key is malformed.
    pub fn new(config: &SealingConfig, sdk_config: &SdkConfig) -> Result<Self, SealingError> {
        match config {
            SealingConfig::Local(key) => Self::local(key),
            SealingConfig::Kms(key_id) => Ok(Self::kms(aws_sdk_kms::Client::new(sdk_config), key_id.clone())),
        }
    }

    /// Takes the key as it is configured: 32 bytes in base64.
    ///
    /// # Errors
    /// It is something else.
    pub fn local(key: &SecretString) -> Result<Self, SealingError> {
        let key = STANDARD.decode(key.expose_secret()).map(Zeroizing::new).map_err(|_| SealingError::MalformedKey)?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key).map_err(|_| SealingError::MalformedKey)?;
        Ok(Self(Seal::Local(key)))
    }

    /// Seals with a symmetric KMS key, by its id, its ARN or an alias.
    #[must_use]
    pub fn kms(client: aws_sdk_kms::Client, key_id: String) -> Self {
        Self(Seal::Kms { client, key_id })
    }

    /// Seals a private key: a byte for the kind of seal, then what the kind makes of it. KMS takes up to 4096 bytes.
    ///
    /// # Errors
    /// The cipher failed, or KMS refused or did not answer.
    pub async fn seal(
        &self,
        context: EncryptionContext<'_>,
        private_key: &SecretSlice<u8>,
    ) -> Result<Vec<u8>, SealingError> {
        match &self.0 {
            Seal::Local(key) => {
                let mut sealed = Zeroizing::new(private_key.expose_secret().to_vec());
                let nonce = key
                    .seal_in_place_append_tag(context.additional_data(), &mut *sealed)
                    .map_err(|_| SealingError::Seal { kid: context.kid.to_owned() })?;
                Ok([&[LOCAL_VERSION], nonce.as_ref().as_slice(), &sealed].concat())
            }
            Seal::Kms { client, key_id } => {
                let answer = client
                    .encrypt()
                    .key_id(key_id)
                    .plaintext(Blob::new(private_key.expose_secret()))
                    .encryption_context("kid", context.kid)
                    .encryption_context("purpose", context.purpose.as_str())
                    .send()
                    .await
                    .map_err(|error| kms_error("Encrypt", key_id, context, error))?;
                let ciphertext = answer.ciphertext_blob.unwrap_or_default().into_inner();
                if ciphertext.is_empty() {
                    return Err(SealingError::Seal { kid: context.kid.to_owned() });
                }
                Ok([&[KMS_VERSION], ciphertext.as_slice()].concat())
            }
        }
    }

    /// Opens what [`Sealer::seal`] made for the same context.
    ///
    /// # Errors
    /// It was made by another key, for another context, or was changed; or KMS refused or did not answer.
    pub async fn open(&self, context: EncryptionContext<'_>, sealed: &[u8]) -> Result<SecretSlice<u8>, SealingError> {
        let refused = || SealingError::Open { kid: context.kid.to_owned(), purpose: context.purpose };
        let (version, rest) = sealed.split_first().ok_or_else(refused)?;
        match (&self.0, *version) {
            (Seal::Local(key), LOCAL_VERSION) => {
                let (nonce, ciphertext) = rest.split_at_checked(NONCE_LEN).ok_or_else(refused)?;
                let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
                let mut buffer = Zeroizing::new(ciphertext.to_vec());
                let opened = key.open_in_place(nonce, context.additional_data(), &mut buffer).map_err(|_| refused())?;
                Ok(SecretSlice::from(opened.to_vec()))
            }
            (Seal::Kms { client, key_id }, KMS_VERSION) => {
                let answer = client
                    .decrypt()
                    // Named, so that a seal of another key of the account does not open (AWS KMS, Decrypt).
                    .key_id(key_id)
                    .ciphertext_blob(Blob::new(rest))
                    .encryption_context("kid", context.kid)
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

/// What an answer of KMS means.
fn kms_error<E>(
    operation: &'static str,
    key_id: &str,
    context: EncryptionContext<'_>,
    error: SdkError<E, HttpResponse>,
) -> SealingError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code).unwrap_or_default();
    let is_forbidden = error.raw_response().is_some_and(|response| response.status().as_u16() == 403);
    match code {
        "InvalidCiphertextException" | "IncorrectKeyException" => {
            SealingError::Open { kid: context.kid.to_owned(), purpose: context.purpose }
        }
        "NotFoundException" | "DisabledException" | "KMSInvalidStateException" | "InvalidKeyUsageException" => {
            SealingError::KmsKey { key_id: key_id.to_owned(), code: code.to_owned() }
        }
        "AccessDeniedException" => SealingError::KmsDenied { key_id: key_id.to_owned(), operation },
        _ if is_forbidden => SealingError::KmsDenied { key_id: key_id.to_owned(), operation },
        _ => SealingError::Kms { operation, source: error.into() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: EncryptionContext<'_> = EncryptionContext { kid: "one", purpose: KeyPurpose::AccessToken };

    fn sealer(byte: u8) -> Sealer {
        Sealer::local(&SecretString::from(STANDARD.encode([byte; 32]))).unwrap()
    }

    #[tokio::test]
    async fn what_is_sealed_opens_in_its_context_only() {
        let private_key = SecretSlice::from(b"private".to_vec());
        let sealed = sealer(1).seal(CONTEXT, &private_key).await.unwrap();
        assert!(!sealed.windows(7).any(|window| window == b"private"));
        assert_eq!(sealer(1).open(CONTEXT, &sealed).await.unwrap().expose_secret(), b"private");

        let other_kid = EncryptionContext { kid: "other", ..CONTEXT };
        assert!(sealer(1).open(other_kid, &sealed).await.is_err());
        let other_purpose = EncryptionContext { purpose: KeyPurpose::RefreshToken, ..CONTEXT };
        assert!(sealer(1).open(other_purpose, &sealed).await.is_err());
        assert!(sealer(2).open(CONTEXT, &sealed).await.is_err());
    }

    #[tokio::test]
    async fn a_changed_or_cut_seal_does_not_open() {
        let sealed = sealer(1).seal(CONTEXT, &SecretSlice::from(vec![7; 32])).await.unwrap();
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert!(sealer(1).open(CONTEXT, &changed).await.is_err(), "byte {position}");
            assert!(sealer(1).open(CONTEXT, &sealed[..position]).await.is_err(), "cut at {position}");
        }
    }

    #[test]
    fn a_sealing_key_is_32_bytes_in_base64() {
        for key in ["", "short", &STANDARD.encode([0; 31]), &STANDARD.encode([0; 33]), "not base64 at all, is it?"] {
            assert!(Sealer::local(&SecretString::from(key.to_owned())).is_err(), "{key}");
        }
    }
}
