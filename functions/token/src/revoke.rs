//! `POST /revoke` (RFC 7009).

use api::error::ApiError;
use auth::EpochSeconds;
use auth::introspection::TokenStates;
use shared::http::form::Form;
use shared::http::{Request, Response, StatusCode, response};

use crate::client::check_client;

/// 200 once the token is invalid, including one that never was valid (RFC 7009 §2.2).
pub(crate) async fn revoke(states: &TokenStates, request: &Request) -> Result<Response, ApiError> {
    let form = Form::read(request)?;
    check_client(&form)?;
    states.revoke(form.required("token")?, EpochSeconds::now()).await?;
    Ok(response::empty(StatusCode::OK))
}
