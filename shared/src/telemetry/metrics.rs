//! Metrics, in CloudWatch's embedded metric format: log lines that CloudWatch turns into metrics, so that no request
//! waits for another service.
//!
//! They are made of the log line of each request. So there is one source for the outcome of a request, and a metric
//! can be traced to its lines. AWS charges for each combination of dimensions, so there are few: no user, no route, no
//! address.
//!
//! | Metric                  | Dimensions       | Counts                                                 |
//! |-------------------------|------------------|--------------------------------------------------------|
//! | `Logins`                | Service, Outcome | Logins: `succeeded`, `refused`, `throttled`, `failed`  |
//! | `LoginLatency`          | Service, Outcome | Milliseconds from event to answer                      |
//! | `LoginFailures`         | Service          | 1 for `refused` and `throttled`, 0 for `succeeded`     |
//! | `AccountsShut`          | Service          | Accounts whose attempts of all networks are used up    |
//! | `Authorizations`        | Service, Outcome | Decisions: `allowed`, `refused`, `failed`              |
//! | `AuthorizationLatency`  | Service, Outcome | Milliseconds from event to answer                      |
//! | `RefusedAuthorizations` | Service, Reason  | Refused tokens by their reason, `expired` and the like |
//! | `UnauthorizedErrors`    | Service          | 1 for a refusal by an error, 0 otherwise               |
//! | `Refreshes`             | Service, Outcome | Refreshes: `succeeded`, `refused`, `reused`, `failed`  |
//! | `RefreshLatency`        | Service, Outcome | Milliseconds from event to answer                      |
//!
//! A request's metrics are one document, because AWS bills its size. Each set of dimensions is a directive in it.
//!
//! Metrics of zeros and ones are for alarms: a metric of CloudWatch that never had a value cannot be filled with
//! zeros, and an expression over it never has a value itself.
//!
//! Source:
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::time::{SystemTime, UNIX_EPOCH};
use std::{env, io};

use serde_json::{Map, Value, json};

use super::fields::Fields;

/// The namespace of all metrics.
const NAMESPACE: &str = "Latchkey";
/// The variable with the value of the dimension `Service`: the stack's name. Without it, there are no metrics.
const SERVICE: &str = "METRICS_SERVICE";
/// A refused refresh for which a token was used again, as it is logged.
const REUSED: &str = "refresh_token_reused";
/// A refused login that was throttled, as it is logged.
const THROTTLED: &str = "throttled";

/// The field with the time that a request took.
const MILLISECONDS: &str = "milliseconds";
/// The field of a login that used up the attempts that an account has for all networks.
const ACCOUNT_SHUT: &str = "account_shut";
/// The field of a refusal that Lambda takes for an error of the function.
const UNAUTHORIZED_ERROR: &str = "unauthorized_error";

/// How a request ended.
#[derive(Debug, PartialEq, Eq)]
enum Answered<'a> {
    Login { outcome: &'static str, shuts_account: bool },
    Authorization { outcome: &'static str, reason: Option<&'a str>, is_unauthorized_error: bool },
    Refresh { outcome: &'static str },
}

impl<'a> Answered<'a> {
    /// The measurement in a line, if it is the last one of a measured request.
    fn of(fields: &'a Fields) -> Option<Self> {
        let (event, outcome, reason) = (fields.text("event")?, fields.text("outcome")?, fields.text("reason"));
        Some(match (event, outcome, reason) {
            ("login", "refused", Some(THROTTLED)) => Self::Login { outcome: "throttled", shuts_account: false },
            ("refresh", "refused", Some(REUSED)) => Self::Refresh { outcome: "reused" },
            ("login", ..) => Self::Login {
                outcome: ending(outcome)?,
                shuts_account: fields.get(ACCOUNT_SHUT).is_some_and(|is| *is == true),
            },
            ("refresh", ..) => Self::Refresh { outcome: ending(outcome)? },
            ("authorize", ..) => Self::Authorization {
                outcome: ending(outcome)?,
                reason: reason.filter(|_| outcome == "refused"),
                is_unauthorized_error: fields.get(UNAUTHORIZED_ERROR).is_some_and(|is| *is == true),
            },
            _ => return None,
        })
    }
}

/// An outcome of the log as one of the dimension's few values.
fn ending(outcome: &str) -> Option<&'static str> {
    ["allowed", "failed", "refused", "succeeded"].into_iter().find(|known| *known == outcome)
}

/// Writes the metrics of a request after its last line.
pub(super) struct Metrics {
    service: String,
}

impl Metrics {
    /// `None` where the environment names no service.
    pub(super) fn from_env() -> Option<Self> {
        let service = env::var(SERVICE).ok().filter(|service| !service.is_empty())?;
        Some(Self { service })
    }

    /// Writes the metrics of a line, if it is the last one of a measured request: only that line has the
    /// duration.
    pub(super) fn write(&self, line: &Fields, text: &mut Vec<u8>) -> io::Result<()> {
        let Some(document) = self.document(line, now_milliseconds()) else { return Ok(()) };
        serde_json::to_writer(&mut *text, &document)?;
        text.push(b'\n');
        Ok(())
    }

    fn document(&self, line: &Fields, now_milliseconds: u64) -> Option<Value> {
        let milliseconds = line.get(MILLISECONDS)?.as_u64()?;
        let answered = Answered::of(line)?;
        // Lambda's own metrics have the time of the invocation. An alarm compares them, so these have the nearest known
        // time.
        let mut document = Document::new(&self.service, now_milliseconds.saturating_sub(milliseconds));
        let mut count = |count, latency, outcome: &'static str| {
            let metrics = [(latency, "Milliseconds", milliseconds), (count, "Count", 1)];
            document.add(Some(("Outcome", outcome)), &metrics);
        };
        match answered {
            Answered::Login { outcome, shuts_account } => {
                count("Logins", "LoginLatency", outcome);
                if outcome != "failed" {
                    document.add(None, &[("LoginFailures", "Count", u64::from(outcome != "succeeded"))]);
                }
                if shuts_account {
                    document.add(None, &[("AccountsShut", "Count", 1)]);
                }
            }
            Answered::Refresh { outcome } => count("Refreshes", "RefreshLatency", outcome),
            Answered::Authorization { outcome, reason, is_unauthorized_error } => {
                count("Authorizations", "AuthorizationLatency", outcome);
                document.add(None, &[("UnauthorizedErrors", "Count", is_unauthorized_error.into())]);
                if let Some(reason) = reason {
                    document.add(Some(("Reason", reason)), &[("RefusedAuthorizations", "Count", 1)]);
                }
            }
        }
        Some(document.finish())
    }
}

/// The time now, in milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "CloudWatch wants milliseconds, and the log has its own clock")]
fn now_milliseconds() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// A document of the embedded metric format.
struct Document {
    timestamp: u64,
    directives: Vec<Value>,
    /// The values that the directives name: dimensions and metrics.
    members: Map<String, Value>,
}

impl Document {
    fn new(service: &str, timestamp: u64) -> Self {
        Self { timestamp, directives: Vec::new(), members: Map::from_iter([("Service".to_owned(), service.into())]) }
    }

    /// Adds metrics, name, unit and value, with the dimension `Service` and another one.
    fn add(&mut self, dimension: Option<(&str, &str)>, metrics: &[(&str, &str, u64)]) {
        let mut dimensions = vec!["Service"];
        if let Some((name, value)) = dimension {
            dimensions.push(name);
            self.members.insert(name.to_owned(), value.into());
        }
        let named: Vec<_> = metrics.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
        self.directives.push(json!({ "Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": named }));
        self.members.extend(metrics.iter().map(|(name, _, value)| ((*name).to_owned(), (*value).into())));
    }

    fn finish(self) -> Value {
        let mut document = json!({ "_aws": { "Timestamp": self.timestamp, "CloudWatchMetrics": self.directives } });
        if let Value::Object(members) = &mut document {
            members.extend(self.members);
        }
        document
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(event: &str, outcome: &str, reason: Option<&str>) -> Fields {
        let mut line = Fields::default();
        line.set("event", event.into());
        line.set("outcome", outcome.into());
        if let Some(reason) = reason {
            line.set("reason", reason.into());
        }
        line
    }

    fn authorization(outcome: &'static str, reason: Option<&'static str>) -> Answered<'static> {
        Answered::Authorization { outcome, reason, is_unauthorized_error: false }
    }

    #[test]
    fn the_last_line_of_a_request_says_what_is_counted() {
        for (event, outcome, reason, expected) in [
            ("login", "succeeded", None, Some(Answered::Login { outcome: "succeeded", shuts_account: false })),
            (
                "login",
                "refused",
                Some("wrong_password"),
                Some(Answered::Login { outcome: "refused", shuts_account: false }),
            ),
            (
                "login",
                "refused",
                Some("throttled"),
                Some(Answered::Login { outcome: "throttled", shuts_account: false }),
            ),
            (
                "login",
                "failed",
                Some("store_failed"),
                Some(Answered::Login { outcome: "failed", shuts_account: false }),
            ),
            ("refresh", "succeeded", None, Some(Answered::Refresh { outcome: "succeeded" })),
            ("refresh", "refused", Some("session_ended"), Some(Answered::Refresh { outcome: "refused" })),
            ("refresh", "refused", Some("refresh_token_reused"), Some(Answered::Refresh { outcome: "reused" })),
            ("authorize", "allowed", None, Some(authorization("allowed", None))),
            ("authorize", "failed", Some("x"), Some(authorization("failed", None))),
            ("authorize", "refused", Some("expired"), Some(authorization("refused", Some("expired")))),
            ("change_password", "succeeded", None, None),
            ("protected", "succeeded", None, None),
            ("login", "of a kind that nobody knows", None, None),
        ] {
            assert_eq!(Answered::of(&line(event, outcome, reason)), expected, "{event} {outcome} {reason:?}");
        }
        let mut line = line("authorize", "refused", Some("expired"));
        line.set("unauthorized_error", true.into());
        let expected =
            Answered::Authorization { outcome: "refused", reason: Some("expired"), is_unauthorized_error: true };
        assert_eq!(Answered::of(&line), Some(expected));
    }

    /// The document for a line that is written 7 ms after the event came.
    fn document(mut line: Fields) -> Value {
        line.set("milliseconds", 7.into());
        Metrics { service: "latchkey-test".to_owned() }.document(&line, 1_800_000_000_007).unwrap()
    }

    /// The names of metrics in each directive, by its dimensions.
    fn directives(document: &Value) -> Vec<(String, Vec<&str>)> {
        let directives = document["_aws"]["CloudWatchMetrics"].as_array().unwrap().iter();
        let directive = |directive: &'_ Value| directive["Dimensions"].to_string();
        directives
            .map(|of| {
                let names = of["Metrics"].as_array().unwrap().iter().map(|metric| metric["Name"].as_str().unwrap());
                (directive(of), names.collect())
            })
            .collect()
    }

    #[test]
    fn metrics_are_written_in_the_embedded_metric_format() {
        let mut written = line("login", "refused", Some("wrong_password"));
        let metrics = Metrics { service: "latchkey-test".to_owned() };
        let mut text = Vec::new();
        metrics.write(&written, &mut text).unwrap();
        assert!(text.is_empty(), "only a request's last line has its time");
        written.set("milliseconds", 7.into());
        metrics.write(&written, &mut text).unwrap();
        assert_eq!(text.iter().position(|byte| *byte == b'\n'), Some(text.len() - 1), "one line");
        let read: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(read["LoginLatency"], 7);

        let latency = json!({ "Name": "LoginLatency", "Unit": "Milliseconds" });
        let count = |name: &str| json!({ "Name": name, "Unit": "Count" });
        let expected = json!({
            "_aws": {
                // When the event came.
                "Timestamp": 1_800_000_000_000_u64,
                "CloudWatchMetrics": [
                    {
                        "Namespace": "Latchkey",
                        "Dimensions": [["Service", "Outcome"]],
                        "Metrics": [latency, count("Logins")],
                    },
                    { "Namespace": "Latchkey", "Dimensions": [["Service"]], "Metrics": [count("LoginFailures")] },
                ],
            },
            "Service": "latchkey-test",
            "Outcome": "refused",
            "LoginLatency": 7,
            "Logins": 1,
            "LoginFailures": 1,
        });
        assert_eq!(document(line("login", "refused", Some("wrong_password"))), expected);
        assert!(metrics.document(&line("protected", "succeeded", None), 0).is_none());
    }

    #[test]
    fn every_login_that_was_decided_is_a_failure_or_none() {
        for (outcome, reason, failures) in [
            ("succeeded", None, json!(0)),
            ("refused", Some("wrong_password"), json!(1)),
            ("refused", Some("throttled"), json!(1)),
            ("failed", Some("temporarily_unavailable"), Value::Null),
        ] {
            let document = document(line("login", outcome, reason));
            assert_eq!(document["LoginFailures"], failures, "{document}");
        }
    }

    #[test]
    fn a_login_that_shuts_an_account_is_counted() {
        let refused = || line("login", "refused", Some("wrong_password"));
        assert_eq!(document(refused()).get("AccountsShut"), None);
        let mut shuts = refused();
        shuts.set("account_shut", true.into());
        let document = document(shuts);
        let last = (r#"[["Service"]]"#.to_owned(), vec!["AccountsShut"]);
        assert_eq!((directives(&document).last(), &document["AccountsShut"]), (Some(&last), &json!(1)));
    }

    #[test]
    fn every_authorization_is_an_unauthorized_error_or_none() {
        let outcome = |metrics: Vec<&'static str>| (r#"[["Service","Outcome"]]"#.to_owned(), metrics);
        let authorization = || outcome(vec!["AuthorizationLatency", "Authorizations"]);
        let error = || (r#"[["Service"]]"#.to_owned(), vec!["UnauthorizedErrors"]);
        for (ending, reason) in [("allowed", None), ("failed", Some("store_failed"))] {
            let document = document(line("authorize", ending, reason));
            assert_eq!(directives(&document), [authorization(), error()]);
            assert_eq!(document["UnauthorizedErrors"], 0);
        }
        for is_error in [false, true] {
            let mut line = line("authorize", "refused", Some("expired"));
            if is_error {
                line.set("unauthorized_error", true.into());
            }
            let document = document(line);
            let by_reason = (r#"[["Service","Reason"]]"#.to_owned(), vec!["RefusedAuthorizations"]);
            assert_eq!(directives(&document), [authorization(), error(), by_reason]);
            assert_eq!(document["Reason"], "expired");
            assert_eq!(document["UnauthorizedErrors"], u64::from(is_error));
        }
        let refresh = document(line("refresh", "refused", Some("refresh_token_reused")));
        assert_eq!(directives(&refresh), [outcome(vec!["RefreshLatency", "Refreshes"])]);
        assert_eq!(refresh["Outcome"], "reused");
    }

    /// An expression has no value as long as one of its metrics never had one, so it must not ask for an outcome that
    /// may not have occurred yet.
    #[test]
    fn expressions_of_alarms_go_by_metrics_that_every_request_has() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
        let template = std::fs::read_to_string(path).unwrap();
        let mut expressions = 0;
        for resource in template.split("\n\n").filter(|resource| resource.contains("Type: AWS::CloudWatch::Alarm")) {
            if !resource.contains("Expression: ") {
                continue;
            }
            expressions += 1;
            for dimension in ["Name: Outcome", "Name: Reason"] {
                assert!(!resource.contains(dimension), "{resource}");
            }
            for (_, metric) in
                resource.match_indices("Namespace: Latchkey\n").map(|(at, of)| resource.split_at(at + of.len()))
            {
                let name = metric.trim_start().lines().next().unwrap();
                assert!(["MetricName: LoginFailures", "MetricName: UnauthorizedErrors"].contains(&name), "{name}");
            }
        }
        assert_eq!(expressions, 2);
    }
}
