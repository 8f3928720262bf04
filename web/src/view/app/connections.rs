//! The application's connections: opening them, and the events of their sockets.

use super::App;
use crate::{
    format,
    location::parse_subprotocols,
    session::{Event, State},
    time::Millis,
    view::{browser, connection::Connection, dom::id, model::Model},
};

/// The most characters or bytes of a message that are read out.
const MAX_SPOKEN: usize = 100;

impl App {
    /// Handles an event of a connection's socket that happened at `at`.
    pub(super) fn on_event(&mut self, id: u32, event: Event, at: Millis) {
        if let Event::Received(payload) = &event
            && self.model.connection().id == id
        {
            self.model.announcer.received(format::preview(payload, 0, MAX_SPOKEN));
        }
        self.with_connection(id, |connection| {
            connection.on_event(event, at);
        });
    }

    /// Changes a connection, and announces its state if that has changed.
    pub(super) fn with_connection(&mut self, id: u32, change: impl FnOnce(&mut Connection)) {
        let Model { texts, connections, announcer, chosen, lesson, .. } = &mut self.model;
        if let Some(session) = lesson.as_mut().filter(|session| session.socket.id == id) {
            change(&mut session.socket);
            return self.tick();
        }
        let Some(at) = connections.iter().position(|connection| connection.id == id) else {
            return;
        };
        let connection = &mut connections[at];
        let before = connection.session.state().name();
        change(connection);
        if connection.session.state().name() == before {
            return;
        }
        if connection.sends_draft {
            connection.sends_draft = matches!(connection.session.state(), State::Connecting);
            if matches!(connection.session.state(), State::Open { .. }) {
                connection.send_draft(texts);
            }
        }
        announcer.set_state(connection.announcement(texts));
        let left = connection.focus_left.take();
        // The parts of the page that have the focus are those of the chosen connection.
        if at == *chosen {
            move_focus(connection, left);
        }
        self.tick();
    }

    /// Connects if the page's URL says so.
    pub(super) fn connect_at_start(&mut self) {
        if self.model.options.autoconnect {
            self.connect();
        }
    }

    pub(super) fn connect(&mut self) {
        let connection = self.model.connection();
        let parsed = browser::location().parse_endpoint(&connection.form.endpoint);
        connection.form.problem = parsed.as_ref().err().copied();
        let Ok(url) = parsed else {
            connection.sends_draft = false;
            // The state of an earlier connection has nothing to do with this endpoint.
            connection.on_event(Event::Dismiss, browser::now());
            return browser::focus(id::ENDPOINT);
        };
        let protocols = parse_subprotocols(&connection.form.protocols);
        let id = connection.id;
        let default = self.model.pairing(&url);
        self.with_connection(id, |connection| {
            connection.set_pairing(default);
            connection.on_event(Event::Connect { url, protocols }, browser::now());
        });
    }

    /// Sets the pairing of connections that were made before the endpoints were known.
    pub(super) fn update_pairing(&mut self) {
        for at in 0..self.model.connections.len() {
            let connection = &self.model.connections[at];
            let url = match connection.session.url() {
                "" => browser::location()
                    .parse_endpoint(&connection.form.endpoint)
                    .unwrap_or_default(),
                url => url.to_owned(),
            };
            let default = self.model.pairing(&url);
            self.model.connections[at].set_pairing(default);
        }
    }
}

/// Moves the focus after a change of the state: a user who has just connected writes a message next,
/// unless the server refuses. `left` is the element from which the focus moved then.
fn move_focus(connection: &mut Connection, left: Option<String>) {
    let focused = browser::focused();
    let in_bar = [id::TOGGLE, id::ENDPOINT, id::PROTOCOL].contains(&&*focused);
    if in_bar && matches!(connection.session.state(), State::Open { .. }) {
        browser::focus_in_place(id::MESSAGE);
        connection.focus_left = Some(focused);
    } else if let Some(left) = left
        && focused == id::MESSAGE
        && connection.compose.draft.text.is_empty()
        && connection.session.transcript().ends_with_refusal()
    {
        browser::focus(&left);
    }
}
