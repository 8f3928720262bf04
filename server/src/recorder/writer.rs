//! The files that the recorder writes, one after the other.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::{self, Display},
    fs::OpenOptions,
    io, mem,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use echogate_proto::recording::Lost;
use jiff::Timestamp;

use super::directory::{Recordings, file_name};
use crate::{
    recording::{
        file::{Format, OpenConnections, RecordingFile},
        position::Positions,
        wire::{self, WireEvent, WireRecord},
    },
    text::io_error,
};

/// The bytes that are written at once.
const CHUNK: usize = 256 * 1024;

/// The settings of the recorder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecorderSettings {
    /// The directory.
    pub(crate) dir: PathBuf,
    /// The format of the files.
    pub(crate) format: Format,
    /// The size of a file at which the next one begins, in bytes.
    pub(crate) rotate_size: u64,
    /// The age of a file at which the next one begins.
    pub(crate) rotate_time: Duration,
    /// The most bytes of all recordings in the directory.
    pub(crate) limit: u64,
    /// All connections are recorded, not only those of some endpoints.
    pub(crate) records_all: bool,
}

impl Display for RecorderSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RecorderSettings { dir, format, rotate_size, rotate_time, limit, .. } = self;
        let (dir, size, limit) = (dir.display(), Size(*rotate_size), Size(*limit));
        write!(f, "{dir} ({format}, files of {size} or {rotate_time:?}, at most {limit})")
    }
}

/// A number of bytes, as settings have it.
struct Size(u64);

impl Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "G"), (20, "M"), (10, "K")];
        match units.into_iter().find(|(shift, _)| self.0.is_multiple_of(1 << shift)) {
            Some((shift, unit)) => write!(f, "{}{unit}", self.0 >> shift),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// A writer of recordings.
#[derive(Debug)]
pub(super) struct Writer {
    settings: RecorderSettings,
    positions: Positions,
    current: Option<Current>,
    /// The connections that were open at the end of the file before.
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
    /// The recordings before it.
    before: Recordings,
    is_flushed: bool,
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
        self.current.as_ref().is_none_or(|current| current.is_flushed)
    }

    /// Uses other settings from now on.
    pub(super) fn set(&mut self, settings: RecorderSettings) -> Result<(), String> {
        if settings.dir != self.settings.dir || settings.format != self.settings.format {
            self.end_file()?;
        }
        self.settings = settings;
        Ok(())
    }

    /// Ends the present file if it is old enough.
    ///
    /// # Errors
    ///
    /// As those of [`Writer::add`].
    pub(super) fn end_old_file(&mut self) -> Result<(), String> {
        let rotate_time = self.settings.rotate_time;
        match &self.current {
            Some(current) if current.since.elapsed() >= rotate_time => self.end_file(),
            _ => Ok(()),
        }
    }

    /// Writes an event, soon.
    ///
    /// # Errors
    ///
    /// One line that names the file or the directory: nothing more can be written.
    pub(super) fn add(&mut self, record: WireRecord) -> Result<(), String> {
        let begun = self.begin_file_if_due();
        self.unwritten.add(&record);
        begun?;
        let Some(current) = &mut self.current else { return Ok(()) };
        let number = u64::from(self.number);
        self.positions.pass(number, record, |record| current.file.add(record));
        current.is_flushed = false;
        if current.file.pending() >= CHUNK { self.flush() } else { Ok(()) }
    }

    /// Begins the next file, if there is none or the present one is large enough.
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

    /// Counts an event as one that cannot be written.
    pub(super) fn lose(&mut self, record: &WireRecord) {
        self.unwritten.add(record);
    }

    /// Writes the losses of each connection behind a failure, if there is still room in the file for
    /// so little, and returns the number of lost events.
    pub(super) fn end_with_losses(&mut self) -> u64 {
        let Unwritten { records, events } = mem::take(&mut self.unwritten);
        if let Some(current) = &mut self.current
            && self.settings.format != Format::Har
        {
            losses(&records).for_each(|lost| current.file.add(lost));
            let grown = current.file.flush().unwrap_or_default();
            self.recorded.fetch_add(grown, Ordering::Relaxed);
        }
        events
    }

    /// Writes what is pending.
    ///
    /// # Errors
    ///
    /// As those of [`Writer::add`].
    pub(super) fn flush(&mut self) -> Result<(), String> {
        let Some(current) = &mut self.current else { return Ok(()) };
        if current.is_flushed {
            return Ok(());
        }
        current.is_flushed = true;
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

    /// Ends the present file.
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
                // Of another process that began in the same second.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => continue,
                Err(e) => Err(format!("{}: {}", path.display(), io_error::describe(&e))),
                Ok(file) => {
                    Ok(Current { file, path, since: Instant::now(), before, is_flushed: false })
                }
            };
        }
    }
}

/// Events that are not in a file yet.
#[derive(Debug, Default)]
struct Unwritten {
    /// Their connections and what each would be as a loss; none for the first event of a connection.
    records: Vec<(u64, Option<Lost>)>,
    /// The number of events, without those that were lost before.
    events: u64,
}

impl Unwritten {
    fn add(&mut self, record: &WireRecord) {
        let bytes = |bytes: usize| Some(Lost { events: 1, bytes: bytes as u64 });
        let (lost, is_event) = match &record.event {
            WireEvent::Opened(_) => (None, true),
            WireEvent::Lost(lost) => (Some(*lost), false),
            WireEvent::Bytes(_, payload) | WireEvent::Datagram(_, payload) => {
                (bytes(payload.len()), true)
            }
            _ => (bytes(0), true),
        };
        self.records.push((record.connection, lost));
        self.events += u64::from(is_event);
    }

    fn clear(&mut self) {
        self.records.clear();
        self.events = 0;
    }
}

/// The losses of connections, those without a first event counted together.
fn losses(records: &[(u64, Option<Lost>)]) -> impl Iterator<Item = WireRecord> {
    let mut all: BTreeMap<u64, Lost> = BTreeMap::new();
    let unknown =
        records.iter().filter(|(_, lost)| lost.is_none()).map(|(connection, _)| *connection);
    let unknown: HashSet<u64> = unknown.collect();
    for (connection, lost) in records {
        let lost = match (unknown.contains(connection), lost) {
            (_, None) => Lost { events: 1, bytes: 0 },
            (true, Some(lost)) => Lost { events: 0, ..*lost },
            (false, Some(lost)) => *lost,
        };
        *all.entry(if unknown.contains(connection) { 0 } else { *connection }).or_default() += lost;
    }
    let time = wire::now();
    let record =
        move |(connection, lost)| WireRecord { time, connection, event: WireEvent::Lost(lost) };
    all.into_iter().map(record)
}
