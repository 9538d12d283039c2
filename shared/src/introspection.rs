//! Introspection (RFC 7662) and revocation (RFC 7009) of single tokens, of either kind.
//!
//! Which kind a token is can be seen: an access token has three parts, a refresh token five. So the hint that a client may give
//! is not needed, and a wrong one does no harm.

use crate::authorization::{AccessTokenAuthorizer, AuthorizationError};
use crate::clock::EpochSeconds;
use crate::keys::active::{ActiveKeyCache, ActiveKeyError};
use crate::session::{self, rotation};
use crate::store::StoreError;
use crate::store::denylist::{DenylistTable, Revocation};
use crate::store::sessions::{Session, SessionsTable};
use crate::store::users::{User, UsersTable};
use crate::token::claims::AccessTokenClaims;
use crate::token::verifier::{Expected, LEEWAY_SECONDS};

/// What could not be found out or done about a token.
#[derive(Debug, thiserror::Error)]
pub enum TokenStateError {
    /// A table did not answer.
    #[error("the state of the token could not be read or changed")]
    Store(#[from] StoreError),
    /// The keys are not known.
    #[error("the keys of the tokens are not known")]
    Keys(#[from] ActiveKeyError),
}

/// A token that counts.
#[derive(Debug)]
pub enum ActiveToken {
    /// An access token.
    Access(AccessTokenClaims),
    /// A refresh token: its session, and the session's user.
    Refresh(Session, User),
}

/// Where the state of tokens is.
#[derive(Clone, Copy)]
pub struct TokenStates<'a> {
    /// What decides about access tokens.
    pub authorizer: &'a AccessTokenAuthorizer,
    /// What authenticates refresh tokens.
    pub keys: &'a ActiveKeyCache,
    /// The sessions of refresh tokens.
    pub sessions: &'a SessionsTable,
    /// Whose they are.
    pub users: &'a UsersTable,
    /// Where access tokens are denied.
    pub denylist: &'a DenylistTable,
    /// `iss` and `aud` of access tokens.
    pub expected: Expected<'a>,
    /// For how long a refresh token counts once it has a successor, in seconds.
    pub grace_seconds: EpochSeconds,
}

impl TokenStates<'_> {
    /// The token, if it counts at this moment: signature, time, denylist and epoch; for a refresh token its session,
    /// generation and user. `None` for every other, whatever the reason.
    ///
    /// # Errors
    /// It could not be found out.
    pub async fn introspect(&self, token: &str, now: EpochSeconds) -> Result<Option<ActiveToken>, TokenStateError> {
        if !is_refresh_token(token) {
            return match self.authorizer.authorize(token, self.expected, now).await {
                Ok(claims) => Ok(Some(ActiveToken::Access(claims))),
                Err(AuthorizationError::Refused(_)) => Ok(None),
                Err(AuthorizationError::Store(error)) => Err(error.into()),
            };
        }
        let Some(token) = rotation::verify(self.keys, token, now).await? else { return Ok(None) };
        let Some(session) = self.sessions.find(&token.sid).await? else { return Ok(None) };
        let counts = session.is_live_at(now)
            && (token.generation == session.generation
                || rotation::judge(&session, token.generation, now, self.grace_seconds)
                    == rotation::Verdict::SameSuccessor);
        if !counts {
            return Ok(None);
        }
        let user = rotation::live_user(self.users, &session).await?;
        Ok(user.map(|user| ActiveToken::Refresh(session, user)))
    }

    /// Makes a token invalid. A refresh token ends its session with every access token of it, also one that has a successor
    /// already: whoever holds it holds the session. An access token is denied alone. A token that is none of ours, or is
    /// dead already, is no error (RFC 7009 §2.2).
    ///
    /// # Errors
    /// It is not known to be invalid.
    pub async fn revoke(&self, token: &str, now: EpochSeconds) -> Result<(), TokenStateError> {
        if is_refresh_token(token) {
            let Some(token) = rotation::verify(self.keys, token, now).await? else { return Ok(()) };
            tracing::Span::current().record("sid", &token.sid);
            // A session without an item has ended, and its access tokens were denied with it.
            if let Some(session) = self.sessions.find(&token.sid).await? {
                tracing::Span::current().record("sub", &session.sub);
                session::end(self.sessions, self.denylist, &session.sub, &session.sid, now).await?;
            }
            return Ok(());
        }
        let claims = match self.authorizer.authorize(token, self.expected, now).await {
            Ok(claims) => claims,
            Err(AuthorizationError::Refused(_)) => return Ok(()),
            Err(AuthorizationError::Store(error)) => return Err(error.into()),
        };
        let span = tracing::Span::current();
        span.record("sub", &claims.sub);
        span.record("sid", &claims.sid);
        span.record("jti", &claims.jti);
        // DynamoDB, which deletes, may have a clock ahead of the function that verifies.
        let expires_at = claims.exp.saturating_add(LEEWAY_SECONDS);
        self.denylist.deny(&claims.sub, &Revocation::Token(claims.jti), expires_at).await?;
        Ok(())
    }
}

/// Five parts, where an access token has three.
fn is_refresh_token(token: &str) -> bool {
    token.bytes().filter(|byte| *byte == b'.').count() == 4
}
