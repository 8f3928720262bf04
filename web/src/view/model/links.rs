//! Shared links in the fragment of the page's URL, and the browser's history of them.

use super::{Connection, Model, browser};
use crate::location::SharedLink;

/// The fragment of the page's URL that shows the operators' view.
pub(in crate::view) const OPERATOR: &str = "operator";

/// The most fragments that are remembered.
const MAX: usize = 50;

/// The fragments that the page's URL had, the latest last.
#[derive(Default)]
pub(super) struct Visits {
    /// The current fragment.
    fragment: String,
    visits: Vec<Visit>,
}

/// A fragment that the page's URL had, and the connection that was shown for it.
struct Visit {
    fragment: String,
    connection: u32,
    /// The endpoint, the subprotocols and the draft of the connection when the fragment was left.
    shown: SharedLink,
    /// Whether that endpoint was the default.
    is_default: bool,
}

impl Model {
    /// Notes the fragment with which the page was loaded.
    pub(super) fn load_fragment(&mut self) {
        self.visits.fragment = browser::fragment();
        self.note_visit();
    }

    /// Follows a change of the page's fragment: to a new link, or to what was shown for a fragment
    /// before, as when the user goes back. Nothing is opened, and no draft is lost.
    pub(in crate::view) fn follow_fragment(&mut self) {
        self.note_visit();
        let left = std::mem::replace(&mut self.visits.fragment, browser::fragment());
        let fragment = &self.visits.fragment;
        // The link to the workbench leads to the connection that was shown before.
        if fragment == OPERATOR || left == OPERATOR && fragment.is_empty() {
            return;
        }
        let link = browser::shared();
        let visit = self.visits.visits.iter().find(|visit| visit.fragment == *fragment);
        let before = visit.and_then(|visit| Some((self.position(visit.connection)?, visit)));
        let (at, mut shown, is_default) = match (before, &link) {
            (Some((at, visit)), _) => (Some(at), visit.shown.clone(), visit.is_default),
            (None, Some(link)) => (self.taker_of(link), link.clone(), false),
            (None, None) => return,
        };
        match at {
            Some(at) => self.chosen = at,
            None if !self.has_room() => return,
            None => {
                self.add_connection();
            }
        }
        if let Some(link) = link.filter(|_| shown.draft.text.is_empty()) {
            shown.draft = link.draft;
        }
        let connection = self.connection();
        let of_left = browser::link_in(&left).map(|link| link.draft);
        if connection.compose.is_nothing() || of_left.as_ref() == Some(&connection.compose.draft) {
            connection.take_link(shown);
            connection.form.is_default |= is_default && connection.session.state().is_at_rest();
        }
        self.note_visit();
    }

    /// The connection that takes a new link: one of the same address or without any use, unless a
    /// draft there would be lost.
    fn taker_of(&self, link: &SharedLink) -> Option<usize> {
        self.connections.iter().position(|it| {
            let is_same = it.address() == (&link.endpoint, &link.protocols);
            !it.is_read_only()
                && (it.compose.is_nothing() || it.compose.draft == link.draft)
                && (is_same || it.form.is_default && it.session.transcript().is_empty())
        })
    }

    fn position(&self, id: u32) -> Option<usize> {
        self.connections.iter().position(|connection| connection.id == id)
    }

    /// Notes what is shown for the current fragment: for a link the connection that took it, or else
    /// the chosen one.
    fn note_visit(&mut self) {
        let fragment = self.visits.fragment.clone();
        if fragment == OPERATOR {
            return;
        }
        let before = self.visits.visits.iter().position(|visit| visit.fragment == fragment);
        let before = before.map(|at| self.visits.visits.remove(at));
        let of_link = before.as_ref().filter(|_| browser::link_in(&fragment).is_some());
        let at = of_link.and_then(|visit| self.position(visit.connection)).unwrap_or(self.chosen);
        let connection: &Connection = &self.connections[at];
        let visit = match before {
            Some(visit) if connection.is_read_only() => visit,
            _ => Visit {
                fragment,
                connection: connection.id,
                shown: connection.link(),
                is_default: connection.form.is_default,
            },
        };
        self.visits.visits.push(visit);
        if self.visits.visits.len() > MAX {
            self.visits.visits.remove(0);
        }
    }
}
