//! The gateway's log: one line for each request on standard output, and the reasons of failures on standard
//! error.
//!
//! A line has no header and no query: they can hold tokens.

use std::{
    env,
    error::Error,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    time::{Duration, SystemTime},
};

use hyper::StatusCode;
use serde_json::{Value, json};

/// The log record of a request.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) id: String,
    pub(crate) time: SystemTime,
    pub(crate) method: String,
    pub(crate) path: String,
    /// The authorizer's outcome in a word, and its duration.
    pub(crate) authorizer: Option<(&'static str, Duration)>,
    /// The function's binary, and how long it took.
    pub(crate) function: Option<(String, Duration)>,
}

/// The log on standard output: for people, or one JSON object a line.
#[derive(Debug)]
pub(crate) enum Log {
    Text { coloured: bool },
    Json,
}

impl Log {
    /// Colours are for a terminal without `NO_COLOR`.
    pub(crate) fn to_stdout(json: bool) -> Self {
        if json {
            return Self::Json;
        }
        let coloured = io::stdout().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        Self::Text { coloured }
    }

    /// Reports that the gateway serves, and where.
    pub(crate) fn listening(&self, address: SocketAddr) {
        write_line(&match self {
            Self::Text { .. } => format!("gateway listening on http://{address}"),
            Self::Json => json!({ "event": "listening", "url": format!("http://{address}") }).to_string(),
        });
    }

    /// Reports that a changed template is served.
    pub(crate) fn reloaded(&self, routes: usize) {
        write_line(&match self {
            Self::Text { .. } => format!("gateway: the template changed: {routes} routes"),
            Self::Json => json!({ "event": "reloaded", "routes": routes }).to_string(),
        });
    }

    /// Writes the line of an answered request.
    pub(crate) fn write(&self, record: &Record, status: StatusCode, total: Duration) {
        write_line(&match self {
            Self::Text { coloured } => line(record, status, total, *coloured),
            Self::Json => object(record, status, total).to_string(),
        });
    }
}

fn write_line(line: &str) {
    let mut stdout = io::stdout().lock();
    // A closed standard output does not stop the gateway.
    let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
}

/// Reports on standard error what is not emulated.
pub(crate) fn notice(notices: &[String]) {
    for notice in notices {
        eprintln!("gateway: not emulated: {notice}");
    }
}

/// Reports on standard error why a request could not be served.
pub(crate) fn error(request_id: &str, reason: &str) {
    eprintln!("gateway: {request_id}: {}", printable(reason));
}

/// An error and what caused it, in one line.
pub(crate) fn chain(error: &(dyn Error + 'static)) -> String {
    let errors = std::iter::successors(Some(error), |&error| error.source());
    errors.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// Untrusted text, escaped so that it can neither break a line nor control the terminal.
fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

fn line(record: &Record, status: StatusCode, total: Duration, coloured: bool) -> String {
    let (before, after) = match status.as_u16() {
        _ if !coloured => ("", ""),
        200..400 => ("\x1b[32m", "\x1b[0m"),
        400..500 => ("\x1b[33m", "\x1b[0m"),
        _ => ("\x1b[31m", "\x1b[0m"),
    };
    let authorizer = record.authorizer.map_or_else(
        || "no authorizer".to_owned(),
        |(verdict, took)| format!("authorizer {verdict} {} ms", took.as_millis()),
    );
    let function = record
        .function
        .as_ref()
        .map_or_else(|| "no function".to_owned(), |(binary, took)| format!("{binary} {} ms", took.as_millis()));
    let Record { id, time, method, path, .. } = record;
    let (clock, path, total, status) = (clock(*time), printable(path), total.as_millis(), status.as_u16());
    format!("{clock} {method} {path} {before}{status}{after} {total} ms | {authorizer} | {function} | {id}")
}

/// The same for programs. Times are milliseconds with fractions; the time of the request is in milliseconds since 1970.
fn object(record: &Record, status: StatusCode, total: Duration) -> Value {
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1000.0;
    let since = record.time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    json!({
        "event": "request",
        "id": record.id,
        "time": u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
        "method": record.method,
        "path": record.path,
        "status": status.as_u16(),
        "milliseconds": milliseconds(total),
        "authorizer": record
            .authorizer
            .map(|(verdict, took)| json!({ "verdict": verdict, "milliseconds": milliseconds(took) })),
        "function": record
            .function
            .as_ref()
            .map(|(binary, took)| json!({ "binary": binary, "milliseconds": milliseconds(*took) })),
    })
}

/// The time of day, UTC.
fn clock(time: SystemTime) -> String {
    let date = httpdate::fmt_http_date(time);
    format!("{}Z", date.split(' ').nth(4).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use hyper::StatusCode;

    use serde_json::json;

    use super::{Record, line, object};

    fn record() -> Record {
        Record {
            id: "JKJaXmPLvHcESHA=".to_owned(),
            time: SystemTime::UNIX_EPOCH + Duration::from_secs(1_583_348_638),
            method: "GET".to_owned(),
            path: "/me".to_owned(),
            authorizer: Some(("allow", Duration::from_millis(4))),
            function: Some(("protected".to_owned(), Duration::from_micros(2_900))),
        }
    }

    #[test]
    fn a_line_has_everything_in_one_order() {
        assert_eq!(
            line(&record(), StatusCode::OK, Duration::from_millis(8), false),
            "19:03:58Z GET /me 200 8 ms | authorizer allow 4 ms | protected 2 ms | JKJaXmPLvHcESHA="
        );
        let public = Record { authorizer: None, function: None, ..record() };
        assert_eq!(
            line(&public, StatusCode::NOT_FOUND, Duration::ZERO, false),
            "19:03:58Z GET /me 404 0 ms | no authorizer | no function | JKJaXmPLvHcESHA="
        );
    }

    #[test]
    fn an_object_has_the_same() {
        assert_eq!(
            object(&record(), StatusCode::OK, Duration::from_millis(8)),
            json!({
                "event": "request",
                "id": "JKJaXmPLvHcESHA=",
                "time": 1_583_348_638_000_u64,
                "method": "GET",
                "path": "/me",
                "status": 200,
                "milliseconds": 8.0,
                "authorizer": { "verdict": "allow", "milliseconds": 4.0 },
                "function": { "binary": "protected", "milliseconds": 2.9 },
            })
        );
        let public = object(&Record { authorizer: None, function: None, ..record() }, StatusCode::OK, Duration::ZERO);
        assert_eq!((&public["authorizer"], &public["function"]), (&json!(null), &json!(null)));
    }

    #[test]
    fn a_path_cannot_speak_to_the_terminal() {
        let hostile = Record { path: "/\u{9b}2J\u{85}é".to_owned(), ..record() };
        let line = line(&hostile, StatusCode::OK, Duration::ZERO, false);
        assert!(line.contains(r" /\u{9b}2J\u{85}é 200 "), "{line}");
    }

    #[test]
    fn only_the_status_is_coloured() {
        let coloured = line(&record(), StatusCode::BAD_GATEWAY, Duration::ZERO, true);
        assert!(coloured.contains(" \x1b[31m502\x1b[0m "), "{coloured}");
    }
}
