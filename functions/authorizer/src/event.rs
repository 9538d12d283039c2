//! What API Gateway sends to a Lambda authorizer of payload format 2.0, and what it takes for an answer.
//!
//! Only what is used is read: everything else in the event is the client's, and costs time to copy.
//! <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html>

use std::collections::HashMap;

use serde::{Deserialize, Deserializer, Serialize};
use shared::identity::Identity;

/// The request, as far as it matters.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Event {
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) headers: HashMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default")]
    pub(crate) query_string_parameters: HashMap<String, String>,
    pub(crate) request_context: RequestContext,
}

/// What API Gateway itself says of the request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RequestContext {
    pub(crate) domain_name: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) route_key: Option<String>,
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The simple response. API Gateway hands `context` to the function behind it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Verdict {
    is_authorized: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Identity>,
}

impl Verdict {
    /// The request passes, as this caller's.
    pub(crate) fn allow(caller: Identity) -> Self {
        Self { is_authorized: true, context: Some(caller) }
    }

    /// The request does not pass. API Gateway answers 403 and says nothing more.
    pub(crate) fn deny() -> Self {
        Self { is_authorized: false, context: None }
    }
}
