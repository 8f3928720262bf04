//! The file of `--record`, which is written while the connections of the process run.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::sleep;

use super::verbose;
use crate::{
    recording::{
        file::{CHUNK, RecordingFile},
        format::Format,
        model::Traffic,
        wire::WireRecord,
    },
    text::{escape::escape, io_error::describe},
};

/// The interval at which the file is written while fewer than [`CHUNK`] bytes are pending.
const INTERVAL: Duration = Duration::from_secs(1);

/// The writer of a recording.
#[derive(Debug)]
pub(super) struct FileWriter {
    path: PathBuf,
    /// The file, or the failure that ended the recording, as one line.
    file: Mutex<Result<RecordingFile, String>>,
}

impl FileWriter {
    /// Opens the file for connections with `traffic`, and starts the task that writes it every
    /// [`INTERVAL`]. An earlier recording in the file stays until the first event.
    ///
    /// # Errors
    ///
    /// One line that names the option and the file.
    pub(super) fn open(path: &Path, traffic: Traffic) -> Result<Arc<FileWriter>, String> {
        let format = Format::for_traffic(path, traffic).map_err(|why| format!("--record {why}"))?;
        let failed = |e: io::Error| format!("--record {}: {}", path.display(), describe(&e));
        let mut file = RecordingFile::replace(path, format).map_err(failed)?;
        file.flush().map_err(failed)?;
        let writer = Arc::new(FileWriter { path: path.to_owned(), file: Mutex::new(Ok(file)) });
        let in_background = writer.clone();
        tokio::spawn(async move {
            loop {
                sleep(INTERVAL).await;
                in_background.write(0, |_| {});
            }
        });
        Ok(writer)
    }

    /// Adds an event.
    pub(super) fn add(&self, record: WireRecord) {
        self.write(CHUNK, |file| file.add(record));
    }

    /// Writes what is pending at the end of the last connection.
    ///
    /// # Errors
    ///
    /// The failure of this write or an earlier one, as one line.
    pub(super) fn finish(&self) -> Result<(), String> {
        let written = match &mut *self.file.lock() {
            Ok(file) => file.flush().map_err(|e| self.failure(&e)),
            Err(failure) => Err(failure.clone()),
        };
        written.map(drop).map_err(|why| format!("recording incomplete: {why}"))
    }

    fn failure(&self, error: &io::Error) -> String {
        format!("{}: {}", self.path.display(), describe(error))
    }

    /// Runs `add`, and writes the file if at least `pending` bytes are pending then. Does nothing
    /// after a failure.
    fn write(&self, pending: usize, add: impl FnOnce(&mut RecordingFile)) {
        let mut state = self.file.lock();
        let Ok(file) = &mut *state else { return };
        add(file);
        if file.pending() >= pending
            && let Err(e) = file.flush()
        {
            let failure = self.failure(&e);
            let line = escape(&failure);
            *state = Err(failure.clone());
            drop(state);
            verbose::show(&format!("echogate: warning: recording stopped: {line}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use echogate_proto::recording::Opened;

    use super::*;
    use crate::recording::wire::WireEvent;

    #[tokio::test(start_paused = true)]
    async fn an_interval_with_events_has_them_written_and_one_without_has_nothing_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.har");
        let writer = FileWriter::open(&path, Traffic::Messages).unwrap();
        let (target, client_has_frames) = ("ws://a.example/".to_owned(), true);
        let opened = Opened { target, client_has_frames, ..Opened::default() };
        let event = WireEvent::Opened(opened.into());
        writer.add(WireRecord { time: 0, connection: 1, event });
        sleep(INTERVAL * 2).await;
        assert!(fs::read_to_string(&path).unwrap().contains("a.example"));
        fs::write(&path, "").unwrap();
        sleep(INTERVAL * 2).await;
        assert_eq!(fs::read_to_string(&path).unwrap(), "");
        writer.finish().unwrap();
    }
}
