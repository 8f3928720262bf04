//! The subscription to the server's events, which is renewed when it ends.

use super::{
    browser,
    dispatch::{Message, dispatch},
    socket::{self, Socket, SocketEvent, TapEvent},
};
use crate::{
    live::{Live, Refusal},
    session::{Event, backoff},
    time::Millis,
    wire,
};

/// The subscription to `/api/events`.
pub(super) struct ServerEvents {
    tap: Option<Socket>,
    /// The time of the next attempt, if there is to be one.
    attempt_at: Option<Millis>,
    /// The attempts since the last event.
    failures: u32,
}

impl ServerEvents {
    /// A subscription whose first attempt is due.
    pub(super) fn new() -> ServerEvents {
        ServerEvents { tap: None, attempt_at: Some(0.0), failures: 0 }
    }

    /// Subscribes if an attempt is due; returns the time of the next one.
    pub(super) fn tick(&mut self, now: Millis) -> Option<Millis> {
        if self.attempt_at.take_if(|at| *at <= now).is_some() {
            if socket::has_failed() {
                self.try_again(now);
            } else {
                self.tap = Some(Socket::tap("api/events?cluster", on_event));
            }
        }
        self.attempt_at
    }

    /// Applies an event to the list of connections, and schedules the next attempt after an end.
    pub(super) fn on_event(&mut self, event: TapEvent, live: &mut Live, now: Millis) {
        match event {
            TapEvent::Event(text) => {
                self.failures = 0;
                if let Some(event) = wire::event(&text) {
                    live.apply(event, now);
                }
            }
            TapEvent::Refused { status, text } => {
                let refusal = Refusal { status, reason: text };
                let is_temporary = refusal.is_temporary();
                live.disconnected(Some(refusal), now);
                self.tap = None;
                if is_temporary {
                    self.try_again(now);
                }
            }
            TapEvent::Ended => {
                live.disconnected(None, now);
                self.tap = None;
                self.try_again(now);
            }
        }
    }

    fn try_again(&mut self, now: Millis) {
        self.failures += 1;
        self.attempt_at = Some(now + backoff::wait(self.failures, browser::random()));
    }
}

/// Passes an event of the tap to the application.
fn on_event(event: SocketEvent, _: Millis) {
    let event = match event {
        SocketEvent::Tap(event) => event,
        // The worker's script did not load.
        SocketEvent::Session(Event::Rejected(text)) => TapEvent::Refused { status: 0, text },
        SocketEvent::Session(_) | SocketEvent::File(_) => return,
    };
    dispatch(Message::Server(event));
}
