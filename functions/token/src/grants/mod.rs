//! `POST /token`: one file for each grant type (RFC 6749 §1.3).

mod refresh_token;

use api::error::ApiError;
use shared::http::form::Form;
use shared::http::{Request, Response};

use crate::handler::TokenEndpoints;

/// The tokens that a grant is exchanged for.
pub(crate) async fn exchange(endpoints: &TokenEndpoints, request: &Request) -> Result<Response, ApiError> {
    let iss = api::request::issuer(request, &endpoints.parties)?;
    let form = Form::read(request)?;
    match form.required("grant_type")? {
        "refresh_token" => refresh_token::exchange(endpoints, request, &form, &iss).await,
        _ => Err(ApiError::UnsupportedGrantType),
    }
}
