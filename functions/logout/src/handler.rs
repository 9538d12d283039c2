//! Request in, response out.

use http::{Response, StatusCode};
use lambda_http::{Body, Request};
use shared::clock;
use shared::http::error::ApiError;
use shared::http::{request, response};
use shared::session;
use shared::store::denylist::DenylistTable;
use shared::store::sessions::SessionsTable;

/// What a logout needs.
pub(crate) struct Logout {
    pub(crate) sessions: SessionsTable,
    pub(crate) denylist: DenylistTable,
}

impl Logout {
    /// 204 once the session has ended for good; the same again if it is asked twice.
    pub(crate) async fn handle(&self, request: Request) -> Result<Response<Body>, ApiError> {
        let caller = request::identity(&request).ok_or(ApiError::Unauthenticated)?;
        let span = tracing::Span::current();
        span.record("sub", &caller.sub);
        span.record("sid", &caller.sid);
        session::end(&self.sessions, &self.denylist, &caller.sub, &caller.sid, clock::now()).await?;
        Ok(response::empty(StatusCode::NO_CONTENT))
    }
}
