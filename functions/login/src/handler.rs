//! Request in, response out.

use api::config::{self, TokenParties};
use api::environment::Environment;
use api::error::ApiError;
use api::request::{signed_in, source};
use auth::EpochSeconds;
use auth::authentication::{Authenticator, Credentials};
use auth::device::DeviceToken;
use auth::login::{LoggedIn, Login};
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
                unknown_names: environment.login_attempts_key()?,
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
        Ok(self.login.warm_up(EpochSeconds::now()).await?)
    }
}

/// The body of a login. Other members are rejected.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoginBody {
    username: String,
    password: Password,
    device_token: Option<DeviceToken>,
}

const LOGIN_BODY: &str = "an object with the strings `username` and `password`, and if you have it `device_token` as a login \
    returned it";

/// The body of a change of the password. Other members are rejected.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Passwords {
    current_password: Password,
    new_password: Password,
    device_token: Option<DeviceToken>,
}

const PASSWORDS_BODY: &str = "an object with the strings `current_password` and `new_password`, and if you have it \
    `device_token` as a login returned it";

impl LoginFunction {
    /// Tokens for the right name and password.
    async fn log_in(&self, request: &Request) -> Result<Response, ApiError> {
        let LoginBody { username, password, device_token } = json_body(request, LOGIN_BODY)?;
        let source = source(request, &self.parties)?;
        let credentials = Credentials { username: &username, password: &password, device: device_token.as_ref() };
        let LoggedIn { user, tokens, device } = self.login.log_in(credentials, &source, EpochSeconds::now()).await?;
        let access_token = tokens.access_token.expose_secret();
        let body = json!({
            "access_token": access_token,
            "token": access_token,
            "token_type": "Bearer",
            "expires_in": tokens.expires_in,
            "refresh_token": tokens.refresh_token.expose_secret(),
            "device_token": device.expose(),
            "message": format!("Welcome, {}!", user.username),
        });
        Ok(response::json(StatusCode::OK, &body)?)
    }

    /// New tokens for a new password; everything else the caller had is revoked.
    async fn change_password(&self, request: &Request) -> Result<Response, ApiError> {
        let caller = signed_in(request)?;
        let Passwords { current_password, new_password, device_token } = json_body(request, PASSWORDS_BODY)?;
        let source = source(request, &self.parties)?;
        let now = EpochSeconds::now();
        let device = device_token.as_ref();
        let (tokens, device) =
            self.login.change_password(&caller, &current_password, &new_password, device, &source, now).await?;
        let mut body = api::response::tokens(&tokens);
        body["device_token"] = device.expose().into();
        Ok(response::json(StatusCode::OK, &body)?)
    }
}
