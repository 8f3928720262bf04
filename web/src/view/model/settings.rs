//! The settings that survive a reload of the page.

use super::{Connection, MAX_CONNECTIONS, Model, browser};
use crate::{
    composer::{Draft, history::History},
    session::Event,
    storage::{self, Stored, StoredConnection},
};

impl Model {
    /// Makes the connections: that of the page's URL, and those that were stored.
    pub(super) fn restore(&mut self) {
        let stored = browser::stored().unwrap_or_default();
        stored.history.into_iter().for_each(|draft| self.history.borrow_mut().push(draft));
        self.saved = stored.saved;
        let shared = browser::shared();
        if shared.is_some() || self.options.endpoint.is_some() || stored.connections.is_empty() {
            let connection = self.add_connection();
            if let Some(link) = shared {
                connection.take_link(link);
            }
        }
        // A link has a connection of its own, which is shown.
        let chosen = if self.connections.is_empty() { stored.chosen } else { 0 };
        let linked = self.connections.first().map(Connection::address);
        let is_new = |it: &StoredConnection| linked != Some((&*it.endpoint, &*it.protocols));
        let room = MAX_CONNECTIONS - self.connections.len();
        // A reload of a link's page does not add the connection of the link again.
        let others: Vec<_> = stored.connections.into_iter().filter(is_new).take(room).collect();
        for stored in others {
            let StoredConnection { endpoint, protocols, reconnect, pairing, ending, escapes } =
                stored;
            let connection = self.add_connection();
            connection.take_address(endpoint, protocols);
            connection.session.handle(Event::Reconnect(reconnect), 0.0);
            connection.view.pairing = pairing;
            let draft = &mut connection.compose.draft;
            (draft.ending, draft.escapes) = (ending, escapes);
        }
        self.chosen = chosen.min(self.connections.len() - 1);
    }

    /// Stores the settings that survive a reload, if they have changed.
    pub(in crate::view) fn store(&mut self) {
        let settings = self.settings();
        if settings != self.stored {
            browser::store(Some(&settings));
            self.stored = settings;
        }
    }

    fn settings(&self) -> String {
        let sockets = self.connections.iter().filter(|connection| !connection.is_read_only());
        let connections = sockets.map(|connection| {
            let Draft { ending, escapes, .. } = connection.compose.draft;
            StoredConnection {
                endpoint: connection.form.endpoint.clone(),
                protocols: connection.form.protocols.clone(),
                reconnect: connection.session.reconnects(),
                pairing: connection.view.pairing.clone(),
                ending,
                escapes,
            }
        });
        let connections = connections.collect();
        let before = self.connections.iter().take(self.chosen);
        let chosen = before.filter(|connection| !connection.is_read_only()).count();
        let history = self.history.borrow().messages().cloned().collect();
        storage::write(&Stored { connections, chosen, saved: self.saved.clone(), history })
    }

    /// Whether a reload of the page would lose something that is neither stored nor exported.
    pub(in crate::view) fn is_lost_by_reload(&self) -> bool {
        let shared = browser::shared().map(|link| link.draft);
        let history = self.history.borrow();
        let is_kept = |draft: &Draft| {
            let mut stored = history.messages().chain(&self.saved);
            draft.text.is_empty()
                || shared.as_ref() == Some(draft)
                || draft.text.len() <= storage::MAX_TEXT && stored.any(|it| it == draft)
        };
        let is_lost = |connection: &Connection| {
            let compose = &connection.compose;
            connection.is_lost_by_reload() || compose.template.is_none() && !is_kept(&compose.draft)
        };
        self.operator.is_connected()
            || self.saved.iter().any(|draft| draft.text.len() > storage::MAX_TEXT)
            || self.connections.iter().any(is_lost)
    }

    /// Forgets what is stored: saved messages, the history, and the settings of connections.
    pub(in crate::view) fn forget(&mut self) {
        self.saved.clear();
        *self.history.borrow_mut() = History::default();
        browser::store(None);
        // Stored again after the next change only.
        self.stored = self.settings();
        self.texts.forgotten.clone_into(&mut self.connection().view.note);
    }
}
