//! Event in, verdict out.

use std::time::Instant;

use lambda_runtime::Diagnostic;
use serde_json::value::RawValue;
use shared::authorization::{AccessTokenAuthorizer, AuthorizationError};
use shared::config::TokenParties;
use shared::http::bearer;
use shared::identity::Identity;
use shared::token::verifier::Expected;
use shared::{clock, telemetry};

use crate::event::{Event, Verdict};

/// What a verdict needs.
pub(crate) struct Authorizer {
    pub(crate) tokens: AccessTokenAuthorizer,
    pub(crate) parties: TokenParties,
}

impl Authorizer {
    /// Allows or denies. Whatever cannot be known is an error: API Gateway answers 500, and nobody gets through.
    pub(crate) async fn handle(&self, payload: &RawValue) -> Result<Verdict, Diagnostic> {
        let started = Instant::now();
        let Ok(event) = serde_json::from_str::<Event>(payload.get()) else {
            // What the event holds is not repeated: a token, most likely.
            tracing::error!(outcome = "failed", reason = "malformed_event");
            return Err(diagnostic("EventError", "the event is not an authorizer event of payload format 2.0"));
        };
        let span = tracing::Span::current();
        span.record("request_id", event.request_context.request_id.as_deref());
        span.record("route", event.request_context.route_key.as_deref());
        let decision = self.decide(&event).await;
        let milliseconds = telemetry::milliseconds_since(started);
        match decision {
            Ok(caller) => {
                span.record("sub", &caller.sub);
                span.record("sid", &caller.sid);
                span.record("jti", &caller.jti);
                tracing::info!(outcome = "allowed", milliseconds);
                Ok(Verdict::allow(caller))
            }
            Err(AuthorizationError::Refused(refusal)) => {
                tracing::warn!(outcome = "refused", reason = refusal.reason(), milliseconds);
                Ok(Verdict::deny())
            }
            Err(error) => {
                let (reason, chain) = (error.reason(), telemetry::chain(&error));
                tracing::error!(outcome = "failed", reason, error = chain, milliseconds);
                Err(diagnostic("AuthorizationError", &error.to_string()))
            }
        }
    }

    async fn decide(&self, event: &Event) -> Result<Identity, AuthorizationError> {
        let token = bearer::token(&event.headers, &event.query_string_parameters)?;
        let domain_name = event.request_context.domain_name.as_deref();
        let issuer = self.parties.issuer(domain_name).ok_or(AuthorizationError::NoIssuer)?;
        let expected = Expected { issuer: &issuer, audience: &self.parties.audience };
        Ok(self.tokens.authorize(token, expected, clock::now()).await?.into())
    }
}

/// What Lambda is told. API Gateway makes a 500 of it and tells the client nothing.
fn diagnostic(error_type: &str, error_message: &str) -> Diagnostic {
    Diagnostic { error_type: error_type.to_owned(), error_message: error_message.to_owned() }
}
