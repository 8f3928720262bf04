//! The times at which replies have been drawn.

use wasm_bindgen::closure::Closure;

use super::{browser, model::Model};
use crate::time::Millis;

/// Replies that were received this long ago had to wait for a hidden page to be shown, not for its
/// drawing.
const UNSEEN: Millis = 10_000.0;

/// Watches for the end of the browser's own work for a frame.
pub(super) struct Painting {
    /// Runs after the browser has painted.
    painted: Closure<dyn FnMut()>,
    is_awaited: bool,
    /// The chosen connection, and the time since which it has been shown.
    shown: (u32, Millis),
}

impl Painting {
    /// `painted` is called after the browser has painted replies, and calls [`Self::painted`].
    pub(super) fn new(painted: fn()) -> Painting {
        Painting { painted: Closure::new(painted), is_awaited: false, shown: (u32::MAX, 0.0) }
    }

    /// Whether the chosen connection has replies that are not drawn, received while it was shown.
    pub(super) fn is_due(&mut self, model: &mut Model, now: Millis) -> bool {
        let connection = model.connection();
        if self.shown.0 != connection.id {
            self.shown = (connection.id, now);
        }
        connection.session.exchanges().has_undrawn(self.since(now))
    }

    /// Waits for the browser to paint the frame drawn at `now`, if it has new replies.
    pub(super) fn drew(&mut self, model: &mut Model, now: Millis) {
        if self.is_due(model, now) && !std::mem::replace(&mut self.is_awaited, true) {
            browser::after(0.0, &self.painted);
        }
    }

    /// Records that the browser has painted.
    pub(super) fn painted(&mut self, model: &mut Model) {
        self.is_awaited = false;
        let now = browser::now();
        let since = self.since(now);
        let connection = model.connection();
        if connection.id == self.shown.0 {
            connection.session.exchanges_mut().drawn(since, now);
        }
    }

    fn since(&self, now: Millis) -> Millis {
        self.shown.1.max(now - UNSEEN)
    }
}
