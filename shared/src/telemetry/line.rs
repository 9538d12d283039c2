//! A line of the log.

use std::fmt;

use serde_json::{Map, Value};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields as _, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Writes an event and the fields of the spans around it as one flat object.
pub(super) struct FlatJson;

impl<S> FormatEvent<S, JsonFields> for FlatJson
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Map::new();
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        line.insert("timestamp".to_owned(), timestamp.into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.extend(fields(context, event)?);
        writeln!(writer, "{}", Value::Object(line))
    }
}

/// The fields of an event and of the spans around it. An inner field wins over an outer one.
pub(super) fn fields<S>(
    context: &FmtContext<'_, S, JsonFields>,
    event: &Event<'_>,
) -> Result<Map<String, Value>, fmt::Error>
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
{
    let mut all = Map::new();
    for span in context.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
        if let Some(fields) = span.extensions().get::<FormattedFields<JsonFields>>()
            && let Ok(Value::Object(fields)) = serde_json::from_str(&fields.fields)
        {
            all.extend(fields);
        }
    }
    let mut own = String::new();
    JsonFields::new().format_fields(Writer::new(&mut own), event)?;
    if let Ok(Value::Object(own)) = serde_json::from_str(&own) {
        all.extend(own);
    }
    Ok(all)
}
