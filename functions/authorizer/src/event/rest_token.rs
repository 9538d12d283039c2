//! REST API, an authorizer of type TOKEN.

use std::collections::HashMap;

use serde::Deserialize;

use super::stage::Stage;
use super::{Event, EventError, Kind};

/// The event: all there is of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RestToken {
    /// The value of the header that the authorizer is configured to read, `Authorization` unless somebody chose another.
    authorization_token: Option<String>,
    method_arn: String,
}

impl TryFrom<RestToken> for Event {
    type Error = EventError;

    fn try_from(event: RestToken) -> Result<Self, EventError> {
        let header = event.authorization_token.map(|value| ("authorization".to_owned(), value));
        Ok(Self {
            kind: Kind::RestToken(Stage::of(&event.method_arn)?),
            headers: header.into_iter().collect(),
            query: HashMap::new(),
            domain_name: None,
            request_id: None,
            route: None,
        })
    }
}
