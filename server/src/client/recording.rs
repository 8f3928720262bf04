//! `connect --record`: the connections of a session in a file.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use echogate_proto::{
    api::Kind,
    recording::{Direction, Opened, Place, Side},
};
use parking_lot::Mutex;
use tokio::time::sleep;

use super::{target::Target, verbose};
use crate::{
    recording::{
        file::{Format, RecordingFile},
        wire::{WireEvent, WireRecord, now},
    },
    text::io_error::describe,
};

/// The bytes that are written at once.
const CHUNK: usize = 256 * 1024;

/// The interval at which fewer bytes are written.
const INTERVAL: Duration = Duration::from_secs(1);

/// A recording of all connections of the process. Clones are the same.
#[derive(Clone, Debug)]
pub(super) struct Recording(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    /// The target, as a URL without credentials.
    url: String,
    kind: Kind,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The file, or the failure that ended the recording, as one line.
    file: Result<RecordingFile, String>,
    connections: u64,
}

impl Recording {
    /// Begins a recording of connections to `target`, and writes it from time to time. A recording
    /// that the file has already stays until a connection is made.
    ///
    /// # Errors
    ///
    /// One line that names the file.
    pub(super) fn start(path: &Path, target: &Target, url: &str) -> Result<Recording, String> {
        let format = Format::for_traffic(path, target.traffic());
        let format = format.map_err(|why| format!("--record {why}"))?;
        let name = path.display();
        let failed = |e: io::Error| format!("--record {name}: {}", describe(&e));
        let mut file = RecordingFile::replace(path, format).map_err(failed)?;
        file.flush().map_err(failed)?;
        let kind = match target {
            Target::Tcp(_) => Kind::Tcp,
            Target::Tls(..) => Kind::Tls,
            Target::Unix(_) => Kind::Unix,
            Target::Udp(..) => Kind::Udp,
            Target::UnixGram(_) => Kind::UnixGram,
            Target::WebSocket(_) => Kind::WebSocket,
        };
        let state = Mutex::new(State { file: Ok(file), connections: 0 });
        let path = path.to_owned();
        let recording = Recording(Arc::new(Inner { path, url: url.to_owned(), kind, state }));
        let in_background = recording.clone();
        tokio::spawn(async move {
            loop {
                sleep(INTERVAL).await;
                in_background.flush();
            }
        });
        Ok(recording)
    }

    /// A further connection. Its first event is to be added.
    pub(super) fn connection(&self) -> RecordedConnection {
        let mut state = self.0.state.lock();
        state.connections += 1;
        let number = state.connections;
        RecordedConnection { recording: self.clone(), number, ended_by: None }
    }

    /// Writes what is pending.
    fn flush(&self) {
        self.write(0, |_| {});
    }

    /// Writes what is pending at the end of the last connection.
    ///
    /// # Errors
    ///
    /// The failure of this write or an earlier one, as one line.
    pub(super) fn finish(&self) -> Result<(), String> {
        let state = &mut *self.0.state.lock();
        let written = match &mut state.file {
            Ok(file) => file.flush().map_err(|e| self.failure(&e)),
            Err(failure) => Err(failure.clone()),
        };
        written.map(drop).map_err(|why| format!("the recording is incomplete: {why}"))
    }

    fn failure(&self, error: &io::Error) -> String {
        format!("{}: {}", self.0.path.display(), describe(error))
    }

    /// Adds events, and writes if at least so many bytes are pending then. After a failure nothing
    /// is recorded any more.
    fn write(&self, pending: usize, add: impl FnOnce(&mut RecordingFile)) {
        let mut state = self.0.state.lock();
        let Ok(file) = &mut state.file else { return };
        add(file);
        if file.pending() >= pending
            && let Err(e) = file.flush()
        {
            let failure = self.failure(&e);
            state.file = Err(failure.clone());
            drop(state);
            verbose::show(&format!("echogate: warning: the recording has ended: {failure}"));
        }
    }
}

/// A connection that is recorded.
#[derive(Debug)]
pub(super) struct RecordedConnection {
    recording: Recording,
    number: u64,
    /// The description of a failure, or of the first end.
    ended_by: Option<&'static str>,
}

impl RecordedConnection {
    /// The description of the connection, with no more than what the target says.
    pub(super) fn opened(&self) -> Opened {
        let Inner { kind, url, .. } = &*self.recording.0;
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
        self.recording.write(CHUNK, |file| file.add(record));
    }
}

impl Drop for RecordedConnection {
    fn drop(&mut self) {
        let reason = self.ended_by.unwrap_or("closed by the client");
        self.add(WireEvent::Closed(reason.into()));
    }
}

/// The place of the bytes that the client sends.
pub(super) const TO_SERVER: Place = Place { side: Side::Client, direction: Direction::ToServer };

/// The place of the bytes that the client receives.
pub(super) const TO_CLIENT: Place = Place { side: Side::Client, direction: Direction::ToClient };
