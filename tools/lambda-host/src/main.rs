//! The Lambda Invoke API for bootstraps that are built already.

mod pool;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error;
use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use lambda_host::Function;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::pool::Pool;

/// Runs bootstraps as Lambda does, and answers the Lambda Invoke API for them.
///
/// The functions' own output is on standard error.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The functions: a JSON list of objects with name, program, arguments, variables, memory_megabytes,
    /// timeout_seconds.
    #[arg(long)]
    functions: PathBuf,
    /// The port of the Invoke API.
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// How many processes a function may have.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
}

/// It cannot serve.
#[derive(Debug, thiserror::Error)]
enum HostError {
    #[error("{0} cannot be read")]
    Functions(PathBuf, #[source] io::Error),
    #[error("{0} is no list of functions")]
    Malformed(PathBuf, #[source] serde_json::Error),
    #[error("cannot listen at {0}; choose another port with --port, or end what listens there")]
    Bind(SocketAddr, #[source] io::Error),
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    match serve(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let errors = std::iter::successors(Some(&error as &dyn Error), |&error| error.source());
            eprintln!("lambda-host: {}", errors.map(ToString::to_string).collect::<Vec<_>>().join(": "));
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> Result<(), HostError> {
    let file = arguments.functions;
    let text = fs::read_to_string(&file).map_err(|error| HostError::Functions(file.clone(), error))?;
    let functions: Vec<Function> = serde_json::from_str(&text).map_err(|error| HostError::Malformed(file, error))?;
    let pools: BTreeMap<String, Pool> = functions
        .into_iter()
        .map(|function| (function.name.clone(), Pool::new(function, arguments.concurrency.into())))
        .collect();
    let pools = Arc::new(pools);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, arguments.port));
    let listener = TcpListener::bind(address).await.map_err(|error| HostError::Bind(address, error))?;
    let mut terminate = signal(SignalKind::terminate()).map_err(HostError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(HostError::Signals)?;
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let _ = stream.set_nodelay(true);
                let pools = Arc::clone(&pools);
                let service = service_fn(move |request| {
                    let pools = Arc::clone(&pools);
                    async move { Ok::<_, Infallible>(answer(pools, request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
}

/// As Lambda answers `Invoke` (<https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html>): an error of the
/// function is status 200 with a header.
async fn answer(pools: Arc<BTreeMap<String, Pool>>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let name = path
        .strip_prefix("/2015-03-31/functions/")
        .and_then(|path| path.strip_suffix("/invocations"))
        .unwrap_or_default()
        .to_owned();
    if request.method() != Method::POST || !pools.contains_key(&name) {
        return error(StatusCode::NOT_FOUND, "ResourceNotFoundException", &format!("there is no function {name}"));
    }
    let Ok(body) = request.into_body().collect().await else {
        return error(StatusCode::BAD_REQUEST, "InvalidRequestContentException", "the event did not arrive whole");
    };
    // In a task of its own, so that an environment is not lost when the caller disconnects.
    let invocation = tokio::spawn(async move {
        match pools.get(&name) {
            Some(pool) => pool.invoke(body.to_bytes()).await.map_err(|error| error.to_string()),
            None => Err("there is no such function".to_owned()),
        }
    });
    match invocation.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(answer) => {
            let mut response = Response::new(Full::from(answer.payload));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            if answer.is_error {
                response.headers_mut().insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
            }
            response
        }
        Err(message) => {
            eprintln!("lambda-host: {message}");
            let mut response = error(StatusCode::OK, "Runtime.ExitError", &message);
            response.headers_mut().insert("x-amz-function-error", HeaderValue::from_static("Unhandled"));
            response
        }
    }
}

fn error(status: StatusCode, kind: &str, message: &str) -> Response<Full<Bytes>> {
    let body = serde_json::json!({ "errorType": kind, "errorMessage": message }).to_string();
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
