//! What API Gateway sends to a Lambda authorizer: five kinds of event, told apart by what API Gateway itself puts at the
//! event's top and into its context, never by what a client can send.
//!
//! | Kind                    | `version` | `type`    | Besides                                    | Answer                 |
//! |-------------------------|-----------|-----------|--------------------------------------------|------------------------|
//! | HTTP API, payload 2.0   | `"2.0"`   | `REQUEST` |                                            | simple response        |
//! | HTTP API, payload 1.0   | `"1.0"`   | `REQUEST` | `methodArn`                                | policy                 |
//! | REST API, TOKEN         | none      | `TOKEN`   | `methodArn`, `authorizationToken`          | policy, or an error    |
//! | REST API, REQUEST       | none      | `REQUEST` | `methodArn`                                | policy, or an error    |
//! | WebSocket API, $connect | none      | `REQUEST` | `methodArn`, `requestContext.connectionId` | policy, or an error    |
//!
//! Only what is used is read: everything else in an event is the client's, and costs time to copy.
//!
//! - <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html>
//! - <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-input.html>
//! - <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-lambda-auth.html>

pub(crate) mod answer;
mod http_v2;
mod request;
mod rest_token;
pub(crate) mod stage;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use shared::http::bearer;
use shared::token::verifier::Refusal;

use http_v2::HttpV2;
use request::WholeRequest;
use rest_token::RestToken;
use stage::Stage;

/// The query parameter of RFC 6750 §2.3.
const ACCESS_TOKEN: &str = "access_token";

/// The event cannot be used. What it holds is not repeated: a token, most likely.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EventError {
    /// Another event, or none.
    NotAnAuthorizerEvent,
    /// It is not known which API a policy would be for.
    MalformedArn,
}

impl EventError {
    /// The name in logs.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::NotAnAuthorizerEvent => "malformed_event",
            Self::MalformedArn => "malformed_arn",
        }
    }

    /// What Lambda is told.
    pub(crate) const fn message(self) -> &'static str {
        match self {
            Self::NotAnAuthorizerEvent => "the event is not one that API Gateway sends to a Lambda authorizer",
            Self::MalformedArn => "the event's methodArn is not the ARN of a method or route of API Gateway",
        }
    }
}

/// The kind of API that asks, and with it the form of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// HTTP API, payload format 2.0 with simple responses.
    HttpV2,
    /// HTTP API, payload format 1.0.
    HttpV1(Stage),
    /// REST API, an authorizer of type TOKEN. API Gateway sends the one header and nothing else of the request: there is
    /// no domain name, and so the issuer must be configured (`LATCHKEY_ISSUER`).
    RestToken(Stage),
    /// REST API, an authorizer of type REQUEST.
    RestRequest(Stage),
    /// WebSocket API. Its authorizer is asked once a connection, which may then outlive the token.
    WebSocketConnect(Stage),
}

/// The request, as far as it matters, whatever kind of API it came by.
pub(crate) struct Event {
    pub(crate) kind: Kind,
    /// Several values of one name are joined by a comma, which no token has.
    headers: HashMap<String, String>,
    /// As in `headers`.
    query: HashMap<String, String>,
    /// By what name the client reached API Gateway, as API Gateway says.
    pub(crate) domain_name: Option<String>,
    /// API Gateway's id of the request.
    pub(crate) request_id: Option<String>,
    /// `GET /me`, or `$connect`.
    pub(crate) route: Option<String>,
}

/// What tells the kinds apart.
#[derive(Deserialize)]
struct Envelope {
    version: Option<String>,
    #[serde(rename = "type")]
    authorizer_type: String,
}

impl Event {
    /// Reads an event.
    ///
    /// # Errors
    /// It is none of the five, or the ARN in it is malformed.
    pub(crate) fn read(payload: &RawValue) -> Result<Self, EventError> {
        let envelope: Envelope = parse(payload)?;
        match (envelope.version.as_deref(), envelope.authorizer_type.as_str()) {
            (Some("2.0"), "REQUEST") => Ok(parse::<HttpV2>(payload)?.into()),
            (Some("1.0"), "REQUEST") => parse::<WholeRequest>(payload)?.of_http_api(),
            (None, "REQUEST") => parse::<WholeRequest>(payload)?.of_rest_or_web_socket_api(),
            (None, "TOKEN") => parse::<RestToken>(payload)?.try_into(),
            _ => Err(EventError::NotAnAuthorizerEvent),
        }
    }

    /// The one access token of the request.
    ///
    /// It is that of the `Authorization` header. A script in a browser cannot set headers on a WebSocket, so `$connect`, and
    /// nothing else, takes the query parameter `access_token` instead (RFC 6750 §2.3); both at once are refused. The
    /// alternative, a token that pretends to be a subprotocol in `Sec-WebSocket-Protocol`, is not read: the function behind
    /// `$connect` would have to answer with a subprotocol, or browsers drop the connection.
    ///
    /// # Errors
    /// There is not exactly one.
    pub(crate) fn access_token(&self) -> Result<&str, Refusal> {
        match (bearer::token(&self.headers, &self.query), &self.kind) {
            (Err(Refusal::NoAuthorization), Kind::WebSocketConnect(_)) => self.access_token_of_query(),
            (token, _) => token,
        }
    }

    fn access_token_of_query(&self) -> Result<&str, Refusal> {
        let token = self.query.get(ACCESS_TOKEN).ok_or(Refusal::NoAuthorization)?;
        if token.contains(',') { Err(Refusal::SeveralAuthorizations) } else { Ok(token) }
    }
}

fn parse<T: DeserializeOwned>(payload: &RawValue) -> Result<T, EventError> {
    // Serde would take an array for a struct, member by position.
    if !payload.get().starts_with('{') {
        return Err(EventError::NotAnAuthorizerEvent);
    }
    serde_json::from_str(payload.get()).map_err(|_| EventError::NotAnAuthorizerEvent)
}

fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}
