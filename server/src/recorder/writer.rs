//! The files that the recorder writes, one after the other.

use std::{
    fs::OpenOptions,
    io, mem,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use jiff::Timestamp;

use super::{
    directory::{Recordings, file_name},
    settings::RecorderSettings,
    unwritten::Unwritten,
};
use crate::{
    recording::{
        file::{CHUNK, OpenConnections, RecordingFile},
        position::Positions,
        wire::WireRecord,
    },
    text::io_error,
};

/// A writer of recordings.
#[derive(Debug)]
pub(super) struct Writer {
    settings: RecorderSettings,
    positions: Positions,
    current: Option<Current>,
    /// The connections that were open at the end of the previous file.
    open: OpenConnections,
    /// The number of the last file.
    number: u32,
    /// The bytes of all files.
    recorded: Arc<AtomicU64>,
    /// The events that are not written yet.
    unwritten: Unwritten,
}

/// The file that is being written.
#[derive(Debug)]
struct Current {
    file: RecordingFile,
    path: PathBuf,
    since: Instant,
    /// The earlier recordings in the directory.
    before: Recordings,
}

impl Writer {
    /// A writer that counts the bytes of its files in `recorded`.
    pub(super) fn new(settings: RecorderSettings, recorded: Arc<AtomicU64>) -> Writer {
        let (positions, open) = (Positions::default(), OpenConnections::default());
        let unwritten = Unwritten::default();
        Writer { settings, positions, current: None, open, number: 0, recorded, unwritten }
    }

    /// Whether nothing is pending.
    pub(super) fn is_flushed(&self) -> bool {
        self.current.as_ref().is_none_or(|current| current.file.is_flushed())
    }

    /// Uses other settings from now on.
    pub(super) fn set(&mut self, settings: RecorderSettings) -> Result<(), String> {
        if settings.dir != self.settings.dir || settings.format != self.settings.format {
            self.end_file()?;
        }
        self.settings = settings;
        Ok(())
    }

    /// Ends the current file if it has reached the age for rotation.
    fn end_old_file(&mut self) -> Result<(), String> {
        let rotate_time = self.settings.rotate_time;
        match &self.current {
            Some(current) if current.since.elapsed() >= rotate_time => self.end_file(),
            _ => Ok(()),
        }
    }

    /// Adds events, which a flush writes. The next file begins first if the current one is old enough.
    ///
    /// # Errors
    ///
    /// One line that names the file or the directory: nothing more can be written. The event that
    /// failed and all after it are lost.
    pub(super) fn add_all(
        &mut self,
        records: impl IntoIterator<Item = WireRecord>,
    ) -> Result<(), String> {
        let mut records = records.into_iter();
        let added =
            self.end_old_file().and_then(|()| records.try_for_each(|record| self.add(record)));
        self.lose(records);
        added
    }

    fn add(&mut self, record: WireRecord) -> Result<(), String> {
        let begun = self.begin_file_if_due();
        self.unwritten.add(&record);
        begun?;
        let Some(current) = &mut self.current else { return Ok(()) };
        let number = u64::from(self.number);
        self.positions.pass(number, record, |record| current.file.add(record));
        if current.file.pending() >= CHUNK { self.flush() } else { Ok(()) }
    }

    /// Begins the next file if there is none, or if the current one has reached the size for rotation.
    fn begin_file_if_due(&mut self) -> Result<(), String> {
        let rotate_size = self.settings.rotate_size;
        if self.current.as_ref().is_some_and(|current| current.file.size() >= rotate_size) {
            self.end_file()?;
        }
        if self.current.is_none() {
            let mut next = self.next_file()?;
            next.file.follow(mem::take(&mut self.open));
            self.current = Some(next);
        }
        Ok(())
    }

    /// Counts events that cannot be written.
    pub(super) fn lose(&mut self, records: impl IntoIterator<Item = WireRecord>) {
        records.into_iter().for_each(|record| self.unwritten.add(&record));
    }

    /// Writes the losses of each connection after a failure, where the disk has room for it, and
    /// returns the number of lost events.
    pub(super) fn end_with_losses(&mut self) -> u64 {
        let unwritten = mem::take(&mut self.unwritten);
        let events = unwritten.events;
        if let Some(current) = &mut self.current {
            let number = u64::from(self.number);
            for lost in unwritten.losses() {
                // A connection that only an earlier file has begins in this one now.
                self.positions.pass(number, lost, |record| current.file.add(record));
            }
            let grown = current.file.flush().unwrap_or_default();
            self.recorded.fetch_add(grown, Ordering::Relaxed);
        }
        events
    }

    /// Writes what is pending.
    ///
    /// # Errors
    ///
    /// The same as those of [`Writer::add_all`].
    pub(super) fn flush(&mut self) -> Result<(), String> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if current.file.is_flushed() {
            return Ok(());
        }
        let failed =
            |e: &io::Error| format!("{}: {}", current.path.display(), io_error::describe(e));
        let grown = current.file.flush().map_err(|e| failed(&e))?;
        self.recorded.fetch_add(grown, Ordering::Relaxed);
        self.unwritten.clear();
        let own = current.file.size();
        let left = self.settings.limit.saturating_sub(own);
        current.before.limit(left)?;
        if current.file.is_removed() {
            // The next event begins another file.
            self.close_file();
        }
        Ok(())
    }

    /// Ends the current file.
    pub(super) fn end_file(&mut self) -> Result<(), String> {
        self.flush()?;
        self.close_file();
        Ok(())
    }

    fn close_file(&mut self) {
        if let Some(current) = self.current.take() {
            self.open = current.file.close();
        }
    }

    fn next_file(&mut self) -> Result<Current, String> {
        let RecorderSettings { dir, format, limit, .. } = &self.settings;
        let failed = |e: &io::Error| format!("{}: {}", dir.display(), io_error::describe(e));
        let mut before = Recordings::list(dir).map_err(|e| failed(&e))?;
        before.limit(*limit)?;
        loop {
            self.number += 1;
            let path = dir.join(file_name(Timestamp::now(), self.number, *format));
            let options = &mut OpenOptions::new();
            return match RecordingFile::open(&path, *format, options.create_new(true)) {
                // Another process that began in the same second has a file of this name.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => Err(format!("{}: {}", path.display(), io_error::describe(&e))),
                Ok(file) => Ok(Current { file, path, since: Instant::now(), before }),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use bytes::Bytes;
    use echogate_proto::{
        api::Kind,
        recording::{Direction, Opened, Side, TapPoint},
    };

    use super::*;
    use crate::recording::{format::Format, wire::WireEvent};

    const UP: TapPoint = TapPoint { side: Side::Client, direction: Direction::ToServer };

    fn record(connection: u64, event: WireEvent) -> WireRecord {
        WireRecord { time: 0, connection, event }
    }

    fn opened(connection: u64) -> WireRecord {
        let (kind, client_has_frames) = (Some(Kind::Udp), true);
        let opened = Opened { kind, client_has_frames, ..Opened::default() };
        record(connection, WireEvent::Opened(opened.into()))
    }

    fn datagram(connection: u64) -> WireRecord {
        record(connection, WireEvent::Datagram(UP, Bytes::from_static(b"abc")))
    }

    #[test]
    fn losses_of_a_connection_that_only_an_earlier_file_has_are_its_own() {
        for (format, expected) in [
            (Format::Pcapng, "connection 7; lost: 2 events (6 bytes)"),
            (Format::Jsonl, r#""connection":7,"event":"lost","events":2,"bytes":6"#),
            (Format::Har, "; lost: 2 events (6 bytes)"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let settings = RecorderSettings {
                dir: dir.path().to_owned(),
                format,
                rotate_size: 1 << 20,
                rotate_time: Duration::MAX,
                limit: 1 << 20,
                records_all: true,
            };
            let mut writer = Writer::new(settings, Arc::default());
            writer.add_all([opened(7), datagram(7)]).unwrap();
            writer.end_file().unwrap();
            writer.add_all([opened(8), datagram(8)]).unwrap();
            writer.flush().unwrap();
            // Connection 9 has no event in any file.
            writer.lose([datagram(7), opened(9), datagram(9), datagram(7)]);
            assert_eq!(writer.end_with_losses(), 4);
            let path = &writer.current.as_ref().unwrap().path;
            let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
            assert!(text.contains(expected), "{text}");
            let missing = match format {
                Format::Jsonl => r#""connection":0,"event":"lost","events":1,"bytes":3"#,
                _ => "missing in this recording: 1",
            };
            assert!(text.contains(missing), "{text}");
        }
    }
}
