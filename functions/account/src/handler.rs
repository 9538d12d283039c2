//! Request in, response out.

use api::config;
use api::environment::Environment;
use api::error::ApiError;
use api::request::{network, signed_in};
use auth::EpochSeconds;
use auth::id::SessionId;
use auth::password::Password;
use auth::password::hash::Hasher;
use auth::password::policy::PasswordPolicy;
use auth::registration::Registration;
use auth::session::Session;
use auth::sessions::{Ending, Sessions};
use aws_lc_rs::rand::SystemRandom;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::StartError;
use shared::http::body::json_body;
use shared::http::request::path_parameter;
use shared::http::{HttpFunction, Request, Response, Route, StatusCode, response};

pub(crate) struct Account {
    /// `None` if registration is disabled.
    registration: Option<Registration>,
    sessions: Sessions,
}

impl HttpFunction for Account {
    const NAME: &'static str = env!("CARGO_CRATE_NAME");
    const EVENT: &'static str = "account";
    const REJECTS_FOREIGN_PAGES: bool = true;
    const ROUTES: &'static [Route<Self, ApiError>] = &[
        Route::new("POST /register", "register", |account, request| Box::pin(account.register(request))),
        Route::new("GET /sessions", "list_sessions", |account, request| Box::pin(account.list_sessions(request))),
        Route::new("DELETE /sessions/{sid}", "end_session", |account, request| Box::pin(account.end_session(request))),
    ];
    type Error = ApiError;

    fn from_env() -> Result<Self, StartError> {
        let environment = Environment::of_lambda();
        let is_registration_enabled = config::is_registration_enabled()?;
        let registration = Registration {
            users: environment.users()?,
            throttle: environment.throttle()?,
            hasher: Hasher::new(),
            policy: PasswordPolicy::new(config::min_password_length()?)?,
            random: SystemRandom::new(),
        };
        let registration = is_registration_enabled.then_some(registration);
        Ok(Self { registration, sessions: environment.sessions()? })
    }

    async fn warm_up(&self) -> Result<(), StartError> {
        Ok(self.sessions.table.warm_up().await?)
    }
}

/// The body of a registration. Other members are rejected.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    username: String,
    password: Password,
}

impl Account {
    /// 201 for a new user.
    async fn register(&self, request: &Request) -> Result<Response, ApiError> {
        let registration = self.registration.as_ref().ok_or(ApiError::RegistrationDisabled)?;
        let NewUser { username, password } =
            json_body(request, "an object with the strings `username` and `password`")?;
        let network = network(request);
        let user = registration.register(&username, &password, network.as_ref(), EpochSeconds::now()).await?;
        let body = json!({ "user_id": user.user_id, "username": user.username });
        Ok(response::json(StatusCode::CREATED, &body)?)
    }

    /// The caller's sessions, newest first.
    async fn list_sessions(&self, request: &Request) -> Result<Response, ApiError> {
        let caller = signed_in(request)?;
        let sessions = self.sessions.list(&caller, EpochSeconds::now()).await?;
        let sessions: Vec<Value> = sessions.iter().map(|session| describe(session, &caller.sid)).collect();
        Ok(response::json(StatusCode::OK, &json!({ "sessions": sessions }))?)
    }

    /// 204 once the session has ended.
    async fn end_session(&self, request: &Request) -> Result<Response, ApiError> {
        let caller = signed_in(request)?;
        let sid = path_parameter(request, "sid").and_then(|sid| SessionId::parse(&sid));
        let sid = sid.ok_or(ApiError::NoSuchSession)?;
        match self.sessions.end_own(&caller, &sid, EpochSeconds::now()).await? {
            Ending::Ended => Ok(response::empty(StatusCode::NO_CONTENT)),
            Ending::NotFound => Err(ApiError::NoSuchSession),
        }
    }
}

/// Times are in epoch seconds, as in tokens.
fn describe(session: &Session, current_sid: &SessionId) -> Value {
    json!({
        "sid": session.sid,
        "current": session.sid == *current_sid,
        "created_at": session.created_at,
        "last_used_at": session.refreshed_at,
        "expires_at": session.ends_at(),
        "source_address": session.source_address,
        "user_agent": session.user_agent,
    })
}
