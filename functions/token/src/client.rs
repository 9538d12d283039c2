//! The client of a request to an OAuth endpoint.

use api::error::ApiError;
use auth::id::ClientId;
use shared::http::form::Form;

/// A client may identify itself (RFC 6749 §3.2.1); there is only one.
pub(crate) fn check_client(form: &Form) -> Result<(), ApiError> {
    match form.get("client_id") {
        Some(client_id) if ClientId::new(client_id) != ClientId::first_party() => Err(ApiError::InvalidClient),
        None | Some(_) => Ok(()),
    }
}
