//! API Gateway's own responses when no function answers. HTTP and REST APIs have different ones.

use http_body_util::Full;
use hyper::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use sam_template::ApiKind;
use serde_json::{Value, json};

use crate::response::Response;

/// Why no function answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The path cannot be decoded.
    BadPath,
    /// The path is not in the stage.
    NoStage,
    NoRoute,
    /// An identity source is missing, or the authorizer said `Unauthorized`.
    Unauthorized,
    /// The authorizer denied it, explicitly or because no statement allows it.
    Denied {
        explicit: bool,
    },
    /// The authorizer has not decided.
    AuthorizerFailed,
    /// The route needs what is not emulated.
    Closed,
    FunctionFailed,
    /// Too many invocations are running.
    FunctionThrottled,
    FunctionTimedOut,
    FunctionUnreachable,
    BodyTooLarge,
    BodyTimedOut,
    BodyBroken,
}

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

impl Refusal {
    /// The answer of an API of this kind.
    pub(crate) fn response(self, kind: ApiKind) -> Response {
        match kind {
            ApiKind::Http => own(self.http_status(), &json!({ "message": self.http_message() })),
            ApiKind::Rest => {
                let (status, error_type, body) = self.rest();
                let mut response = own(status, &body);
                response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(error_type));
                response
            }
        }
    }

    fn http_status(self) -> StatusCode {
        match self {
            Self::NoStage | Self::NoRoute => StatusCode::NOT_FOUND,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Denied { .. } => StatusCode::FORBIDDEN,
            Self::AuthorizerFailed | Self::Closed | Self::FunctionFailed => StatusCode::INTERNAL_SERVER_ERROR,
            Self::FunctionThrottled | Self::FunctionTimedOut | Self::FunctionUnreachable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::BadPath | Self::BodyBroken => StatusCode::BAD_REQUEST,
        }
    }

    fn http_message(self) -> &'static str {
        match self {
            Self::BodyTooLarge => "Request Entity Too Large",
            _ => self.http_status().canonical_reason().unwrap_or_default(),
        }
    }

    /// The default gateway responses of a REST API:
    /// <https://docs.aws.amazon.com/apigateway/latest/developerguide/supported-gateway-response-types.html>
    fn rest(self) -> (StatusCode, &'static str, Value) {
        let message = |text: &str| json!({ "message": text });
        match self {
            Self::NoStage => (StatusCode::FORBIDDEN, "ForbiddenException", message("Forbidden")),
            Self::NoRoute => {
                let body = message("Missing Authentication Token");
                (StatusCode::FORBIDDEN, "MissingAuthenticationTokenException", body)
            }
            Self::Unauthorized => (StatusCode::UNAUTHORIZED, "UnauthorizedException", message("Unauthorized")),
            Self::Denied { explicit } => {
                let how = if explicit { " with an explicit deny" } else { "" };
                // With a capital letter, other than all the others.
                let body = json!({ "Message": format!("User is not authorized to access this resource{how}") });
                (StatusCode::FORBIDDEN, "AccessDeniedException", body)
            }
            Self::AuthorizerFailed => {
                let body = json!({ "message": null });
                (StatusCode::INTERNAL_SERVER_ERROR, "AuthorizerConfigurationException", body)
            }
            Self::Closed | Self::FunctionThrottled | Self::FunctionUnreachable => {
                let body = message("Internal server error");
                (StatusCode::INTERNAL_SERVER_ERROR, "InternalServerErrorException", body)
            }
            Self::FunctionFailed => {
                (StatusCode::BAD_GATEWAY, "InternalServerErrorException", message("Internal server error"))
            }
            Self::FunctionTimedOut => {
                let body = message("Endpoint request timed out");
                (StatusCode::GATEWAY_TIMEOUT, "InternalServerErrorException", body)
            }
            Self::BodyTooLarge => {
                (StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException", message("Request Too Long"))
            }
            Self::BadPath | Self::BodyTimedOut | Self::BodyBroken => {
                (StatusCode::BAD_REQUEST, "BadRequestException", message("Bad Request"))
            }
        }
    }
}

fn own(status: StatusCode, body: &Value) -> Response {
    let mut response = hyper::Response::new(Full::from(body.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
