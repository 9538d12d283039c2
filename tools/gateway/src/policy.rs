//! IAM policies of authorizers: whether one allows a request.
//!
//! An unsupported element (`Condition`, `NotAction`, `NotResource`, another `Effect`) makes the whole policy malformed,
//! because it might deny.

use serde_json::Value;

/// The one action of API Gateway that requests are.
const ACTION: &str = "execute-api:Invoke";

/// A policy that was understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy(Vec<Statement>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Statement {
    allows: bool,
    actions: Vec<String>,
    resources: Vec<String>,
}

/// A policy's decision about a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    Allow,
    /// A statement denies it, regardless of the others.
    ExplicitDeny,
    /// No statement matches it.
    ImplicitDeny,
}

impl Policy {
    /// Reads a policy document; `None` is malformed.
    pub(crate) fn read(document: &Value) -> Option<Self> {
        let statements = match document.get("Statement")? {
            Value::Array(statements) => statements.iter().map(Statement::read).collect::<Option<Vec<_>>>()?,
            statement => vec![Statement::read(statement)?],
        };
        Some(Self(statements))
    }

    /// Decides on a request, by the ARN of its method.
    pub(crate) fn decide(&self, method_arn: &str) -> Decision {
        let speaks = |statement: &&Statement| {
            let acts = statement.actions.iter().any(|pattern| matches(&pattern.to_lowercase(), &ACTION.to_lowercase()));
            acts && statement.resources.iter().any(|pattern| matches(pattern, method_arn))
        };
        let speaking: Vec<_> = self.0.iter().filter(speaks).collect();
        if speaking.iter().any(|statement| !statement.allows) {
            Decision::ExplicitDeny
        } else if speaking.is_empty() {
            Decision::ImplicitDeny
        } else {
            Decision::Allow
        }
    }
}

impl Statement {
    fn read(statement: &Value) -> Option<Self> {
        const KNOWN: [&str; 4] = ["Action", "Effect", "Resource", "Sid"];
        if statement.as_object()?.keys().any(|key| !KNOWN.contains(&key.as_str())) {
            return None;
        }
        Some(Self {
            allows: match statement.get("Effect")?.as_str()? {
                "Allow" => true,
                "Deny" => false,
                _ => return None,
            },
            actions: texts(statement.get("Action")?)?,
            resources: texts(statement.get("Resource")?)?,
        })
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Array(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

/// Whether a text matches a pattern in which `*` stands for any characters, slashes too, and `?` for one.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<_>, Vec<_>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut position) = (0, 0);
    // Behind the last `*`, and how much of the text it has taken so far.
    let mut retry = None;
    while position < text.len() {
        match pattern.get(at) {
            Some('*') => {
                at += 1;
                retry = Some((at, position));
            }
            Some(character) if *character == '?' || *character == text[position] => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((behind, taken)) = retry else { return false };
                retry = Some((behind, taken + 1));
                (at, position) = (behind, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|character| *character == '*')
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Decision, Policy, matches};

    const ARN: &str = "arn:aws:execute-api:eu-west-1:123456789012:api/prod/GET/items/1";

    fn decision(statements: &Value) -> Option<Decision> {
        Some(Policy::read(&json!({ "Version": "2012-10-17", "Statement": statements }))?.decide(ARN))
    }

    fn statement(effect: &str, resource: &str) -> Value {
        json!({ "Effect": effect, "Action": "execute-api:Invoke", "Resource": resource })
    }

    #[test]
    fn a_star_stands_for_anything_and_a_question_mark_for_one_character() {
        for pattern in ["*", "a*", "*c", "a*c", "a?c", "abc", "**", "a**c", "*b*", "???"] {
            assert!(matches(pattern, "abc"), "{pattern}");
        }
        for pattern in ["", "a", "*d", "b*", "a?", "????", "abcd", "?", "A*"] {
            assert!(!matches(pattern, "abc"), "{pattern}");
        }
        assert!(matches("*a*b*c", "xxaxbxaxbxc") && !matches("*a*b*c", "xxaxbxaxbx"));
    }

    #[test]
    fn the_resource_is_compared_with_the_method() {
        for resource in ["*", ARN, "arn:aws:execute-api:*:*:api/prod/*", "arn:aws:execute-api:*:*:*/*/GET/items/?"] {
            assert_eq!(decision(&statement("Allow", resource)), Some(Decision::Allow), "{resource}");
        }
        for resource in ["", "arn:aws:execute-api:*:*:api/prod/POST/*", "arn:aws:execute-api:*:*:api/prod/GET/items"] {
            assert_eq!(decision(&statement("Allow", resource)), Some(Decision::ImplicitDeny), "{resource}");
        }
    }

    #[test]
    fn a_deny_wins_in_any_order() {
        for statements in [
            json!([statement("Allow", "*"), statement("Deny", ARN)]),
            json!([statement("Deny", "*"), statement("Allow", ARN)]),
        ] {
            assert_eq!(decision(&statements), Some(Decision::ExplicitDeny), "{statements}");
        }
        let elsewhere = json!([statement("Allow", "*"), statement("Deny", "arn:*/POST/*")]);
        assert_eq!(decision(&elsewhere), Some(Decision::Allow));
        assert_eq!(decision(&json!([])), Some(Decision::ImplicitDeny));
    }

    #[test]
    fn the_action_must_be_that_of_requests() {
        for (action, expected) in [
            (json!("EXECUTE-API:invoke"), Decision::Allow),
            (json!("execute-api:*"), Decision::Allow),
            (json!(["s3:GetObject", "*"]), Decision::Allow),
            (json!("execute-api:ManageConnections"), Decision::ImplicitDeny),
            (json!([]), Decision::ImplicitDeny),
        ] {
            let statement = json!({ "Effect": "Allow", "Action": action, "Resource": ["*"] });
            assert_eq!(decision(&statement), Some(expected), "{statement}");
        }
    }

    #[test]
    fn what_is_not_understood_is_malformed() {
        for statement in [
            json!("text"),
            json!({ "Effect": "allow", "Action": "*", "Resource": "*" }),
            json!({ "Action": "*", "Resource": "*" }),
            json!({ "Effect": "Allow", "Resource": "*" }),
            json!({ "Effect": "Allow", "Action": "*" }),
            json!({ "Effect": "Allow", "Action": 1, "Resource": "*" }),
            json!({ "Effect": "Deny", "NotAction": "*", "Action": "*", "Resource": "*" }),
            json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": {} }),
        ] {
            assert_eq!(decision(&statement), None, "{statement}");
        }
        assert_eq!(Policy::read(&json!({})), None);
    }
}
