//! Request in, response out.

use http::{Response, StatusCode};
use lambda_http::{Body, Request};
use serde_json::json;
use shared::http::error::ApiError;
use shared::http::request::{caller, route_key};
use shared::http::response;

/// The role that `GET /admin-only` asks for.
const ADMIN: &str = "admin";

/// Answers for the caller that the authorizer let through; without one, 401, whatever the headers say.
pub(crate) fn handle(request: &Request) -> Result<Response<Body>, ApiError> {
    let caller = caller(request)?;
    match route_key(request) {
        Some("GET /protected-resource") => {
            let message = format!("Hello, {}! This answer is for signed-in users only.", caller.username);
            response::json(StatusCode::OK, &json!({ "message": message, "claims": caller }))
        }
        Some("GET /me") => response::json(StatusCode::OK, &caller),
        Some("GET /admin-only") if caller.has_role(ADMIN) => {
            let message = format!("Hello, {}! This answer is for administrators only.", caller.username);
            response::json(StatusCode::OK, &json!({ "message": message }))
        }
        Some("GET /admin-only") => Err(ApiError::InsufficientScope(ADMIN)),
        _ => Err(ApiError::NoRoute),
    }
}
