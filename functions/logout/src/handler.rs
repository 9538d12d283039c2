//! Request in, response out.

use http::{Response, StatusCode};
use lambda_http::{Body, Request, RequestExt as _};
use shared::account::Accounts;
use shared::clock;
use shared::http::error::ApiError;
use shared::http::request::caller;
use shared::http::response;
use shared::store::denylist::DenylistTable;
use shared::store::sessions::SessionsTable;
use shared::store::users::UsersTable;

/// What a logout needs.
pub(crate) struct Logout {
    pub(crate) users: UsersTable,
    pub(crate) sessions: SessionsTable,
    pub(crate) denylist: DenylistTable,
}

impl Logout {
    /// 204 once the session, or with `everywhere=true` everything the caller has, has ended for good; the same again if
    /// it is asked twice.
    pub(crate) async fn handle(&self, request: Request) -> Result<Response<Body>, ApiError> {
        let now = clock::now();
        let caller = caller(&request)?;
        let accounts = Accounts { users: &self.users, denylist: &self.denylist };
        if is_everywhere(&request)? {
            tracing::Span::current().record("event", "logout_everywhere");
            accounts.revoke_own((&caller).into(), now).await?;
        } else {
            accounts.end_session(&self.sessions, (&caller).into(), &caller.sid, now).await?;
        }
        Ok(response::empty(StatusCode::NO_CONTENT))
    }
}

/// Whether all of the caller's sessions are to end. A value that could be meant either way is refused: to end one
/// session where all were meant would leave a thief signed in.
fn is_everywhere(request: &Request) -> Result<bool, ApiError> {
    let query = request.query_string_parameters();
    match query.all("everywhere").unwrap_or_default().as_slice() {
        [] | ["false"] => Ok(false),
        ["true"] => Ok(true),
        _ => Err(ApiError::Query("`everywhere` must be `true` or `false`, once.")),
    }
}
