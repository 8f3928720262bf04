//! The observers of a registered connection.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use echogate_proto::{
    api::Kind,
    recording::{Opened, Side, TapPoint},
    ws::scanner::FrameScanner,
};

use super::{
    Entry,
    observed::{
        AWAITS_POSITION, CLIENT_TAPPED, ENDED, OBSERVED, Observed, UPSTREAM_HAS_FRAMES,
        UPSTREAM_TAPPED,
    },
};
use crate::connections::tap::{AttachError, Observers, Passed, Sides, Sink};

/// The flag of a side.
fn tapped(side: Side) -> u8 {
    match side {
        Side::Client => CLIENT_TAPPED,
        Side::Upstream => UPSTREAM_TAPPED,
    }
}

impl Entry {
    /// Whether a side of the connection has observers or a history.
    #[inline]
    pub(crate) fn is_tapped(&self, side: Side) -> bool {
        self.flags.load(Ordering::Relaxed) & tapped(side) != 0
    }

    /// Whether the position within the frames of a direction is to be reported.
    #[inline]
    pub(crate) fn awaits_position(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & AWAITS_POSITION != 0
    }

    /// Records that there are frames of the WebSocket protocol on the upstream's side.
    pub(crate) fn upstream_has_frames(&self) {
        self.flags.fetch_or(UPSTREAM_HAS_FRAMES, Ordering::Relaxed);
    }

    /// Begins the observation before the first byte, by a history if `keeps_history`, by
    /// `recorder`, and, where there is a history, by the observers that wait for the next
    /// connection. Observers that have attached since the connection was registered stay.
    /// `describe` completes the description of the connection. `is_shown` is whether an observer
    /// with (true) or without (false) the operators' token may observe the connection.
    pub(crate) fn observe(
        &self,
        keeps_history: bool,
        recorder: Option<(&Sink, Sides)>,
        describe: impl FnOnce(Opened) -> Opened,
        is_shown: impl Fn(bool) -> bool,
    ) {
        if !keeps_history && recorder.is_none() {
            return;
        }
        let mut observers = Observers::new(self.id, describe(self.describe()));
        // Locked before the history is listed: a task that is to evict it finds the observers.
        let mut observed = self.observed.lock();
        if let Some(earlier) = observed.as_mut().and_then(|observed| observed.tap.take()) {
            observers.adopt(*earlier);
        }
        if keeps_history {
            observers.keep_history(&self.registry.0.histories);
        }
        if let Some((sink, sides)) = recorder {
            // An error means that the queue is full. The queue counts its losses.
            observers.attach(sink, sides, 0).ok();
        }
        if keeps_history {
            self.registry.awaiting().attach_to(&mut observers, is_shown);
        }
        self.set_tap(&mut observed, observers.into());
        drop(observed);
        self.limit_histories();
    }

    /// Adds an observer of the live connection. `sink` receives the description, the history, and
    /// all events from now on.
    ///
    /// # Errors
    ///
    /// The connection has ended, or has too many observers.
    pub(crate) fn attach(
        &self,
        sink: &Sink,
        sides: Sides,
        describe: impl FnOnce(Opened) -> Opened,
    ) -> Result<(), AttachError> {
        let mut observed = self.observed.lock();
        if self.flags.load(Ordering::Relaxed) & ENDED != 0 {
            return Err(AttachError::Ended);
        }
        let tap = observed.as_mut().and_then(|observed| observed.tap.take());
        let mut observers =
            tap.unwrap_or_else(|| Observers::new(self.id, describe(self.describe())).into());
        let attached = observers.attach(sink, sides, self.carried_bytes());
        self.set_tap(&mut observed, observers);
        attached
    }

    /// Removes an observer.
    pub(crate) fn detach(&self, sink: &Sink) {
        sink.close();
        self.tap(Observers::remove_closed);
    }

    /// Reports payload to the observers.
    #[cold]
    pub(crate) fn passed(&self, passed: &Passed<'_>) {
        self.tap(|observers| observers.passed(passed));
        self.limit_histories();
    }

    /// Reports the end of a direction to the observers.
    #[cold]
    pub(crate) fn direction_ended(&self, point: TapPoint) {
        self.tap(|observers| observers.ended(point));
    }

    /// Reports to the observers that a side failed or is reset.
    #[cold]
    pub(crate) fn side_failed(&self, point: TapPoint) {
        self.tap(|observers| observers.failed(point));
    }

    /// Reports to the observers that the next bytes in a direction are at a known position within
    /// the frames.
    #[cold]
    pub(crate) fn is_at(&self, point: TapPoint, scanner: impl FnOnce() -> FrameScanner) {
        self.tap(|observers| observers.is_at(point, scanner));
    }

    /// Whether the end of the connection has been reported.
    pub(super) fn has_ended(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & ENDED != 0
    }

    /// Ends the observation.
    pub(super) fn close_tap(&self, end: &dyn fmt::Display) {
        if self.flags.fetch_or(ENDED, Ordering::Relaxed) & ENDED != 0 {
            return;
        }
        let mut observed = self.observed.lock();
        let tap = observed.as_mut().and_then(|observed| observed.tap.take());
        if let Some(mut observers) = tap {
            self.flags.fetch_and(!OBSERVED, Ordering::Relaxed);
            observers.closed(&Arc::from(end.to_string()));
        }
    }

    fn tap(&self, event: impl FnOnce(&mut Observers)) {
        let mut observed = self.observed.lock();
        let tap = observed.as_mut().and_then(|observed| observed.tap.take());
        let Some(mut observers) = tap else { return };
        event(&mut observers);
        self.set_tap(&mut observed, observers);
    }

    /// Sets the observers of the connection. Without observers, removes them, and the [`Observed`] box
    /// unless it has latencies.
    fn set_tap(&self, observed: &mut Option<Box<Observed>>, observers: Box<Observers>) {
        let flag = |flag, is_set| if is_set { flag } else { 0 };
        let flags = flag(CLIENT_TAPPED, observers.contains(Side::Client))
            | flag(UPSTREAM_TAPPED, observers.contains(Side::Upstream))
            | flag(AWAITS_POSITION, observers.await_position());
        if flags != self.flags.load(Ordering::Relaxed) & OBSERVED {
            self.flags.fetch_or(flags, Ordering::Relaxed);
            self.flags.fetch_and(!OBSERVED | flags, Ordering::Relaxed);
        }
        if flags != 0 {
            observed.get_or_insert_default().tap = Some(observers);
        } else if observed.as_ref().is_some_and(|observed| observed.legs.is_none()) {
            *observed = None;
        }
    }

    /// Removes the histories of the connections that were silent for the longest time, until all
    /// histories together fit into their limit.
    fn limit_histories(&self) {
        while let Some(connection) = self.registry.0.histories.next_to_evict() {
            if let Some(entry) = self.registry.entry(connection) {
                entry.tap(Observers::give_history_up);
            }
        }
    }

    /// The description of the connection, as far as the registry knows it.
    fn describe(&self) -> Opened {
        let flags = self.flags.load(Ordering::Relaxed);
        let upstream_from = self.gateway.as_deref().and_then(|gateway| gateway.upstream_from);
        Opened {
            kind: Some(self.kind()),
            target: self.target().to_owned(),
            peer: self.peer.description(),
            upstream_from: upstream_from.map(|address| address.to_string()),
            client_has_frames: self.kind() == Kind::WebSocket,
            upstream_has_frames: flags & UPSTREAM_HAS_FRAMES != 0,
            ..Opened::default()
        }
    }
}
