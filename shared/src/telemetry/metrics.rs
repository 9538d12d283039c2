//! Metrics, in CloudWatch's embedded metric format: lines of the log that CloudWatch turns into metrics by itself, so that
//! no request waits for another service.
//!
//! They are made of what is logged when a request is answered. So there is one place that says how a request ended, and a
//! metric can be followed to the lines behind it. Each combination of dimensions is a metric that is paid for, so there are
//! few: no user, no route, no address.
//!
//! | Metric                  | Dimensions       | Counts                                                  |
//! |-------------------------|------------------|---------------------------------------------------------|
//! | `Logins`                | Service, Outcome | Logins: `succeeded`, `refused`, `throttled`, `failed`   |
//! | `LoginLatency`          | Service, Outcome | Milliseconds from event to answer                       |
//! | `Authorizations`        | Service, Outcome | Decisions: `allowed`, `refused`, `failed`               |
//! | `AuthorizationLatency`  | Service, Outcome | Milliseconds from event to answer                       |
//! | `RefusedAuthorizations` | Service, Reason  | Refused tokens by their reason, `expired` and the like  |
//! | `Refreshes`             | Service, Outcome | Refreshes: `succeeded`, `refused`, `reused`, `failed`   |
//! | `RefreshLatency`        | Service, Outcome | Milliseconds from event to answer                       |
//!
//! A count and its latency have the same dimensions, so they are one document: what goes well writes one.
//!
//! Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::{env, io};

use metrics::Unit;
use metrics_cloudwatch_embedded::{Builder, Collector};
use serde_json::Value;

use super::line::Fields;

/// The namespace of all metrics.
const NAMESPACE: &str = "Latchkey";
/// The variable with the value of the dimension `Service`: the stack's name. Where it is absent nothing is measured.
const SERVICE: &str = "METRICS_SERVICE";
/// A refused refresh for which a token was used again, as it is logged.
const REUSED: &str = "refresh_token_reused";
/// A refused login that nobody looked at, as it is logged.
const THROTTLED: &str = "throttled";

/// The field with the time that a request took.
const MILLISECONDS: &str = "milliseconds";

/// How a request ended.
#[derive(Debug, PartialEq, Eq)]
enum Answered {
    Login { outcome: &'static str },
    Authorization { outcome: &'static str, reason: Option<String> },
    Refresh { outcome: &'static str },
}

impl Answered {
    /// What a line says, if it is the last one of a request that is measured.
    fn of(fields: &Fields) -> Option<Self> {
        let (event, outcome, reason) = (fields.text("event")?, fields.text("outcome")?, fields.text("reason"));
        Some(match (event, outcome, reason) {
            ("login", "refused", Some(THROTTLED)) => Self::Login { outcome: "throttled" },
            ("refresh", "refused", Some(REUSED)) => Self::Refresh { outcome: "reused" },
            ("login", ..) => Self::Login { outcome: ending(outcome)? },
            ("refresh", ..) => Self::Refresh { outcome: ending(outcome)? },
            ("authorize", "refused", _) => {
                Self::Authorization { outcome: "refused", reason: reason.map(ToOwned::to_owned) }
            }
            ("authorize", ..) => Self::Authorization { outcome: ending(outcome)?, reason: None },
            _ => return None,
        })
    }
}

/// An outcome of the log as one of the dimension's few values.
fn ending(outcome: &str) -> Option<&'static str> {
    ["allowed", "failed", "refused", "succeeded"].into_iter().find(|known| *known == outcome)
}

/// Writes the metrics of a request behind its last line.
pub(super) struct Metrics(&'static Collector);

impl Metrics {
    /// `None` where the environment names no service.
    pub(super) fn from_env() -> Option<Self> {
        let service = env::var(SERVICE).ok().filter(|service| !service.is_empty())?;
        Self::new(Builder::new().with_dimension("Service", service))
    }

    /// `None` where there is one already: it is for the whole process.
    fn new(builder: Builder) -> Option<Self> {
        let collector = builder.cloudwatch_namespace(NAMESPACE).init().ok()?;
        for count in ["Logins", "Authorizations", "RefusedAuthorizations", "Refreshes"] {
            metrics::describe_counter!(count, Unit::Count, "");
        }
        for latency in ["LoginLatency", "AuthorizationLatency", "RefreshLatency"] {
            metrics::describe_histogram!(latency, Unit::Milliseconds, "");
        }
        Some(Self(collector))
    }

    /// Writes what a line means, if it is the last one of a request that is measured: only that one has the time that the
    /// request took.
    pub(super) fn write(&self, line: &Fields, text: &mut Vec<u8>) -> io::Result<()> {
        let Some(milliseconds) = line.get(MILLISECONDS).and_then(Value::as_f64) else { return Ok(()) };
        let Some(answered) = Answered::of(line) else { return Ok(()) };
        let (count, latency, outcome) = match answered {
            Answered::Login { outcome } => ("Logins", "LoginLatency", outcome),
            Answered::Refresh { outcome } => ("Refreshes", "RefreshLatency", outcome),
            Answered::Authorization { outcome, reason } => {
                if let Some(reason) = reason {
                    metrics::counter!("RefusedAuthorizations", "Reason" => reason).increment(1);
                }
                ("Authorizations", "AuthorizationLatency", outcome)
            }
        };
        metrics::counter!(count, "Outcome" => outcome).increment(1);
        metrics::histogram!(latency, "Outcome" => outcome).record(milliseconds);
        self.0.flush(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(event: &str, outcome: &str, reason: Option<&str>) -> Fields {
        let mut line = Fields::default();
        line.set("event", event.into());
        line.set("outcome", outcome.into());
        if let Some(reason) = reason {
            line.set("reason", reason.into());
        }
        line
    }

    #[test]
    fn the_last_line_of_a_request_says_what_is_counted() {
        for (event, outcome, reason, expected) in [
            ("login", "succeeded", None, Some(Answered::Login { outcome: "succeeded" })),
            ("login", "refused", Some("wrong_password"), Some(Answered::Login { outcome: "refused" })),
            ("login", "refused", Some("throttled"), Some(Answered::Login { outcome: "throttled" })),
            ("login", "failed", Some("store_failed"), Some(Answered::Login { outcome: "failed" })),
            ("refresh", "succeeded", None, Some(Answered::Refresh { outcome: "succeeded" })),
            ("refresh", "refused", Some("session_ended"), Some(Answered::Refresh { outcome: "refused" })),
            ("refresh", "refused", Some("refresh_token_reused"), Some(Answered::Refresh { outcome: "reused" })),
            ("authorize", "allowed", None, Some(Answered::Authorization { outcome: "allowed", reason: None })),
            ("authorize", "failed", Some("x"), Some(Answered::Authorization { outcome: "failed", reason: None })),
            ("change_password", "succeeded", None, None),
            ("protected", "succeeded", None, None),
            ("login", "of a kind that nobody knows", None, None),
        ] {
            assert_eq!(Answered::of(&line(event, outcome, reason)), expected, "{event} {outcome} {reason:?}");
        }
        let expected = Answered::Authorization { outcome: "refused", reason: Some("expired".to_owned()) };
        assert_eq!(Answered::of(&line("authorize", "refused", Some("expired"))), Some(expected));
    }

    /// There is one recorder in a process, so this is one test.
    #[test]
    fn metrics_are_written_in_the_embedded_metric_format() {
        let builder = Builder::new().with_dimension("Service", "latchkey-test").with_timestamp(1_800_000_000_000);
        let metrics = Metrics::new(builder).unwrap();
        let written = |event, outcome, reason| {
            let mut line = line(event, outcome, reason);
            let mut text = Vec::new();
            metrics.write(&line, &mut text).unwrap();
            assert!(text.is_empty(), "only a request's last line has its time");
            line.set("milliseconds", 7.into());
            metrics.write(&line, &mut text).unwrap();
            let lines = std::str::from_utf8(&text).unwrap().lines();
            lines.map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
        };
        let document = |dimension: &str, of: &str, values: &[(&str, &str, Value)]| {
            let named: Vec<_> = values.iter().map(|(name, unit, _)| json!({ "Name": name, "Unit": unit })).collect();
            let mut document = json!({
                "_aws": {
                    "Timestamp": 1_800_000_000_000_u64,
                    "CloudWatchMetrics": [{
                        "Namespace": "Latchkey",
                        "Dimensions": [["Service", dimension]],
                        "Metrics": named,
                    }],
                },
                "Service": "latchkey-test",
            });
            document[dimension] = of.into();
            for (name, _, value) in values {
                document[name] = value.clone();
            }
            document
        };
        let both = |count, latency, outcome| {
            document("Outcome", outcome, &[(latency, "Milliseconds", json!([7.0])), (count, "Count", json!(1))])
        };
        assert_eq!(written("login", "refused", None), [both("Logins", "LoginLatency", "refused")]);
        // Nothing of an earlier request is written again.
        assert_eq!(
            written("refresh", "refused", Some("refresh_token_reused")),
            [both("Refreshes", "RefreshLatency", "reused")]
        );
        let authorizations = |outcome| both("Authorizations", "AuthorizationLatency", outcome);
        let reason = document("Reason", "expired", &[("RefusedAuthorizations", "Count", json!(1))]);
        assert_eq!(written("authorize", "refused", Some("expired")), [authorizations("refused"), reason]);
        assert_eq!(written("authorize", "allowed", None), [authorizations("allowed")]);
        assert!(written("protected", "succeeded", None).is_empty());
        assert!(Metrics::new(Builder::new()).is_none());
    }
}
