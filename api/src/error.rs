//! The one place where an error of `auth` becomes a status, a stable code and a sentence.

use auth::accounts::AccountError;
use auth::authentication::AuthenticationError;
use auth::introspection::TokenStateError;
use auth::keys::active::ActiveKeyError;
use auth::keys::wrapping::WrappingError;
use auth::login::{ChangePasswordError, LoginError};
use auth::registration::RegistrationError;
use auth::sessions::SessionError;
use auth::sessions::refresh::RefreshError;
use auth::store::StoreError;
use auth::throttle::ThrottleError;
use shared::http::StatusCode;
use shared::http::body::BodyError;
use shared::http::error::{CHALLENGE, RequestError};
use shared::http::problem::Problem;
use shared::http::response::ResponseError;

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    #[error(transparent)]
    Request(#[from] RequestError),
    /// `LATCHKEY_ISSUER` is empty and the request has no domain name.
    #[error("the issuer is not known: LATCHKEY_ISSUER is empty and the request has no domain name")]
    NoIssuer,
    /// `grant_type` is not supported (RFC 6749 §5.2).
    #[error("the grant type is not supported")]
    UnsupportedGrantType,
    /// A `scope` was requested; there are none (RFC 6749 §6).
    #[error("a scope was requested")]
    InvalidScope,
    /// `client_id` is not that of the tokens (RFC 6749 §5.2).
    #[error("the client is not known")]
    InvalidClient,
    #[error("registration is disabled")]
    RegistrationDisabled,
    #[error("the caller has no such session")]
    NoSuchSession,
    #[error("the login failed")]
    Login(#[from] LoginError),
    #[error("the password was not changed")]
    ChangePassword(#[from] ChangePasswordError),
    #[error("registration failed")]
    Registration(#[from] RegistrationError),
    #[error("the refresh failed")]
    Refresh(#[from] RefreshError),
    #[error("the token could not be examined or revoked")]
    TokenState(#[from] TokenStateError),
    #[error("the store did not answer")]
    Store(#[from] StoreError),
}

impl From<BodyError> for ApiError {
    fn from(error: BodyError) -> Self {
        Self::Request(error.into())
    }
}

impl From<ResponseError> for ApiError {
    fn from(error: ResponseError) -> Self {
        Self::Request(error.into())
    }
}

impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        problem(&error).because(&error)
    }
}

fn problem(error: &ApiError) -> Problem {
    match error {
        ApiError::Request(error) => error.into(),
        ApiError::NoIssuer => Problem::internal(),
        ApiError::UnsupportedGrantType => {
            Problem::new(StatusCode::BAD_REQUEST, "unsupported_grant_type", "The only `grant_type` is `refresh_token`.")
        }
        ApiError::InvalidScope => {
            Problem::new(StatusCode::BAD_REQUEST, "invalid_scope", "Scopes are not supported; omit `scope`.")
        }
        ApiError::InvalidClient => {
            Problem::new(StatusCode::BAD_REQUEST, "invalid_client", "The only `client_id` is `latchkey`.")
        }
        ApiError::RegistrationDisabled => Problem::new(
            StatusCode::FORBIDDEN,
            "registration_disabled",
            "Registration is disabled. Ask an administrator for an account.",
        ),
        ApiError::NoSuchSession => {
            Problem::new(StatusCode::NOT_FOUND, "not_found", "You have no session with this id.")
        }
        ApiError::Login(error) => login(error),
        ApiError::ChangePassword(error) => change_password(error),
        ApiError::Registration(error) => registration(error),
        ApiError::Refresh(error) => refresh(error),
        ApiError::TokenState(error) => token_state(error),
        ApiError::Store(error) => store(error),
    }
}

fn registration(error: &RegistrationError) -> Problem {
    match error {
        RegistrationError::Throttle(error) => throttle(error, LOGINS_USED_UP),
        RegistrationError::Account(error) => account(error),
    }
}

fn token_state(error: &TokenStateError) -> Problem {
    match error {
        TokenStateError::Store(error) => store(error),
        TokenStateError::Keys(error) => keys(error),
    }
}

fn login(error: &LoginError) -> Problem {
    match error {
        LoginError::Authentication(error) => {
            let refused = || Problem {
                challenge: Some(CHALLENGE),
                ..Problem::new(
                    StatusCode::UNAUTHORIZED,
                    "invalid_credentials",
                    "The username or the password is wrong.",
                )
            };
            authentication(error, refused, LOGINS_USED_UP)
        }
        LoginError::Keys(error) => keys(error),
        LoginError::Session(SessionError::Store(error)) => store(error),
        LoginError::Session(SessionError::Random(_) | SessionError::Issue(_)) => Problem::internal(),
    }
}

fn change_password(error: &ChangePasswordError) -> Problem {
    match error {
        // The access token is valid: a 401 would ask for another one.
        ChangePasswordError::CurrentPassword(error) => {
            let refused =
                || Problem::new(StatusCode::FORBIDDEN, "invalid_credentials", "The current password is wrong.");
            authentication(error, refused, CHANGES_USED_UP)
        }
        ChangePasswordError::Keys(error) => keys(error),
        ChangePasswordError::Account(error) => account(error),
        ChangePasswordError::Issue(_) => Problem::internal(),
    }
}

/// `refused` is the response to every failed authentication, and `used_up` the sentence when waiting is of no use.
fn authentication(error: &AuthenticationError, refused: impl FnOnce() -> Problem, used_up: &str) -> Problem {
    let problem = match error {
        AuthenticationError::UnknownUser | AuthenticationError::WrongPassword | AuthenticationError::DisabledUser => {
            refused()
        }
        AuthenticationError::Throttle(error) => throttle(error, used_up),
        AuthenticationError::Store(error) => store(error),
        AuthenticationError::Keys(error) => keys(error),
        AuthenticationError::Hash(_) | AuthenticationError::Random(_) => Problem::internal(),
    };
    Problem { reason: error.reason(), ..problem }
}

/// Waiting is of no use: a success clears the attempts, from where it is possible. The same sentence for every name.
const LOGINS_USED_UP: &str = "Too many attempts to log in with this name from here, and waiting does not help. Log in on a \
    device on which you have logged in before, try another network, or ask an operator to unlock the account.";
const DEVICE_USED_UP: &str = "Too many attempts to log in with this name on this device, and waiting does not help. Log in \
    without `device_token`, as on a device that is not known, or ask an operator to unlock the account.";
const CHANGES_USED_UP: &str = "Too many attempts to enter the current password, and waiting does not help. A login on this \
    device allows more.";

/// `used_up` is the sentence when waiting is of no use.
fn throttle(error: &ThrottleError, used_up: &str) -> Problem {
    match error {
        ThrottleError::UsedUp => Problem::new(StatusCode::TOO_MANY_REQUESTS, "attempts_used_up", used_up),
        ThrottleError::DeviceUsedUp => {
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "device_attempts_used_up", DEVICE_USED_UP)
        }
        ThrottleError::TooMany { retry_after_seconds } => Problem {
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
        ThrottleError::Store(error) => store(error),
    }
}

fn account(error: &AccountError) -> Problem {
    match error {
        AccountError::Username(error) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_username", sentence(&error.to_string()))
        }
        AccountError::Password(error) => {
            Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "weak_password", error.to_string())
        }
        AccountError::Taken => {
            Problem::new(StatusCode::CONFLICT, "username_taken", "This username is taken. Choose another one.")
        }
        // Only if the caller's user was deleted or changed concurrently.
        AccountError::Unknown => Problem::new(
            StatusCode::CONFLICT,
            "conflict",
            "The account was changed at the same time. Nothing was changed; log in and try again.",
        ),
        AccountError::Store(error) => store(error),
        AccountError::Hash(_) | AccountError::Random(_) => Problem::internal(),
    }
}

fn refresh(error: &RefreshError) -> Problem {
    let problem = match error {
        RefreshError::NotOurs
        | RefreshError::SessionEnded
        | RefreshError::SessionExpired
        | RefreshError::Reused
        | RefreshError::UserRevoked => Problem::new(
            StatusCode::BAD_REQUEST,
            "invalid_grant",
            "The refresh token is no longer valid. Log in again.",
        ),
        RefreshError::Throttle(error) => throttle(error, LOGINS_USED_UP),
        RefreshError::Store(error) => store(error),
        RefreshError::Keys(error) => keys(error),
        RefreshError::Issue(_) | RefreshError::Random(_) => Problem::internal(),
    };
    Problem { reason: error.reason(), ..problem }
}

fn keys(error: &ActiveKeyError) -> Problem {
    match error {
        ActiveKeyError::Store(error) => store(error),
        ActiveKeyError::Unwrap(error) => wrapping(error),
        ActiveKeyError::None(_) | ActiveKeyError::Algorithm { .. } | ActiveKeyError::ShortSecret { .. } => {
            Problem::internal()
        }
    }
}

fn wrapping(error: &WrappingError) -> Problem {
    match error {
        WrappingError::Kms { .. } => Problem::unavailable(),
        WrappingError::MalformedKey
        | WrappingError::Wrap { .. }
        | WrappingError::Unwrap { .. }
        | WrappingError::KmsKey { .. }
        | WrappingError::KmsDenied { .. } => Problem::internal(),
    }
}

fn store(error: &StoreError) -> Problem {
    match error {
        StoreError::Call { .. } => Problem::unavailable(),
        StoreError::MalformedItem { .. } => Problem::internal(),
    }
}

/// An error's text as a sentence.
fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(char::to_uppercase);
    first.into_iter().flatten().chain(characters).chain(['.']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::http::Body;
    use shared::http::problem::ErrorBody;

    use super::*;

    fn answered(error: impl Into<ApiError>, members: ErrorBody) -> (u16, Option<String>, Value) {
        let response = Problem::from(error.into()).to_response(members);
        let header = response.headers().get("retry-after").map(|seconds| seconds.to_str().unwrap().to_owned());
        let Body::Text(body) = response.body() else { panic!("no text: {response:?}") };
        (response.status().as_u16(), header, serde_json::from_str(body).unwrap())
    }

    #[test]
    fn the_seconds_to_wait_are_in_the_header_and_in_the_body() {
        let too_many = || ThrottleError::TooMany { retry_after_seconds: 8 };
        let wait = "Too many attempts. Try again in 8 seconds.";
        let errors: [ApiError; 3] = [
            RegistrationError::from(too_many()).into(),
            LoginError::from(AuthenticationError::Throttle(too_many())).into(),
            RefreshError::from(too_many()).into(),
        ];
        for error in errors {
            let body = json!({ "error": "too_many_attempts", "message": wait, "retry_after": 8 });
            assert_eq!(answered(error, ErrorBody::Plain), (429, Some("8".to_owned()), body));
        }
        let body = json!({
            "error": "too_many_attempts", "error_description": wait, "message": wait, "retry_after": 8,
        });
        let too_many = RefreshError::from(too_many());
        assert_eq!(answered(too_many, ErrorBody::OAuth), (429, Some("8".to_owned()), body));

        let outage = || StoreError::Call { operation: "reading a user", source: "it does not answer".into() };
        for members in [ErrorBody::Plain, ErrorBody::OAuth] {
            let (status, header, body) = answered(outage(), members);
            assert_eq!((status, header.as_deref(), &body["retry_after"]), (503, Some("2"), &json!(2)), "{body}");
        }
    }

    #[test]
    fn attempts_that_time_does_not_give_back_name_the_way_out_and_no_seconds() {
        let used_up = || AuthenticationError::Throttle(ThrottleError::UsedUp);
        for (error, code, message) in [
            (
                ApiError::from(LoginError::from(used_up())),
                "attempts_used_up",
                "Too many attempts to log in with this name from here, and waiting does not help. Log in on a device on \
                 which you have logged in before, try another network, or ask an operator to unlock the account.",
            ),
            (
                LoginError::from(AuthenticationError::Throttle(ThrottleError::DeviceUsedUp)).into(),
                "device_attempts_used_up",
                "Too many attempts to log in with this name on this device, and waiting does not help. Log in without \
                 `device_token`, as on a device that is not known, or ask an operator to unlock the account.",
            ),
            (
                ChangePasswordError::CurrentPassword(used_up()).into(),
                "attempts_used_up",
                "Too many attempts to enter the current password, and waiting does not help. A login on this device allows \
                 more.",
            ),
        ] {
            let body = json!({ "error": code, "message": message });
            assert_eq!(answered(error, ErrorBody::Plain), (429, None, body));
        }
    }

    #[test]
    fn an_error_for_which_waiting_is_of_no_use_names_no_seconds() {
        let (status, header, body) = answered(ApiError::NoSuchSession, ErrorBody::Plain);
        let expected = json!({ "error": "not_found", "message": "You have no session with this id." });
        assert_eq!((status, header, body), (404, None, expected));
    }

    #[test]
    fn the_log_has_the_finer_reason_and_the_whole_chain() {
        let error = ApiError::from(LoginError::from(AuthenticationError::WrongPassword));
        let problem = Problem::from(error);
        assert_eq!((problem.code, problem.reason), ("invalid_credentials", "wrong_password"));
        assert_eq!(problem.chain, "the login failed: the password is wrong");
        let error = ApiError::from(RefreshError::Reused);
        assert_eq!(Problem::from(error).reason, "refresh_token_reused");
    }
}
