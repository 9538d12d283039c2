//! Logs: one JSON object a line, flat, so that Logs Insights and `jq` find every field at the top.
//!
//! Each request writes one line when it is answered, with `event`, `outcome` and `request_id`. What is never logged:
//! tokens, passwords, hashes, keys, bodies, headers. Errors are logged once, with their chain.

mod fields;
mod line;
mod metrics;

use std::error::Error;
use std::io;
use std::panic;
use std::time::Instant;

use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;

use crate::config::{self, ConfigError};
use line::Lines;

/// Latchkey's crates, whose lines are logged besides the function's own.
const CRATES: [&str; 4] = ["api", "auth", "latchkey_verifier", "shared"];

/// Starts the log. A panic becomes a line too, and so does a variable of the environment that is misspelt.
///
/// # Errors
/// `LATCHKEY_LOG_LEVEL` is invalid. The log was started nevertheless, so that the error can be logged.
pub(crate) fn init(function: &'static str) -> Result<(), ConfigError> {
    let configured = config::log_level();
    let level = *configured.as_ref().unwrap_or(&config::DEFAULT_LOG_LEVEL);
    // Latchkey's own lines. The SDK and the HTTP stack log requests, and with them what must never be logged. The
    // runtime logs what goes wrong between it and Lambda, except the errors and panics that are logged here already.
    // Metrics are made of lines at `INFO`, also where the log has fewer.
    let most = level.max(Level::INFO);
    let targets = Targets::new()
        .with_default(LevelFilter::OFF)
        .with_targets(CRATES.map(|name| (name, most)))
        .with_targets([(function, most), ("lambda_runtime", Level::ERROR)])
        .with_target("lambda_runtime::layers::panic", LevelFilter::OFF);
    let lines = Lines { writer: io::stdout, level, metrics: metrics::Metrics::from_env() };
    let subscriber = tracing_subscriber::registry().with(targets).with(lines);
    if tracing::subscriber::set_global_default(subscriber).is_err() {
        return Ok(());
    }
    panic::set_hook(Box::new(|panic| {
        // The message is not logged: it may contain data. (The runtime reports it to
        // Lambda, for direct callers of the function; API Gateway does not pass it on.)
        let location = panic.location().map(ToString::to_string);
        tracing::error!(event = "panic", outcome = "failed", location, "a function panicked");
    }));
    warn_of_unknown_settings();
    configured.map(|_| ())
}

/// Warns of variables that look like settings but are not.
fn warn_of_unknown_settings() {
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    for variable in config::unknown_settings(names) {
        tracing::warn!(event = "start", outcome = "unknown_setting", variable, "this is not a setting of Latchkey");
    }
}

/// The span of one request. Its fields are in every line of the request.
#[must_use]
pub fn request_span(event: &'static str, lambda_request_id: &str) -> Span {
    // At the highest level, so that the fields are present at every configured level.
    tracing::error_span!(
        "request",
        event,
        // API Gateway's id, the same for the authorizer and the function behind it.
        request_id = Empty,
        lambda_request_id,
        route = Empty,
        sub = Empty,
        sid = Empty,
        jti = Empty,
        account_shut = Empty,
    )
}

/// Whole milliseconds since `started`.
#[must_use]
pub fn milliseconds_since(started: Instant) -> u64 {
    u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// An error and what caused it, in one line: `a: b: c`.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |&error| error.source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
