//! The one place where an error becomes a status, a stable code and a sentence.
//!
//! A client learns no more than that. The chain behind it goes to the log, once, in [`super::serve`].

use http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use lambda_http::Body;
use serde_json::json;

use super::request::BodyError;
use super::response;

/// Which members the body of an error has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorBody {
    /// `error` and `message`.
    Plain,
    /// `error_description` too, as OAuth clients expect it (RFC 6749 §5.2).
    OAuth,
}

/// Why a request is not answered as it asked.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The body cannot be used.
    #[error("the body cannot be used")]
    Body(#[from] BodyError),
    /// A parameter of the query cannot be used. It says what it must be.
    #[error("the query cannot be used")]
    Query(&'static str),
    /// No route of this function. Only a wrong template leads here.
    #[error("there is no such route in this function")]
    NoRoute,
    /// The request comes from a web page of another origin, which is not listed.
    #[error("a web page of another origin made the request")]
    ForeignPage,
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
    /// `grant_type` is another than `refresh_token` (RFC 6749 §5.2).
    #[error("the grant type is not supported")]
    UnsupportedGrantType,
    /// A `scope` was asked for; there are none (RFC 6749 §6).
    #[error("a scope was asked for")]
    InvalidScope,
    /// `client_id` is another than that of the tokens (RFC 6749 §5.2).
    #[error("the client is not known")]
    InvalidClient,
    /// Registration is switched off.
    #[error("registration is switched off")]
    RegistrationDisabled,
    /// The caller has no session with this id.
    #[error("the caller has no such session")]
    NoSuchSession,
    /// Nobody was authenticated.
    #[cfg(feature = "store")]
    #[error("nobody was authenticated")]
    Authentication(#[from] crate::authentication::AuthenticationError),
    /// The caller did not prove the current password.
    #[cfg(feature = "store")]
    #[error("the current password was not proved")]
    CurrentPassword(#[source] crate::authentication::AuthenticationError),
    /// Too many attempts.
    #[cfg(feature = "store")]
    #[error("the request was not admitted")]
    Throttle(#[from] crate::throttle::ThrottleError),
    /// A user was not added or changed.
    #[cfg(feature = "store")]
    #[error("the user was not added or changed")]
    Account(#[from] crate::account::AccountError),
    /// There is nothing to sign with.
    #[cfg(feature = "store")]
    #[error("there is nothing to sign with")]
    ActiveKey(#[from] crate::keys::active::ActiveKeyError),
    /// No session.
    #[cfg(feature = "store")]
    #[error("no session could be begun")]
    Session(#[from] crate::session::SessionError),
    /// A refresh token brought nothing.
    #[cfg(feature = "store")]
    #[error("the refresh token brought nothing")]
    Refresh(#[from] crate::session::rotation::RefreshError),
    /// The state of a token could not be read or changed.
    #[cfg(feature = "store")]
    #[error("the token could not be examined or revoked")]
    TokenState(#[from] crate::introspection::TokenStateError),
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
    /// `Retry-After`, in seconds (RFC 9110 §10.2.3), and `retry_after` of the body.
    retry_after_seconds: Option<u64>,
}

impl Problem {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), challenge: None, retry_after_seconds: None }
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
        Self {
            retry_after_seconds: Some(2),
            ..Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "temporarily_unavailable",
                "The service cannot answer at the moment. Try again in a few seconds.",
            )
        }
    }
}

impl ApiError {
    fn problem(&self) -> Problem {
        match self {
            Self::Body(error @ BodyError::TooLarge) => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", error.to_string())
            }
            Self::Body(
                error @ (BodyError::NotUtf8
                | BodyError::NotJson(_)
                | BodyError::WrongShape(_)
                | BodyError::NotForm
                | BodyError::RepeatedParameter
                | BodyError::MissingParameter(_)),
            ) => Problem::new(StatusCode::BAD_REQUEST, "invalid_request", error.to_string()),
            Self::Query(must) => Problem::new(StatusCode::BAD_REQUEST, "invalid_request", *must),
            Self::NoRoute => Problem::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here."),
            Self::ForeignPage => Problem::new(
                StatusCode::FORBIDDEN,
                "origin_not_allowed",
                "A web page of another origin may not make this request, unless the deployment lists its origin in \
                 `AllowedOrigins`.",
            ),
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
            Self::UnsupportedGrantType => Problem::new(
                StatusCode::BAD_REQUEST,
                "unsupported_grant_type",
                "The only `grant_type` is `refresh_token`.",
            ),
            Self::InvalidScope => {
                Problem::new(StatusCode::BAD_REQUEST, "invalid_scope", "There are no scopes; leave `scope` out.")
            }
            Self::InvalidClient => {
                Problem::new(StatusCode::BAD_REQUEST, "invalid_client", "The only `client_id` is `latchkey`.")
            }
            Self::RegistrationDisabled => Problem::new(
                StatusCode::FORBIDDEN,
                "registration_disabled",
                "Registration is switched off. Ask an administrator for an account.",
            ),
            Self::NoSuchSession => {
                Problem::new(StatusCode::NOT_FOUND, "not_found", "You have no session with this id.")
            }
            #[cfg(feature = "store")]
            Self::Authentication(error) => authentication_problem(error, || Problem {
                challenge: Some(r#"Bearer realm="latchkey""#),
                ..Problem::new(
                    StatusCode::UNAUTHORIZED,
                    "invalid_credentials",
                    "The username or the password is wrong.",
                )
            }),
            // The access token is good: a 401 would ask for another one.
            #[cfg(feature = "store")]
            Self::CurrentPassword(error) => authentication_problem(error, || {
                Problem::new(StatusCode::FORBIDDEN, "invalid_credentials", "The current password is wrong.")
            }),
            #[cfg(feature = "store")]
            Self::Throttle(error) => throttle_problem(error),
            #[cfg(feature = "store")]
            Self::Account(error) => account_problem(error),
            #[cfg(feature = "store")]
            Self::ActiveKey(error) => key_problem(error),
            #[cfg(feature = "store")]
            Self::Session(error) => {
                use crate::session::SessionError as E;
                match error {
                    E::Store(error) => store_problem(error),
                    E::Random(_) | E::Issue(_) => Problem::internal(),
                }
            }
            #[cfg(feature = "store")]
            Self::Refresh(error) => {
                use crate::session::rotation::RefreshError as E;
                match error {
                    E::NotOurs | E::SessionEnded | E::SessionExpired | E::Reused | E::UserRevoked => Problem::new(
                        StatusCode::BAD_REQUEST,
                        "invalid_grant",
                        "The refresh token is not valid any more. Log in again.",
                    ),
                    E::Store(error) => store_problem(error),
                    E::Keys(error) => key_problem(error),
                    E::Issue(_) | E::Random(_) => Problem::internal(),
                }
            }
            #[cfg(feature = "store")]
            Self::TokenState(error) => {
                use crate::introspection::TokenStateError as E;
                match error {
                    E::Store(error) => store_problem(error),
                    E::Keys(error) => key_problem(error),
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
            Self::Authentication(error) | Self::CurrentPassword(error) => error.reason(),
            #[cfg(feature = "store")]
            Self::Refresh(error) => error.reason(),
            _ => self.problem().code,
        }
    }

    /// The answer for the client: `{"error": code, "message": sentence}`, and `retry_after` where waiting helps.
    #[must_use]
    pub fn to_response(&self, members: ErrorBody) -> Response<Body> {
        let Problem { status, code, message, challenge, retry_after_seconds } = self.problem();
        let mut body = match members {
            ErrorBody::Plain => json!({ "error": code, "message": message }),
            ErrorBody::OAuth => json!({ "error": code, "error_description": message, "message": message }),
        };
        // A script of another origin reads the header only where the API exposes it (Fetch, CORS-safelisted
        // response-header names).
        if let Some(seconds) = retry_after_seconds {
            body["retry_after"] = seconds.into();
        }
        let mut response = response::json(status, &body).unwrap_or_else(|_| response::empty(status));
        if let Some(challenge) = challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        if let Some(seconds) = retry_after_seconds {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// `refused` is the one answer for everybody who did not prove a password.
#[cfg(feature = "store")]
fn authentication_problem(
    error: &crate::authentication::AuthenticationError,
    refused: impl FnOnce() -> Problem,
) -> Problem {
    use crate::authentication::AuthenticationError as E;
    match error {
        E::UnknownUser | E::WrongPassword | E::DisabledUser => refused(),
        E::Throttle(error) => throttle_problem(error),
        E::Store(error) => store_problem(error),
        E::Hash(_) => Problem::internal(),
    }
}

#[cfg(feature = "store")]
fn throttle_problem(error: &crate::throttle::ThrottleError) -> Problem {
    use crate::throttle::ThrottleError as E;
    match error {
        E::TooMany { retry_after_seconds, .. } => Problem {
            retry_after_seconds: Some(*retry_after_seconds),
            ..Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too_many_attempts",
                match retry_after_seconds {
                    1 => "Too many attempts. Try again in a second.".to_owned(),
                    seconds => format!("Too many attempts. Try again in {seconds} seconds."),
                },
            )
        },
        E::Store(error) => store_problem(error),
    }
}

#[cfg(feature = "store")]
fn account_problem(error: &crate::account::AccountError) -> Problem {
    use crate::account::AccountError as E;
    match error {
        E::Username(error) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_username", sentence(&error.to_string()))
        }
        E::Password(error) => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "weak_password", error.to_string()),
        E::Taken => Problem::new(StatusCode::CONFLICT, "username_taken", "This username is taken. Choose another one."),
        // Only a caller whose user was deleted or changed at this very moment gets here.
        E::Unknown => Problem::new(
            StatusCode::CONFLICT,
            "conflict",
            "The account was changed at the same time. Nothing was done; log in and try again.",
        ),
        E::Store(error) => store_problem(error),
        E::Hash(_) | E::Random(_) | E::Issue(_) => Problem::internal(),
    }
}

#[cfg(feature = "store")]
fn key_problem(error: &crate::keys::active::ActiveKeyError) -> Problem {
    use crate::keys::active::ActiveKeyError as E;
    match error {
        E::Store(error) => store_problem(error),
        E::Seal(error) => sealing_problem(error),
        E::None(_) | E::Algorithm { .. } | E::ShortSecret { .. } => Problem::internal(),
    }
}

#[cfg(feature = "store")]
fn sealing_problem(error: &crate::keys::sealing::SealingError) -> Problem {
    use crate::keys::sealing::SealingError as E;
    match error {
        E::Kms { .. } => Problem::unavailable(),
        E::MalformedKey | E::Seal { .. } | E::Open { .. } | E::KmsKey { .. } | E::KmsDenied { .. } => {
            Problem::internal()
        }
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

/// An error's text as a sentence.
#[cfg(feature = "store")]
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(characters).chain(['.']).collect()
}

#[cfg(test)]
#[cfg(feature = "store")]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::authentication::AuthenticationError;
    use crate::store::StoreError;
    use crate::throttle::ThrottleError;

    fn answered(error: &ApiError, members: ErrorBody) -> (u16, Option<String>, Value) {
        let response = error.to_response(members);
        let header = response.headers().get(RETRY_AFTER).map(|seconds| seconds.to_str().unwrap().to_owned());
        let Body::Text(body) = response.body() else { panic!("no text: {response:?}") };
        (response.status().as_u16(), header, serde_json::from_str(body).unwrap())
    }

    #[test]
    fn the_seconds_to_wait_are_in_the_header_and_in_the_body() {
        let too_many = || ThrottleError::TooMany { what: "account", retry_after_seconds: 8 };
        let wait = "Too many attempts. Try again in 8 seconds.";
        for error in [too_many().into(), AuthenticationError::Throttle(too_many()).into()] {
            let body = json!({ "error": "too_many_attempts", "message": wait, "retry_after": 8 });
            assert_eq!(answered(&error, ErrorBody::Plain), (429, Some("8".to_owned()), body));
        }
        let body = json!({
            "error": "too_many_attempts", "error_description": wait, "message": wait, "retry_after": 8,
        });
        assert_eq!(answered(&too_many().into(), ErrorBody::OAuth), (429, Some("8".to_owned()), body));

        let outage = ApiError::from(StoreError::failed_a_moment_ago("reading a user"));
        for members in [ErrorBody::Plain, ErrorBody::OAuth] {
            let (status, header, body) = answered(&outage, members);
            assert_eq!((status, header.as_deref(), &body["retry_after"]), (503, Some("2"), &json!(2)), "{body}");
        }
    }

    #[test]
    fn an_error_for_which_waiting_is_of_no_use_names_no_seconds() {
        let (status, header, body) = answered(&ApiError::NoSuchSession, ErrorBody::Plain);
        let expected = json!({ "error": "not_found", "message": "You have no session with this id." });
        assert_eq!((status, header, body), (404, None, expected));
    }
}
