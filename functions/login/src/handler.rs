//! Request in, response out.

use aws_lc_rs::rand::SystemRandom;
use http::{Response, StatusCode};
use lambda_http::{Body, Request};
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::json;
use shared::account::{Accounts, PasswordChange};
use shared::authentication::Authenticator;
use shared::clock::{self, EpochSeconds};
use shared::config::TokenParties;
use shared::http::error::ApiError;
use shared::http::request::{self, caller};
use shared::http::response;
use shared::keys::active::{ActiveKeyCache, ActiveKeys};
use shared::password::Password;
use shared::password::hash::Hasher;
use shared::password::policy::PasswordPolicy;
use shared::session::{self, Issuance};
use shared::store::denylist::DenylistTable;
use shared::store::sessions::SessionsTable;
use shared::store::users::UsersTable;
use shared::throttle::Throttle;
use shared::token::issuer::Issuer;

/// What a login and a change of the password need.
pub(crate) struct Login {
    pub(crate) users: UsersTable,
    pub(crate) sessions: SessionsTable,
    pub(crate) denylist: DenylistTable,
    pub(crate) throttle: Throttle,
    pub(crate) keys: ActiveKeyCache,
    pub(crate) hasher: Hasher,
    pub(crate) policy: PasswordPolicy,
    pub(crate) random: SystemRandom,
    pub(crate) parties: TokenParties,
    pub(crate) issuer: Issuer,
}

/// The body of a login. Nothing else may be in it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    username: String,
    password: Password,
}

/// The body of a change of the password. Nothing else may be in it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Passwords {
    current_password: Password,
    new_password: Password,
}

impl Login {
    /// A password in, tokens out.
    pub(crate) async fn handle(&self, request: Request) -> Result<Response<Body>, ApiError> {
        let now = clock::now();
        match request::route_key(&request) {
            Some("POST /login") => self.log_in(&request, now).await,
            Some("POST /password") => {
                tracing::Span::current().record("event", "change_password");
                self.change_password(&request, now).await
            }
            _ => Err(ApiError::NoRoute),
        }
    }

    /// Tokens for the right name and password.
    async fn log_in(&self, request: &Request, now: EpochSeconds) -> Result<Response<Body>, ApiError> {
        let credentials: Credentials =
            request::json_body(request, "an object with the strings `username` and `password`")?;
        let iss = request::issuer(request, &self.parties)?;
        let origin = request::origin(request);
        let network = request::network(request);

        let user = self
            .authenticator()
            .authenticate(&credentials.username, &credentials.password, network.as_ref(), now)
            .await?;
        tracing::Span::current().record("sub", &user.user_id);
        let keys = self.keys.get(now).await?;
        let tokens = session::begin(&self.sessions, self.issuance(&keys, &iss), &user, origin, now).await?;
        tracing::Span::current().record("sid", &tokens.sid);

        let access_token = tokens.access_token.expose_secret();
        response::json(
            StatusCode::OK,
            &json!({
                "access_token": access_token,
                "token": access_token,
                "token_type": "Bearer",
                "expires_in": tokens.expires_in,
                "refresh_token": tokens.refresh_token.expose_secret(),
                "message": format!("Welcome, {}!", user.username),
            }),
        )
    }

    /// New tokens for a new password; everything else the caller had is dead.
    async fn change_password(&self, request: &Request, now: EpochSeconds) -> Result<Response<Body>, ApiError> {
        let caller = caller(request)?;
        let passwords: Passwords =
            request::json_body(request, "an object with the strings `current_password` and `new_password`")?;
        let iss = request::issuer(request, &self.parties)?;
        let origin = request::origin(request);
        let network = request::network(request);

        let user = self
            .authenticator()
            .authenticate_again(&caller, &passwords.current_password, network.as_ref(), now)
            .await
            .map_err(ApiError::CurrentPassword)?;
        let keys = self.keys.get(now).await?;
        let change = PasswordChange {
            accounts: Accounts { users: &self.users, denylist: &self.denylist },
            sessions: &self.sessions,
            hasher: &self.hasher,
            policy: self.policy,
            issuance: self.issuance(&keys, &iss),
        };
        let tokens = change.make(user, &passwords.new_password, origin, now).await?;
        tracing::Span::current().record("sid", &tokens.sid);
        response::tokens(&tokens)
    }

    fn authenticator(&self) -> Authenticator<'_> {
        Authenticator { users: &self.users, throttle: &self.throttle, hasher: &self.hasher, random: &self.random }
    }

    fn issuance<'a>(&'a self, keys: &'a ActiveKeys, iss: &'a str) -> Issuance<'a> {
        Issuance { keys, issuer: &self.issuer, iss, random: &self.random }
    }
}
