//! Making access tokens.

use jsonwebtoken::Header;
use secrecy::SecretString;

use super::claims::{ACCESS_TOKEN_TYPE, AccessTokenClaims, FIRST_PARTY_CLIENT_ID};
use crate::clock::EpochSeconds;
use crate::keys::signing::TokenSigner;
use crate::random::{self, Random, RandomError};

/// By how many seconds `nbf` is earlier than `iat`. Verifiers elsewhere have clocks that are behind, and many allow no leeway
/// (RFC 7519 §4.1.5 leaves it to them).
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
    /// No random id could be made, or the key could not sign.
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
        jsonwebtoken::encode(&header, &claims, signer.key()).map(SecretString::from).map_err(IssueError::Sign)
    }
}
