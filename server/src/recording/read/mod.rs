//! Readers that turn files into a [`Recording`]: JSON Lines, HAR, pcap and pcapng.
//!
//! - `input`: a file with offsets for errors
//! - `jsonl`, `har`, `capture`: the readers of the formats, which yield records
//! - `builder`: the builder of connections from records

mod builder;
mod capture;
mod har;
mod input;
mod jsonl;

use std::{
    fs::File,
    io::{BufRead, BufReader, Cursor, Read},
    path::Path,
};

pub(crate) use self::builder::Builder;
use self::input::{Input, ReadError};
use super::model::Recording;
use crate::text::io_error::describe;

/// The number of bytes at the start of a file by which the format is recognized.
const PROBE: u64 = 4096;

/// The latest time of an event, in seconds since 1970. Later ones, from the year 2262 on, exceed 63
/// bits in nanoseconds.
const MAX_TIME: f64 = 9.2e9;

/// The byte order mark, U+FEFF in UTF-8, with which some programs begin a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads the file at `path`. The format is recognized by the content.
///
/// # Errors
///
/// One line that names the file, the offset of the error in bytes, and what was expected there.
pub(crate) fn read_file(path: &Path) -> Result<Recording, String> {
    let name = path.display();
    let file = File::open(path).map_err(|error| format!("{name}: {}", describe(&error)))?;
    read(BufReader::with_capacity(1 << 16, file)).map_err(|error| format!("{name}: {error}"))
}

/// Reads a recording to its end.
///
/// # Errors
///
/// One line with the offset of the error in bytes, and what was expected there.
pub(crate) fn read(mut source: impl BufRead) -> Result<Recording, ReadError> {
    let mut probe = Vec::new();
    let probed = (&mut source).take(PROBE).read_to_end(&mut probe);
    probed.map_err(|error| ReadError::new(0, describe(&error)))?;
    let format = Format::of(&probe)?;
    let mark = if probe.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() as u64 } else { 0 };
    let mut input = Input::new(Cursor::new(probe).chain(source));
    Input::take(&mut input, mark, "the byte order mark")?;
    let recording = match format {
        Format::Pcap => capture::read_pcap(input),
        Format::Pcapng => capture::read_pcapng(input),
        Format::Har => har::read(input),
        Format::Jsonl => jsonl::read(input),
    }?;
    if recording.connections.is_empty() {
        let text = "the recording has no connection".to_owned();
        return Err(ReadError::new(0, [&[text][..], &recording.warnings].concat().join("; ")));
    }
    Ok(recording)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Pcap,
    Pcapng,
    Har,
    Jsonl,
}

impl Format {
    /// The format of a file that begins with `probe`.
    fn of(probe: &[u8]) -> Result<Format, ReadError> {
        match probe {
            [0x0a, 0x0d, 0x0d, 0x0a, ..] => return Ok(Format::Pcapng),
            _ if capture::is_pcap(probe) => return Ok(Format::Pcap),
            [] => return Err(ReadError::new(0, "the file is empty")),
            _ => {}
        }
        let text = probe.strip_prefix(BYTE_ORDER_MARK).unwrap_or(probe).trim_ascii_start();
        if let Some(inner) = text.strip_prefix(b"{") {
            let is_har = inner.trim_ascii_start().starts_with(b"\"log\"");
            return Ok(if is_har { Format::Har } else { Format::Jsonl });
        }
        let found = match probe {
            [0x1f, 0x8b, ..] => ", found gzip: decompress the file first",
            [0x28, 0xb5, 0x2f, 0xfd, ..] => ", found zstd: decompress the file first",
            [0x78, 0x01 | 0x9c | 0xda, ..] => ", found zlib (.zhar): decompress the file first",
            _ => "",
        };
        let expected = "expected a recording (pcap, pcapng, HAR or JSON Lines)";
        Err(ReadError::new(0, format!("{expected}{found}")))
    }
}

/// Checks a time in seconds since 1970: an event cannot have any number.
fn check_time(time: f64) -> Result<(), String> {
    if (0.0..=MAX_TIME).contains(&time) {
        return Ok(());
    }
    Err(format!("expected a time in seconds since 1970, found {time:e}"))
}

#[cfg(test)]
mod tests;
