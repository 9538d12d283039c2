//! The responses that API Gateway accepts.
//!
//! Every response states explicitly whether the request is allowed. These types are Latchkey's own because the default
//! effect of a policy statement of `aws_lambda_events` is `Allow`.

use serde::Serialize;
use shared::Caller;

use super::stage::Stage;

/// `principalId` of a policy that denies: a rejected token does not identify its bearer.
const UNAUTHENTICATED: &str = "unauthenticated";

/// One of the two forms.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(crate) enum Answer {
    /// For HTTP APIs with payload format 2.0.
    Simple(SimpleResponse),
    /// For everything else.
    Policy(PolicyResponse),
}

/// The simple response. API Gateway hands `context` to the function behind it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SimpleResponse {
    is_authorized: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Caller>,
}

impl SimpleResponse {
    /// The request is allowed, for this caller.
    pub(crate) fn allow(caller: Caller) -> Self {
        Self { is_authorized: true, context: Some(caller) }
    }

    /// The request is denied. API Gateway answers 403 without a reason.
    pub(crate) fn deny() -> Self {
        Self { is_authorized: false, context: None }
    }
}

/// An IAM policy for one stage, and its principal.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PolicyResponse {
    principal_id: String,
    policy_document: PolicyDocument,
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<Context>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PolicyDocument {
    version: &'static str,
    statement: [Statement; 1],
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement {
    action: &'static str,
    effect: Effect,
    resource: Stage,
}

/// Without a default, so that it cannot be forgotten.
#[derive(Debug, Serialize)]
enum Effect {
    Allow,
    Deny,
}

/// The caller in the function's event, at `requestContext.authorizer`. REST and WebSocket APIs accept only strings,
/// numbers and booleans, and pass all of them on as strings, so these are strings already. Numbers are decimal, roles
/// are joined by a space.
#[derive(Debug, Serialize)]
struct Context {
    sub: String,
    username: String,
    roles: String,
    sid: String,
    jti: String,
    exp: String,
    epoch: String,
}

/// A role of the token is empty or has a space: joined with the others it would look like no role or like two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RoleError;

impl PolicyResponse {
    /// The request is allowed, for this caller.
    ///
    /// # Errors
    /// The caller's roles cannot be joined. Operators cannot give such a role to anybody.
    pub(crate) fn allow(stage: Stage, caller: Caller) -> Result<Self, RoleError> {
        if caller.roles.iter().any(|role| role.is_empty() || role.contains(char::is_whitespace)) {
            return Err(RoleError);
        }
        let context = Context {
            sub: caller.sub.clone(),
            username: caller.username,
            roles: caller.roles.join(" "),
            sid: caller.sid,
            jti: caller.jti,
            exp: caller.exp.to_string(),
            epoch: caller.epoch.to_string(),
        };
        Ok(Self::new(caller.sub, Effect::Allow, stage, Some(context)))
    }

    /// The request is denied. API Gateway answers 403.
    pub(crate) fn deny(stage: Stage) -> Self {
        Self::new(UNAUTHENTICATED.to_owned(), Effect::Deny, stage, None)
    }

    fn new(principal_id: String, effect: Effect, stage: Stage, context: Option<Context>) -> Self {
        let statement = Statement { action: "execute-api:Invoke", effect, resource: stage };
        Self {
            principal_id,
            policy_document: PolicyDocument { version: "2012-10-17", statement: [statement] },
            context,
        }
    }
}
