//! The lines of the log, as text or JSON.

use std::fmt::{self, Debug, Write as _};

use serde::Serialize;
use serde_json::{Map, Value};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

use crate::config::LogFormat;

/// Formats events in the format in force.
#[derive(Debug, Default)]
pub(super) struct EventFormat {
    text: Format,
}

impl<S, N> FormatEvent<S, N> for EventFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if LogFormat::in_force() == LogFormat::Text {
            return self.text.format_event(context, writer, event);
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        writer.write_str(&line(metadata.level().as_str(), metadata.target(), fields))
    }
}

/// The line for an error that ends the program.
pub(super) fn error_line(error: &str) -> String {
    let fields = Fields { message: error.to_owned(), ..Fields::default() };
    line("ERROR", env!("CARGO_PKG_NAME"), fields)
}

/// A line of the JSON log. The members are written in this order.
#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    level: &'a str,
    target: &'a str,
    #[serde(flatten)]
    fields: Fields,
}

/// The message and the fields of an event. The fields have an object of their own, so that their
/// names cannot collide with other members.
#[derive(Default, Serialize)]
struct Fields {
    message: String,
    #[serde(skip_serializing_if = "Map::is_empty")]
    fields: Map<String, Value>,
}

/// A JSON object with a line break. JSON escapes control characters, so that an object is one line,
/// whatever clients have sent.
fn line(level: &str, target: &str, fields: Fields) -> String {
    let mut time = String::new();
    // On a failure the time is empty.
    SystemTime.format_time(&mut Writer::new(&mut time)).ok();
    let line = Line { time: &time, level, target, fields };
    let mut text = serde_json::to_string(&line).expect("texts and numbers are JSON");
    text.push('\n');
    text
}

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            value.clone_into(&mut self.message);
        } else {
            self.add(field, value);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing to a String cannot fail.
            write!(self.message, "{value:?}").ok();
        } else {
            self.add(field, format!("{value:?}"));
        }
    }
}
