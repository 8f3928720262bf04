//! A file that is read once from its start, with offsets for errors.

use std::io::{self, BufRead, ErrorKind, Read};

use thiserror::Error;

use crate::text::{
    escape::{escape, first_line},
    io_error::describe,
};

/// The most characters of an error's text.
const MAX_TEXT: usize = 300;

/// An error in a file.
#[derive(Debug, Error)]
#[error("byte {offset}: {text}")]
pub(crate) struct ReadError {
    /// The position, in bytes from the start of the file.
    offset: u64,
    text: String,
    /// Whether the error is that the file ends too early.
    is_end: bool,
}

impl ReadError {
    /// An error at `offset`. The text may quote the file: it is escaped.
    pub(super) fn new(offset: u64, text: impl AsRef<str>) -> ReadError {
        ReadError { offset, text: first_line(&escape(text.as_ref()), MAX_TEXT), is_end: false }
    }

    /// The error that the file ends too early, at `offset`.
    pub(super) fn end(offset: u64, text: impl AsRef<str>) -> ReadError {
        ReadError { is_end: true, ..ReadError::new(offset, text) }
    }

    /// Turns the error that the file ends too early into a warning.
    ///
    /// # Errors
    ///
    /// Any other error, unchanged.
    pub(super) fn into_warning(self) -> Result<String, ReadError> {
        if self.is_end { Ok(format!("{self}; everything before is used")) } else { Err(self) }
    }
}

/// A file that is being read.
#[derive(Debug)]
pub(super) struct Input<R> {
    reader: R,
    /// The offset of the next byte.
    offset: u64,
}

impl<R: BufRead> Input<R> {
    pub(super) fn new(reader: R) -> Input<R> {
        Input { reader, offset: 0 }
    }

    pub(super) fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads `length` bytes of a part of the file that errors call `what`. Memory is allocated for
    /// the bytes that exist, whatever `length` is.
    pub(super) fn take(&mut self, length: u64, what: &str) -> Result<Vec<u8>, ReadError> {
        let start = self.offset;
        let mut bytes = Vec::new();
        let read = (&mut self.reader).take(length).read_to_end(&mut bytes);
        read.map_err(|error| ReadError::new(start, describe(&error)))?;
        self.offset += bytes.len() as u64;
        let missing = length - bytes.len() as u64;
        if missing > 0 {
            let text = format!("the file ends within {what}: {missing} more bytes were expected");
            return Err(ReadError::end(self.offset, text));
        }
        Ok(bytes)
    }

    /// Reads an array of bytes, as [`Input::take`] does.
    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], ReadError> {
        let bytes = self.take(N as u64, what)?;
        Ok(bytes.try_into().expect("as many bytes were taken"))
    }

    /// Whether the file has ended.
    pub(super) fn is_at_end(&mut self) -> Result<bool, ReadError> {
        let next = self.reader.fill_buf();
        next.map(<[u8]>::is_empty).map_err(|error| ReadError::new(self.offset, describe(&error)))
    }

    /// Reads a line with its line ending, at most `limit` bytes. Returns an empty one at the end of
    /// the file.
    pub(super) fn line(&mut self, limit: u64) -> Result<Vec<u8>, ReadError> {
        let mut line = Vec::new();
        let read = (&mut self.reader).take(limit).read_until(b'\n', &mut line);
        read.map_err(|error| ReadError::new(self.offset, describe(&error)))?;
        self.offset += line.len() as u64;
        Ok(line)
    }
}

impl<R: Read> Read for Input<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.reader.read(buffer) {
                Ok(read) => {
                    self.offset += read as u64;
                    return Ok(read);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
