//! The events that hold a whole request and a `methodArn`: HTTP API 1.0, REST API of type REQUEST, WebSocket `$connect`.

use std::collections::HashMap;

use serde::Deserialize;

use super::stage::Stage;
use super::{Event, EventError, Kind};

/// The event.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WholeRequest {
    method_arn: String,
    headers: Option<HashMap<String, String>>,
    multi_value_headers: Option<HashMap<String, Vec<String>>>,
    query_string_parameters: Option<HashMap<String, String>>,
    multi_value_query_string_parameters: Option<HashMap<String, Vec<String>>>,
    request_context: RequestContext,
}

/// What API Gateway itself says of the request.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestContext {
    connection_id: Option<String>,
    domain_name: Option<String>,
    event_type: Option<String>,
    http_method: Option<String>,
    request_id: Option<String>,
    resource_path: Option<String>,
    route_key: Option<String>,
}

impl WholeRequest {
    pub(super) fn of_http_api(self) -> Result<Event, EventError> {
        self.of(Kind::HttpV1)
    }

    pub(super) fn of_rest_or_web_socket_api(self) -> Result<Event, EventError> {
        match (&self.request_context.connection_id, self.request_context.event_type.as_deref()) {
            (None, None) => self.of(Kind::RestRequest),
            (Some(_), Some("CONNECT")) => self.of(Kind::WebSocketConnect),
            // A message on a connection, which has no authorizer, or nothing that is known.
            _ => Err(EventError::NotAnAuthorizerEvent),
        }
    }

    fn of(self, kind: impl FnOnce(Stage) -> Kind) -> Result<Event, EventError> {
        let context = self.request_context;
        let route = context
            .route_key
            .or_else(|| Some(format!("{} {}", context.http_method.as_deref()?, context.resource_path.as_deref()?)));
        Ok(Event {
            kind: kind(Stage::of(&self.method_arn)?),
            headers: values(self.multi_value_headers, self.headers),
            query: values(self.multi_value_query_string_parameters, self.query_string_parameters),
            domain_name: context.domain_name,
            request_id: context.request_id,
            route,
        })
    }
}

/// Of a name that a client sent twice, the map of single values has only the last: the other map is what counts.
fn values(
    several: Option<HashMap<String, Vec<String>>>,
    single: Option<HashMap<String, String>>,
) -> HashMap<String, String> {
    match several {
        Some(several) => several.into_iter().map(|(name, values)| (name, values.join(","))).collect(),
        None => single.unwrap_or_default(),
    }
}
