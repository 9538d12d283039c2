//! Event in, answer out.
//!
//! | What is known of the token              | HTTP API 2.0          | HTTP API 1.0  | REST and WebSocket API      |
//! |-----------------------------------------|-----------------------|---------------|-----------------------------|
//! | It counts                               | `isAuthorized: true`  | Allow         | Allow                       |
//! | There is none, or it is not good        | `isAuthorized: false` | Deny          | error `Unauthorized`: 401   |
//! | It was good and is revoked              | `isAuthorized: false` | Deny          | Deny: 403                   |
//! | Nothing: the store fails, …             | error: 500            | error: 500    | error: 500                  |
//!
//! To Lambda, `Unauthorized` is an error like any other: the function's metric `Errors` counts it. The log does not, it
//! says `refused` with `unauthorized_error`, which is a metric too: `UnauthorizedErrors`.

use std::time::Instant;

use lambda_runtime::Diagnostic;
use serde_json::value::RawValue;
use shared::authorization::{AccessTokenAuthorizer, AuthorizationError};
use shared::config::TokenParties;
use shared::identity::Identity;
use shared::token::verifier::{Check, Expected, ExpectedIssuer, Refusal};
use shared::{clock, telemetry};

use crate::event::answer::{Answer, PolicyResponse, RoleError, SimpleResponse};
use crate::event::{Event, EventError, Kind};

/// Why a request does not pass.
#[derive(Debug, thiserror::Error)]
enum DecisionError {
    /// The token does not count, or that could not be found out.
    #[error(transparent)]
    Authorization(AuthorizationError),
    /// Whose tokens to accept is not known.
    #[error("the issuer is not known: LATCHKEY_ISSUER is empty and the request has no domain name")]
    NoIssuer,
}

impl DecisionError {
    /// The name in logs and metrics.
    const fn reason(&self) -> &'static str {
        match self {
            Self::Authorization(error) => error.reason(),
            Self::NoIssuer => "no_issuer",
        }
    }
}

impl<E: Into<AuthorizationError>> From<E> for DecisionError {
    fn from(error: E) -> Self {
        Self::Authorization(error.into())
    }
}

/// What an answer needs.
pub(crate) struct Authorizer {
    pub(crate) tokens: AccessTokenAuthorizer,
    pub(crate) parties: TokenParties,
}

impl Authorizer {
    /// Allows or denies. Whatever cannot be known is an error: API Gateway answers 500, and nobody gets through.
    pub(crate) async fn handle(&self, payload: &RawValue) -> Result<Answer, Diagnostic> {
        let started = Instant::now();
        let event = Event::read(payload).map_err(|error| {
            tracing::error!(outcome = "failed", reason = error.reason());
            unusable(error)
        })?;
        let span = tracing::Span::current();
        span.record("request_id", event.request_id.as_deref());
        span.record("route", event.route.as_deref());
        let decision = self.decide(&event).await;
        let milliseconds = telemetry::milliseconds_since(started);
        match decision {
            Ok(caller) => {
                span.record("sub", &caller.sub);
                span.record("sid", &caller.sid);
                span.record("jti", &caller.jti);
                let answer = allowed(event.kind, caller);
                if answer.is_ok() {
                    tracing::info!(outcome = "allowed", milliseconds);
                } else {
                    tracing::error!(outcome = "failed", reason = "malformed_role", milliseconds);
                }
                answer
            }
            Err(DecisionError::Authorization(AuthorizationError::Refused(refusal))) => {
                let answer = refused(event.kind, refusal);
                // Lambda counts it among the function's errors; who looks for real ones has to subtract it.
                let unauthorized_error = answer.is_err().then_some(true);
                tracing::warn!(outcome = "refused", reason = refusal.reason(), unauthorized_error, milliseconds);
                answer
            }
            Err(error) => {
                let (reason, chain) = (error.reason(), telemetry::chain(&error));
                tracing::error!(outcome = "failed", reason, error = chain, milliseconds);
                Err(failed(&event.kind, &error))
            }
        }
    }

    async fn decide(&self, event: &Event<'_>) -> Result<Identity, DecisionError> {
        let token = event.access_token()?;
        let issuer = self.parties.issuer(event.domain_name.as_deref()).ok_or(DecisionError::NoIssuer)?;
        let expected = Expected { issuer: ExpectedIssuer::Exactly(&issuer), audience: &self.parties.audience };
        Ok(self.tokens.authorize(token, expected, clock::now()).await?.into())
    }
}

/// The event cannot be used.
fn unusable(error: EventError) -> Diagnostic {
    diagnostic("EventError", error.message())
}

/// The token counts.
fn allowed(kind: Kind, caller: Identity) -> Result<Answer, Diagnostic> {
    match kind {
        Kind::HttpV2 => Ok(Answer::Simple(SimpleResponse::allow(caller))),
        Kind::HttpV1(stage) | Kind::RestToken(stage) | Kind::RestRequest(stage) | Kind::WebSocketConnect(stage) => {
            match PolicyResponse::allow(stage, caller) {
                Ok(response) => Ok(Answer::Policy(response)),
                Err(RoleError) => Err(diagnostic("AuthorizationError", "a role of the token is empty or has a space")),
            }
        }
    }
}

/// The token does not count.
fn refused(kind: Kind, refusal: Refusal) -> Result<Answer, Diagnostic> {
    match kind {
        Kind::HttpV2 => Ok(Answer::Simple(SimpleResponse::deny())),
        // What an HTTP API makes of an error's text is not documented.
        Kind::HttpV1(stage) => Ok(Answer::Policy(PolicyResponse::deny(stage))),
        Kind::RestToken(stage) | Kind::RestRequest(stage) | Kind::WebSocketConnect(stage) => match refusal.check() {
            Check::Revocation => Ok(Answer::Policy(PolicyResponse::deny(stage))),
            // Exactly this word, from which API Gateway makes a 401. Any other error is a 500.
            _ => Err(diagnostic("Unauthorized", "Unauthorized")),
        },
    }
}

/// It could not be found out whether the token counts.
fn failed(kind: &Kind, error: &DecisionError) -> Diagnostic {
    match (error, kind) {
        (DecisionError::NoIssuer, Kind::RestToken(_)) => diagnostic(
            "AuthorizationError",
            "the issuer is not known: an event of type TOKEN has no domain name, so LATCHKEY_ISSUER must be set",
        ),
        _ => diagnostic("AuthorizationError", &error.to_string()),
    }
}

/// What Lambda is told. API Gateway tells the client nothing of it.
fn diagnostic(error_type: &str, error_message: &str) -> Diagnostic {
    Diagnostic { error_type: error_type.to_owned(), error_message: error_message.to_owned() }
}

#[cfg(test)]
mod tests;
