//! Request in, response out.

use api::environment::Environment;
use api::error::ApiError;
use api::request::signed_in;
use auth::EpochSeconds;
use auth::sessions::Sessions;
use shared::StartError;
use shared::http::error::RequestError;
use shared::http::{HttpFunction, Request, RequestExt as _, Response, Route, StatusCode, response};

pub(crate) struct Logout {
    sessions: Sessions,
}

impl HttpFunction for Logout {
    const NAME: &'static str = env!("CARGO_CRATE_NAME");
    const EVENT: &'static str = "logout";
    const REJECTS_FOREIGN_PAGES: bool = true;
    const ROUTES: &'static [Route<Self, ApiError>] =
        &[Route::new("POST /logout", "logout", |logout, request| Box::pin(logout.log_out(request)))];
    type Error = ApiError;

    fn from_env() -> Result<Self, StartError> {
        Ok(Self { sessions: Environment::of_lambda().sessions()? })
    }

    async fn warm_up(&self) -> Result<(), StartError> {
        Ok(self.sessions.table.warm_up().await?)
    }
}

impl Logout {
    /// 204 once the session, or with `everywhere=true` everything the caller has, is revoked; a repeated request gets
    /// 204 too.
    async fn log_out(&self, request: &Request) -> Result<Response, ApiError> {
        let (caller, now) = (signed_in(request)?, EpochSeconds::now());
        if is_everywhere(request)? {
            tracing::Span::current().record("event", "logout_everywhere");
            self.sessions.accounts.revoke_own(&caller, now).await?;
        } else {
            self.sessions.end(&caller, now).await?;
        }
        Ok(response::empty(StatusCode::NO_CONTENT))
    }
}

/// Whether all of the caller's sessions are to end. An ambiguous value is rejected: ending one session instead of all
/// would leave a thief signed in.
fn is_everywhere(request: &Request) -> Result<bool, RequestError> {
    let query = request.query_string_parameters();
    match query.all("everywhere").unwrap_or_default().as_slice() {
        [] | ["false"] => Ok(false),
        ["true"] => Ok(true),
        _ => Err(RequestError::Query("`everywhere` must be `true` or `false`, once.")),
    }
}
