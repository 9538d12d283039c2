//! A function behind an HTTP API: its routes, and how an event becomes a response and one line of log.

use std::future;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderValue;
use http::header::HOST;
use http::uri::PathAndQuery;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Request};
use lambda_runtime::{Diagnostic, LambdaEvent, Service as _, service_fn};
use serde::Serialize;
use serde_json::value::RawValue;

use super::error::RequestError;
use super::problem::{ErrorBody, Problem};
use super::response::Response;
use super::{origin, request};
use crate::config::PageOrigins;
use crate::function::{Function, StartError, launch};
use crate::telemetry;

/// Longest query, in bytes. API Gateway's limit for a request line with all headers is 10 240.
const MAX_QUERY_BYTES: usize = 10_240;

/// The event is not one that an HTTP API with payload format 2.0 sends. API Gateway answers the client with a 500.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// Another event, or none. The error does not repeat it: it may contain a token.
    #[error("the event is not an HTTP API event of payload format 2.0")]
    NotHttpApi,
    /// The query string is invalid.
    #[error("the event's query string is not valid in a URL")]
    NotAUrl,
    /// The body is marked as base64, and is not.
    #[error("the event's body is marked as base64 and is not")]
    NotBase64,
}

impl From<EventError> for Diagnostic {
    fn from(error: EventError) -> Self {
        Self { error_type: "EventError".to_owned(), error_message: error.to_string() }
    }
}

/// The outcome of a request.
pub type Outcome<'a, E> = Pin<Box<dyn Future<Output = Result<Response, E>> + Send + 'a>>;

/// The outcome of a handler that does not wait.
pub fn ready<'a, E: Send + 'a>(result: Result<Response, E>) -> Outcome<'a, E> {
    Box::pin(future::ready(result))
}

/// A route of a function, whose state is `S` and whose errors are `E`.
pub struct Route<S, E = RequestError> {
    key: &'static str,
    event: &'static str,
    handler: Handler<S, E>,
}

type Handler<S, E> = for<'a> fn(&'a S, &'a Request) -> Outcome<'a, E>;

impl<S, E> Route<S, E> {
    /// A route by its key in API Gateway, such as `GET /sessions/{sid}`. `event` is its name in the log.
    pub const fn new(key: &'static str, event: &'static str, handler: Handler<S, E>) -> Self {
        Self { key, event, handler }
    }
}

/// A function behind an HTTP API. `start::<Http<F>>()` runs it.
pub trait HttpFunction: Sync + Sized + 'static {
    /// The name of the function's crate, whose lines are logged: `env!("CARGO_CRATE_NAME")`.
    const NAME: &'static str;
    /// The event in the log if no route matches.
    const EVENT: &'static str;
    /// Every route, as in `template.yaml`.
    const ROUTES: &'static [Route<Self, Self::Error>];
    /// Which members the body of an error has.
    const ERROR_BODY: ErrorBody = ErrorBody::Plain;
    /// Whether web pages of other origins may not make requests that change something ([`origin`]). A function whose
    /// every route needs an access token may leave it out: no page sends one by itself.
    const REJECTS_FOREIGN_PAGES: bool = false;
    /// Why a request fails.
    type Error: Into<Problem> + From<RequestError> + Send;

    /// The function as the environment configures it.
    ///
    /// # Errors
    /// A setting is missing or wrong.
    fn from_env() -> Result<Self, StartError>;

    /// Opens connections in the init phase, which has a full CPU.
    ///
    /// # Errors
    /// The store did not answer. The first request tries again.
    fn warm_up(&self) -> impl Future<Output = Result<(), StartError>> {
        future::ready(Ok(()))
    }
}

/// Runs a function without state of its own until Lambda ends the environment. `name` is that of its crate:
/// `env!("CARGO_CRATE_NAME")`.
#[must_use]
pub fn serve(name: &'static str, routes: &'static [Route<()>]) -> ExitCode {
    let server = Server { state: (), routes, error_body: ErrorBody::Plain, pages: None };
    let handle = async |server: &Server<(), RequestError>, event| server.handle(event).await;
    launch(name, name, || Ok(server), async |_| Ok(()), &handle)
}

/// Runs an [`HttpFunction`].
pub struct Http<F: HttpFunction>(Server<F, F::Error>);

impl<F: HttpFunction> Function for Http<F> {
    const NAME: &'static str = F::NAME;
    const EVENT: &'static str = F::EVENT;

    fn from_env() -> Result<Self, StartError> {
        let pages = F::REJECTS_FOREIGN_PAGES.then(PageOrigins::from_env);
        Ok(Self(Server { state: F::from_env()?, routes: F::ROUTES, error_body: F::ERROR_BODY, pages }))
    }

    fn warm_up(&self) -> impl Future<Output = Result<(), StartError>> {
        self.0.state.warm_up()
    }

    fn handle(
        &self,
        event: LambdaEvent<Box<RawValue>>,
    ) -> impl Future<Output = Result<impl Serialize + use<F>, Diagnostic>> {
        self.0.handle(event)
    }
}

/// What answers events: the state of a function, and its routes.
struct Server<S: 'static, E: 'static> {
    state: S,
    routes: &'static [Route<S, E>],
    error_body: ErrorBody,
    /// The pages that may make requests that change something; `None` if every page may.
    pages: Option<PageOrigins>,
}

impl<S: Sync, E: Into<Problem> + From<RequestError> + Send> Server<S, E> {
    async fn handle(&self, event: LambdaEvent<Box<RawValue>>) -> Result<impl Serialize + use<S, E>, Diagnostic> {
        let LambdaEvent { payload, context } = event;
        let api_event = read(&payload).inspect_err(|error| {
            tracing::error!(outcome = "failed", reason = "malformed_event", "{error}");
        })?;
        let request = LambdaRequest::ApiGatewayV2(api_event);
        let service = service_fn(|request: Request| self.answer(request));
        Adapter::from(service).call(LambdaEvent::new(request, context)).await.map_err(Diagnostic::from)
    }

    async fn answer(&self, request: Request) -> Result<Response, EventError> {
        let started = Instant::now();
        if let Some(context) = request::context(&request) {
            let span = tracing::Span::current();
            span.record("request_id", context.request_id.as_deref());
            span.record("route", context.route_key.as_deref());
        }
        let result = self.admit(&request).await;
        let milliseconds = telemetry::milliseconds_since(started);
        Ok(match result {
            Ok(response) => {
                tracing::info!(outcome = "succeeded", status = response.status().as_u16(), milliseconds);
                response
            }
            Err(error) => {
                let problem: Problem = error.into();
                let (status, reason, error) = (problem.status.as_u16(), problem.reason, &problem.chain);
                if problem.status.is_server_error() {
                    tracing::error!(outcome = "failed", status, reason, error, milliseconds);
                } else {
                    tracing::warn!(outcome = "refused", status, reason, error, milliseconds);
                }
                problem.to_response(self.error_body)
            }
        })
    }

    async fn admit(&self, request: &Request) -> Result<Response, E> {
        if self.pages.as_ref().is_some_and(|pages| origin::is_from_a_foreign_page(request, pages)) {
            // An event of its own, because it is not a failed login.
            tracing::Span::current().record("event", "foreign_page");
            return Err(RequestError::ForeignPage.into());
        }
        dispatch(&self.state, self.routes, request).await
    }
}

/// Answers a request by the route that API Gateway matched.
///
/// # Errors
/// There is no such route, or its handler fails.
pub async fn dispatch<S, E: From<RequestError>>(
    state: &S,
    routes: &[Route<S, E>],
    request: &Request,
) -> Result<Response, E> {
    let key = request::route_key(request);
    let Some(route) = routes.iter().find(|route| Some(route.key) == key) else {
        return Err(RequestError::NoRoute.into());
    };
    tracing::Span::current().record("event", route.event);
    (route.handler)(state, request).await
}

/// Reads an event and checks what `lambda_http` assumes. It builds a URL from the path, the query and headers of the
/// client, decodes the body, and panics if that is impossible. An HTTP API decodes the path, so that `/sessions/a%20b`
/// arrives in a form that is not valid in a URL.
fn read(payload: &RawValue) -> Result<ApiGatewayV2httpRequest, EventError> {
    let mut event: ApiGatewayV2httpRequest = serde_json::from_str(payload.get()).map_err(|_| EventError::NotHttpApi)?;
    let query = event.raw_query_string.as_deref().unwrap_or_default();
    if query.len() > MAX_QUERY_BYTES || PathAndQuery::try_from(format!("/?{query}")).is_err() {
        return Err(EventError::NotAUrl);
    }
    if event.is_base64_encoded && STANDARD.decode(event.body.as_deref().unwrap_or_default()).is_err() {
        return Err(EventError::NotBase64);
    }
    // No handler uses the URL's scheme, host or path: the route and its parameters replace the
    // path.
    event.raw_path = Some("/".to_owned());
    event.headers.insert(HOST, HeaderValue::from_static("localhost"));
    event.headers.remove("x-forwarded-proto");
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_json(event: &serde_json::Value) -> Result<ApiGatewayV2httpRequest, EventError> {
        read(&serde_json::value::to_raw_value(event).unwrap())
    }

    fn event(path: &str, query: &str, headers: &serde_json::Value) -> serde_json::Value {
        json!({
            "version": "2.0",
            "rawPath": path,
            "rawQueryString": query,
            "headers": headers,
            "requestContext": { "domainName": "not a host:99999999", "http": { "method": "GET" }, "timeEpoch": 0 },
        })
    }

    #[test]
    fn what_api_gateway_sends_is_read() {
        assert!(read_json(&event("/me", "a=1", &json!({ "host": "example.com" }))).is_ok());
    }

    #[test]
    fn a_path_that_api_gateway_decoded_is_read() {
        for path in ["/sessions/a b", "/sessions/a?b#c", "/sessions/%", "/sessions/\u{fc}", "/ ", "", "me", ":99999999"]
        {
            let event = read_json(&event(path, "everywhere=true", &json!({}))).unwrap();
            let request: Request = LambdaRequest::ApiGatewayV2(event).into();
            assert_eq!(request.uri().query(), Some("everywhere=true"), "{path}");
        }
    }

    #[test]
    fn headers_that_are_no_url_do_not_panic() {
        for headers in [
            json!({ "host": "a b" }),
            json!({ "host": "example.com:99999999" }),
            json!({ "host": "", "x-forwarded-proto": "" }),
            json!({ "x-forwarded-proto": "1 2" }),
            json!({}),
        ] {
            let event = read_json(&event("/me", "", &headers)).unwrap();
            let _: Request = LambdaRequest::ApiGatewayV2(event).into();
        }
    }

    #[test]
    fn queries_that_are_none_of_a_url_are_an_error_and_no_panic() {
        for query in ["a b", "\u{0}", &"a".repeat(MAX_QUERY_BYTES + 1)] {
            assert!(matches!(read_json(&event("/", query, &json!({}))), Err(EventError::NotAUrl)), "{query:?}");
        }
    }

    #[test]
    fn no_character_of_a_path_or_a_query_makes_it_panic() {
        for character in (0..0x250).filter_map(char::from_u32).chain(['\u{202e}', '\u{feff}', '\u{10ffff}']) {
            for text in
                [format!("{character}"), format!("a{character}b"), format!("%{character}"), format!("@{character}:9")]
            {
                for (path, query) in [
                    (format!("/{text}"), String::new()),
                    (format!("/{text}?{text}"), text.clone()),
                    (text.clone(), text),
                ] {
                    if let Ok(event) = read_json(&event(&path, &query, &json!({}))) {
                        let _: Request = LambdaRequest::ApiGatewayV2(event).into();
                    }
                }
            }
        }
    }

    #[test]
    fn a_body_that_is_marked_as_base64_and_is_not_is_an_error_and_no_panic() {
        let mut event = event("/me", "", &json!({}));
        event["isBase64Encoded"] = json!(true);
        for (body, is_read) in [(json!("YQ=="), true), (json!(null), true), (json!("YQ"), false), (json!("%%"), false)]
        {
            event["body"] = body;
            match read_json(&event) {
                Ok(event) => {
                    let _: Request = LambdaRequest::ApiGatewayV2(event).into();
                    assert!(is_read);
                }
                Err(_) => assert!(!is_read),
            }
        }
    }

    #[test]
    fn other_events_are_an_error_and_no_panic() {
        for event in
            [json!(null), json!([]), json!("text"), json!({}), json!({ "Records": [] }), json!({ "requestContext": 1 })]
        {
            assert!(read_json(&event).is_err(), "{event}");
        }
    }
}
