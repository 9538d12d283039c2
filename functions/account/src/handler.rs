//! Request in, response out.

use aws_lc_rs::rand::SystemRandom;
use http::{Response, StatusCode};
use lambda_http::{Body, Request, RequestExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::account::{self, Accounts};
use shared::clock::{self, EpochSeconds};
use shared::http::error::ApiError;
use shared::http::request::{self, caller};
use shared::http::response;
use shared::password::Password;
use shared::password::hash::Hasher;
use shared::password::policy::PasswordPolicy;
use shared::session;
use shared::store::denylist::DenylistTable;
use shared::store::sessions::{Session, SessionsTable};
use shared::store::users::UsersTable;
use shared::telemetry;
use shared::throttle::Throttle;

/// What registration and the list of sessions need.
pub(crate) struct Account {
    pub(crate) users: UsersTable,
    pub(crate) sessions: SessionsTable,
    pub(crate) denylist: DenylistTable,
    pub(crate) throttle: Throttle,
    pub(crate) hasher: Hasher,
    pub(crate) policy: PasswordPolicy,
    pub(crate) random: SystemRandom,
    /// Whether people may register.
    pub(crate) registration: bool,
}

/// The body of a registration. Nothing else may be in it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registration {
    username: String,
    password: Password,
}

impl Account {
    /// One of the three.
    pub(crate) async fn handle(&self, request: Request) -> Result<Response<Body>, ApiError> {
        let now = clock::now();
        let span = tracing::Span::current();
        match request::route_key(&request) {
            Some("POST /register") => {
                span.record("event", "register");
                self.register(&request, now).await
            }
            Some("GET /sessions") => {
                span.record("event", "list_sessions");
                self.list_sessions(&request, now).await
            }
            Some("DELETE /sessions/{sid}") => {
                span.record("event", "end_session");
                self.end_session(&request, now).await
            }
            _ => Err(ApiError::NoRoute),
        }
    }

    /// 201 for a user who is new.
    async fn register(&self, request: &Request, now: EpochSeconds) -> Result<Response<Body>, ApiError> {
        if !self.registration {
            return Err(ApiError::RegistrationDisabled);
        }
        let Registration { username, password } =
            request::json_body(request, "an object with the strings `username` and `password`")?;
        let network = request::network(request);
        self.throttle.count("register", network.as_ref(), now).await?;
        let user =
            account::register(&self.users, &self.hasher, self.policy, &self.random, &username, &password, now).await?;
        tracing::Span::current().record("sub", &user.user_id);
        // The account is there whether this works or not, and the answer must say so.
        if let Err(error) = self.throttle.welcome(&user, network.as_ref(), now).await {
            let error = telemetry::chain(&error);
            tracing::error!(
                outcome = "failed",
                reason = "store_failed",
                error,
                "attempts before the registration still count"
            );
        }
        response::json(StatusCode::CREATED, &json!({ "user_id": user.user_id, "username": user.username }))
    }

    /// The caller's sessions, newest first.
    async fn list_sessions(&self, request: &Request, now: EpochSeconds) -> Result<Response<Body>, ApiError> {
        let caller = caller(request)?;
        let sessions = session::list(&self.sessions, &caller, now).await?;
        let sessions: Vec<Value> = sessions.iter().map(|session| describe(session, &caller.sid)).collect();
        response::json(StatusCode::OK, &json!({ "sessions": sessions }))
    }

    /// 204 once the session has ended for good.
    async fn end_session(&self, request: &Request, now: EpochSeconds) -> Result<Response<Body>, ApiError> {
        let caller = caller(request)?;
        let parameters = request.path_parameters();
        let sid = parameters.first("sid").ok_or(ApiError::NoSuchSession)?;
        let accounts = Accounts { users: &self.users, denylist: &self.denylist };
        if session::end_own(&self.sessions, accounts, &caller, sid, now).await? {
            Ok(response::empty(StatusCode::NO_CONTENT))
        } else {
            Err(ApiError::NoSuchSession)
        }
    }
}

/// Times are in epoch seconds, as in tokens.
fn describe(session: &Session, current_sid: &str) -> Value {
    json!({
        "sid": session.sid,
        "current": session.sid == current_sid,
        "created_at": session.created_at,
        "last_used_at": session.refreshed_at,
        "expires_at": session.ends_at(),
        "source_address": session.source_address,
        "user_agent": session.user_agent,
    })
}
