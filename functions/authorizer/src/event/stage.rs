//! The resource of a policy.

use serde::Serialize;

use super::EventError;

/// API Gateway's limit for the ARN of a resource.
const MAX_BYTES: usize = 512;

/// Every route of one stage of one API, `arn:aws:execute-api:region:account:api/stage/*`.
///
/// API Gateway may keep a policy and apply it to the token's next request, whichever route that is for: a policy for
/// only the requested route would deny every other route. What a caller may do on a route is decided by the function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub(crate) struct Stage(String);

impl Stage {
    /// The stage that a `methodArn` is in: `arn:partition:execute-api:region:account:api/stage/GET/path`, or
    /// `…/$connect`.
    ///
    /// # Errors
    /// It is something else. No part that is copied contains a wildcard or a variable of policies.
    pub(super) fn of(method_arn: &str) -> Result<Self, EventError> {
        Self::parse(method_arn).filter(|Self(arn)| arn.len() <= MAX_BYTES).ok_or(EventError::MalformedArn)
    }

    fn parse(method_arn: &str) -> Option<Self> {
        // The path, last, may have colons and slashes of its own.
        let mut parts = method_arn.splitn(6, ':');
        let mut part = || parts.next();
        let (scheme, partition, service, region, account, resource) =
            (part()?, part()?, part()?, part()?, part()?, part()?);
        let (api, stage_and_method) = resource.split_once('/')?;
        let (stage, method) = stage_and_method.split_once('/')?;
        let is_well_formed = scheme == "arn"
            && (partition == "aws" || partition.starts_with("aws-"))
            && service == "execute-api"
            && [partition, region, account, api].into_iter().all(is_word)
            && (stage == "$default" || is_word(stage))
            && !method.is_empty();
        is_well_formed.then(|| Self(format!("arn:{partition}:execute-api:{region}:{account}:{api}/{stage}/*")))
    }
}

fn is_word(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(method_arn: &str) -> Result<String, EventError> {
        Stage::of(method_arn).map(|Stage(arn)| arn)
    }

    #[test]
    fn the_whole_stage_in_its_own_partition() {
        for (method_arn, stage) in [
            (
                "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/GET/me",
                "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/*",
            ),
            (
                "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/GET/",
                "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/*",
            ),
            (
                "arn:aws-cn:execute-api:cn-north-1:123456789012:a1b2c3/v_1-x/POST/a/b",
                "arn:aws-cn:execute-api:cn-north-1:123456789012:a1b2c3/v_1-x/*",
            ),
            (
                "arn:aws-us-gov:execute-api:us-gov-west-1:123456789012:a1b2c3/$default/GET/a:b:c/*/${x}",
                "arn:aws-us-gov:execute-api:us-gov-west-1:123456789012:a1b2c3/$default/*",
            ),
            (
                "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/$connect",
                "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/*",
            ),
        ] {
            assert_eq!(of(method_arn), Ok(stage.to_owned()));
        }
    }

    #[test]
    fn what_is_no_arn_of_a_method() {
        for method_arn in [
            "",
            "*",
            "arn",
            "arn:aws:execute-api:eu-west-1:123456789012",
            "arn:aws:execute-api:eu-west-1:123456789012:",
            "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3",
            "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod",
            "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/",
            "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3//GET/me",
            "arn:aws:execute-api:eu-west-1:123456789012:/prod/GET/me",
            "arn:aws:execute-api:eu-west-1::a1b2c3/prod/GET/me",
            "arn:aws:execute-api::123456789012:a1b2c3/prod/GET/me",
            "arn:aws:lambda:eu-west-1:123456789012:a1b2c3/prod/GET/me",
            "arn::execute-api:eu-west-1:123456789012:a1b2c3/prod/GET/me",
            "arn:awsome:execute-api:eu-west-1:123456789012:a1b2c3/prod/GET/me",
            "ARN:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/GET/me",
            "arn:aws:execute-api:*:123456789012:a1b2c3/prod/GET/me",
            "arn:aws:execute-api:eu-west-1:*:a1b2c3/prod/GET/me",
            "arn:aws:execute-api:eu-west-1:123456789012:*/prod/GET/me",
            "arn:aws:execute-api:eu-west-1:123456789012:a1b2c?/prod/GET/me",
            "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/*/GET/me",
            "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/${aws:x}/GET/me",
            "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/$other/GET/me",
            "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod stage/GET/me",
            " arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/prod/GET/me",
        ] {
            assert_eq!(of(method_arn), Err(EventError::MalformedArn), "{method_arn}");
        }
    }

    #[test]
    fn what_is_too_long() {
        let method_arn =
            |bytes| format!("arn:aws:execute-api:eu-west-1:123456789012:a1b2c3/{}/GET/me", "x".repeat(bytes));
        let rest = "arn:aws:execute-api:eu-west-1:123456789012:a1b2c3//*".len();
        assert!(of(&method_arn(MAX_BYTES - rest)).is_ok());
        assert_eq!(of(&method_arn(MAX_BYTES - rest + 1)), Err(EventError::MalformedArn));
    }
}
