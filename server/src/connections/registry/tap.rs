//! The observers of a registered connection.

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
};

use bytes::Bytes;
use echogate_proto::{
    api::Kind,
    recording::{Opened, Place},
    ws::scanner::FrameScanner,
};

use super::Entry;
use crate::connections::tap::{Attach, Observers, Sides, Sink};

/// The flags of an entry: there are observers or a history.
pub(super) const TAPPED: u8 = 1;

/// There are frames of the WebSocket protocol on the upstream's side.
const UPSTREAM_HAS_FRAMES: u8 = 2;

/// The connection has ended, or its task is gone: nobody can observe it any more.
const ENDED: u8 = 4;

/// The observers, in a box: an entry has none of them, or few.
pub(super) type Tap = Box<Observers>;

impl Entry {
    /// Whether somebody observes the connection, or it has a history.
    #[inline]
    pub(crate) fn is_tapped(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & TAPPED != 0
    }

    /// Records that there are frames of the WebSocket protocol on the upstream's side.
    pub(crate) fn upstream_has_frames(&self) {
        self.flags.fetch_or(UPSTREAM_HAS_FRAMES, Ordering::Relaxed);
    }

    /// Begins the observation before the first byte: a history, if one is to be kept and there are
    /// not too many, and `recorder`. `describe` completes the description of the connection.
    pub(crate) fn observe(
        &self,
        keeps_history: bool,
        recorder: Option<(&Sink, Sides)>,
        describe: impl FnOnce(Opened) -> Opened,
    ) {
        if !keeps_history && recorder.is_none() {
            return;
        }
        let mut observers = Observers::new(self.id, describe(self.describe()));
        if keeps_history {
            observers.keep_history(&self.registry.0.histories);
        }
        if let Some((sink, sides)) = recorder {
            // An error means that the queue is full, which counts what it loses.
            observers.attach(sink, sides, 0).ok();
        }
        if !observers.is_empty() {
            self.observed().get_or_insert_default().tap = Some(observers.into());
            self.flags.fetch_or(TAPPED, Ordering::Relaxed);
        }
    }

    /// Adds an observer of the live connection: `sink` gets its description, its history, and what
    /// passes from now on.
    ///
    /// # Errors
    ///
    /// The connection has ended, or has too many observers.
    pub(crate) fn attach(
        &self,
        sink: &Sink,
        sides: Sides,
        describe: impl FnOnce(Opened) -> Opened,
    ) -> Result<(), Attach> {
        let mut observed = self.observed();
        if self.flags.load(Ordering::Relaxed) & ENDED != 0 {
            return Err(Attach::Ended);
        }
        let tap = &mut observed.get_or_insert_default().tap;
        let new = || Observers::new(self.id, describe(self.describe())).into();
        tap.get_or_insert_with(new).attach(sink, sides, self.carried_bytes())?;
        self.flags.fetch_or(TAPPED, Ordering::Relaxed);
        Ok(())
    }

    /// Removes an observer.
    pub(crate) fn detach(&self, sink: &Sink) {
        sink.close();
        self.tap(Observers::remove_closed);
    }

    /// Event for the observers: `len` bytes of a stream, or a datagram, passed.
    #[cold]
    pub(crate) fn passed(
        &self,
        place: Place,
        len: usize,
        is_datagram: bool,
        copy: impl FnOnce() -> Bytes,
    ) {
        self.tap(|observers| observers.passed(place, len, is_datagram, copy));
    }

    /// Event for the observers: a direction ended.
    #[cold]
    pub(crate) fn direction_ended(&self, place: Place) {
        self.tap(|observers| observers.ended(place));
    }

    /// Event for the observers: a side failed, or is reset.
    #[cold]
    pub(crate) fn side_failed(&self, place: Place) {
        self.tap(|observers| observers.failed(place));
    }

    /// Event for the observers: the next bytes in a direction are at a known position within the
    /// frames.
    #[cold]
    pub(crate) fn is_at(&self, place: Place, scanner: impl FnOnce() -> FrameScanner) {
        self.tap(|observers| observers.is_at(place, scanner));
    }

    /// Ends the observation.
    pub(super) fn close_tap(&self, end: &dyn fmt::Display) {
        if self.flags.fetch_or(ENDED, Ordering::Relaxed) & ENDED != 0 {
            return;
        }
        let mut observed = self.observed();
        let tap = observed.as_mut().and_then(|observed| observed.tap.take());
        if let Some(mut observers) = tap {
            self.flags.fetch_and(!TAPPED, Ordering::Relaxed);
            observers.closed(&Arc::from(end.to_string()));
        }
    }

    fn tap(&self, event: impl FnOnce(&mut Observers)) {
        let mut observed = self.observed();
        let Some(tap) = observed.as_mut().map(|observed| &mut observed.tap) else { return };
        let Some(observers) = tap else { return };
        event(observers);
        if observers.is_empty() {
            *tap = None;
            self.flags.fetch_and(!TAPPED, Ordering::Relaxed);
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
