//! HTTP API, payload format 2.0.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Event, Kind, null_is_default};

/// The event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HttpV2 {
    #[serde(default, deserialize_with = "null_is_default")]
    headers: HashMap<String, String>,
    #[serde(default, deserialize_with = "null_is_default")]
    query_string_parameters: HashMap<String, String>,
    request_context: RequestContext,
}

/// What API Gateway itself says of the request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    domain_name: Option<String>,
    request_id: Option<String>,
    route_key: Option<String>,
}

impl From<HttpV2> for Event {
    fn from(event: HttpV2) -> Self {
        Self {
            kind: Kind::HttpV2,
            headers: event.headers,
            query: event.query_string_parameters,
            domain_name: event.request_context.domain_name,
            request_id: event.request_context.request_id,
            route: event.request_context.route_key,
        }
    }
}
