//! Lambda authorizers: simple responses, IAM policies, and the cache of both.
//!
//! An unclear response is an error, and an error is never an allow. The cache has the response and not the decision: a
//! policy is evaluated for each request, because it may decide differently for another method.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use hyper::body::Bytes;
use regex_lite::Regex;
use sam_template::{ApiKind, AuthorizerEvent};
use serde_json::{Map, Value};

use crate::{
    event::{Caller, Routed},
    identity::{self, IdentitySource},
    invoke::{Function, InvokeError, Invoker},
    policy::{Decision, Policy},
};

/// How long API Gateway waits for an authorizer.
const LIMIT: Duration = Duration::from_secs(10);

/// Most responses in the cache.
const CACHE_CAPACITY: usize = 10_000;

/// The error for which a REST API answers 401. Exactly this word.
const UNAUTHORIZED: &str = "Unauthorized";

/// An authorizer that is a Lambda function.
#[derive(Debug)]
pub(crate) struct Authorizer {
    function: Arc<Function>,
    event: AuthorizerEvent,
    is_simple: bool,
    /// What the whole token must match before the authorizer is called.
    validation: Option<Regex>,
    sources: Vec<IdentitySource>,
    cache: Option<Cache>,
}

/// The outcome of an authorization.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// Let it pass.
    Allow(Caller),
    /// Denied, by a statement or because no statement allows it.
    Deny {
        /// Whether a statement denies it.
        explicit: bool,
    },
    /// An identity source is missing or malformed; the authorizer was not called.
    NoIdentity,
    /// It failed with `Unauthorized`.
    Unauthorized,
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorizerError {
    /// It did not answer.
    #[error(transparent)]
    Invoke(#[from] InvokeError),
    /// The response is not a simple response.
    #[error("its answer is not {{\"isAuthorized\": true or false, \"context\": {{…}}}}")]
    NoSimpleResponse,
    /// The response is not a policy.
    #[error(
        "its answer is not {{\"principalId\": \"…\", \"policyDocument\": {{\"Statement\": […]}}, \"context\": {{…}}}}, with \
         statements of Effect, Action and Resource alone"
    )]
    NoPolicy,
    /// A REST API accepts no other context.
    #[error("its context has the member {0}, which is not text, a number or a boolean")]
    Context(String),
}

/// The response of an authorizer.
#[derive(Debug, Clone, PartialEq)]
enum Answer {
    Simple { is_authorized: bool, context: Map<String, Value> },
    Policy { principal_id: Option<String>, policy: Policy, context: Map<String, Value> },
}

impl Authorizer {
    /// `ttl` is how long a response is cached. Without identity sources there is no cache key. The error names what is
    /// not emulated.
    pub(crate) fn new(
        function: Arc<Function>,
        event: AuthorizerEvent,
        is_simple: bool,
        sources: Vec<IdentitySource>,
        ttl: Duration,
    ) -> Result<Self, String> {
        let validation = match &event {
            AuthorizerEvent::RestToken { validation: Some(expression) } => {
                let whole = Regex::new(&format!("^(?:{expression})$"));
                Some(whole.map_err(|_| format!("the ValidationExpression {expression}"))?)
            }
            _ => None,
        };
        let cache = (!ttl.is_zero() && !sources.is_empty()).then(|| Cache { ttl, answers: Mutex::default() });
        Ok(Self { function, event, is_simple, validation, sources, cache })
    }

    /// Decides on a request.
    pub(crate) async fn decide(&self, invoker: &Invoker, routed: &Routed<'_>) -> Result<Outcome, AuthorizerError> {
        let Some(identity) = identity::values(&self.sources, routed) else { return Ok(Outcome::NoIdentity) };
        let token = identity.first().map_or("", String::as_str);
        if self.validation.as_ref().is_some_and(|expression| !expression.is_match(token)) {
            return Ok(Outcome::NoIdentity);
        }
        if let Some(answer) = self.cache.as_ref().and_then(|cache| cache.get(&identity)) {
            return Ok(answer.outcome(routed));
        }
        let event = match &self.event {
            AuthorizerEvent::HttpV2 => routed.authorizer_event(&identity),
            AuthorizerEvent::HttpV1 | AuthorizerEvent::RestRequest => routed.authorizer_event_v1(&identity),
            AuthorizerEvent::RestToken { .. } => routed.token_event(token),
        };
        let answer = match invoker.invoke(&self.function, &event, LIMIT).await {
            Ok(answer) => self.read(&answer, routed.api.kind)?,
            Err(InvokeError::Function { message, .. })
                if routed.api.kind == ApiKind::Rest && message == UNAUTHORIZED =>
            {
                return Ok(Outcome::Unauthorized);
            }
            Err(error) => return Err(error.into()),
        };
        let outcome = answer.outcome(routed);
        if let Some(cache) = &self.cache {
            cache.put(identity, answer);
        }
        Ok(outcome)
    }

    fn read(&self, answer: &Bytes, kind: ApiKind) -> Result<Answer, AuthorizerError> {
        if self.is_simple && self.event == AuthorizerEvent::HttpV2 {
            return simple_response(answer).ok_or(AuthorizerError::NoSimpleResponse);
        }
        match policy(answer, kind).ok_or(AuthorizerError::NoPolicy)? {
            Answer::Policy { principal_id, policy, context } if kind == ApiKind::Rest => {
                Ok(Answer::Policy { principal_id, policy, context: texts(context)? })
            }
            answer => Ok(answer),
        }
    }
}

impl Answer {
    fn outcome(&self, routed: &Routed<'_>) -> Outcome {
        match self {
            Self::Simple { is_authorized: true, context } => {
                Outcome::Allow(Caller { principal_id: None, context: context.clone() })
            }
            Self::Simple { is_authorized: false, .. } => Outcome::Deny { explicit: true },
            Self::Policy { principal_id, policy, context } => match policy.decide(&routed.route_arn()) {
                Decision::Allow => {
                    Outcome::Allow(Caller { principal_id: principal_id.clone(), context: context.clone() })
                }
                Decision::ExplicitDeny => Outcome::Deny { explicit: true },
                Decision::ImplicitDeny => Outcome::Deny { explicit: false },
            },
        }
    }
}

fn simple_response(answer: &Bytes) -> Option<Answer> {
    let Value::Object(mut answer) = serde_json::from_slice(answer).ok()? else { return None };
    let context = context(&mut answer)?;
    Some(Answer::Simple { is_authorized: answer.get("isAuthorized")?.as_bool()?, context })
}

/// A REST API wants a principal.
fn policy(answer: &Bytes, kind: ApiKind) -> Option<Answer> {
    let Value::Object(mut answer) = serde_json::from_slice(answer).ok()? else { return None };
    let context = context(&mut answer)?;
    let principal_id = match answer.get("principalId") {
        Some(Value::String(principal_id)) => Some(principal_id.clone()),
        None | Some(Value::Null) if kind == ApiKind::Http => None,
        _ => return None,
    };
    Some(Answer::Policy { principal_id, policy: Policy::read(answer.get("policyDocument")?)?, context })
}

fn context(answer: &mut Map<String, Value>) -> Option<Map<String, Value>> {
    match answer.remove("context") {
        None | Some(Value::Null) => Some(Map::new()),
        Some(Value::Object(context)) => Some(context),
        Some(_) => None,
    }
}

/// The values as texts, as a REST API passes them on.
fn texts(context: Map<String, Value>) -> Result<Map<String, Value>, AuthorizerError> {
    let text = |(name, value): (String, Value)| match value {
        Value::String(text) => Ok((name, text.into())),
        Value::Number(number) => Ok((name, number.to_string().into())),
        Value::Bool(boolean) => Ok((name, boolean.to_string().into())),
        _ => Err(AuthorizerError::Context(name)),
    };
    context.into_iter().map(text).collect()
}

/// Responses by identity.
#[derive(Debug)]
struct Cache {
    ttl: Duration,
    answers: Mutex<HashMap<Vec<String>, (Instant, Answer)>>,
}

impl Cache {
    fn get(&self, identity: &[String]) -> Option<Answer> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, answer) = answers.get(identity)?;
        (since.elapsed() < self.ttl).then(|| answer.clone())
    }

    fn put(&self, identity: Vec<String>, answer: Answer) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= CACHE_CAPACITY {
            answers.retain(|_, (since, _)| since.elapsed() < self.ttl);
        }
        if answers.len() < CACHE_CAPACITY {
            answers.insert(identity, (Instant::now(), answer));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use hyper::body::Bytes;
    use sam_template::ApiKind;
    use serde_json::{Map, json};

    use super::{Answer, Cache, policy, simple_response, texts};

    fn read(answer: &'static str) -> Option<Answer> {
        simple_response(&Bytes::from_static(answer.as_bytes()))
    }

    #[test]
    fn a_simple_response_is_read() {
        let context = Map::from_iter([("sub".to_owned(), json!("u1")), ("n".to_owned(), json!([1, true]))]);
        let allowed = |context| Some(Answer::Simple { is_authorized: true, context });
        assert_eq!(read(r#"{"isAuthorized":true,"context":{"sub":"u1","n":[1,true]}}"#), allowed(context));
        assert_eq!(read(r#"{"isAuthorized":true}"#), allowed(Map::new()));
        assert_eq!(read(r#"{"isAuthorized":true,"context":null}"#), allowed(Map::new()));
        let denied = Some(Answer::Simple { is_authorized: false, context: Map::new() });
        assert_eq!(read(r#"{"isAuthorized":false}"#), denied);
    }

    #[test]
    fn anything_else_is_no_simple_response() {
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
    fn anything_else_is_no_policy() {
        let allow = r#"{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
        let read = |answer: String, kind| policy(&Bytes::from(answer), kind);
        let whole = format!(r#"{{"principalId":"u1","policyDocument":{allow}}}"#);
        assert!(read(whole, ApiKind::Rest).is_some());
        let nobodys = format!(r#"{{"policyDocument":{allow}}}"#);
        assert!(read(nobodys.clone(), ApiKind::Rest).is_none() && read(nobodys, ApiKind::Http).is_some());
        for answer in [
            r#"{"isAuthorized":true}"#.to_owned(),
            r#"{"principalId":"u1"}"#.to_owned(),
            format!(r#"{{"principalId":1,"policyDocument":{allow}}}"#),
            format!(r#"{{"principalId":"u1","policyDocument":{allow},"context":"x"}}"#),
            r#"{"principalId":"u1","policyDocument":{"Statement":[{"Effect":"Allow"}]}}"#.to_owned(),
        ] {
            assert_eq!(read(answer.clone(), ApiKind::Http), None, "{answer}");
        }
    }

    #[test]
    fn context_is_text_where_a_rest_api_passes_it_on() {
        let context = |value| Map::from_iter([("n".to_owned(), value)]);
        for (value, text) in [(json!("a"), "a"), (json!(5), "5"), (json!(true), "true")] {
            assert_eq!(texts(context(value)).unwrap(), context(json!(text)));
        }
        for value in [json!(null), json!([]), json!({})] {
            assert!(texts(context(value)).is_err());
        }
    }

    #[test]
    fn answers_are_kept_for_their_time_and_their_identity() {
        let identity = |text: &str| vec![text.to_owned()];
        let denied = Answer::Simple { is_authorized: false, context: Map::new() };
        let cache = Cache { ttl: Duration::from_hours(1), answers: Mutex::default() };
        cache.put(identity("a"), denied.clone());
        assert_eq!(cache.get(&identity("a")), Some(denied));
        assert_eq!(cache.get(&identity("b")), None);
        let stale = Cache { ttl: Duration::ZERO, ..cache };
        assert_eq!(stale.get(&identity("a")), None);
    }
}
