//! `POST /token`: one file for each grant type (RFC 6749 §1.3).

mod refresh_token;

use api::config::TokenParties;
use api::error::ApiError;
use auth::sessions::refresh::Refresher;
use shared::http::form::Form;
use shared::http::{Request, Response};

/// The services that exchange grants for tokens.
pub(crate) struct Grants {
    pub(crate) parties: TokenParties,
    pub(crate) refresher: Refresher,
}

impl Grants {
    /// The tokens for a grant.
    pub(crate) async fn exchange(&self, request: &Request) -> Result<Response, ApiError> {
        let iss = api::request::issuer(request, &self.parties)?;
        let form = Form::read(request)?;
        match form.required("grant_type")? {
            "refresh_token" => refresh_token::exchange(&self.refresher, request, &form, &iss).await,
            _ => Err(ApiError::UnsupportedGrantType),
        }
    }
}
