//! The way of one request: body, route, CORS, authorizer, function, answer.

use std::{
    net::IpAddr,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use http_body_util::BodyExt;
use hyper::{
    Method,
    body::{Body, Bytes, Incoming},
    header::{EXPECT, HeaderValue},
    http::request::Parts,
};

use sam_template::ApiKind;

use crate::{
    api::{Access, Api, Integration, Payload, Target},
    authorizer::Outcome,
    cors,
    event::{Caller, Routed},
    event_v1::is_media_type,
    invoke::{Function, InvokeError, Invoker},
    log::{self, Log, Record},
    path,
    refusal::Refusal,
    request::{Arrival, Request},
    response::{self, Response},
};

/// The largest payload an HTTP API takes.
const PAYLOAD_LIMIT: usize = 10 * 1024 * 1024;

/// How long a body may take to arrive.
const PAYLOAD_TIMEOUT: Duration = Duration::from_secs(30);

/// How long the rest of a too large payload is read and discarded, so that the sender reads the response.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Serves one API.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// The current API. A request keeps the one that it started with.
    api: RwLock<Arc<Api>>,
    invoker: Invoker,
    log: Log,
    /// Whether the gateway's own answers have CORS headers, as those of functions do.
    cors_on_own_answers: bool,
}

impl Gateway {
    pub(crate) fn new(api: Api, log: Log, cors_on_own_answers: bool) -> Self {
        Self { api: RwLock::new(Arc::new(api)), invoker: Invoker::new(), log, cors_on_own_answers }
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
        let kind = api.context.kind;
        let answer = match receive(&parts, body).await {
            Ok(body) => self.respond(&api, &parts, body, &arrival, &mut record).await,
            Err(refusal) => Err(refusal),
        };
        let mut response = answer.unwrap_or_else(|refusal| {
            let mut own = refusal.response(kind);
            if let Some(cors) = api.cors.as_ref().filter(|_| self.cors_on_own_answers) {
                cors::replace_headers(cors, &parts.headers, own.headers_mut());
            }
            own
        });
        if let Ok(id) = HeaderValue::from_str(&arrival.id) {
            let name = match kind {
                ApiKind::Http => "apigw-requestid",
                ApiKind::Rest => "x-amzn-requestid",
            };
            response.headers_mut().insert(name, id);
        }
        self.log.write(&record, response.status(), started.elapsed());
        response
    }

    async fn respond(
        &self,
        api: &Api,
        parts: &Parts,
        body: Bytes,
        arrival: &Arrival,
        record: &mut Record,
    ) -> Result<Response, Refusal> {
        if let Some(cors) = api.cors.as_ref().filter(|_| cors::is_preflight(parts)) {
            return Ok(response::no_content(cors::preflight_headers(cors, &parts.headers)));
        }
        let path = path::read(api.context.kind, parts.uri.path()).ok_or(Refusal::BadPath)?;
        let request = Request::new(parts, path, body, arrival, &api.context.domain_name);
        let path = api.context.within_stage(&request.path).ok_or(Refusal::NoStage)?;
        let Some(found) = api.routes.find(&request.method, path) else {
            // With CORS, an HTTP API answers every OPTIONS request, preflight or not.
            return if api.cors.is_some() && parts.method == Method::OPTIONS {
                Ok(response::no_content(hyper::HeaderMap::new()))
            } else {
                Err(Refusal::NoRoute)
            };
        };
        let target = found.target;
        let parameters = found.parameters.into_iter();
        let parameters = parameters.map(|(name, value)| (name, api.context.as_told(&value))).collect();
        let routed =
            Routed { api: &api.context, request: &request, path, route_key: &target.key, path_parameters: &parameters };
        let caller = self.authorize(target, &routed, record).await?;
        match &target.integration {
            Integration::Preflight(headers) => Ok(response::empty(headers.clone())),
            Integration::Function { function, limit, payload } => {
                let event = match payload {
                    Payload::V1 => routed.function_event_v1(caller),
                    Payload::V2 => routed.function_event(caller),
                };
                let answer = self.call(function, &event, *limit, record).await?;
                let unwrapped = match payload {
                    Payload::V1 => response::from_function_v1(&answer, decodes(&routed)),
                    Payload::V2 => response::from_function(answer),
                };
                let mut response = unwrapped.map_err(|malformed| {
                    log::error(&record.id, &format!("{}: {malformed}", function.binary));
                    Refusal::FunctionFailed
                })?;
                if let Some(cors) = &api.cors {
                    cors::replace_headers(cors, &parts.headers, response.headers_mut());
                }
                Ok(response)
            }
        }
    }

    /// Who is calling, `None` on a public route.
    async fn authorize(
        &self,
        target: &Target,
        routed: &Routed<'_>,
        record: &mut Record,
    ) -> Result<Option<Caller>, Refusal> {
        let authorizer = match &target.access {
            Access::Closed => {
                let key = &target.key;
                log::error(
                    &record.id,
                    &format!("{key} needs something that is not emulated; see the start of this output"),
                );
                return Err(Refusal::Closed);
            }
            Access::Public => return Ok(None),
            Access::Authorized(authorizer) => authorizer,
        };
        let asked = Instant::now();
        let verdict = authorizer.decide(&self.invoker, routed).await;
        let (word, outcome) = match verdict {
            Ok(Outcome::Allow(caller)) => ("allow", Ok(Some(caller))),
            Ok(Outcome::Deny { explicit }) => ("deny", Err(Refusal::Denied { explicit })),
            Ok(Outcome::NoIdentity) => ("not asked", Err(Refusal::Unauthorized)),
            Ok(Outcome::Unauthorized) => ("unauthorized", Err(Refusal::Unauthorized)),
            Err(error) => {
                log::error(&record.id, &format!("authorizer of {}: {}", target.key, log::chain(&error)));
                ("error", Err(Refusal::AuthorizerFailed))
            }
        };
        record.authorizer = Some((word, asked.elapsed()));
        outcome
    }

    /// Calls a function.
    async fn call(
        &self,
        function: &Function,
        event: &serde_json::Value,
        limit: Duration,
        record: &mut Record,
    ) -> Result<Bytes, Refusal> {
        let called = Instant::now();
        let answer = self.invoker.invoke(function, event, limit).await;
        let binary = &function.binary;
        record.function = Some((binary.clone(), called.elapsed()));
        answer.map_err(|error| {
            log::error(&record.id, &format!("{binary}: {}", log::chain(&error)));
            match error {
                InvokeError::Unreachable(..) => Refusal::FunctionUnreachable,
                InvokeError::Throttled(_) => Refusal::FunctionThrottled,
                InvokeError::Timeout(_) => Refusal::FunctionTimedOut,
                _ => Refusal::FunctionFailed,
            }
        })
    }
}

/// Whether a body in base64 is decoded: by an HTTP API always, by a REST API for a client whose first choice is one of
/// the API's binary media types.
fn decodes(routed: &Routed<'_>) -> bool {
    match routed.api.kind {
        ApiKind::Http => true,
        ApiKind::Rest => {
            let accepted = routed.request.headers.get("accept").map_or("", String::as_str);
            is_media_type(accepted.split(',').next().unwrap_or_default(), &routed.api.binary_media_types)
        }
    }
}

/// Takes in the whole payload.
async fn receive(parts: &Parts, body: Incoming) -> Result<Bytes, Refusal> {
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > PAYLOAD_LIMIT && parts.headers.contains_key(EXPECT) {
        // Its sender waits for 100 Continue.
        return Err(Refusal::BodyTooLarge);
    }
    tokio::time::timeout(PAYLOAD_TIMEOUT, collect(body, announced)).await.unwrap_or(Err(Refusal::BodyTimedOut))
}

async fn collect(mut body: Incoming, announced: usize) -> Result<Bytes, Refusal> {
    let mut received = Vec::with_capacity(announced.min(PAYLOAD_LIMIT));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::BodyBroken)?;
        let Some(data) = frame.data_ref() else { continue };
        if received.len() + data.len() > PAYLOAD_LIMIT {
            drop(received);
            let rest = async { while let Some(Ok(_)) = body.frame().await {} };
            // The response is the same whether it ends or not.
            let _ = tokio::time::timeout(DRAIN_TIMEOUT, rest).await;
            return Err(Refusal::BodyTooLarge);
        }
        received.extend_from_slice(data);
    }
    Ok(Bytes::from(received))
}
