//! The page's elements: a thin view of [`crate::session`] and its neighbours.
//!
//! - [`app`]: the page's state and clock; draws the [`model`] on the [`screen`] at most once per
//!   frame, carries out [`command`]s
//! - panels: [`header`]; [`url_bar`]; [`sidebar`] and [`connection_list`]; [`transcript_panel`] with
//!   [`transcript_tools`], [`first_run`], [`row`], [`detail`], [`payload_figure`], [`json_tree`],
//!   [`transcript_input`] and [`transcript_file`]; [`ladder_panel`] and [`lesson_panel`];
//!   [`composer`] with [`draft_settings`], [`keys`], [`repetition`], [`share_menu`] and [`file_panel`];
//!   [`latency_panel`] and [`charts`]; [`operator_panel`]. A panel makes its elements once, draws what
//!   has changed and returns the time at which it has to be drawn again; its `act` handles the user's
//!   events and returns a command. Two have a [`keyed_list`]
//! - [`connection`]: a session with its socket and its [`forms`], or a client that it is
//!   [`following`]; [`lesson`]: a connection that the lesson opens and follows, by [`lesson_run`];
//!   [`operator_session`]: the same for the operator; callbacks [`dispatch`] their events to the
//!   application
//! - [`server_events`]: the subscription to the server's events
//! - [`painting`]: the times at which replies have been drawn
//! - a [`user_event`] has an [`action`]; [`dom`], [`browser`], [`pattern`] and [`socket`] are the calls
//!   to the browser; WebSockets live in a worker, `static/sockets.js`

mod action;
mod app;
mod browser;
mod charts;
mod command;
mod composer;
mod connection;
mod connection_list;
mod detail;
mod dispatch;
mod dom;
mod draft_settings;
mod file_panel;
mod first_run;
mod following;
mod forms;
mod header;
mod json_tree;
mod keyed_list;
mod keys;
mod ladder_panel;
mod latency_panel;
mod lesson;
mod lesson_panel;
mod lesson_run;
mod model;
mod operator_panel;
mod operator_session;
mod painting;
mod pattern;
mod payload_figure;
mod repetition;
mod row;
mod screen;
mod server_events;
mod share_menu;
mod sidebar;
mod socket;
mod transcript_file;
mod transcript_input;
mod transcript_panel;
mod transcript_tools;
mod url_bar;
mod user_event;

use wasm_bindgen::prelude::wasm_bindgen;

/// Draws the page in place of the loading notice.
#[wasm_bindgen(start)]
fn start() {
    // A panic is reported like an uncaught exception.
    std::panic::set_hook(Box::new(|panic| browser::log_error(&panic.to_string())));
    app::start();
}
