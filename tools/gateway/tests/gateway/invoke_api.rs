//! The Lambda Invoke API, with functions that behave in every way a function can. It is a real HTTP server, for
//! behaviour that a healthy `cargo lambda watch` never shows.

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

type Calls = Arc<Mutex<BTreeMap<String, Vec<Value>>>>;

/// A running Invoke API. It ends with the test's process.
pub(crate) struct InvokeApi {
    pub(crate) port: u16,
    calls: Calls,
    running: Arc<Running>,
}

/// How many invocations of `pause` are running, and the maximum.
#[derive(Default)]
struct Running {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl InvokeApi {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let calls = Calls::default();
        let running = Arc::<Running>::default();
        let (shared, counted) = (Arc::clone(&calls), Arc::clone(&running));
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(serve(listener, shared, counted));
        });
        Self { port, calls, running }
    }

    /// The most invocations of `pause` that ran at once.
    pub(crate) fn most_at_once(&self) -> usize {
        self.running.most.load(Ordering::SeqCst)
    }

    /// The events a function was invoked with so far.
    pub(crate) fn calls(&self, binary: &str) -> Vec<Value> {
        self.calls.lock().unwrap().get(binary).cloned().unwrap_or_default()
    }

    /// How many invocations there have been.
    pub(crate) fn count(&self) -> usize {
        self.calls.lock().unwrap().values().map(Vec::len).sum()
    }
}

/// A port at which nothing listens, reserved as long as this lives.
pub(crate) struct Silence {
    pub(crate) port: u16,
    _socket: tokio::net::TcpSocket,
}

impl Silence {
    pub(crate) fn new() -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        Self { port: socket.local_addr().unwrap().port(), _socket: socket }
    }
}

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

async fn serve(listener: TcpListener, calls: Calls, running: Arc<Running>) {
    listener.set_nonblocking(true).unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (calls, running) = (Arc::clone(&calls), Arc::clone(&running));
        tokio::spawn(async move {
            let service = service_fn(|request| invoke(request, Arc::clone(&calls), Arc::clone(&running)));
            // A gateway that has given up closes the connection: no failure of this side.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn invoke(
    request: Request<hyper::body::Incoming>,
    calls: Calls,
    running: Arc<Running>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    let path = request.uri().path().to_owned();
    let binary = path
        .strip_prefix("/2015-03-31/functions/")
        .and_then(|rest| rest.strip_suffix("/invocations"))
        .map(str::to_owned);
    let is_post = request.method() == "POST";
    let body = request.into_body().collect().await.map_err(io::Error::other)?.to_bytes();
    let (Some(binary), true) = (binary, is_post) else {
        return Ok(answer(StatusCode::NOT_FOUND, "not an invocation"));
    };
    let event: Value = serde_json::from_slice(&body).unwrap();
    calls.lock().unwrap().entry(binary.clone()).or_default().push(event.clone());
    match binary.as_str() {
        "guard" => guard(&event).await,
        "echo" => Ok(answer(StatusCode::OK, json!({ "statusCode": 200, "body": event.to_string() }).to_string())),
        "respond" => {
            let body = body_of(&event);
            if body == "hang" {
                hang().await;
            }
            Ok(answer(StatusCode::OK, body))
        }
        "pause" => {
            let now = running.now.fetch_add(1, Ordering::SeqCst) + 1;
            running.most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_secs(4)).await;
            running.now.fetch_sub(1, Ordering::SeqCst);
            Ok(answer(StatusCode::OK, json!({ "statusCode": 200 }).to_string()))
        }
        "fail" => Ok(failure()),
        "hang" => {
            hang().await;
            Ok(answer(StatusCode::OK, "{}"))
        }
        "huge" => Ok(answer(StatusCode::OK, format!("\"{}\"", "x".repeat(6 * 1024 * 1024)))),
        // An error of the service makes the server close the connection without an answer.
        "break" => Err(io::Error::other("broken on purpose")),
        "size" => Ok(answer(StatusCode::OK, body_of(&event).len().to_string())),
        _ => Ok(answer(StatusCode::NOT_FOUND, "<html>no such function</html>")),
    }
}

/// Decides by the first identity source, or by the token.
async fn guard(event: &Value) -> Result<Response<Full<Bytes>>, io::Error> {
    let of_request = event["identitySource"][0].as_str().or(event["identitySource"].as_str());
    let token = of_request.or(event["authorizationToken"].as_str()).or(event["headers"]["x-token"].as_str());
    let method_arn = event["methodArn"].as_str().or(event["routeArn"].as_str()).unwrap_or_default();
    let policy = |effect: &str, resource: &str| {
        json!({
            "principalId": "u1",
            "policyDocument": {
                "Version": "2012-10-17",
                "Statement": [{ "Effect": effect, "Action": "execute-api:Invoke", "Resource": resource }],
            },
            "context": { "sub": "u1", "n": 5, "ok": true },
        })
    };
    let verdict = match token.unwrap_or_default() {
        "policy for this" => policy("Allow", method_arn),
        "policy for all" => policy("Allow", "*"),
        "policy for reading" => policy("Allow", "arn:aws:execute-api:*:*:*/*/GET/*"),
        "policy against" => policy("Deny", "*"),
        "policy of nobody" => json!({ "policyDocument": policy("Allow", "*")["policyDocument"] }),
        "policy with a list" => {
            let mut answer = policy("Allow", "*");
            answer["context"]["list"] = json!([1]);
            answer
        }
        "unauthorized" => {
            let error = json!({ "errorType": "Error", "errorMessage": "Unauthorized" });
            return Ok(answer(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()));
        }
        "allow" => json!({ "isAuthorized": true, "context": { "sub": "u1", "roles": ["user"], "n": 5, "ok": true } }),
        "allow without context" => json!({ "isAuthorized": true }),
        "deny" => json!({ "isAuthorized": false, "context": { "why": "no" } }),
        "fail" => return Ok(failure()),
        "garbage" => return Ok(answer(StatusCode::OK, "<html>")),
        "break" => return Err(io::Error::other("broken on purpose")),
        "hang" => {
            hang().await;
            json!({ "isAuthorized": true })
        }
        "no verdict" => json!({ "context": { "sub": "u1" } }),
        "text verdict" => json!({ "isAuthorized": "true" }),
        "policy" => json!({ "principalId": "u1", "policyDocument": { "Statement": [{ "Effect": "Allow" }] } }),
        _ => json!({ "isAuthorized": false }),
    };
    Ok(answer(StatusCode::OK, verdict.to_string()))
}

/// The body of the request an event tells of.
fn body_of(event: &Value) -> Bytes {
    let body = event["body"].as_str().unwrap_or_default();
    if event["isBase64Encoded"] == true { BASE64_STANDARD.decode(body).unwrap().into() } else { body.to_owned().into() }
}

async fn hang() {
    tokio::time::sleep(Duration::from_mins(2)).await;
}

/// A function's error as `cargo lambda watch` passes it on.
fn failure() -> Response<Full<Bytes>> {
    answer(StatusCode::INTERNAL_SERVER_ERROR, json!({ "errorType": "Oops", "errorMessage": "it broke" }).to_string())
}

fn answer(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response
}
