//! `--verbose`: the steps of a connection, on the standard error or above the prompt. Lines begin
//! with `>` for what is sent, with `<` for what is received, and with `*` for everything else.

use std::{
    fmt::{self, Write as _},
    io::{self, Write as _},
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::terminal::Screen;

/// The modules whose debug events are shown.
const MODULES: [&str; 5] = [
    "echogate::net::resolve",
    "echogate::net::happy_eyeballs",
    "echogate::net::proxy",
    "echogate::net::tls",
    "echogate::client",
];

/// The prompt, once there is one.
static SCREEN: Mutex<Option<Arc<Screen>>> = Mutex::new(None);

/// Shows the debug events of [`MODULES`] from now on.
pub(super) fn start() {
    // Fails if another subscriber has been set, which the client never does.
    tracing::subscriber::set_global_default(Steps).ok();
}

/// Shows further lines above a prompt.
pub(super) fn show_above(screen: Arc<Screen>) {
    *SCREEN.lock().unwrap_or_else(PoisonError::into_inner) = Some(screen);
}

/// Shows a line.
pub(super) fn show(line: &str) {
    let screen = SCREEN.lock().unwrap_or_else(PoisonError::into_inner);
    let line = format!("{line}\n");
    if screen.as_ref().is_none_or(|screen| !screen.show_now(&line)) {
        io::stderr().write_all(line.as_bytes()).ok();
    }
}

/// A subscriber that shows the messages of events.
struct Steps;

impl Subscriber for Steps {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        *metadata.level() <= Level::DEBUG
            && !metadata.is_span()
            && MODULES.iter().any(|module| target.starts_with(module))
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut line = Line("*".to_owned());
        event.record(&mut line);
        show(&line.0);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
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
