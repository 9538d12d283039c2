//! The one place where an error becomes a status, a stable code and a sentence.
//!
//! A client learns no more than that. The chain behind it goes to the log, once, in [`super::serve`].

use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use lambda_http::Body;
use serde_json::json;

use super::request::BodyError;
use super::response;

/// Why a request is not answered as it asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The body cannot be used.
    #[error("the body cannot be used")]
    Body(#[from] BodyError),
    /// No route of this function. Only a wrong template leads here.
    #[error("there is no such route in this function")]
    NoRoute,
    /// The route has no authorizer, or its context is not ours.
    #[error("there is no authorizer context")]
    Unauthenticated,
    /// The user does not have the role.
    #[error("the role {0} is missing")]
    InsufficientScope(&'static str),
    /// The answer could not be written.
    #[error("the answer could not be written as JSON")]
    Response(#[source] serde_json::Error),
    /// `LATCHKEY_ISSUER` is empty and the request has no domain name.
    #[error("the issuer is not known: LATCHKEY_ISSUER is empty and the request has no domain name")]
    NoIssuer,
    /// Nobody was authenticated.
    #[cfg(feature = "store")]
    #[error("nobody was authenticated")]
    Authentication(#[from] crate::authentication::AuthenticationError),
    /// There is nothing to sign with.
    #[cfg(feature = "store")]
    #[error("there is nothing to sign with")]
    ActiveKey(#[from] crate::keys::active::ActiveKeyError),
    /// No session.
    #[cfg(feature = "store")]
    #[error("no session could be begun")]
    Session(#[from] crate::session::SessionError),
    /// A table did not answer.
    #[cfg(feature = "store")]
    #[error("the store did not answer")]
    Store(#[from] crate::store::StoreError),
}

/// What a client is told.
struct Problem {
    status: StatusCode,
    code: &'static str,
    message: String,
    /// `WWW-Authenticate` (RFC 9110 §11.6.1, RFC 6750 §3).
    challenge: Option<&'static str>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), challenge: None }
    }

    fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "The request could not be answered. The log of the function says why.",
        )
    }

    #[cfg(feature = "store")]
    fn unavailable() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            "The service cannot answer at the moment. Try again in a few seconds.",
        )
    }
}

impl ApiError {
    fn problem(&self) -> Problem {
        match self {
            Self::Body(error @ BodyError::TooLarge) => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", error.to_string())
            }
            Self::Body(error @ (BodyError::NotUtf8 | BodyError::NotJson | BodyError::WrongShape(_))) => {
                Problem::new(StatusCode::BAD_REQUEST, "invalid_request", error.to_string())
            }
            Self::NoRoute => Problem::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here."),
            // RFC 6750 §3.1: no error code where the request carried no authentication.
            Self::Unauthenticated => Problem {
                challenge: Some(r#"Bearer realm="latchkey""#),
                ..Problem::new(StatusCode::UNAUTHORIZED, "unauthorized", "This needs a valid access token.")
            },
            Self::InsufficientScope(role) => Problem {
                challenge: Some(r#"Bearer realm="latchkey", error="insufficient_scope""#),
                ..Problem::new(StatusCode::FORBIDDEN, "insufficient_scope", format!("This needs the role `{role}`."))
            },
            Self::Response(_) | Self::NoIssuer => Problem::internal(),
            #[cfg(feature = "store")]
            Self::Authentication(error) => {
                use crate::authentication::AuthenticationError as E;
                match error {
                    E::UnknownUser | E::WrongPassword | E::DisabledUser => Problem {
                        challenge: Some(r#"Bearer realm="latchkey""#),
                        ..Problem::new(
                            StatusCode::UNAUTHORIZED,
                            "invalid_credentials",
                            "The username or the password is wrong.",
                        )
                    },
                    E::Store(error) => store_problem(error),
                    E::Hash(_) => Problem::internal(),
                }
            }
            #[cfg(feature = "store")]
            Self::ActiveKey(error) => {
                use crate::keys::active::ActiveKeyError as E;
                match error {
                    E::Store(error) => store_problem(error),
                    E::Seal(_) | E::None(_) | E::Algorithm { .. } => Problem::internal(),
                }
            }
            #[cfg(feature = "store")]
            Self::Session(error) => {
                use crate::session::SessionError as E;
                match error {
                    E::Store(error) => store_problem(error),
                    E::Random(_) | E::Issue(_) => Problem::internal(),
                }
            }
            #[cfg(feature = "store")]
            Self::Store(error) => store_problem(error),
        }
    }

    /// The name in logs and metrics: finer than the code where the code must not tell.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            #[cfg(feature = "store")]
            Self::Authentication(error) => error.reason(),
            _ => self.problem().code,
        }
    }

    /// The answer for the client: `{"error": code, "message": sentence}`.
    #[must_use]
    pub fn to_response(&self) -> Response<Body> {
        let Problem { status, code, message, challenge } = self.problem();
        let body = json!({ "error": code, "message": message });
        let mut response = response::json(status, &body).unwrap_or_else(|_| response::empty(status));
        if let Some(challenge) = challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("2"));
        }
        response
    }
}

#[cfg(feature = "store")]
fn store_problem(error: &crate::store::StoreError) -> Problem {
    use crate::store::StoreError as E;
    match error {
        E::Call { .. } => Problem::unavailable(),
        E::MalformedItem { .. } => Problem::internal(),
    }
}
