//! Several frames for one write.

use std::{io::IoSlice, ops::Range};

/// Payload of at least so many bytes is written from where it lies; less is cheaper
/// to copy than to point at.
const WORTH_LENDING: usize = 4096;

/// Bytes in order, some copied together, some left in the buffer they came in.
#[derive(Debug)]
pub(super) struct Gather {
    copied: Vec<u8>,
    parts: Vec<Part>,
}

#[derive(Debug)]
enum Part {
    Copied(Range<usize>),
    Lent(Range<usize>),
}

impl Gather {
    pub(super) const fn new() -> Gather {
        Gather { copied: Vec::new(), parts: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.copied.clear();
        self.parts.clear();
    }

    /// Appends a copy of `bytes`.
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        let start = self.copied.len();
        self.copied.extend_from_slice(bytes);
        match self.parts.last_mut() {
            Some(Part::Copied(last)) => last.end = self.copied.len(),
            _ => self.parts.push(Part::Copied(start..self.copied.len())),
        }
    }

    /// Appends the bytes at `range` of `buffer`, the one that [`Gather::parts`] will be
    /// given.
    pub(super) fn add(&mut self, buffer: &[u8], range: Range<usize>) {
        if range.len() < WORTH_LENDING {
            self.copy(&buffer[range]);
        } else {
            self.parts.push(Part::Lent(range));
        }
    }

    /// What to write.
    pub(super) fn parts<'a>(&'a self, buffer: &'a [u8]) -> Vec<IoSlice<'a>> {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Copied(range) => IoSlice::new(&self.copied[range.clone()]),
                Part::Lent(range) => IoSlice::new(&buffer[range.clone()]),
            })
            .collect()
    }
}
