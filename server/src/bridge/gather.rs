//! Several frames for one write.

use std::{io::IoSlice, ops::Range};

use echogate_proto::ws::Head;

/// Payload of at least so many bytes is written from where it lies; less is cheaper
/// to copy than to point at.
const WORTH_LENDING: usize = 4096;

/// Bytes in order, some copied together, some left in the buffer they came in.
#[derive(Debug)]
pub(super) struct Gather {
    copied: Vec<u8>,
    /// What is lent, and where among the copied bytes it belongs.
    lent: Vec<(usize, Range<usize>)>,
}

impl Gather {
    pub(super) const fn new() -> Gather {
        Gather { copied: Vec::new(), lent: Vec::new() }
    }

    pub(super) fn clear(&mut self) {
        self.copied.clear();
        self.lent.clear();
    }

    /// Appends a head.
    pub(super) fn head(&mut self, head: &Head) {
        head.append_to(&mut self.copied);
    }

    /// Appends the bytes at `range` of `buffer`, the one that [`Gather::parts`] will be
    /// given.
    pub(super) fn add(&mut self, buffer: &[u8], range: Range<usize>) {
        if range.len() < WORTH_LENDING {
            self.copied.extend_from_slice(&buffer[range]);
        } else {
            self.lent.push((self.copied.len(), range));
        }
    }

    /// What to write.
    pub(super) fn parts<'a>(&'a self, buffer: &'a [u8]) -> Vec<IoSlice<'a>> {
        let mut parts = Vec::with_capacity(2 * self.lent.len() + 1);
        let mut at = 0;
        for (behind, range) in &self.lent {
            parts.push(IoSlice::new(&self.copied[at..*behind]));
            parts.push(IoSlice::new(&buffer[range.clone()]));
            at = *behind;
        }
        parts.push(IoSlice::new(&self.copied[at..]));
        parts
    }
}
