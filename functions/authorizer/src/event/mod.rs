//! The events that API Gateway sends to a Lambda authorizer: five kinds, distinguished by what API Gateway itself
//! writes at the top level and into the context, never by anything that a client sends.
//!
//! | Kind                    | `version` | `type`    | Besides                                    | Answer                 |
//! |-------------------------|-----------|-----------|--------------------------------------------|------------------------|
//! | HTTP API, payload 2.0   | `"2.0"`   | `REQUEST` |                                            | simple response        |
//! | HTTP API, payload 1.0   | `"1.0"`   | `REQUEST` | `methodArn`                                | policy                 |
//! | REST API, TOKEN         | none      | `TOKEN`   | `methodArn`, `authorizationToken`          | policy, or an error    |
//! | REST API, REQUEST       | none      | `REQUEST` | `methodArn`                                | policy, or an error    |
//! | WebSocket API, $connect | none      | `REQUEST` | `methodArn`, `requestContext.connectionId` | policy, or an error    |
//!
//! Only what is used is read, in one pass and in place (`payload.rs`): every request waits for it.
//!
//! - <https://docs.aws.amazon.com/apigateway/latest/developerguide/http-api-lambda-authorizer.html>
//! - <https://docs.aws.amazon.com/apigateway/latest/developerguide/api-gateway-lambda-authorizer-input.html>
//! - <https://docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api-lambda-auth.html>

pub(crate) mod answer;
mod payload;
pub(crate) mod stage;
#[cfg(test)]
mod tests;

use latchkey_verifier::Refusal;
use latchkey_verifier::bearer::{self, Pair};
use serde_json::value::RawValue;

use payload::{Payload, RequestContext, Text, pairs};
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
    /// REST API, an authorizer of type TOKEN. API Gateway sends the one header and nothing else of the request: there
    /// is no domain name, and so the issuer must be configured (`LATCHKEY_ISSUER`).
    RestToken(Stage),
    /// REST API, an authorizer of type REQUEST.
    RestRequest(Stage),
    /// WebSocket API. Its authorizer is asked once a connection, which may then outlive the token.
    WebSocketConnect(Stage),
}

/// The relevant parts of the request, for every kind of API.
pub(crate) struct Event<'a> {
    pub(crate) kind: Kind,
    /// A name that came twice is there twice, or once with its values joined by a comma, which no token has.
    headers: Vec<Pair<'a>>,
    /// As in `headers`.
    query: Vec<Pair<'a>>,
    /// By what name the client reached API Gateway, as API Gateway says.
    pub(crate) domain_name: Option<Text<'a>>,
    /// API Gateway's id of the request.
    pub(crate) request_id: Option<Text<'a>>,
    /// `GET /me`, or `$connect`.
    pub(crate) route: Option<Text<'a>>,
}

impl<'a> Event<'a> {
    /// Reads an event.
    ///
    /// # Errors
    /// It is none of the five, or the ARN in it is malformed.
    pub(crate) fn read(payload: &'a RawValue) -> Result<Self, EventError> {
        let payload = Payload::parse(payload)?;
        match (payload.version.as_deref(), &*payload.authorizer_type) {
            (Some("2.0"), "REQUEST") => Self::of_request(payload, |_, _| Ok(Kind::HttpV2)),
            (Some("1.0"), "REQUEST") => Self::of_request(payload, |arn, _| Ok(Kind::HttpV1(stage(arn)?))),
            (None, "REQUEST") => Self::of_request(payload, rest_or_web_socket),
            (None, "TOKEN") => Self::of_token(payload),
            _ => Err(EventError::NotAnAuthorizerEvent),
        }
    }

    /// Of an event with a whole request in it.
    fn of_request(
        payload: Payload<'a>,
        kind: impl FnOnce(Option<&str>, &RequestContext<'_>) -> Result<Kind, EventError>,
    ) -> Result<Self, EventError> {
        let context = payload.request_context.ok_or(EventError::NotAnAuthorizerEvent)?;
        let kind = kind(payload.method_arn.as_deref(), &context)?;
        // Payload 2.0 has no maps of several values: API Gateway has joined them.
        let is_joined = kind == Kind::HttpV2;
        let several = |map| if is_joined { None } else { map };
        let headers = pairs(several(payload.multi_value_headers), payload.headers);
        let query = pairs(several(payload.multi_value_query_string_parameters), payload.query_string_parameters);
        let method_and_path = || Some(Text::from(format!("{} {}", &*context.http_method?, &*context.resource_path?)));
        Ok(Self {
            kind,
            headers,
            query,
            domain_name: context.domain_name,
            request_id: context.request_id,
            route: context.route_key.or_else(method_and_path),
        })
    }

    /// Of an event of type TOKEN: the one header is all there is of the request.
    fn of_token(payload: Payload<'a>) -> Result<Self, EventError> {
        let header = payload.authorization_token.map(|value| ("authorization".into(), value.into()));
        Ok(Self {
            kind: Kind::RestToken(stage(payload.method_arn.as_deref())?),
            headers: header.into_iter().collect(),
            query: Vec::new(),
            domain_name: None,
            request_id: None,
            route: None,
        })
    }

    /// The one access token of the request.
    ///
    /// It is that of the `Authorization` header. A script in a browser cannot set headers on a WebSocket, so
    /// `$connect`, and nothing else, takes the query parameter `access_token` instead (RFC 6750 §2.3); both at once are
    /// refused. The alternative, a token that pretends to be a subprotocol in `Sec-WebSocket-Protocol`, is not read:
    /// the function behind `$connect` would have to answer with a subprotocol, or browsers drop the connection.
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
        let mut tokens = self.query.iter().filter(|(name, _)| name == ACCESS_TOKEN).map(|(_, token)| token);
        let token = tokens.next().ok_or(Refusal::NoAuthorization)?;
        let is_one = tokens.next().is_none() && !token.contains(',');
        if is_one { Ok(token) } else { Err(Refusal::SeveralAuthorizations) }
    }
}

/// REST and WebSocket APIs are told apart by their context.
fn rest_or_web_socket(method_arn: Option<&str>, context: &RequestContext<'_>) -> Result<Kind, EventError> {
    match (&context.connection_id, context.event_type.as_deref()) {
        (None, None) => Ok(Kind::RestRequest(stage(method_arn)?)),
        (Some(_), Some("CONNECT")) => Ok(Kind::WebSocketConnect(stage(method_arn)?)),
        // A message on a connection, which has no authorizer, or nothing that is known.
        _ => Err(EventError::NotAnAuthorizerEvent),
    }
}

fn stage(method_arn: Option<&str>) -> Result<Stage, EventError> {
    Stage::of(method_arn.ok_or(EventError::NotAnAuthorizerEvent)?)
}
