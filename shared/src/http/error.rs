//! Errors that every function behind an HTTP API has.

use http::StatusCode;

use super::body::BodyError;
use super::problem::Problem;
use super::response::ResponseError;

/// `WWW-Authenticate` for a request without valid authentication.
pub const CHALLENGE: &str = r#"Bearer realm="latchkey""#;

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("the body cannot be used")]
    Body(#[from] BodyError),
    /// A query parameter is invalid. The message says what it must be.
    #[error("the query cannot be used")]
    Query(&'static str),
    /// Not a route of this function. This happens only with a wrong template.
    #[error("this function has no such route")]
    NoRoute,
    /// The request comes from a web page of another origin, which is not listed.
    #[error("a web page of another origin made the request")]
    ForeignPage,
    /// The route has no authorizer, or its context is not Latchkey's.
    #[error("there is no authorizer context")]
    Unauthenticated,
    /// The caller does not have the role.
    #[error("the role {0} is missing")]
    MissingRole(&'static str),
    #[error(transparent)]
    Response(#[from] ResponseError),
}

impl From<&RequestError> for Problem {
    fn from(error: &RequestError) -> Self {
        let problem = match error {
            RequestError::Body(error @ BodyError::TooLarge) => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", error.to_string())
            }
            RequestError::Body(
                error @ (BodyError::NotUtf8
                | BodyError::NotJson(_)
                | BodyError::WrongShape(_)
                | BodyError::NotForm
                | BodyError::RepeatedParameter
                | BodyError::MissingParameter(_)),
            ) => Self::new(StatusCode::BAD_REQUEST, "invalid_request", error.to_string()),
            RequestError::Query(must) => Self::new(StatusCode::BAD_REQUEST, "invalid_request", *must),
            RequestError::NoRoute => Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here."),
            RequestError::ForeignPage => Self::new(
                StatusCode::FORBIDDEN,
                "origin_not_allowed",
                "A web page of another origin may not make this request, unless the deployment lists its origin in \
                 `AllowedOrigins`.",
            ),
            // RFC 6750 §3.1: no error code if the request had no authentication.
            RequestError::Unauthenticated => Self {
                challenge: Some(CHALLENGE),
                ..Self::new(StatusCode::UNAUTHORIZED, "unauthorized", "This needs a valid access token.")
            },
            // RFC 6750 §3.1 has one code for every missing permission.
            RequestError::MissingRole(role) => Self {
                challenge: Some(r#"Bearer realm="latchkey", error="insufficient_scope""#),
                ..Self::new(StatusCode::FORBIDDEN, "insufficient_scope", format!("This needs the role `{role}`."))
            },
            RequestError::Response(_) => Self::internal(),
        };
        problem.because(error)
    }
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        Self::from(&error)
    }
}
