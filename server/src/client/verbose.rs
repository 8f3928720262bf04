//! `--verbose`: the steps of a connection, on the standard error or above the prompt. A line begins
//! with `>` if it is about sent data, with `<` if about received data, and otherwise with `*`.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    sync::Arc,
};

use parking_lot::Mutex;
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    Layer,
    filter::{LevelFilter, Targets},
    layer::Context,
    prelude::*,
    registry,
};

use crate::terminal::Screen;

/// The modules whose debug events are shown.
const MODULES: [&str; 6] = [
    "echogate::net::resolve",
    "echogate::net::happy_eyeballs",
    "echogate::net::connected_datagrams",
    "echogate::net::proxy",
    "echogate::net::tls",
    "echogate::client",
];

/// The prompt, once there is one.
static SCREEN: Mutex<Option<Arc<Screen>>> = Mutex::new(None);

/// Shows the debug events of [`MODULES`] from now on.
pub(super) fn start() {
    let modules = Targets::new().with_targets(MODULES.map(|module| (module, LevelFilter::DEBUG)));
    // Fails if another subscriber has been set, which the client never does.
    tracing::subscriber::set_global_default(registry().with(Steps.with_filter(modules))).ok();
}

/// Shows further lines above a prompt.
pub(super) fn show_above(screen: Arc<Screen>) {
    *SCREEN.lock() = Some(screen);
}

/// Shows a line.
pub(super) fn show(line: &str) {
    let screen = SCREEN.lock();
    let line = format!("{line}\n");
    if screen.as_ref().is_none_or(|screen| !screen.show_now(&line)) {
        io::stderr().write_all(line.as_bytes()).ok();
    }
}

/// A layer that shows the messages of events.
struct Steps;

impl<S: Subscriber> Layer<S> for Steps {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line("*".to_owned());
        event.record(&mut line);
        show(&line.0);
    }
}

/// The message of an event, and its fields.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
        written.expect("writing to a String cannot fail");
    }
}
