//! Metrics, in CloudWatch's embedded metric format: lines of the log that CloudWatch turns into metrics by itself, so that
//! no request waits for another service.
//!
//! They are made of what is logged when a request is answered. So there is one place that says how a request ended, and a
//! metric can be followed to the lines behind it. Each combination of dimensions is a metric that is paid for, so there are
//! few: no user, no route, no address.
//!
//! | Metric                  | Dimensions         | Counts                                                                    |
//! |-------------------------|--------------------|---------------------------------------------------------------------------|
//! | `Logins`                | Service, Outcome   | Logins: `succeeded`, `refused`, `throttled`, `failed`                     |
//! | `Authorizations`        | Service, Outcome   | Decisions: `allowed`, `refused`, `failed`                                 |
//! | `RefusedAuthorizations` | Service, Reason    | Refused tokens by their reason, `expired` and the like                    |
//! | `Refreshes`             | Service, Outcome   | Refreshes: `succeeded`, `refused`, `reused`, `failed`                     |
//! | `Latency`               | Service, Operation | Milliseconds from event to answer: `login`, `authorize`, `refresh`        |
//!
//! Source: <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::{env, fmt};

use metrics::Unit;
use metrics_cloudwatch_embedded::{Builder, Collector};
use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent};
use tracing_subscriber::registry::LookupSpan;

use super::line;

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
    fn of(fields: &Map<String, Value>) -> Option<Self> {
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        let (event, outcome, reason) = (text("event")?, text("outcome")?, text("reason"));
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

    const fn operation(&self) -> &'static str {
        match self {
            Self::Login { .. } => "login",
            Self::Authorization { .. } => "authorize",
            Self::Refresh { .. } => "refresh",
        }
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
        metrics::describe_histogram!("Latency", Unit::Milliseconds, "");
        Some(Self(collector))
    }

    fn write(&self, answered: Answered, milliseconds: f64, writer: &mut dyn fmt::Write) -> fmt::Result {
        metrics::histogram!("Latency", "Operation" => answered.operation()).record(milliseconds);
        match answered {
            Answered::Login { outcome } => metrics::counter!("Logins", "Outcome" => outcome).increment(1),
            Answered::Refresh { outcome } => metrics::counter!("Refreshes", "Outcome" => outcome).increment(1),
            Answered::Authorization { outcome, reason } => {
                metrics::counter!("Authorizations", "Outcome" => outcome).increment(1);
                if let Some(reason) = reason {
                    metrics::counter!("RefusedAuthorizations", "Reason" => reason).increment(1);
                }
            }
        }
        let mut lines = Vec::new();
        self.0.flush(&mut lines).map_err(|_| fmt::Error)?;
        writer.write_str(&String::from_utf8_lossy(&lines))
    }
}

impl<S> FormatEvent<S, JsonFields> for Metrics
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // Only the last line of a request has its time.
        if event.metadata().fields().field(MILLISECONDS).is_none() {
            return Ok(());
        }
        let fields = line::fields(context, event)?;
        let milliseconds = fields.get(MILLISECONDS).and_then(Value::as_f64);
        match (Answered::of(&fields), milliseconds) {
            (Some(answered), Some(milliseconds)) => self.write(answered, milliseconds, &mut writer),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn answered(fields: &Value) -> Option<Answered> {
        Answered::of(fields.as_object().unwrap())
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
            let fields = json!({ "event": event, "outcome": outcome, "reason": reason, "milliseconds": 1 });
            assert_eq!(answered(&fields), expected, "{fields}");
        }
        let refused = json!({ "event": "authorize", "outcome": "refused", "reason": "expired" });
        let expected = Answered::Authorization { outcome: "refused", reason: Some("expired".to_owned()) };
        assert_eq!(answered(&refused), Some(expected));
    }

    /// There is one recorder in a process, so this is one test.
    #[test]
    fn metrics_are_written_in_the_embedded_metric_format() {
        let builder = Builder::new().with_dimension("Service", "latchkey-test").with_timestamp(1_800_000_000_000);
        let metrics = Metrics::new(builder).unwrap();
        let written = |answered| {
            let mut text = String::new();
            metrics.write(answered, 7.0, &mut text).unwrap();
            let mut lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            lines.sort_by_key(|line| line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"].to_string());
            lines
        };
        let line = |name: &str, unit: &str, value: Value, dimension: &str, of: &str| {
            let mut line = json!({
                "_aws": {
                    "Timestamp": 1_800_000_000_000_u64,
                    "CloudWatchMetrics": [{
                        "Namespace": "Latchkey",
                        "Dimensions": [["Service", dimension]],
                        "Metrics": [{ "Name": name, "Unit": unit }],
                    }],
                },
                "Service": "latchkey-test",
            });
            line[dimension] = of.into();
            line[name] = value;
            line
        };
        let latency = |operation| line("Latency", "Milliseconds", json!([7.0]), "Operation", operation);
        assert_eq!(
            written(Answered::Login { outcome: "refused" }),
            [latency("login"), line("Logins", "Count", json!(1), "Outcome", "refused")]
        );
        // Nothing of an earlier request is written again.
        assert_eq!(
            written(Answered::Refresh { outcome: "reused" }),
            [latency("refresh"), line("Refreshes", "Count", json!(1), "Outcome", "reused")]
        );
        assert_eq!(
            written(Answered::Authorization { outcome: "refused", reason: Some("expired".to_owned()) }),
            [
                line("Authorizations", "Count", json!(1), "Outcome", "refused"),
                latency("authorize"),
                line("RefusedAuthorizations", "Count", json!(1), "Reason", "expired"),
            ]
        );
        assert!(Metrics::new(Builder::new()).is_none());
    }
}
