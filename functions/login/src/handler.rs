//! Request in, response out.

use aws_lc_rs::rand::SystemRandom;
use http::{Response, StatusCode};
use lambda_http::{Body, Request};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::json;
use shared::authentication::authenticate;
use shared::clock;
use shared::config::TokenParties;
use shared::http::error::ApiError;
use shared::http::{request, response};
use shared::keys::active::ActiveKeyCache;
use shared::password::Password;
use shared::password::hash::Hasher;
use shared::session::{self, Issuance, Origin};
use shared::store::sessions::SessionsTable;
use shared::store::users::UsersTable;
use shared::token::issuer::Issuer;

/// What a login needs.
pub(crate) struct Login {
    pub(crate) users: UsersTable,
    pub(crate) sessions: SessionsTable,
    pub(crate) keys: ActiveKeyCache,
    pub(crate) hasher: Hasher,
    pub(crate) random: SystemRandom,
    pub(crate) parties: TokenParties,
    pub(crate) issuer: Issuer,
}

/// The body. Nothing else may be in it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    username: String,
    password: Password,
}

impl Login {
    /// Tokens for the right name and password.
    pub(crate) async fn handle(&self, request: Request) -> Result<Response<Body>, ApiError> {
        let now = clock::now();
        let credentials: Credentials =
            request::json_body(&request, "an object with the strings `username` and `password`")?;
        let context = request::context(&request);
        let iss = self
            .parties
            .issuer(context.and_then(|context| context.domain_name.as_deref()))
            .ok_or(ApiError::NoIssuer)?;

        let user = authenticate(&self.users, &self.hasher, &credentials.username, &credentials.password).await?;
        tracing::Span::current().record("sub", &user.user_id);
        let keys = self.keys.get(now).await?;
        let origin = Origin {
            source_address: context.and_then(|context| context.http.source_ip.clone()),
            user_agent: context.and_then(|context| context.http.user_agent.clone()),
        };
        let with =
            Issuance { sessions: &self.sessions, keys: &keys, issuer: &self.issuer, iss: &iss, random: &self.random };
        let tokens = session::begin(with, &user, origin, now).await?;
        tracing::Span::current().record("sid", &tokens.sid);

        response::json(
            StatusCode::OK,
            &json!({
                "access_token": tokens.access_token.expose_secret(),
                "token": tokens.access_token.expose_secret(),
                "token_type": "Bearer",
                "expires_in": self.issuer.lifetime_seconds,
                "refresh_token": tokens.refresh_token.expose_secret(),
                "message": format!("Welcome, {}!", user.username),
            }),
        )
    }
}
