//! Sealing: private keys are stored so that only functions that sign can read them.
//!
//! Every private key passes through [`Sealer`], bound to an [`EncryptionContext`] that names what it is. A sealed key moved
//! to another item does not open.

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use zeroize::Zeroizing;

use super::KeyPurpose;

/// First byte of what the local key sealed.
const LOCAL_VERSION: u8 = 1;

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

/// Seals with an AES-256-GCM key of its own. It cannot print.
pub struct Sealer {
    key: RandomizedNonceKey,
}

impl Sealer {
    /// Takes the key as it is configured: 32 bytes in base64.
    ///
    /// # Errors
    /// It is something else.
    pub fn local(key: &SecretString) -> Result<Self, SealingError> {
        let key = STANDARD.decode(key.expose_secret()).map(Zeroizing::new).map_err(|_| SealingError::MalformedKey)?;
        RandomizedNonceKey::new(&AES_256_GCM, &key).map(|key| Self { key }).map_err(|_| SealingError::MalformedKey)
    }

    /// Seals a private key: version, nonce, ciphertext and tag.
    ///
    /// # Errors
    /// The cipher failed.
    #[expect(clippy::unused_async, reason = "a seal may be another service's, which answers over the network")]
    pub async fn seal(
        &self,
        context: EncryptionContext<'_>,
        private_key: &SecretSlice<u8>,
    ) -> Result<Vec<u8>, SealingError> {
        let mut sealed = Zeroizing::new(private_key.expose_secret().to_vec());
        let nonce = self
            .key
            .seal_in_place_append_tag(context.additional_data(), &mut *sealed)
            .map_err(|_| SealingError::Seal { kid: context.kid.to_owned() })?;
        Ok([&[LOCAL_VERSION], nonce.as_ref().as_slice(), &sealed].concat())
    }

    /// Opens what [`Sealer::seal`] made for the same context.
    ///
    /// # Errors
    /// It was made by another key, for another context, or was changed.
    #[expect(clippy::unused_async, reason = "a seal may be another service's, which answers over the network")]
    pub async fn open(&self, context: EncryptionContext<'_>, sealed: &[u8]) -> Result<SecretSlice<u8>, SealingError> {
        let refused = || SealingError::Open { kid: context.kid.to_owned(), purpose: context.purpose };
        let Some((&LOCAL_VERSION, rest)) = sealed.split_first() else { return Err(refused()) };
        let Some((nonce, ciphertext)) = rest.split_at_checked(NONCE_LEN) else { return Err(refused()) };
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
        let mut buffer = Zeroizing::new(ciphertext.to_vec());
        let opened = self.key.open_in_place(nonce, context.additional_data(), &mut buffer).map_err(|_| refused())?;
        Ok(SecretSlice::from(opened.to_vec()))
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
