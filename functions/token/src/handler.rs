//! Request in, response out.

use aws_lc_rs::rand::SystemRandom;
use http::{Response, StatusCode};
use lambda_http::{Body, Request};
use serde_json::{Value, json};
use shared::authorization::AccessTokenAuthorizer;
use shared::clock::{self, EpochSeconds};
use shared::config::TokenParties;
use shared::http::error::ApiError;
use shared::http::form::Form;
use shared::http::request::{self, caller};
use shared::http::response;
use shared::introspection::{ActiveToken, TokenKind, TokenStates};
use shared::keys::active::ActiveKeyCache;
use shared::session::rotation::{Refresh, refresh};
use shared::store::denylist::DenylistTable;
use shared::store::sessions::SessionsTable;
use shared::store::users::UsersTable;
use shared::throttle::Throttle;
use shared::token::claims::FIRST_PARTY_CLIENT_ID;
use shared::token::issuer::Issuer;

/// Roles that may introspect tokens: of a resource server, and of a person who looks into something.
const SERVICE: &str = "service";
const ADMIN: &str = "admin";

/// What the OAuth endpoints need.
pub(crate) struct TokenEndpoints {
    pub(crate) users: UsersTable,
    pub(crate) sessions: SessionsTable,
    pub(crate) denylist: DenylistTable,
    pub(crate) throttle: Throttle,
    pub(crate) authorizer: AccessTokenAuthorizer,
    pub(crate) keys: ActiveKeyCache,
    pub(crate) random: SystemRandom,
    pub(crate) parties: TokenParties,
    pub(crate) issuer: Issuer,
    pub(crate) grace_seconds: EpochSeconds,
}

impl TokenEndpoints {
    /// One of the three.
    pub(crate) async fn handle(&self, request: Request) -> Result<Response<Body>, ApiError> {
        let now = clock::now();
        let span = tracing::Span::current();
        match request::route_key(&request) {
            Some("POST /token") => self.refresh(&request, now).await,
            Some("POST /revoke") => {
                span.record("event", "revoke");
                self.revoke(&request, now).await
            }
            Some("POST /introspect") => {
                span.record("event", "introspect");
                self.introspect(&request, now).await
            }
            _ => Err(ApiError::NoRoute),
        }
    }

    /// The next tokens for a refresh token (RFC 6749 §6).
    async fn refresh(&self, request: &Request, now: EpochSeconds) -> Result<Response<Body>, ApiError> {
        let iss = request::issuer(request, &self.parties)?;
        let form = Form::read(request)?;
        if form.required("grant_type")? != "refresh_token" {
            return Err(ApiError::UnsupportedGrantType);
        }
        check_client(&form)?;
        if form.get("scope").is_some() {
            return Err(ApiError::InvalidScope);
        }
        let with = Refresh {
            sessions: &self.sessions,
            denylist: &self.denylist,
            users: &self.users,
            keys: &self.keys,
            issuer: &self.issuer,
            iss: &iss,
            random: &self.random,
            grace_seconds: self.grace_seconds,
        };
        match refresh(with, form.required("refresh_token")?, now).await {
            Ok(tokens) => response::tokens(&tokens),
            Err(error) => {
                if error.is_suspicious() {
                    let network = request::network(request);
                    self.throttle.count("refresh", network.as_ref(), now).await?;
                }
                Err(error.into())
            }
        }
    }

    /// 200 once the token is invalid, whatever it was (RFC 7009 §2.2).
    async fn revoke(&self, request: &Request, now: EpochSeconds) -> Result<Response<Body>, ApiError> {
        let form = Form::read(request)?;
        check_client(&form)?;
        self.token_states().revoke(form.required("token")?, now).await?;
        Ok(response::empty(StatusCode::OK))
    }

    /// What a token is worth at this moment (RFC 7662 §2.2), for those who may ask.
    async fn introspect(&self, request: &Request, now: EpochSeconds) -> Result<Response<Body>, ApiError> {
        let caller = caller(request)?;
        if !caller.has_role(SERVICE) && !caller.has_role(ADMIN) {
            return Err(ApiError::InsufficientScope(SERVICE));
        }
        let form = Form::read(request)?;
        let iss = request::issuer(request, &self.parties)?;
        let asked = form.get("token_type_hint").and_then(TokenKind::hinted);
        let token = self.token_states().introspect(form.required("token")?, asked, now).await?;
        response::json(StatusCode::OK, &token.map_or_else(|| json!({ "active": false }), |token| state(token, &iss)))
    }

    fn token_states(&self) -> TokenStates<'_> {
        TokenStates {
            authorizer: &self.authorizer,
            keys: &self.keys,
            sessions: &self.sessions,
            users: &self.users,
            denylist: &self.denylist,
            audience: &self.parties.audience,
            grace_seconds: self.grace_seconds,
        }
    }
}

/// A client may say who it is (RFC 6749 §3.2.1); there is only one.
fn check_client(form: &Form) -> Result<(), ApiError> {
    match form.get("client_id") {
        None | Some(FIRST_PARTY_CLIENT_ID) => Ok(()),
        Some(_) => Err(ApiError::InvalidClient),
    }
}

fn state(token: ActiveToken, iss: &str) -> Value {
    match token {
        ActiveToken::Access(claims) => json!({
            "active": true,
            "token_type": "Bearer",
            "iss": claims.iss,
            "sub": claims.sub,
            "aud": claims.aud,
            "client_id": claims.client_id,
            "username": claims.username,
            "exp": claims.exp,
            "iat": claims.iat,
            "nbf": claims.nbf,
            "jti": claims.jti,
            "sid": claims.sid,
            "roles": claims.roles,
        }),
        // No roles: a refresh token opens nothing.
        ActiveToken::Refresh(session, user) => json!({
            "active": true,
            "token_type": "refresh_token",
            "iss": iss,
            "sub": user.user_id,
            "client_id": FIRST_PARTY_CLIENT_ID,
            "username": user.username,
            "exp": session.ends_at(),
            "iat": session.refreshed_at,
            "sid": session.sid,
        }),
    }
}
