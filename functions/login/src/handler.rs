//! Request in, response out.

use api::config::{self, TokenParties};
use api::environment::Environment;
use api::error::ApiError;
use api::request::{signed_in, source};
use auth::EpochSeconds;
use auth::authentication::Authenticator;
use auth::login::Login;
use auth::password::Password;
use auth::password::hash::Hasher;
use auth::password::policy::PasswordPolicy;
use aws_lc_rs::rand::SystemRandom;
use secrecy::ExposeSecret as _;
use serde::Deserialize;
use serde_json::json;
use shared::StartError;
use shared::http::body::json_body;
use shared::http::{HttpFunction, Request, Response, Route, StatusCode, response};

pub(crate) struct LoginFunction {
    login: Login,
    parties: TokenParties,
}

impl HttpFunction for LoginFunction {
    const NAME: &'static str = env!("CARGO_CRATE_NAME");
    const EVENT: &'static str = "login";
    const REJECTS_FOREIGN_PAGES: bool = true;
    const ROUTES: &'static [Route<Self, ApiError>] = &[
        Route::new("POST /login", "login", |function, request| Box::pin(function.log_in(request))),
        Route::new("POST /password", "change_password", |function, request| {
            Box::pin(function.change_password(request))
        }),
    ];
    type Error = ApiError;

    fn from_env() -> Result<Self, StartError> {
        let environment = Environment::of_lambda();
        let parties = TokenParties::from_env()?;
        let login = Login {
            authenticator: Authenticator {
                users: environment.users()?,
                throttle: environment.throttle()?,
                hasher: Hasher::new(),
                random: SystemRandom::new(),
            },
            accounts: environment.accounts()?,
            sessions: environment.sessions_table()?,
            tokens: environment.token_issuer(&parties.audience)?,
            policy: PasswordPolicy::new(config::min_password_length()?)?,
        };
        Ok(Self { login, parties })
    }

    async fn warm_up(&self) -> Result<(), StartError> {
        self.login.tokens.ready(EpochSeconds::now()).await?;
        Ok(())
    }
}

/// The body of a login. Other members are rejected.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credentials {
    username: String,
    password: Password,
}

/// The body of a change of the password. Other members are rejected.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Passwords {
    current_password: Password,
    new_password: Password,
}

impl LoginFunction {
    /// Tokens for the right name and password.
    async fn log_in(&self, request: &Request) -> Result<Response, ApiError> {
        let Credentials { username, password } =
            json_body(request, "an object with the strings `username` and `password`")?;
        let source = source(request, &self.parties)?;
        let (user, tokens) = self.login.log_in(&username, &password, &source, EpochSeconds::now()).await?;
        let access_token = tokens.access_token.expose_secret();
        let body = json!({
            "access_token": access_token,
            "token": access_token,
            "token_type": "Bearer",
            "expires_in": tokens.expires_in,
            "refresh_token": tokens.refresh_token.expose_secret(),
            "message": format!("Welcome, {}!", user.username),
        });
        Ok(response::json(StatusCode::OK, &body)?)
    }

    /// New tokens for a new password; everything else the caller had is revoked.
    async fn change_password(&self, request: &Request) -> Result<Response, ApiError> {
        let caller = signed_in(request)?;
        let Passwords { current_password, new_password } =
            json_body(request, "an object with the strings `current_password` and `new_password`")?;
        let source = source(request, &self.parties)?;
        let now = EpochSeconds::now();
        let tokens = self.login.change_password(&caller, &current_password, &new_password, &source, now).await?;
        Ok(api::response::tokens(&tokens)?)
    }
}
