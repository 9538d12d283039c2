//! The Lambda Invoke API, as `cargo lambda watch` serves it.
//!
//! A function has a limit of concurrent invocations, as in Lambda. `cargo lambda watch` has
//! none: with more than about 104 running it hangs. For a burst Lambda starts execution environments; here
//! a burst waits a moment for running invocations to end. Then it is throttled.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{Method, Request, StatusCode, Uri, body::Bytes, header::CONTENT_TYPE, http::uri::InvalidUri};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::Value;
use tokio::sync::Semaphore;

/// Lambda's own limit for what a function answers.
const ANSWER_LIMIT: usize = 6 * 1024 * 1024;

/// Lambda gives a new execution environment this long to start, which does not count as the function's time. Here the
/// process starts with the first request.
const START_ALLOWANCE: Duration = Duration::from_secs(10);

/// How long an abandoned invocation is awaited beyond its timeout: it occupies a place until it ends, and one that
/// never ends must not keep the place for ever.
const GIVEN_UP_AFTER: Duration = Duration::from_mins(1);

/// How long an invocation waits for a place.
const TIMEOUT: Duration = Duration::from_secs(3);

/// A function that can be invoked.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) binary: String,
    uri: Uri,
    timeout: Duration,
    has_answered: AtomicBool,
    /// A permit for each concurrent invocation.
    places: Arc<Semaphore>,
    concurrency: usize,
}

impl Function {
    /// The function that runs `binary`, invoked at `base`, the address of the Invoke API, at most `concurrency` times
    /// at once.
    pub(crate) fn new(base: &str, binary: String, timeout: Duration, concurrency: usize) -> Result<Self, InvalidUri> {
        let uri = format!("{}/2015-03-31/functions/{binary}/invocations", base.trim_end_matches('/')).parse()?;
        let places = Arc::new(Semaphore::new(concurrency));
        Ok(Self { binary, uri, timeout, has_answered: AtomicBool::new(false), places, concurrency })
    }

    /// How long an invocation may take, when API Gateway itself would wait no longer than `ceiling`.
    fn limit(&self, ceiling: Duration) -> Duration {
        let allowance = if self.has_answered.load(Ordering::Relaxed) { Duration::ZERO } else { START_ALLOWANCE };
        ceiling.min(self.timeout + allowance)
    }
}

/// Why an invocation has no result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvokeError {
    /// There is no response because nothing listens, or the connection broke.
    #[error("{0} cannot be reached; is `cargo lambda watch` running there?")]
    Unreachable(String, #[source] Box<dyn Error + Send + Sync>),
    /// The concurrency limit is reached: Lambda would throttle this invocation (`TooManyRequestsException`).
    #[error("{0} invocations are already running, the limit set by --concurrency: this one is throttled")]
    Throttled(usize),
    /// There is no answer in time.
    #[error("no answer in {:.1} s", .0.as_secs_f64())]
    Timeout(Duration),
    /// The function ended with an error.
    #[error("the function failed with {kind}: {message}")]
    Function {
        /// `errorType`.
        kind: String,
        /// `errorMessage`.
        message: String,
    },
    /// The Invoke API answers, but not with a function's result or error.
    #[error("the Invoke API answered {0}; is the binary's name right, and does it compile?")]
    Refused(StatusCode),
    /// The function answered more than Lambda passes on.
    #[error("the function's answer is larger than 6 MB")]
    TooLarge,
}

/// Invokes functions.
#[derive(Debug)]
pub(crate) struct Invoker {
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Invoker {
    pub(crate) fn new() -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http() }
    }

    /// Invokes `function` with `event` and waits for its answer, no longer than `ceiling`.
    pub(crate) async fn invoke(
        &self,
        function: &Function,
        event: &Value,
        ceiling: Duration,
    ) -> Result<Bytes, InvokeError> {
        let limit = function.limit(ceiling);
        let place = tokio::time::timeout(TIMEOUT, Arc::clone(&function.places).acquire_owned()).await;
        let Ok(Ok(place)) = place else { return Err(InvokeError::Throttled(function.concurrency)) };
        // It continues, and keeps its place, when it is abandoned: neither a disconnect nor a timeout ends an
        // invocation at `cargo lambda watch`.
        let call = Self::call(self.client.clone(), function.uri.clone(), event.to_string());
        let call = tokio::spawn(async move {
            let answer = tokio::time::timeout(limit + GIVEN_UP_AFTER, call).await;
            drop(place);
            answer
        });
        let (status, is_error, answer) = match tokio::time::timeout(limit, call).await {
            Ok(Ok(Ok(answer))) => answer?,
            Err(_) | Ok(Ok(Err(_)) | Err(_)) => return Err(InvokeError::Timeout(limit)),
        };
        if status == StatusCode::REQUEST_TIMEOUT {
            // `cargo lambda watch --timeout` has given up.
            return Err(InvokeError::Timeout(limit));
        }
        if status.is_success() && !is_error {
            function.has_answered.store(true, Ordering::Relaxed);
            return Ok(answer);
        }
        let error = serde_json::from_slice::<Value>(&answer).unwrap_or_default();
        let text_of = |key: &str| error.get(key).and_then(Value::as_str);
        match (text_of("errorType"), text_of("errorMessage")) {
            (None, None) => Err(InvokeError::Refused(status)),
            (kind, message) => {
                function.has_answered.store(true, Ordering::Relaxed);
                Err(InvokeError::Function {
                    kind: kind.unwrap_or("an error").to_owned(),
                    message: message.unwrap_or_default().chars().take(500).collect(),
                })
            }
        }
    }

    /// The status, whether the answer is marked as a function's error, and the answer.
    async fn call(
        client: Client<HttpConnector, Full<Bytes>>,
        uri: Uri,
        event: String,
    ) -> Result<(StatusCode, bool, Bytes), InvokeError> {
        let host = uri.authority().map(ToString::to_string).unwrap_or_default();
        let unreachable = |error: Box<dyn Error + Send + Sync>| InvokeError::Unreachable(host.clone(), error);
        let mut request = Request::new(Full::from(event));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri;
        request.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
        let response = client.request(request).await.map_err(|error| unreachable(Box::new(error)))?;
        let (parts, body) = response.into_parts();
        let answer = Limited::new(body, ANSWER_LIMIT)
            .collect()
            .await
            .map_err(|error| if error.is::<LengthLimitError>() { InvokeError::TooLarge } else { unreachable(error) })?;
        Ok((parts.status, parts.headers.contains_key("x-amz-function-error"), answer.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::Ordering, time::Duration};

    use super::Function;

    #[test]
    fn a_function_has_its_own_time_and_once_that_of_a_start() {
        let function = Function::new("http://127.0.0.1:9000/", "me".to_owned(), Duration::from_secs(5), 90).unwrap();
        assert_eq!(function.uri, "http://127.0.0.1:9000/2015-03-31/functions/me/invocations");
        assert_eq!(function.limit(Duration::from_secs(30)), Duration::from_secs(15));
        assert_eq!(function.limit(Duration::from_secs(10)), Duration::from_secs(10));
        function.has_answered.store(true, Ordering::Relaxed);
        assert_eq!(function.limit(Duration::from_secs(30)), Duration::from_secs(5));
    }
}
