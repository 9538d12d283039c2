//! Making access tokens.

use jsonwebtoken::Header;
use secrecy::SecretString;

use super::claims::{ACCESS_TOKEN_TYPE, AccessTokenClaims, FIRST_PARTY_CLIENT_ID};
use super::verifier::MAX_TOKEN_BYTES;
use crate::clock::EpochSeconds;
use crate::keys::signing::TokenSigner;
use crate::random::{self, Random, RandomError};

/// By how many seconds `nbf` is earlier than `iat`. Verifiers elsewhere have clocks that are behind, and many allow no
/// leeway (RFC 7519 §4.1.5 leaves it to them).
pub const NBF_BACKDATE_SECONDS: EpochSeconds = 5;

/// A token could not be made.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// No id for it.
    #[error("no id for the token")]
    Random(#[from] RandomError),
    /// The key refused.
    #[error("the token could not be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// The verifier would refuse it for its length. Only roles that were set before they had a limit make one so long.
    #[error(
        "the access token of the user {sub} would have {bytes} bytes, and the verifier accepts {MAX_TOKEN_BYTES}; \
         `latchkey user set-roles` gives the user fewer roles"
    )]
    TooLong {
        /// The user's id.
        sub: String,
        /// The length of the token.
        bytes: usize,
    },
}

/// Whose access token this is to be.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The user's id.
    pub sub: &'a str,
    /// The user's name.
    pub username: &'a str,
    /// The user's roles.
    pub roles: &'a [String],
    /// The user's epoch.
    pub epoch: u64,
    /// The session.
    pub sid: &'a str,
}

/// Makes the access tokens of one audience.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// `aud`.
    pub audience: String,
    /// `exp - iat`, in seconds.
    pub lifetime_seconds: EpochSeconds,
}

impl Issuer {
    /// A signed access token for `subject`, valid from `now` for the configured lifetime.
    ///
    /// # Errors
    /// No random id could be made, the key could not sign, or the token is longer than the verifier accepts.
    pub fn issue(
        &self,
        signer: &TokenSigner,
        iss: &str,
        subject: Subject<'_>,
        now: EpochSeconds,
        random: &Random,
    ) -> Result<SecretString, IssueError> {
        let claims = AccessTokenClaims {
            iss: iss.to_owned(),
            sub: subject.sub.to_owned(),
            aud: self.audience.clone(),
            exp: now.saturating_add(self.lifetime_seconds),
            iat: now,
            nbf: now.saturating_sub(NBF_BACKDATE_SECONDS),
            jti: random::identifier(random)?,
            client_id: FIRST_PARTY_CLIENT_ID.to_owned(),
            sid: subject.sid.to_owned(),
            username: subject.username.to_owned(),
            roles: subject.roles.to_vec(),
            epoch: subject.epoch,
        };
        let mut header = Header::new(signer.algorithm().into());
        header.typ = Some(ACCESS_TOKEN_TYPE.to_owned());
        header.kid = Some(signer.kid().to_owned());
        let token = jsonwebtoken::encode(&header, &claims, signer.key()).map_err(IssueError::Sign)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(IssueError::TooLong { sub: claims.sub, bytes: token.len() });
        }
        Ok(SecretString::from(token))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::keys::KeyKind;
    use crate::keys::algorithm::SigningAlgorithm;
    use crate::keys::generation::generate;
    use crate::keys::sealing::{EncryptionContext, Sealer};
    use crate::roles::Roles;

    const NOW: EpochSeconds = 1_800_000_000;

    async fn signer(algorithm: SigningAlgorithm) -> TokenSigner {
        let sealer = Sealer::local(&SecretString::from(STANDARD.encode([1; 32]))).unwrap();
        let kind = KeyKind::AccessToken(algorithm);
        let key = generate(kind, NOW, NOW + 1000, &sealer).await.unwrap();
        let context = EncryptionContext { kid: &key.record.kid, purpose: kind.purpose() };
        let secret = sealer.open(context, &key.sealed_private_key).await.unwrap();
        TokenSigner::new(key.record.kid, algorithm, &secret)
    }

    fn issue(signer: &TokenSigner, username: &str, roles: &[String]) -> Result<SecretString, IssueError> {
        let issuer = Issuer { audience: "https://api.example.com/".repeat(4), lifetime_seconds: 900 };
        let id = "AAAAAAAAAAAAAAAAAAAAAA";
        let subject = Subject { sub: id, username, roles, epoch: u64::from(u32::MAX), sid: id };
        issuer.issue(signer, &format!("https://{}.example", "a".repeat(240)), subject, NOW, &SystemRandom::new())
    }

    fn roles(count: usize, length: usize) -> Vec<String> {
        (0..count).map(|number| format!("{number:0length$}")).collect()
    }

    #[tokio::test]
    async fn a_token_with_the_most_roles_fits_into_a_cookie() {
        let roles = Roles::new(roles(33, 28)).unwrap();
        // 64 code points of four bytes each.
        let username = "\u{20000}".repeat(64);
        for algorithm in
            [SigningAlgorithm::Es256, SigningAlgorithm::Rs256, SigningAlgorithm::EdDsa, SigningAlgorithm::Hs256]
        {
            let token = issue(&signer(algorithm).await, &username, roles.as_slice()).unwrap();
            let length = token.expose_secret().len();
            assert!(length < 4096 - 256, "{algorithm:?}: {length}, and a cookie has a name and attributes too");
        }
    }

    #[tokio::test]
    async fn a_token_that_the_verifier_would_refuse_for_its_length_is_not_issued() {
        let signer = signer(SigningAlgorithm::Es256).await;
        let (mut longest, mut refused) = (0, None);
        for count in 60..110 {
            match issue(&signer, "alice", &roles(count, 64)) {
                Ok(token) => longest = token.expose_secret().len(),
                Err(error) => {
                    refused = Some(error);
                    break;
                }
            }
        }
        // Another role of 64 bytes makes 89 or 90 characters.
        assert!((MAX_TOKEN_BYTES - 90..=MAX_TOKEN_BYTES).contains(&longest), "{longest}");
        let Some(IssueError::TooLong { sub, bytes }) = refused else { panic!("{refused:?}") };
        assert_eq!(sub, "AAAAAAAAAAAAAAAAAAAAAA");
        assert!((MAX_TOKEN_BYTES + 1..=MAX_TOKEN_BYTES + 90).contains(&bytes), "{bytes}");
    }
}
