//! What is read of a request behind an HTTP API (payload format 2.0).

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequestContext;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt as _};

use super::error::RequestError;
use crate::caller::Caller;

/// The request context of API Gateway.
#[must_use]
pub fn context(request: &Request) -> Option<&ApiGatewayV2httpRequestContext> {
    match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => Some(context),
        _ => None,
    }
}

/// The route that API Gateway matched, `GET /me`. The path is not used, so that no spelling of a path can select
/// another handler.
#[must_use]
pub fn route_key(request: &Request) -> Option<&str> {
    context(request)?.route_key.as_deref()
}

/// A parameter of the route's path, such as `sid` of `/sessions/{sid}`.
#[must_use]
pub fn path_parameter(request: &Request, name: &str) -> Option<String> {
    request.path_parameters().first(name).map(str::to_owned)
}

/// The caller, only from the authorizer's context, never from a header. The log line of the request names the
/// caller.
///
/// # Errors
/// The route has no authorizer, or its context is not Latchkey's.
pub fn caller(request: &Request) -> Result<Caller, RequestError> {
    let caller = context_caller(request).ok_or(RequestError::Unauthenticated)?;
    let span = tracing::Span::current();
    span.record("sub", &caller.sub);
    span.record("sid", &caller.sid);
    Ok(caller)
}

fn context_caller(request: &Request) -> Option<Caller> {
    let claims = &context(request)?.authorizer.as_ref()?.fields;
    serde_json::from_value(claims.clone().into_iter().collect()).ok()
}
