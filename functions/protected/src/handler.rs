//! Answers for the caller that the authorizer allowed; without one, 401, regardless of the headers.

use serde_json::json;
use shared::prelude::*;

/// The role that `GET /admin-only` requires.
const ADMIN: &str = "admin";

pub(crate) const ROUTES: &[Route<()>] = &[
    Route::new("GET /protected-resource", "read_resource", |(), request| ready(greet(request))),
    Route::new("GET /me", "read_resource", |(), request| ready(describe(request))),
    Route::new("GET /admin-only", "read_resource", |(), request| ready(greet_admin(request))),
];

fn greet(request: &Request) -> Result<Response, RequestError> {
    let caller = caller(request)?;
    let message = format!("Hello, {}! This answer is for signed-in users only.", caller.username);
    Ok(response::json(StatusCode::OK, &json!({ "message": message, "claims": caller }))?)
}

fn describe(request: &Request) -> Result<Response, RequestError> {
    Ok(response::json(StatusCode::OK, &caller(request)?)?)
}

fn greet_admin(request: &Request) -> Result<Response, RequestError> {
    let caller = caller(request)?;
    caller.require_role(ADMIN)?;
    let message = format!("Hello, {}! This answer is for administrators only.", caller.username);
    Ok(response::json(StatusCode::OK, &json!({ "message": message }))?)
}
