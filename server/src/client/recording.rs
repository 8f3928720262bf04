//! `connect --record`: the connections of a session in a file.

use std::{cell::Cell, path::Path, rc::Rc, sync::Arc};

use echogate_proto::{
    api::Kind,
    recording::{Direction, Opened, Side, TapPoint},
};

use super::{recording_file::FileWriter, target::Target};
use crate::recording::wire::{WireEvent, WireRecord, now};

/// The recorder of all connections of the process. Clones write to the same file.
#[derive(Clone, Debug)]
pub(super) struct SessionRecorder {
    file: Arc<FileWriter>,
    /// The target, as a URL without credentials.
    url: String,
    kind: Kind,
    /// The number of connections so far.
    connections: Rc<Cell<u64>>,
}

impl SessionRecorder {
    /// Begins a recording of connections to `target`.
    ///
    /// # Errors
    ///
    /// One line that names the file.
    pub(super) fn start(
        path: &Path,
        target: &Target,
        url: &str,
    ) -> Result<SessionRecorder, String> {
        let file = FileWriter::open(path, target.traffic())?;
        let kind = match target {
            Target::Tcp(_) => Kind::Tcp,
            Target::Tls(..) => Kind::Tls,
            Target::Unix(_) => Kind::Unix,
            Target::Udp(..) => Kind::Udp,
            Target::UnixGram(_) => Kind::UnixGram,
            Target::WebSocket(_) => Kind::WebSocket,
        };
        Ok(SessionRecorder { file, url: url.to_owned(), kind, connections: Rc::default() })
    }

    /// The recorder of a further connection. The caller adds [`WireEvent::Opened`] first.
    pub(super) fn connection(&self) -> ConnectionRecorder {
        let number = self.connections.get() + 1;
        self.connections.set(number);
        ConnectionRecorder { recorder: self.clone(), number, ended_by: None }
    }

    /// Writes what is pending at the end of the last connection.
    ///
    /// # Errors
    ///
    /// The failure of this write or an earlier one, as one line.
    pub(super) fn finish(&self) -> Result<(), String> {
        self.file.finish()
    }
}

/// The recorder of one connection.
#[derive(Debug)]
pub(super) struct ConnectionRecorder {
    recorder: SessionRecorder,
    number: u64,
    /// The description of a failure, or of the first end.
    ended_by: Option<&'static str>,
}

impl ConnectionRecorder {
    /// The description of the connection, from the target alone.
    pub(super) fn opened(&self) -> Opened {
        let SessionRecorder { kind, url, .. } = &self.recorder;
        Opened { kind: Some(*kind), target: url.clone(), ..Opened::default() }
    }

    /// Adds an event.
    pub(super) fn add(&mut self, event: WireEvent) {
        self.ended_by = match &event {
            WireEvent::Reset(_) => Some("the connection failed"),
            WireEvent::EndOfInput(TO_CLIENT) => self.ended_by.or(Some("closed by the server")),
            WireEvent::EndOfInput(_) => self.ended_by.or(Some("closed by the client")),
            _ => self.ended_by,
        };
        let record = WireRecord { time: now(), connection: self.number, event };
        self.recorder.file.add(record);
    }
}

impl Drop for ConnectionRecorder {
    fn drop(&mut self) {
        let reason = self.ended_by.unwrap_or("closed by the client");
        self.add(WireEvent::Closed(reason.into()));
    }
}

/// The tap point of the bytes that the client sends.
pub(super) const TO_SERVER: TapPoint =
    TapPoint { side: Side::Client, direction: Direction::ToServer };

/// The tap point of the bytes that the client receives.
pub(super) const TO_CLIENT: TapPoint =
    TapPoint { side: Side::Client, direction: Direction::ToClient };
