//! The Runtime API of one function process (<https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>): the
//! process asks for its next event, and answers it with a result or an error.

use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

/// A message of a function process.
#[derive(Debug)]
pub(crate) enum Message {
    /// It is ready for an event: the first of these ends its initialisation.
    Ready(Instant),
    /// Its answer to the event of this number, and whether it is an error.
    Answer { number: u64, is_error: bool, body: Bytes, at: Instant },
    /// It cannot be initialised.
    InitError(Bytes),
}

/// An event and how long the function has for it.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) payload: Bytes,
    pub(crate) timeout: Duration,
}

/// A Runtime API that listens.
#[derive(Debug)]
pub(crate) struct RuntimeApi {
    pub(crate) address: SocketAddr,
    pub(crate) events: mpsc::UnboundedSender<Event>,
    pub(crate) messages: mpsc::UnboundedReceiver<Message>,
    server: JoinHandle<()>,
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

struct Shared {
    events: Mutex<mpsc::UnboundedReceiver<Event>>,
    messages: mpsc::UnboundedSender<Message>,
    number: AtomicU64,
    function: String,
}

impl RuntimeApi {
    /// Listens on any free port of this machine.
    pub(crate) async fn listen(function: &str) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (events, receiver) = mpsc::unbounded_channel();
        let (sender, messages) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            events: Mutex::new(receiver),
            messages: sender,
            number: AtomicU64::new(0),
            function: function.to_owned(),
        });
        let server = tokio::spawn(async move {
            // Its connections end with the process they are of.
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request| {
                    let shared = Arc::clone(&shared);
                    async move { Ok::<_, Infallible>(shared.answer(request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Ok(Self { address, events, messages, server })
    }
}

impl Shared {
    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let at = Instant::now();
        let path = request.uri().path().to_owned();
        let parts: Vec<_> = path.trim_start_matches('/').split('/').collect();
        match (request.method(), parts.as_slice()) {
            (&Method::GET, ["2018-06-01", "runtime", "invocation", "next"]) => {
                // The receiver may be gone, and the process ends next.
                let _ = self.messages.send(Message::Ready(at));
                match self.events.lock().await.recv().await {
                    Some(event) => self.event(event),
                    None => empty(StatusCode::GONE),
                }
            }
            (&Method::POST, ["2018-06-01", "runtime", "invocation", id, what @ ("response" | "error")]) => {
                let Some(number) = number_of(id) else { return empty(StatusCode::BAD_REQUEST) };
                let is_error = *what == "error";
                let Ok(body) = request.into_body().collect().await else { return empty(StatusCode::BAD_REQUEST) };
                let _ = self.messages.send(Message::Answer { number, is_error, body: body.to_bytes(), at });
                empty(StatusCode::ACCEPTED)
            }
            (&Method::POST, ["2018-06-01", "runtime", "init", "error"]) => {
                let Ok(body) = request.into_body().collect().await else { return empty(StatusCode::BAD_REQUEST) };
                let _ = self.messages.send(Message::InitError(body.to_bytes()));
                empty(StatusCode::ACCEPTED)
            }
            _ => empty(StatusCode::NOT_FOUND),
        }
    }

    fn event(&self, Event { payload, timeout }: Event) -> Response<Full<Bytes>> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        #[allow(clippy::disallowed_methods, reason = "a deadline is in the machine's time")]
        let deadline = SystemTime::now() + timeout;
        let deadline_ms = deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let response = Response::builder()
            .header(CONTENT_TYPE, "application/json")
            .header("Lambda-Runtime-Aws-Request-Id", id_of(number))
            .header("Lambda-Runtime-Deadline-Ms", deadline_ms.to_string())
            .header(
                "Lambda-Runtime-Invoked-Function-Arn",
                format!("arn:aws:lambda:eu-west-1:123456789012:function:{}", self.function),
            )
            .header(
                "Lambda-Runtime-Trace-Id",
                format!("Root=1-00000000-{number:024x};Parent=0000000000000001;Sampled=0"),
            )
            .body(Full::from(payload));
        response.unwrap_or_else(|_| empty(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

/// The request id of an event, as it looks in AWS: a UUID.
fn id_of(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

fn number_of(id: &str) -> Option<u64> {
    u64::from_str_radix(id.strip_prefix("00000000-0000-4000-8000-")?, 16).ok()
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

#[cfg(test)]
mod tests {
    use super::{id_of, number_of};

    #[test]
    fn an_id_is_a_uuid_and_tells_its_event() {
        assert_eq!(id_of(10), "00000000-0000-4000-8000-00000000000a");
        assert_eq!(number_of(&id_of(10)), Some(10));
        assert_eq!(number_of("10"), None);
    }
}
