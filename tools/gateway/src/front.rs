//! The Lambda Invoke API for people: for `cargo lambda invoke`, for curl.
//!
//! A web page can send a POST to any port of its visitor's machine, without a preflight (Fetch, CORS-safelisted
//! requests), and `cargo lambda watch` treats it as an invocation: of any function, with any event, with any caller
//! that the page writes into it. So the real Invoke API listens at an address that no page can guess, and this module
//! listens at the well-known port. It forwards requests of tools and rejects those of browsers: a request with `Origin`
//! or `Sec-Fetch-Site`, which browsers add and no page can remove, and one with a host name that is not this machine's
//! (DNS rebinding).

use std::{convert::Infallible, io, net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    HeaderMap, Method, Request, StatusCode, Uri,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HOST, HeaderValue, ORIGIN},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo, TokioTimer},
};
use serde_json::json;
use tokio::{net::TcpListener, sync::Semaphore};

use crate::response::Response;

/// Lambda's limit for an event, and for an answer.
const PAYLOAD_LIMIT: usize = 6 * 1024 * 1024;
/// How long a client may take to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(20);
/// Invocations through this port: few, because they come in addition to those of the API.
const CONCURRENCY: usize = 8;

/// Passes invocations on.
struct Front {
    client: Client<HttpConnector, Full<Bytes>>,
    invoke_url: String,
    places: Semaphore,
}

/// Listens at `address` and passes invocations on to the Invoke API at `invoke_url`, until the process ends.
///
/// # Errors
/// The address cannot be listened at.
pub(crate) async fn start(address: SocketAddr, invoke_url: &str) -> Result<(), io::Error> {
    let listener = TcpListener::bind(address).await?;
    let front = Arc::new(Front {
        client: Client::builder(TokioExecutor::new()).build_http(),
        invoke_url: invoke_url.trim_end_matches('/').to_owned(),
        places: Semaphore::new(CONCURRENCY),
    });
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                // Out of file descriptors, most likely: some may be free in a moment.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let front = Arc::clone(&front);
            tokio::spawn(async move {
                let service = service_fn(|request| async { Ok::<_, Infallible>(front.answer(request).await) });
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEADER_TIMEOUT)
                    .serve_connection(TokioIo::new(stream), service);
                // Disconnecting clients are not reported.
                let _ = connection.await;
            });
        }
    });
    Ok(())
}

impl Front {
    async fn answer(&self, request: Request<Incoming>) -> Response {
        if let Some(problem) = refusal(request.headers()) {
            return response(StatusCode::FORBIDDEN, problem);
        }
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str()).to_owned();
        if request.method() != Method::POST || !path.starts_with("/2015-03-31/functions/") {
            return response(
                StatusCode::NOT_FOUND,
                "This is the Lambda Invoke API: POST /2015-03-31/functions/NAME/invocations.",
            );
        }
        match self.pass_on(&path, request).await {
            Ok(response) => response,
            Err(error) => {
                eprintln!("gateway: an invocation could not be passed on: {error}");
                response(StatusCode::BAD_GATEWAY, "The Invoke API behind this one does not answer.")
            }
        }
    }

    async fn pass_on(
        &self,
        path: &str,
        request: Request<Incoming>,
    ) -> Result<Response, Box<dyn std::error::Error + Send + Sync>> {
        let _place = self.places.acquire().await?;
        let uri: Uri = format!("{}{path}", self.invoke_url).parse()?;
        let (parts, body) = request.into_parts();
        let event = Limited::new(body, PAYLOAD_LIMIT).collect().await?.to_bytes();
        let mut passed = Request::post(uri).body(Full::from(event))?;
        for (name, value) in &parts.headers {
            if *name == CONTENT_TYPE || name.as_str().starts_with("x-amz-") {
                passed.headers_mut().append(name, value.clone());
            }
        }
        let (parts, body) = self.client.request(passed).await?.into_parts();
        let answer = Limited::new(body, PAYLOAD_LIMIT).collect().await?.to_bytes();
        let mut response = Response::new(Full::from(answer));
        *response.status_mut() = parts.status;
        for (name, value) in &parts.headers {
            if *name == CONTENT_TYPE || name.as_str().starts_with("x-amz") {
                response.headers_mut().append(name, value.clone());
            }
        }
        Ok(response)
    }
}

/// Why a request is not from a command-line tool, if it is not.
fn refusal(headers: &HeaderMap) -> Option<&'static str> {
    if headers.contains_key(ORIGIN) || headers.contains_key("sec-fetch-site") {
        return Some(
            "A web page may not invoke functions: the request has Origin or Sec-Fetch-Site, which browsers add.",
        );
    }
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let is_this_machine = ["localhost", "127.0.0.1", "[::1]"].iter().any(|own| name.eq_ignore_ascii_case(own));
    (!is_this_machine).then_some("Functions are invoked at localhost, 127.0.0.1 or [::1], and by no other name.")
}

fn response(status: StatusCode, message: &str) -> Response {
    let mut response = Response::new(Full::from(json!({ "message": message }).to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_refused(headers: &[(&'static str, &'static str)]) -> bool {
        let headers = headers.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        refusal(&headers.collect()).is_some()
    }

    #[test]
    fn people_s_tools_pass() {
        for host in ["localhost", "localhost:9000", "LOCALHOST:9000", "127.0.0.1:9000", "[::1]:9000", "[::1]"] {
            assert!(!is_refused(&[("host", host)]), "{host}");
            assert!(!is_refused(&[("host", host), ("user-agent", "curl/8"), ("content-type", "text/plain")]), "{host}");
        }
    }

    #[test]
    fn what_a_browser_sends_is_refused() {
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://localhost:3000"),
            ("origin", ""),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "none"),
        ] {
            assert!(is_refused(&[("host", "localhost:9000"), (name, value)]), "{name}: {value}");
        }
    }

    #[test]
    fn a_name_behind_which_a_page_has_put_this_address_is_refused() {
        for host in
            ["evil.example:9000", "localhost.evil.example", "127.0.0.1.evil.example:9000", "", ":9000", "[::2]:9000"]
        {
            assert!(is_refused(&[("host", host)]), "{host}");
        }
        assert!(is_refused(&[]));
    }
}
