//! Lambda authorizers: payload format 2.0, simple responses, and the cache of their verdicts.
//!
//! Whatever is not clearly an answer is an error, and an error is never an allow.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hyper::body::Bytes;
use serde_json::{Map, Value};

use crate::{
    event::Routed,
    identity::{self, IdentitySource},
    invoke::{Function, InvokeError, Invoker},
};

/// How long API Gateway waits for an authorizer.
const LIMIT: Duration = Duration::from_secs(10);

/// More verdicts than this are not kept.
const CACHE_CAPACITY: usize = 10_000;

/// An authorizer that is a Lambda function.
#[derive(Debug)]
pub(crate) struct Authorizer {
    function: Arc<Function>,
    sources: Vec<IdentitySource>,
    cache: Option<Cache>,
}

/// What an authorizer says of a request.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Verdict {
    /// Let it pass, with this context.
    Allow(Map<String, Value>),
    /// Refuse it.
    Deny,
    /// An identity source is missing; the authorizer has not been asked.
    NoIdentity,
}

/// Why there is no verdict.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorizerError {
    /// It did not answer.
    #[error(transparent)]
    Invoke(#[from] InvokeError),
    /// It answered something else.
    #[error("its answer is not {{\"isAuthorized\": true or false, \"context\": {{…}}}}")]
    Malformed,
}

impl Authorizer {
    /// `ttl` is how long a verdict is kept. Without identity sources there is nothing to keep it under.
    pub(crate) fn new(function: Arc<Function>, sources: Vec<IdentitySource>, ttl: Duration) -> Self {
        let cache = (!ttl.is_zero() && !sources.is_empty()).then(|| Cache { ttl, verdicts: Mutex::default() });
        Self { function, sources, cache }
    }

    /// Decides on a request.
    pub(crate) async fn decide(&self, invoker: &Invoker, routed: &Routed<'_>) -> Result<Verdict, AuthorizerError> {
        let Some(identity) = identity::values(&self.sources, routed) else { return Ok(Verdict::NoIdentity) };
        if let Some(verdict) = self.cache.as_ref().and_then(|cache| cache.get(&identity)) {
            return Ok(verdict);
        }
        let answer = invoker.invoke(&self.function, &routed.authorizer_event(&identity), LIMIT).await?;
        let verdict = verdict(&answer).ok_or(AuthorizerError::Malformed)?;
        if let Some(cache) = &self.cache {
            cache.put(identity, verdict.clone());
        }
        Ok(verdict)
    }
}

/// Reads a simple response.
fn verdict(answer: &Bytes) -> Option<Verdict> {
    let Value::Object(mut answer) = serde_json::from_slice(answer).ok()? else { return None };
    let context = match answer.remove("context") {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(context)) => context,
        Some(_) => return None,
    };
    Some(if answer.get("isAuthorized")?.as_bool()? { Verdict::Allow(context) } else { Verdict::Deny })
}

/// Verdicts by the identity they were given for.
#[derive(Debug)]
struct Cache {
    ttl: Duration,
    verdicts: Mutex<HashMap<Vec<String>, (Instant, Verdict)>>,
}

impl Cache {
    fn get(&self, identity: &[String]) -> Option<Verdict> {
        let verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, verdict) = verdicts.get(identity)?;
        (since.elapsed() < self.ttl).then(|| verdict.clone())
    }

    fn put(&self, identity: Vec<String>, verdict: Verdict) {
        let mut verdicts = self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if verdicts.len() >= CACHE_CAPACITY {
            verdicts.retain(|_, (since, _)| since.elapsed() < self.ttl);
        }
        if verdicts.len() < CACHE_CAPACITY {
            verdicts.insert(identity, (Instant::now(), verdict));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use hyper::body::Bytes;
    use serde_json::{Map, json};

    use super::{Cache, Verdict, verdict};

    fn read(answer: &'static str) -> Option<Verdict> {
        verdict(&Bytes::from_static(answer.as_bytes()))
    }

    #[test]
    fn a_simple_response_is_read() {
        let context = Map::from_iter([("sub".to_owned(), json!("u1")), ("n".to_owned(), json!([1, true]))]);
        assert_eq!(read(r#"{"isAuthorized":true,"context":{"sub":"u1","n":[1,true]}}"#), Some(Verdict::Allow(context)));
        assert_eq!(read(r#"{"isAuthorized":true}"#), Some(Verdict::Allow(Map::new())));
        assert_eq!(read(r#"{"isAuthorized":true,"context":null}"#), Some(Verdict::Allow(Map::new())));
        assert_eq!(read(r#"{"isAuthorized":false,"context":{"sub":"u1"}}"#), Some(Verdict::Deny));
    }

    #[test]
    fn anything_else_is_no_verdict() {
        for answer in [
            "",
            "true",
            "null",
            "[]",
            "{}",
            "<html>",
            r#"{"isAuthorized":"true"}"#,
            r#"{"isAuthorized":1}"#,
            r#"{"isAuthorized":null}"#,
            r#"{"IsAuthorized":true}"#,
            r#"{"isAuthorized":true,"context":"x"}"#,
            r#"{"isAuthorized":true,"context":[1]}"#,
            r#"{"isAuthorized":true} trailing"#,
            r#"{"principalId":"u","policyDocument":{"Statement":[{"Effect":"Allow"}]}}"#,
        ] {
            assert_eq!(read(answer), None, "{answer}");
        }
    }

    #[test]
    fn verdicts_are_kept_for_their_time_and_their_identity() {
        let identity = |text: &str| vec![text.to_owned()];
        let cache = Cache { ttl: Duration::from_hours(1), verdicts: Mutex::default() };
        cache.put(identity("a"), Verdict::Deny);
        assert_eq!(cache.get(&identity("a")), Some(Verdict::Deny));
        assert_eq!(cache.get(&identity("b")), None);
        let stale = Cache { ttl: Duration::ZERO, ..cache };
        assert_eq!(stale.get(&identity("a")), None);
    }
}
