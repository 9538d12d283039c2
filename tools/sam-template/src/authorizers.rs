//! What the authorizers of HTTP and REST APIs have in common.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Template,
    api::Authorizer,
    error::{Invalid, Problem},
    functions,
    resolved::Resolved,
};

/// SAM's name for a route's authorizer when IAM decides.
pub(crate) const IAM_AUTHORIZER: &str = "AWS_IAM";

/// SAM's own default for `ReauthorizeEvery`.
const DEFAULT_RESULT_TTL_SECONDS: u64 = 300;

/// The identity sources of an authorizer that are lists of names.
pub(crate) fn identity_sources(authorizer: &Resolved) -> Result<Vec<String>, Invalid> {
    let identity = authorizer.get("Identity");
    let mut sources = Vec::new();
    for (key, prefix) in [
        ("Headers", "$request.header."),
        ("QueryStrings", "$request.querystring."),
        ("Context", "$context."),
        ("StageVariables", "$stageVariables."),
    ] {
        let names = identity.as_ref().and_then(|identity| identity.get(key));
        let names = names.map_or_else(|| Ok(Vec::new()), |names| names.texts())?;
        sources.extend(names.iter().map(|name| format!("{prefix}{name}")));
    }
    Ok(sources)
}

/// How long the decisions of an authorizer are cached.
pub(crate) fn result_ttl(authorizer: &Resolved) -> Result<Duration, Invalid> {
    let seconds = authorizer.get("Identity").and_then(|identity| identity.get("ReauthorizeEvery"));
    let seconds = seconds.map_or(Ok(DEFAULT_RESULT_TTL_SECONDS), |seconds| seconds.unsigned())?;
    Ok(Duration::from_secs(seconds))
}

/// The function whose ARN this is.
pub(crate) fn function_of(template: &Template, arn: &Resolved) -> Result<String, Invalid> {
    let text = arn.text()?;
    for function in template.resources(&[functions::TYPE])? {
        if template.attribute(function.logical_id, "Arn", &arn.at)? == text {
            return Ok(function.logical_id.to_owned());
        }
    }
    Err(Invalid::expected(&arn.at, "the ARN of a function of this template, such as !GetAtt MyFunction.Arn"))
}

pub(crate) fn known_authorizer(name: &Resolved, authorizers: &BTreeMap<String, Authorizer>) -> Result<String, Invalid> {
    let text = name.text()?;
    if authorizers.contains_key(&text) {
        Ok(text)
    } else {
        Err(Invalid::new(&name.at, Problem::UnknownAuthorizer(text)))
    }
}
