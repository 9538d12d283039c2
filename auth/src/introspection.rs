//! Introspection (RFC 7662) and revocation (RFC 7009) of single tokens, of either kind.
//!
//! The form of a token shows its kind: an access token has three parts, a refresh token five. So the hint that a client
//! may send is not needed to find the token. A revocation ignores it, and a wrong hint does no harm. An introspection
//! answers whether this is a valid token *of that kind*: a resource server that asks about an access token must not
//! learn that a refresh token is active. Without a hint, or with an unknown one, either kind is (RFC 7662 §2.1).

use latchkey_verifier::{AccessTokenClaims, Expected, ExpectedIssuer};

use crate::EpochSeconds;
use crate::authorization::{AccessTokenAuthorizer, AuthorizationError};
use crate::keys::active::ActiveKeyError;
use crate::revocation::Revoked;
use crate::session::{Session, SignedIn};
use crate::sessions::refresh::{StaleToken, current_user};
use crate::sessions::{Sessions, TokenIssuer};
use crate::store::StoreError;
use crate::store::users::UsersTable;
use crate::user::Profile;

/// The state of a token could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenStateError {
    #[error("the state of the token could not be read or changed")]
    Store(#[from] StoreError),
    #[error("the keys of the tokens are not known")]
    Keys(#[from] ActiveKeyError),
}

/// A kind of token (RFC 7009 §2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    Access,
    Refresh,
}

impl TokenKind {
    /// The kind that a `token_type_hint` names; `None` for an unknown hint, which is ignored.
    #[must_use]
    pub fn hinted(hint: &str) -> Option<Self> {
        match hint {
            "access_token" => Some(Self::Access),
            "refresh_token" => Some(Self::Refresh),
            _ => None,
        }
    }

    /// A refresh token has five parts, where an access token has three.
    fn of(token: &str) -> Self {
        if token.bytes().filter(|byte| *byte == b'.').count() == 4 { Self::Refresh } else { Self::Access }
    }
}

#[derive(Debug)]
pub enum ActiveToken {
    Access(AccessTokenClaims),
    /// A refresh token, by its session and the session's user.
    Refresh(Session, Profile),
}

/// Examines and revokes single tokens.
pub struct TokenStates {
    pub authorizer: AccessTokenAuthorizer,
    pub tokens: TokenIssuer,
    pub sessions: Sessions,
    pub users: UsersTable,
    /// `aud` of access tokens.
    pub audience: String,
    /// For how long a refresh token is valid once it has a successor, in seconds.
    pub grace_seconds: u64,
}

impl TokenStates {
    /// The token, if it is of the requested kind and active at this moment: signature, time, denylist and
    /// epoch; for a refresh token its session, generation and user. `None` for any other token.
    ///
    /// # Errors
    /// It could not be found out.
    pub async fn introspect(
        &self,
        token: &str,
        asked: Option<TokenKind>,
        now: EpochSeconds,
    ) -> Result<Option<ActiveToken>, TokenStateError> {
        let kind = TokenKind::of(token);
        if asked.is_some_and(|asked| asked != kind) {
            return Ok(None);
        }
        match kind {
            TokenKind::Access => {
                let expected = Expected { issuer: ExpectedIssuer::OfThisDeployment, audience: &self.audience };
                match self.authorizer.authorize(token, expected, now).await {
                    Ok(claims) => Ok(Some(ActiveToken::Access(claims))),
                    Err(AuthorizationError::Refused(_) | AuthorizationError::Revoked(_)) => Ok(None),
                    Err(AuthorizationError::Store(error)) => Err(error.into()),
                }
            }
            TokenKind::Refresh => self.introspect_refresh_token(token, now).await,
        }
    }

    async fn introspect_refresh_token(
        &self,
        token: &str,
        now: EpochSeconds,
    ) -> Result<Option<ActiveToken>, TokenStateError> {
        let Some(token) = self.tokens.verify_refresh_token(token, now).await? else { return Ok(None) };
        let Some(session) = self.sessions.table.find(&token.sid).await? else { return Ok(None) };
        let is_successor_known =
            || StaleToken::classify(&session, token.generation, now, self.grace_seconds) == StaleToken::SameSuccessor;
        let is_valid = session.is_live_at(now) && (token.generation == session.generation || is_successor_known());
        if !is_valid {
            return Ok(None);
        }
        let user = current_user(&self.users, &session).await?;
        Ok(user.map(|user| ActiveToken::Refresh(session, user)))
    }

    /// Revokes a token. A refresh token ends its session with every access token of it, also one that has a successor
    /// already: its holder holds the session. An access token is revoked alone, whichever host name of this deployment
    /// it was issued by. A token that was not issued here, or is invalid already, is no error (RFC 7009 §2.2).
    ///
    /// # Errors
    /// It is not known to be revoked.
    pub async fn revoke(&self, token: &str, now: EpochSeconds) -> Result<(), TokenStateError> {
        let span = tracing::Span::current();
        // A trailing line break from a file is not part of a token, and must not make the revocation fail
        // silently.
        let token = token.trim();
        if TokenKind::of(token) == TokenKind::Refresh {
            let Some(token) = self.tokens.verify_refresh_token(token, now).await? else { return Ok(()) };
            span.record("sid", token.sid.as_str());
            // A session without an item has ended, and its access tokens were denied with it.
            if let Some(session) = self.sessions.table.find(&token.sid).await? {
                span.record("sub", session.sub.as_str());
                self.sessions.end(&SignedIn::from(&session), now).await?;
            }
            return Ok(());
        }
        let (claims, revocations) = match self.authorizer.issued(token, now).await {
            Ok(issued) => issued,
            Err(AuthorizationError::Refused(_) | AuthorizationError::Revoked(_)) => return Ok(()),
            Err(AuthorizationError::Store(error)) => return Err(error.into()),
        };
        span.record("sub", &claims.sub);
        span.record("sid", &claims.sid);
        span.record("jti", &claims.jti);
        let is_revoked = match revocations.check(&claims) {
            Ok(()) | Err(Revoked::TooMany) => false,
            Err(Revoked::Token | Revoked::Session | Revoked::Epoch) => true,
        };
        if claims.exp > now && !is_revoked {
            self.sessions.accounts.deny_token(&claims, &revocations, now).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kind_of_a_token_is_seen_by_its_parts_and_a_hint_that_is_not_known_is_none() {
        assert_eq!(TokenKind::of("1.k.s.0.m"), TokenKind::Refresh);
        for token in ["", "h.c.s", "h.c", "a.b.c.d", "a.b.c.d.e.f"] {
            assert_eq!(TokenKind::of(token), TokenKind::Access, "{token}");
        }
        assert_eq!(TokenKind::hinted("access_token"), Some(TokenKind::Access));
        assert_eq!(TokenKind::hinted("refresh_token"), Some(TokenKind::Refresh));
        for hint in ["", "id_token", "Access_Token", "access_token "] {
            assert_eq!(TokenKind::hinted(hint), None, "{hint}");
        }
    }
}
