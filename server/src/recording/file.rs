//! A file of a recording, in any of the formats.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek, SeekFrom, Write},
    mem,
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use super::{
    format::Format, har::HarEncoder, jsonl::JsonlEncoder, pcapng::PcapngEncoder, wire::WireRecord,
};

pub(crate) use super::pcapng::OpenConnections;

/// The encoder of a file.
#[derive(Debug)]
enum Encoder {
    Pcapng(PcapngEncoder),
    Jsonl(JsonlEncoder),
    Har(HarEncoder),
}

/// The number of pending bytes at which they are written.
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
    /// The number of bytes written, without the tail.
    written: u64,
    /// The number of bytes written at the latest advice to the kernel.
    advised: u64,
    /// The bytes at the end of the file that the next flush overwrites.
    tail: Vec<u8>,
    /// The length of the part of the tail that becomes a lasting part of the file if the next flush
    /// fails: HAR's entries of open connections; all of the tail of pcapng.
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

    /// Opens the file at `path`. An earlier recording in it is replaced at the first flush after an
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

    /// Closes the file without writing the pending bytes.
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

    /// The number of pending bytes, without the tail that the next flush would add.
    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// The size of the file together with the pending bytes.
    pub(crate) fn size(&self) -> u64 {
        self.written + (self.pending.len() + self.tail.len()) as u64
    }

    /// Writes the pending bytes, and returns the number of bytes by which the file has grown.
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

    /// Restores the end of the file after a write that failed. What a device or a pipe has received
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
mod tests;
