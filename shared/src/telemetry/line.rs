//! A line of the log: the fields of an event and of its request.
//!
//! `tracing-subscriber` has a layer for JSON. It keeps the fields of a span as text, which it parses and writes again
//! for every field that is added, and a flat line and a metric would have to parse it once more: a tenth of an
//! authorization's CPU time. Here fields stay values until the line is written.

use std::io::{self, Write as _};

use super::fields::Fields;
use super::metrics::Metrics;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::{LookupSpan, Scope};

/// Writes lines, each whole in one call, with its metrics behind it.
pub(super) struct Lines<W> {
    /// The output.
    pub(super) writer: W,
    /// The lowest level that is written. Metrics do not depend on it.
    pub(super) level: Level,
    /// Without it, nothing is measured.
    pub(super) metrics: Option<Metrics>,
}

impl<W> Lines<W> {
    /// The line of an event, if there is one.
    fn written(&self, event: &Event<'_>, fields: &Fields) -> io::Result<Vec<u8>> {
        let mut text = Vec::new();
        if *event.metadata().level() <= self.level {
            serde_json::to_writer(&mut text, fields)?;
            text.push(b'\n');
        }
        if let Some(metrics) = &self.metrics {
            metrics.write(fields, &mut text)?;
        }
        Ok(text)
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    W: for<'writer> MakeWriter<'writer> + 'static,
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        let mut timestamp = String::new();
        // Text takes everything that is written into it.
        let _ = SystemTime.format_time(&mut Writer::new(&mut timestamp));
        fields.set("timestamp", timestamp.into());
        fields.set("level", event.metadata().level().as_str().into());
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(of_span) = span.extensions().get::<Fields>() {
                fields.extend(of_span);
            }
        }
        event.record(&mut fields);
        // A log that cannot be written cannot be reported either.
        let _ = self.written(event, &fields).and_then(|text| self.writer.make_writer().write_all(&text));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};
    use tracing::field::Empty;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The lines that are written while something is done, but for their time.
    fn written(level: Level, what: impl FnOnce()) -> Vec<Value> {
        let kept = Kept::default();
        let writer = kept.clone();
        let lines = Lines { writer: move || writer.clone(), level, metrics: None };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), what);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        let line = |line| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            let timestamp = line.as_object_mut().unwrap().shift_remove("timestamp").unwrap();
            assert!(timestamp.as_str().unwrap().ends_with('Z'), "{timestamp}");
            line
        };
        text.lines().map(line).collect()
    }

    #[test]
    fn a_line_is_flat_and_has_what_its_spans_know_by_then() {
        let lines = written(Level::INFO, || {
            let outer = tracing::error_span!("outer", event = "login", sub = Empty, route = Empty, request_id = "1");
            outer.in_scope(|| {
                outer.record("route", Some("POST /login"));
                let inner = tracing::error_span!("inner", request_id = "2", is_there = true, part = 0.5);
                inner.in_scope(|| tracing::warn!(outcome = "refused", status = 401_u16, error = %"a: \"b\"\n", "text"));
                outer.record("sub", "s");
                outer.record("route", "POST /password");
                tracing::info!(event = "rehash", sid = None::<&str>, left = -1);
            });
        });
        let inner = json!({
            "level": "WARN", "event": "login", "route": "POST /login", "request_id": "2", "is_there": true, "part": 0.5,
            "message": "text", "outcome": "refused", "status": 401, "error": "a: \"b\"\n",
        });
        let outer = json!({
            "level": "INFO", "event": "rehash", "request_id": "1", "route": "POST /password", "sub": "s", "left": -1,
        });
        assert_eq!(lines, [inner, outer]);
    }

    #[test]
    fn a_level_leaves_out_what_is_below_it() {
        let lines = written(Level::WARN, || {
            tracing::info!(outcome = "succeeded");
            tracing::warn!(outcome = "refused");
        });
        assert_eq!(lines, [json!({ "level": "WARN", "outcome": "refused" })]);
    }
}
