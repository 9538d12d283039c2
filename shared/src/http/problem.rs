//! The response to a failed request: a status, a stable code and a sentence.
//!
//! A client learns nothing else. The error's chain is logged once.

use std::error::Error;

use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::response::{self, Response};
use crate::telemetry;

/// Which members the body of an error has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorBody {
    /// `error` and `message`.
    Plain,
    /// `error_description` too, as OAuth clients expect it (RFC 6749 §5.2).
    OAuth,
}

/// The parts of an error response.
#[derive(Clone, Debug)]
pub struct Problem {
    pub status: StatusCode,
    /// The stable code, `error` of the body.
    pub code: &'static str,
    /// A sentence for a person.
    pub message: String,
    /// `WWW-Authenticate` (RFC 9110 §11.6.1, RFC 6750 §3).
    pub challenge: Option<&'static str>,
    /// `Retry-After`, in seconds (RFC 9110 §10.2.3), and `retry_after` of the body.
    pub retry_after_seconds: Option<u64>,
    /// The name in logs and metrics: more specific than the code if the client must not learn the reason.
    pub reason: &'static str,
    /// The error and its causes, for the log.
    pub chain: String,
}

impl Problem {
    #[must_use]
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status,
            code,
            message: message.into(),
            challenge: None,
            retry_after_seconds: None,
            reason: code,
            chain: String::new(),
        }
    }

    /// 500: a fault of the service.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "The request failed. The log of the function has the reason.",
        )
    }

    /// 503: a dependency of the service does not answer.
    #[must_use]
    pub fn unavailable() -> Self {
        Self {
            retry_after_seconds: Some(2),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "The service is temporarily unavailable. Try again in a few seconds.",
            )
        }
    }

    /// The same problem, with the error behind it for the log.
    #[must_use]
    pub fn because(self, error: &(dyn Error + 'static)) -> Self {
        Self { chain: telemetry::chain(error), ..self }
    }

    /// The response for the client: `{"error": code, "message": sentence}`, and `retry_after` where waiting helps.
    #[must_use]
    pub fn to_response(&self, members: ErrorBody) -> Response {
        let Self { status, code, message, challenge, retry_after_seconds, .. } = self;
        let mut body = match members {
            ErrorBody::Plain => json!({ "error": code, "message": message }),
            ErrorBody::OAuth => json!({ "error": code, "error_description": message, "message": message }),
        };
        // A script of another origin reads the header only where the API exposes it (Fetch, CORS-safelisted
        // response-header names).
        if let Some(seconds) = *retry_after_seconds {
            body["retry_after"] = seconds.into();
        }
        let mut response = response::json(*status, &body).unwrap_or_else(|_| response::empty(*status));
        if let Some(challenge) = challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = *retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}
