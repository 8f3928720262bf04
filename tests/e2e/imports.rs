//! The layers of the crates' modules: each imports only modules of lower layers.

use std::path::Path;

use echogate_tests::imports;

fn assert_layers(sources: &str, layers: &[&[&str]]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository");
    let violations = imports::violations(&root.join(sources), layers);
    assert!(violations.is_empty(), "{sources}:\n  {}", violations.join("\n  "));
}

/// The page: the view, from the application over its panels down to the browser; then the logic,
/// from the server's connections and the sessions down to texts and payloads.
const WEB: &[&[&str]] = &[
    &["view::app"],
    &["view::painting", "view::screen"],
    &[
        "view::charts",
        "view::composer",
        "view::connection_list",
        "view::header",
        "view::ladder_panel",
        "view::latency_panel",
        "view::operator_panel",
        "view::sidebar",
        "view::transcript_file",
        "view::transcript_input",
        "view::transcript_panel",
        "view::url_bar",
    ],
    &[
        "view::detail",
        "view::draft_settings",
        "view::file_panel",
        "view::first_run",
        "view::keys",
        "view::lesson_panel",
        "view::repetition",
        "view::share_menu",
        "view::transcript_tools",
    ],
    &["view::payload_figure"],
    &["view::json_tree", "view::lesson_run", "view::row"],
    &["view::model"],
    &["view::lesson"],
    &["view::connection", "view::operator_session"],
    &["view::following", "view::server_events"],
    &["view::command", "view::dispatch", "view::forms"],
    &["view::socket", "view::browser", "view::keyed_list", "view::pattern", "view::user_event"],
    &["view::dom"],
    &["view::action"],
    &["cards", "export", "filter"],
    &["ladder", "lesson", "live", "storage"],
    &["location", "session"],
    &["composer", "transcript"],
    &["close_reason", "live_region", "pairing", "payload_view", "plot", "search", "waterfall"],
    &["exchanges", "hexdump", "i18n", "operator", "redraw", "stats", "virtual_list", "wire"],
    &["snippets"],
    &["format"],
    &["literal"],
    &["base64", "json"],
    &["payload", "time"],
];

#[test]
fn the_pages_modules_import_only_those_below_them() {
    assert_layers("web/src", WEB);
}

/// The server: see `server/ARCHITECTURE.md`.
const SERVER: &[&[&str]] = &[
    &["crate"],
    &["cli"],
    &["client", "console"],
    &["server"],
    &["http"],
    &["gateway"],
    &["context"],
    &["cluster"],
    &["config"],
    &["service"],
    &["net"],
    &["recorder"],
    &["connections"],
    &["recording"],
    &["trace"],
    &["runtime", "terminal", "text"],
];

#[test]
fn the_servers_modules_import_only_those_below_them() {
    assert_layers("server/src", SERVER);
}

/// The protocol crate.
const PROTO: &[&[&str]] = &[
    &["framing", "recording"],
    &["api", "ws"],
    &["backoff", "chat", "close", "endpoint", "hex", "reason", "utf8"],
];

#[test]
fn the_protocol_modules_import_only_those_below_them() {
    assert_layers("server/proto/src", PROTO);
}

/// The event loop.
const EVENT_LOOP: &[&[&str]] = &[
    &["crate"],
    &["event_loop"],
    &["coop", "stream_socket"],
    &["state"],
    &["in_flight", "inbox", "turn"],
];

#[test]
fn the_event_loops_modules_import_only_those_below_them() {
    assert_layers("server/event-loop/src", EVENT_LOOP);
}
