//! `grant_type=refresh_token`: the next tokens of a session (RFC 6749 §6).

use api::error::ApiError;
use api::request::network;
use auth::EpochSeconds;
use auth::sessions::refresh::Refresher;
use shared::http::form::Form;
use shared::http::{Request, Response, StatusCode, response};

use crate::client::check_client;

pub(super) async fn exchange(
    refresher: &Refresher,
    request: &Request,
    form: &Form,
    iss: &str,
) -> Result<Response, ApiError> {
    check_client(form)?;
    if form.get("scope").is_some() {
        return Err(ApiError::InvalidScope);
    }
    let presented = form.required("refresh_token")?;
    let tokens = refresher.refresh(presented, iss, || network(request), EpochSeconds::now()).await?;
    Ok(response::json(StatusCode::OK, &api::response::tokens(&tokens))?)
}
