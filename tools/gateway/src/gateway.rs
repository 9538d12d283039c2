//! The way of one request: body, route, CORS, authorizer, function, answer.

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use http_body_util::BodyExt;
use hyper::{
    Method, StatusCode,
    body::{Body, Bytes, Incoming},
    header::{EXPECT, HeaderValue},
    http::request::Parts,
};

use crate::{
    api::{Access, Api, Target},
    authorizer::Verdict,
    cors,
    event::Routed,
    invoke::{InvokeError, Invoker},
    log::{self, Log, Record},
    request::{Arrival, Request},
    response::{self, Response},
};

/// The largest payload an HTTP API takes.
const PAYLOAD_LIMIT: usize = 10 * 1024 * 1024;

/// How long a body may take to arrive.
const PAYLOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the rest of a payload that is too large is read and thrown away, so that its sender comes to the answer.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves one API.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// As the template has it by now. A request keeps the one that it began with.
    api: RwLock<Arc<Api>>,
    invoker: Invoker,
    log: Log,
}

impl Gateway {
    pub(crate) fn new(api: Api, log: Log) -> Self {
        Self { api: RwLock::new(Arc::new(api)), invoker: Invoker::new(), log }
    }

    /// Serves this API from the next request on.
    pub(crate) fn replace(&self, api: Api) {
        self.log.reloaded(api.routes.count());
        *self.api.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(api);
    }

    pub(crate) fn log(&self) -> &Log {
        &self.log
    }

    /// Answers one request that came from `source_ip` to `port`.
    pub(crate) async fn answer(&self, request: hyper::Request<Incoming>, source_ip: IpAddr, port: u16) -> Response {
        let started = Instant::now();
        let api = Arc::clone(&self.api.read().unwrap_or_else(PoisonError::into_inner));
        let arrival = Arrival::now(source_ip, port);
        let (parts, body) = request.into_parts();
        let mut record = Record {
            id: arrival.id.clone(),
            time: arrival.time,
            method: parts.method.as_str().to_owned(),
            path: parts.uri.path().to_owned(),
            authorizer: None,
            function: None,
        };
        let mut response = match receive(&parts, body).await {
            Ok(body) => self.respond(&api, &parts, body, &arrival, &mut record).await,
            Err(status) => response::own(status),
        };
        if let Some(cors) = api.cors.as_ref().filter(|_| !cors::is_preflight(&parts)) {
            cors::replace_headers(cors, &parts.headers, response.headers_mut());
        }
        if let Ok(id) = HeaderValue::from_str(&arrival.id) {
            response.headers_mut().insert("apigw-requestid", id);
        }
        self.log.write(&record, response.status(), started.elapsed());
        response
    }

    async fn respond(&self, api: &Api, parts: &Parts, body: Bytes, arrival: &Arrival, record: &mut Record) -> Response {
        if let Some(cors) = api.cors.as_ref().filter(|_| cors::is_preflight(parts)) {
            return response::no_content(cors::preflight_headers(cors, &parts.headers));
        }
        let request = Request::new(parts, body, arrival, &api.context.domain_name);
        let Some(found) = api.routes.find(&request.method, &request.path) else {
            // Where CORS is configured no OPTIONS is unknown, preflight or not.
            return if api.cors.is_some() && parts.method == Method::OPTIONS {
                response::no_content(hyper::HeaderMap::new())
            } else {
                response::own(StatusCode::NOT_FOUND)
            };
        };
        let target = found.target;
        let routed =
            Routed { api: &api.context, request: &request, route_key: &target.key, path_parameters: &found.parameters };
        let authorizer = match &target.access {
            Access::Closed => {
                log::complain(
                    &record.id,
                    &format!("{} needs what is not emulated; see the start of this output", target.key),
                );
                return response::own(StatusCode::INTERNAL_SERVER_ERROR);
            }
            Access::Public => None,
            Access::Authorized(authorizer) => {
                let asked = Instant::now();
                let verdict = authorizer.decide(&self.invoker, &routed).await;
                let mut note = |word| record.authorizer = Some((word, asked.elapsed()));
                match verdict {
                    Ok(Verdict::Allow(context)) => {
                        note("allow");
                        Some(context)
                    }
                    Ok(Verdict::Deny) => {
                        note("deny");
                        return response::own(StatusCode::FORBIDDEN);
                    }
                    Ok(Verdict::NoIdentity) => {
                        note("not asked");
                        return response::own(StatusCode::UNAUTHORIZED);
                    }
                    Err(error) => {
                        note("error");
                        log::complain(&record.id, &format!("authorizer of {}: {}", target.key, log::chain(&error)));
                        return response::own(StatusCode::INTERNAL_SERVER_ERROR);
                    }
                }
            }
        };
        self.integrate(target, &routed.function_event(authorizer), record).await
    }

    /// Calls the function and unwraps its answer.
    async fn integrate(&self, target: &Target, event: &serde_json::Value, record: &mut Record) -> Response {
        let called = Instant::now();
        let answer = self.invoker.invoke(&target.function, event, target.limit).await;
        let binary = &target.function.binary;
        record.function = Some((binary.clone(), called.elapsed()));
        let (status, reason) = match answer {
            Ok(answer) => match response::from_function(answer) {
                Ok(response) => return response,
                Err(malformed) => (StatusCode::INTERNAL_SERVER_ERROR, malformed.to_string()),
            },
            Err(error @ (InvokeError::Unreachable(..) | InvokeError::Timeout(_))) => {
                (StatusCode::SERVICE_UNAVAILABLE, log::chain(&error))
            }
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, log::chain(&error)),
        };
        log::complain(&record.id, &format!("{binary}: {reason}"));
        response::own(status)
    }
}

/// Takes in the whole payload. An error is the status of the answer.
async fn receive(parts: &Parts, body: Incoming) -> Result<Bytes, StatusCode> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > PAYLOAD_LIMIT && parts.headers.contains_key(EXPECT) {
        // Its sender waits to be told to send.
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    tokio::time::timeout(PAYLOAD_TIMEOUT, collect(body, announced)).await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
}

async fn collect(mut body: Incoming, announced: usize) -> Result<Bytes, StatusCode> {
    let mut received = Vec::with_capacity(announced.min(PAYLOAD_LIMIT));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
        let Some(data) = frame.data_ref() else { continue };
        if received.len() + data.len() > PAYLOAD_LIMIT {
            drop(received);
            let rest = async { while let Some(Ok(_)) = body.frame().await {} };
            // Whether it ends or not, there is one answer.
            let _ = tokio::time::timeout(DRAIN_TIMEOUT, rest).await;
            return Err(StatusCode::PAYLOAD_TOO_LARGE);
        }
        received.extend_from_slice(data);
    }
    Ok(Bytes::from(received))
}
