//! Issues access tokens.

use jsonwebtoken::Header;
use latchkey_verifier::{ACCESS_TOKEN_TYPE, AccessTokenClaims, MAX_TOKEN_BYTES};
use secrecy::SecretString;

use crate::EpochSeconds;
use crate::id::{ClientId, UserId};
use crate::keys::signing::TokenSigner;
use crate::random::{self, Random, RandomError};
use crate::roles::Role;
use crate::session::Session;
use crate::user::Profile;

/// By how many seconds `nbf` is earlier than `iat`. Clocks of other verifiers may be behind, and many allow no
/// leeway (RFC 7519 §4.1.5 leaves it to them).
pub const NBF_BACKDATE_SECONDS: u64 = 5;

/// A token could not be issued.
#[derive(Debug, thiserror::Error)]
pub enum IssueError {
    /// No id for it.
    #[error("no id for the token")]
    Random(#[from] RandomError),
    /// The key could not sign.
    #[error("the token could not be signed")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// The verifier would reject it for its length. Only roles from before the limit make a token so long.
    #[error(
        "the access token of the user {sub} would have {bytes} bytes, and the verifier accepts {MAX_TOKEN_BYTES}; \
         `latchkey user set-roles` gives the user fewer roles"
    )]
    TooLong { sub: UserId, bytes: usize },
}

/// Issues the access tokens of one audience.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// `aud`.
    pub audience: String,
    /// `exp - iat`, in seconds.
    pub lifetime_seconds: u64,
}

impl Issuer {
    /// A signed access token for a user's session, valid from `now` for the configured lifetime. It carries the user's
    /// current roles.
    ///
    /// # Errors
    /// No random id could be made, the key could not sign, or the token is longer than the verifier accepts.
    pub fn issue(
        &self,
        signer: &TokenSigner,
        iss: &str,
        user: &Profile,
        session: &Session,
        now: EpochSeconds,
        random: &Random,
    ) -> Result<SecretString, IssueError> {
        let claims = AccessTokenClaims {
            iss: iss.to_owned(),
            sub: user.user_id.to_string(),
            aud: self.audience.clone(),
            exp: now + self.lifetime_seconds,
            iat: now,
            nbf: now - NBF_BACKDATE_SECONDS,
            jti: random::identifier(random)?,
            client_id: ClientId::first_party().into_inner(),
            sid: session.sid.to_string(),
            username: user.username.to_string(),
            roles: user.roles.iter().map(Role::to_string).collect(),
            epoch: session.epoch,
        };
        let mut header = Header::new(signer.algorithm().into());
        header.typ = Some(ACCESS_TOKEN_TYPE.to_owned());
        header.kid = Some(signer.kid().to_string());
        let token = jsonwebtoken::encode(&header, &claims, signer.key()).map_err(IssueError::Sign)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(IssueError::TooLong { sub: user.user_id.clone(), bytes: token.len() });
        }
        Ok(SecretString::from(token))
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use latchkey_verifier::{Expected, ExpectedIssuer, KeySet, Refusal, SigningAlgorithm, VerificationKey, verify};
    use secrecy::ExposeSecret as _;

    use super::*;
    use crate::id::{KeyId, SessionId};
    use crate::keys::generation::generate;
    use crate::keys::wrapping::{EncryptionContext, KeyWrapper};
    use crate::roles::Roles;
    use crate::session::Origin;
    use crate::signing_key::{KeyKind, KeyRecord};
    use crate::user::UserStatus;
    use crate::username::Username;

    const NOW: EpochSeconds = EpochSeconds::new(1_800_000_000);

    async fn key(algorithm: SigningAlgorithm) -> (TokenSigner, KeyRecord) {
        let wrapper = KeyWrapper::local(&SecretString::from(STANDARD.encode([1; 32]))).unwrap();
        let kind = KeyKind::AccessToken(algorithm);
        let key = generate(kind, NOW, NOW + 1000, &wrapper).await.unwrap();
        let context = EncryptionContext { kid: &key.record.kid, purpose: kind.purpose() };
        let secret = wrapper.unwrap(context, &key.wrapped_private_key).await.unwrap();
        (TokenSigner::new(key.record.kid.clone(), algorithm, &secret), key.record)
    }

    fn user(id: &str, username: &str, roles: &[Role]) -> Profile {
        Profile {
            username: Username::from_stored(username),
            user_id: UserId::new(id),
            roles: roles.to_vec(),
            status: UserStatus::Enabled,
            epoch: u32::MAX.into(),
        }
    }

    fn session(id: &str, user: &Profile) -> Session {
        let sid = SessionId::new(id);
        Session::begin(sid, user, &Origin::default(), NOW)
    }

    fn issue(signer: &TokenSigner, username: &str, roles: &[Role]) -> Result<SecretString, IssueError> {
        let issuer = Issuer { audience: "https://api.example.com/".repeat(4), lifetime_seconds: 900 };
        let id = "AAAAAAAAAAAAAAAAAAAAAA";
        let (iss, user) = (format!("https://{}.example", "a".repeat(240)), user(id, username, roles));
        issuer.issue(signer, &iss, &user, &session(id, &user), NOW, &SystemRandom::new())
    }

    fn roles(count: usize, length: usize) -> Vec<Role> {
        (0..count).map(|number| Role::from_stored(format!("{number:0length$}"))).collect()
    }

    #[tokio::test]
    async fn an_issued_token_gives_the_claims_of_its_subject() {
        const ISSUER: &str = "https://api.example.com";
        let (signer, record) = key(SigningAlgorithm::Es256).await;
        let keys: KeySet =
            [VerificationKey::from_jwk(record.public_jwk.as_deref().unwrap()).unwrap()].into_iter().collect();
        let issuer = Issuer { audience: "latchkey".to_owned(), lifetime_seconds: 900 };
        let user = user("s", "alice", &[Role::from_stored("user")]);
        let session = Session { epoch: 3, ..session("i", &user) };
        let token = issuer.issue(&signer, ISSUER, &user, &session, NOW, &SystemRandom::new()).unwrap();
        let expected = Expected { issuer: ExpectedIssuer::Exactly(ISSUER), audience: "latchkey" };
        let claims = verify(token.expose_secret(), &keys, expected, NOW).unwrap();
        let expected = AccessTokenClaims {
            iss: ISSUER.to_owned(),
            sub: "s".to_owned(),
            aud: "latchkey".to_owned(),
            exp: NOW + 900,
            iat: NOW,
            nbf: NOW - 5,
            // Another for each token.
            jti: claims.jti.clone(),
            client_id: "latchkey".to_owned(),
            sid: "i".to_owned(),
            username: "alice".to_owned(),
            roles: vec!["user".to_owned()],
            epoch: 3,
        };
        assert_eq!(claims, expected);
    }

    #[tokio::test]
    async fn a_refresh_token_is_no_access_token_and_the_reverse() {
        use crate::keys::signing::RefreshTokenKey;
        use crate::token::refresh::{self, Unverified};

        let (signer, _) = key(SigningAlgorithm::Es256).await;
        let secret = vec![1; 32].into();
        let refresh = refresh::issue(&RefreshTokenKey::new(KeyId::new("k"), &secret), &SessionId::new("s"), 7);
        let expected = Expected { issuer: ExpectedIssuer::OfThisDeployment, audience: "latchkey" };
        let verified = verify(refresh.expose_secret(), &KeySet::default(), expected, NOW);
        assert_eq!(verified, Err(Refusal::NotThreeParts));
        let access = issue(&signer, "alice", &[]).unwrap();
        assert!(Unverified::parse(access.expose_secret()).is_none());
    }

    #[tokio::test]
    async fn a_token_with_the_most_roles_fits_into_a_cookie() {
        let roles = Roles::new(roles(33, 28)).unwrap();
        // 64 code points of four bytes each.
        let username = "\u{20000}".repeat(64);
        for algorithm in
            [SigningAlgorithm::Es256, SigningAlgorithm::Rs256, SigningAlgorithm::EdDsa, SigningAlgorithm::Hs256]
        {
            let token = issue(&key(algorithm).await.0, &username, roles.as_slice()).unwrap();
            let length = token.expose_secret().len();
            assert!(length < 4096 - 256, "{algorithm:?}: {length}, and a cookie has a name and attributes too");
        }
    }

    #[tokio::test]
    async fn a_token_that_the_verifier_would_refuse_for_its_length_is_not_issued() {
        let (signer, _) = key(SigningAlgorithm::Es256).await;
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
        assert_eq!(sub.as_str(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert!((MAX_TOKEN_BYTES + 1..=MAX_TOKEN_BYTES + 90).contains(&bytes), "{bytes}");
    }
}
