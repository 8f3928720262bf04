//! A file of a recording, in any of the formats.

use std::{
    ffi::OsStr,
    fmt::{self, Display},
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    mem,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
    str::FromStr,
};

use super::{
    har::HarEncoder, jsonl::JsonlEncoder, model::Traffic, pcapng::PcapngEncoder, wire::WireRecord,
};

pub(crate) use super::pcapng::OpenConnections;

/// A format of recordings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Format {
    /// Packets, for Wireshark.
    #[default]
    Pcapng,
    /// An event a line.
    Jsonl,
    /// WebSocket messages, for browsers.
    Har,
}

impl Format {
    const ALL: [Format; 3] = [Format::Pcapng, Format::Jsonl, Format::Har];

    /// The name, which is also the extension of file names.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Pcapng => "pcapng",
            Format::Jsonl => "jsonl",
            Format::Har => "har",
        }
    }

    /// The format that the name of a file asks for.
    ///
    /// # Errors
    ///
    /// One line with the names that are possible.
    pub(crate) fn of_file(path: &Path) -> Result<Format, String> {
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        extension.parse().map_err(|_| {
            format!("{}: expected a name that ends in .pcapng, .jsonl or .har", path.display())
        })
    }

    /// The format that the name of a file for connections with `traffic` asks for.
    ///
    /// # Errors
    ///
    /// One line that names the file, with the formats that are possible.
    pub(crate) fn for_traffic(path: &Path, traffic: Traffic) -> Result<Format, String> {
        match Format::of_file(path)? {
            Format::Har if traffic != Traffic::Messages => Err(format!(
                "{}: HAR has WebSocket connections only: use .pcapng or .jsonl",
                path.display()
            )),
            format => Ok(format),
        }
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Format, String> {
        let known = Format::ALL.into_iter().find(|format| format.name() == text);
        known.ok_or_else(|| "expected pcapng, jsonl or har".to_owned())
    }
}

impl Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The encoder of a file.
#[derive(Debug)]
enum Encoder {
    Pcapng(PcapngEncoder),
    Jsonl(JsonlEncoder),
    Har(HarEncoder),
}

/// The number of pending bytes from which on they are written at once.
pub(crate) const CHUNK: usize = 256 * 1024;

/// The number of bytes after which the kernel is advised again to drop what it has written.
const ADVICE_INTERVAL: u64 = 2 << 20;

/// The number of bytes in front of the end of the file that the kernel is advised to drop. Bytes
/// that are not on the disk when they are in this range for the last time stay in the page cache.
const ADVICE_LENGTH: u64 = 8 * ADVICE_INTERVAL;

/// A recording that is being written. The file is complete after each [`RecordingFile::flush`],
/// whether it succeeds or fails.
#[derive(Debug)]
pub(crate) struct RecordingFile {
    file: File,
    encoder: Encoder,
    /// Bytes that are not written yet.
    pending: Vec<u8>,
    /// The length of the start of the file, which stays pending until it is written.
    start: usize,
    /// The number of bytes written, without those that are written again at the next flush.
    written: u64,
    /// The number of bytes written at the latest advice to the kernel.
    advised: u64,
    /// The bytes at the end of the file that the next flush overwrites.
    tail: Vec<u8>,
    /// The length of the part of the tail that stays if the next flush fails: what it says of
    /// connections.
    lasting: usize,
    /// Whether there is something to write: the start of a new file, or events since the latest
    /// flush. Without it a flush writes nothing: an earlier recording stays, and HAR does not have
    /// open connections written again.
    has_new: bool,
}

impl RecordingFile {
    /// Opens the file at `path` with `options`. Only its owner may read it, since it has payload.
    pub(crate) fn open(
        path: &Path,
        format: Format,
        options: &mut OpenOptions,
    ) -> io::Result<RecordingFile> {
        let file = options.write(true).mode(0o600).open(path)?;
        let mut pending = Vec::new();
        let encoder = match format {
            Format::Pcapng => Encoder::Pcapng(PcapngEncoder::new(&mut pending)),
            Format::Jsonl => Encoder::Jsonl(JsonlEncoder::default()),
            Format::Har => Encoder::Har(HarEncoder::new(&mut pending)),
        };
        let start = pending.len();
        Ok(RecordingFile {
            file,
            encoder,
            pending,
            start,
            written: 0,
            advised: 0,
            tail: Vec::new(),
            lasting: 0,
            has_new: true,
        })
    }

    /// Opens the file at `path`. An earlier recording in it is replaced at the first flush behind an
    /// event.
    pub(crate) fn replace(path: &Path, format: Format) -> io::Result<RecordingFile> {
        let options = &mut OpenOptions::new();
        let file = RecordingFile::open(path, format, options.create(true).truncate(false))?;
        let has_new = file.file.metadata()?.len() == 0;
        Ok(RecordingFile { has_new, ..file })
    }

    /// Continues the connections that were open at the end of another file.
    pub(crate) fn follow(&mut self, earlier: OpenConnections) {
        if let Encoder::Pcapng(encoder) = &mut self.encoder {
            encoder.follow(earlier);
        }
    }

    /// Closes the file. What is pending is not written.
    pub(crate) fn close(self) -> OpenConnections {
        match self.encoder {
            Encoder::Pcapng(encoder) => encoder.into_open_connections(),
            Encoder::Jsonl(_) | Encoder::Har(_) => OpenConnections::default(),
        }
    }

    /// Encodes an event, to be written by a flush.
    pub(crate) fn add(&mut self, record: WireRecord) {
        self.has_new = true;
        match &mut self.encoder {
            Encoder::Pcapng(encoder) => encoder.encode(&record, &mut self.pending),
            Encoder::Jsonl(encoder) => encoder.encode(record, &mut self.pending),
            Encoder::Har(encoder) => encoder.encode(record, &mut self.pending),
        }
    }

    /// The number of bytes that a flush would write and not write again.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The size of the file, with what is pending.
    pub(crate) fn size(&self) -> u64 {
        self.written + (self.pending.len() + self.tail.len()) as u64
    }

    /// Writes what is pending, and returns the number of bytes by which the file has grown.
    pub(crate) fn flush(&mut self) -> io::Result<u64> {
        if !mem::take(&mut self.has_new) {
            return Ok(0);
        }
        let before = self.written + self.tail.len() as u64;
        let complete = self.pending.len();
        let lasting_end = match &self.encoder {
            Encoder::Pcapng(encoder) => {
                encoder.tail(&mut self.pending);
                self.pending.len()
            }
            Encoder::Jsonl(_) => complete,
            Encoder::Har(encoder) => {
                let end_of_entries = encoder.tail(&mut self.pending);
                // The file never shrinks: a shorter tail is followed by spaces.
                self.pending.resize(self.pending.len().max(self.tail.len()), b' ');
                end_of_entries
            }
        };
        let result = self.write();
        if result.is_ok() {
            self.written += complete as u64;
            self.tail.clear();
            self.tail.extend_from_slice(&self.pending[complete..]);
            self.lasting = lasting_end - complete;
            match &mut self.encoder {
                Encoder::Pcapng(encoder) => encoder.commit(),
                Encoder::Jsonl(_) => {}
                Encoder::Har(encoder) => encoder.commit(),
            }
        } else {
            self.restore();
            self.written += self.lasting as u64;
            self.tail.drain(..mem::take(&mut self.lasting));
            match &mut self.encoder {
                Encoder::Pcapng(encoder) => encoder.roll_back(),
                Encoder::Jsonl(_) => {}
                Encoder::Har(encoder) => encoder.roll_back(self.written > self.start as u64),
            }
        }
        self.pending.truncate(if self.written == 0 { self.start } else { 0 });
        self.pending.shrink_to(1 << 20);
        self.free_page_cache();
        result.map(|()| (self.written + self.tail.len() as u64).saturating_sub(before))
    }

    /// Whether a flush would write nothing.
    pub(crate) fn is_flushed(&self) -> bool {
        !self.has_new
    }

    /// Whether the file has been removed from its directory.
    pub(crate) fn is_removed(&self) -> bool {
        self.file.metadata().is_ok_and(|metadata| metadata.nlink() == 0)
    }

    fn write(&mut self) -> io::Result<()> {
        let is_first = self.written == 0 && self.tail.is_empty();
        if is_first && self.file.metadata()?.len() > 0 {
            self.file.set_len(0)?;
        }
        if !self.tail.is_empty() {
            self.file.seek(SeekFrom::Start(self.written))?;
        }
        self.file.write_all(&self.pending)?;
        if self.pending.len() < self.tail.len() {
            self.file.set_len(self.written + self.pending.len() as u64)?;
        }
        Ok(())
    }

    /// Advises the kernel to write to the disk what it has of the file, and to drop what is written:
    /// nobody reads it soon. The pages are used for the bytes that follow, instead of new ones that
    /// take memory from other programs and, in a virtual machine, several times the time of the copy.
    fn free_page_cache(&mut self) {
        if self.written - self.advised < ADVICE_INTERVAL {
            return;
        }
        self.advised = self.written;
        #[cfg(target_os = "linux")]
        {
            use std::num::NonZeroU64;

            use rustix::fs::{Advice, fadvise};

            let start = self.written.saturating_sub(ADVICE_LENGTH);
            // Pipes and devices do not take the advice. The file is the same without it.
            fadvise(&self.file, start, NonZeroU64::new(ADVICE_LENGTH), Advice::DontNeed).ok();
        }
    }

    /// Ends the file as it was before a write that failed. What a device or a pipe has received
    /// cannot be taken back.
    fn restore(&mut self) {
        // The tail has space, since it was there before.
        if self.file.seek(SeekFrom::Start(self.written)).is_ok() {
            self.file.write_all(&self.tail).ok();
        }
        self.file.set_len(self.written + self.tail.len() as u64).ok();
        // Also where the tail could not be written.
        self.file.seek(SeekFrom::End(0)).ok();
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use bytes::Bytes;
    use echogate_proto::{
        api::Kind,
        recording::{Direction, Lost, Opened, Side, TapPoint},
        ws::{OpCode, frame::control_frame},
    };

    use super::*;
    use crate::recording::{model::RecordedConnection, read::read, wire::WireEvent};

    const DOWN: TapPoint = TapPoint { side: Side::Client, direction: Direction::ToClient };

    fn record(event: WireEvent) -> WireRecord {
        WireRecord { time: 0, connection: 1, event }
    }

    /// A new file in a directory of its own, with its path.
    fn new_file(format: Format) -> (tempfile::TempDir, PathBuf, RecordingFile) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("a.{format}"));
        let file = RecordingFile::open(&path, format, OpenOptions::new().create_new(true)).unwrap();
        (dir, path, file)
    }

    /// A flush that fails, since the file cannot be written.
    fn fail_to_flush(file: &mut RecordingFile, path: &Path) {
        let writable = mem::replace(&mut file.file, File::open(path).unwrap());
        file.flush().unwrap_err();
        file.file = writable;
    }

    /// A connection that is missing altogether.
    fn missing() -> WireRecord {
        let event = WireEvent::Lost(Lost { events: 1, bytes: 0 });
        WireRecord { time: 0, connection: 0, event }
    }

    #[test]
    fn a_file_is_complete_after_each_flush() {
        for format in Format::ALL {
            let (_dir, path, mut file) = new_file(format);
            assert_eq!(Format::of_file(&path).unwrap(), format);
            let opened = Opened { client_has_frames: true, ..Opened::default() };
            file.add(record(WireEvent::Opened(opened.into())));
            for n in 0..3 {
                let frame = control_frame(OpCode::Text, format!("message {n}").as_bytes());
                file.add(record(WireEvent::Bytes(DOWN, Bytes::from(frame))));
                file.add(missing());
                file.flush().unwrap();
                let bytes = fs::read(&path).unwrap();
                assert_eq!(file.size(), bytes.len() as u64);
                let text = String::from_utf8_lossy(&bytes);
                assert!(text.contains(&format!("message {n}")), "{text}");
                // One statement for all connections that are missing so far.
                let statements = text.matches("missing in this recording").count();
                assert_eq!(statements, usize::from(format != Format::Jsonl), "{format}");
                match format {
                    Format::Pcapng => assert_eq!(bytes.len() % 4, 0),
                    Format::Jsonl => assert!(text.ends_with("}\n")),
                    Format::Har => drop(serde_json::from_str::<serde_json::Value>(&text).unwrap()),
                }
            }
        }
        Format::of_file(Path::new("a.pcap")).unwrap_err();
    }

    #[test]
    fn a_failed_flush_changes_no_loss_that_the_file_names() {
        let (_dir, path, mut file) = new_file(Format::Pcapng);
        let of = |connection, event| WireRecord { time: 0, connection, event };
        let opened = || WireEvent::Opened(Opened::default().into());
        let lost = |events| WireEvent::Lost(Lost { events, bytes: 0 });
        let bytes = || WireEvent::Bytes(DOWN, Bytes::from_static(b"abc"));
        let events = [of(1, opened()), of(1, bytes()), of(1, lost(2)), missing(), of(2, opened())];
        events.into_iter().for_each(|record| file.add(record));
        file.flush().unwrap();
        // A packet names the losses of the first connection, and the second ends.
        let events = [of(1, bytes()), of(1, lost(30)), missing()];
        events.into_iter().for_each(|record| file.add(record));
        file.add(of(2, WireEvent::Closed("closed".into())));
        fail_to_flush(&mut file, &path);
        let events = [of(1, lost(31)), of(2, lost(1)), missing()];
        events.into_iter().for_each(|record| file.add(record));
        file.flush().unwrap();
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        // Those of the flush before, and those of this one.
        assert!(text.contains("connection 1; 2 events (0 bytes) were lost here"), "{text}");
        assert!(text.contains("connection 1; 31 events (0 bytes) were lost here"), "{text}");
        assert!(text.contains("connection 2; 1 events (0 bytes) were lost here"), "{text}");
        assert!(text.contains("are missing in this recording: 2"), "{text}");
    }

    #[test]
    fn a_file_whose_first_flush_failed_still_begins_with_its_start() {
        for format in Format::ALL {
            let (_dir, path, mut file) = new_file(format);
            let opened = Opened { client_has_frames: true, ..Opened::default() };
            file.add(record(WireEvent::Opened(opened.into())));
            fail_to_flush(&mut file, &path);
            // The start is written once.
            for _ in 0..2 {
                file.add(missing());
                file.flush().unwrap();
            }
            let bytes = fs::read(&path).unwrap();
            assert_eq!(file.size(), bytes.len() as u64);
            let header = [0x0a, 0x0d, 0x0d, 0x0a];
            let text = String::from_utf8_lossy(&bytes);
            match format {
                Format::Pcapng => {
                    assert!(bytes.starts_with(&header), "{text}");
                    assert_eq!(bytes.windows(4).filter(|part| *part == header).count(), 1);
                }
                Format::Jsonl => assert_eq!(text.lines().count(), 2, "{text}"),
                Format::Har => drop(serde_json::from_str::<serde_json::Value>(&text).unwrap()),
            }
        }
    }

    #[test]
    fn after_a_failed_flush_har_has_the_losses_of_each_connection() {
        let (_dir, path, mut file) = new_file(Format::Har);
        let of = |connection, event| WireRecord { time: 0, connection, event };
        let opened = |connection, client_has_frames| {
            let opened = Opened { client_has_frames, ..Opened::default() };
            of(connection, WireEvent::Opened(opened.into()))
        };
        let text = |connection, text: &str| {
            let frame = control_frame(OpCode::Text, text.as_bytes());
            of(connection, WireEvent::Bytes(DOWN, Bytes::from(frame)))
        };
        let closed = |connection| of(connection, WireEvent::Closed("closed".into()));
        let lost = |connection, events| of(connection, WireEvent::Lost(Lost { events, bytes: 9 }));
        let events = [opened(1, true), text(1, "first"), opened(2, true), lost(2, 4)];
        events.into_iter().for_each(|record| file.add(record));
        file.flush().unwrap();
        let events = [text(1, "second"), closed(2), opened(3, true), closed(3), opened(4, false)];
        events.into_iter().for_each(|record| file.add(record));
        file.add(missing());
        fail_to_flush(&mut file, &path);
        let events = [lost(1, 2), lost(2, 3), missing()];
        events.into_iter().for_each(|record| file.add(record));
        file.flush().unwrap();
        let bytes = fs::read(&path).unwrap();
        assert_eq!(bytes.len() as u64, file.size());
        let har = String::from_utf8_lossy(&bytes);
        assert!(!har.contains("second") && !har.contains("cannot hold"), "{har}");
        assert!(har.contains("; 3 events (9 bytes) are lost\""), "{har}");
        let recording = read(&bytes[..]).unwrap();
        assert_eq!(recording.warnings, ["connections that are missing in this recording: 1"]);
        let facts = |connection: &RecordedConnection| {
            (connection.events.len(), connection.defects.concat())
        };
        let [first, second] =
            ["9 bytes are missing (in 2 events)", "18 bytes are missing (in 7 events)"];
        let expected = [(1, first.to_owned()), (0, second.to_owned())];
        assert_eq!(recording.connections.iter().map(facts).collect::<Vec<_>>(), expected, "{har}");
    }

    #[test]
    fn losses_of_a_connection_without_packets_are_in_the_file_in_which_they_are_known() {
        let (_dir, path, mut file) = new_file(Format::Pcapng);
        let opened = Opened { kind: Some(Kind::Udp), ..Opened::default() };
        file.add(record(WireEvent::Opened(opened.into())));
        file.add(record(WireEvent::Lost(Lost { events: 2, bytes: 9 })));
        file.flush().unwrap();
        let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
        assert!(text.contains("connection 1; 2 events (9 bytes) were lost here"), "{text}");
    }

    #[test]
    fn after_a_failed_flush_a_file_is_as_it_was_before() {
        for format in Format::ALL {
            let (_dir, path, mut file) = new_file(format);
            let opened = Opened { client_has_frames: true, ..Opened::default() };
            file.add(record(WireEvent::Opened(opened.into())));
            for text in ["first", "second"] {
                let frame = control_frame(OpCode::Text, text.as_bytes());
                file.add(record(WireEvent::Bytes(DOWN, Bytes::from(frame))));
                file.add(missing());
                file.flush().unwrap();
            }
            let before = fs::read(&path).unwrap();
            // A part of the next flush.
            file.file.seek(SeekFrom::Start(file.written)).unwrap();
            file.file.write_all(b"garbage").unwrap();
            file.restore();
            assert!(fs::read(&path).unwrap() == before, "{format}");
            // The next flush goes on there.
            let written = file.written as usize;
            file.add(missing());
            file.flush().unwrap();
            let after = fs::read(&path).unwrap();
            assert!(after.starts_with(&before[..written]), "{format}");
            assert_eq!(after.len() as u64, file.size(), "{format}");
        }
    }
}
