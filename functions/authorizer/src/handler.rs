//! Event in, answer out.
//!
//! | The token                          | HTTP API 2.0          | HTTP API 1.0  | REST and WebSocket API      |
//! |------------------------------------|-----------------------|---------------|-----------------------------|
//! | is valid                           | `isAuthorized: true`  | Allow         | Allow                       |
//! | is missing or not valid            | `isAuthorized: false` | Deny          | error `Unauthorized`: 401   |
//! | is valid and revoked               | `isAuthorized: false` | Deny          | Deny: 403                   |
//! | is not known: the store fails, …   | error: 500            | error: 500    | error: 500                  |
//!
//! For Lambda, `Unauthorized` is an error like any other: the function's metric `Errors` counts it. The log does not;
//! it has `refused` with `unauthorized_error`, which is a metric too: `UnauthorizedErrors`.

use std::time::Instant;

use api::config::TokenParties;
use api::environment::Environment;
use auth::EpochSeconds;
use auth::authorization::{AccessTokenAuthorizer, AuthorizationError};
use lambda_runtime::{Diagnostic, LambdaEvent};
use latchkey_verifier::{AccessTokenClaims, Expected, ExpectedIssuer, Refusal};
use serde::Serialize;
use serde_json::value::RawValue;
use shared::{Caller, Function, StartError, telemetry};

use crate::event::answer::{Answer, PolicyResponse, RoleError, SimpleResponse};
use crate::event::{Event, EventError, Kind};

/// Why a request is denied.
#[derive(Debug, thiserror::Error)]
enum DecisionError {
    /// The token is rejected, or whether it is valid is not known.
    #[error(transparent)]
    Authorization(#[from] AuthorizationError),
    /// The issuer is unknown.
    #[error("the issuer is not known: LATCHKEY_ISSUER is empty and the request has no domain name")]
    NoIssuer,
}

impl From<Refusal> for DecisionError {
    fn from(refusal: Refusal) -> Self {
        Self::Authorization(refusal.into())
    }
}

impl DecisionError {
    /// The name in logs and metrics.
    fn reason(&self) -> &'static str {
        match self {
            Self::Authorization(error) => error.reason(),
            Self::NoIssuer => "no_issuer",
        }
    }

    /// `None` if the validity of the token is unknown.
    const fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Authorization(AuthorizationError::Refused(_)) => Some(Rejection::NotValid),
            Self::Authorization(AuthorizationError::Revoked(_)) => Some(Rejection::Revoked),
            Self::Authorization(AuthorizationError::Store(_)) | Self::NoIssuer => None,
        }
    }
}

/// The kind of rejection, on which the response depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rejection {
    /// It is missing or not valid.
    NotValid,
    /// It was valid and is revoked.
    Revoked,
}

pub(crate) struct Authorizer {
    tokens: AccessTokenAuthorizer,
    parties: TokenParties,
}

impl Function for Authorizer {
    const NAME: &'static str = env!("CARGO_CRATE_NAME");
    const EVENT: &'static str = "authorize";

    fn from_env() -> Result<Self, StartError> {
        let parties = TokenParties::from_env()?;
        Ok(Self { tokens: Environment::of_lambda().authorizer()?, parties })
    }

    async fn warm_up(&self) -> Result<(), StartError> {
        Ok(self.tokens.warm_up(EpochSeconds::now()).await?)
    }

    async fn handle(&self, event: LambdaEvent<Box<RawValue>>) -> Result<impl Serialize + use<>, Diagnostic> {
        self.answer(&event.payload).await
    }
}

impl Authorizer {
    /// Allows or denies. An unknown event is an error: API Gateway answers 500, and the request is denied.
    async fn answer(&self, payload: &RawValue) -> Result<Answer, Diagnostic> {
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
        let error = match decision {
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
                return answer;
            }
            Err(error) => error,
        };
        let Some(rejection) = error.rejection() else {
            let (reason, chain) = (error.reason(), telemetry::chain(&error));
            tracing::error!(outcome = "failed", reason, error = chain, milliseconds);
            return Err(failed(&event.kind, &error));
        };
        let answer = rejected(event.kind, rejection);
        // Lambda counts it among the function's errors; alarms subtract it.
        let unauthorized_error = answer.is_err().then_some(true);
        tracing::warn!(outcome = "refused", reason = error.reason(), unauthorized_error, milliseconds);
        answer
    }

    async fn decide(&self, event: &Event<'_>) -> Result<Caller, DecisionError> {
        let token = event.access_token()?;
        let issuer = self.parties.issuer(event.domain_name.as_deref()).ok_or(DecisionError::NoIssuer)?;
        let expected = Expected { issuer: ExpectedIssuer::Exactly(&issuer), audience: &self.parties.audience };
        Ok(caller(self.tokens.authorize(token, expected, EpochSeconds::now()).await?))
    }
}

/// What the function behind the authorizer learns of the caller.
fn caller(claims: AccessTokenClaims) -> Caller {
    Caller {
        sub: claims.sub,
        username: claims.username,
        roles: claims.roles,
        sid: claims.sid,
        jti: claims.jti,
        exp: claims.exp.get(),
        epoch: claims.epoch,
    }
}

/// The event cannot be used.
fn unusable(error: EventError) -> Diagnostic {
    diagnostic("EventError", error.message())
}

/// The token is valid.
fn allowed(kind: Kind, caller: Caller) -> Result<Answer, Diagnostic> {
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

/// The token is rejected.
fn rejected(kind: Kind, rejection: Rejection) -> Result<Answer, Diagnostic> {
    match (kind, rejection) {
        (Kind::HttpV2, _) => Ok(Answer::Simple(SimpleResponse::deny())),
        // It is not documented what an HTTP API does with an error's text.
        (Kind::HttpV1(stage), _) => Ok(Answer::Policy(PolicyResponse::deny(stage))),
        (Kind::RestToken(stage) | Kind::RestRequest(stage) | Kind::WebSocketConnect(stage), Rejection::Revoked) => {
            Ok(Answer::Policy(PolicyResponse::deny(stage)))
        }
        // Exactly this word, from which API Gateway makes a 401. Any other error is a 500.
        (Kind::RestToken(_) | Kind::RestRequest(_) | Kind::WebSocketConnect(_), Rejection::NotValid) => {
            Err(diagnostic("Unauthorized", "Unauthorized"))
        }
    }
}

/// Whether the token is valid is not known.
fn failed(kind: &Kind, error: &DecisionError) -> Diagnostic {
    match (error, kind) {
        (DecisionError::NoIssuer, Kind::RestToken(_)) => diagnostic(
            "AuthorizationError",
            "the issuer is not known: an event of type TOKEN has no domain name, so LATCHKEY_ISSUER must be set",
        ),
        _ => diagnostic("AuthorizationError", &error.to_string()),
    }
}

/// The error for Lambda. API Gateway does not pass it to the client.
fn diagnostic(error_type: &str, error_message: &str) -> Diagnostic {
    Diagnostic { error_type: error_type.to_owned(), error_message: error_message.to_owned() }
}

#[cfg(test)]
mod tests;
