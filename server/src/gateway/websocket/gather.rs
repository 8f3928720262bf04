//! The assembly of one vectored write from copied and borrowed bytes.

use std::{cell::RefCell, io, io::IoSlice, ops::Range, task::Context};

use tokio::io::AsyncWrite;

use crate::runtime::write_buffer::WriteBuffer;

thread_local! {
    static GATHER: RefCell<Gather> = const { RefCell::new(Gather::new()) };
}

/// The length, in bytes, from which payload is borrowed. Shorter payload is cheaper to copy.
const MIN_BORROWED: usize = 4096;

/// A sequence of bytes, some of them copied, some left in the buffer in which they arrived.
#[derive(Debug)]
pub(in crate::gateway) struct Gather {
    copied: Vec<u8>,
    /// The ranges of the buffer that are not copied, each with its position among the copied bytes.
    borrowed: Vec<(usize, Range<usize>)>,
}

impl Gather {
    const fn new() -> Gather {
        Gather { copied: Vec::new(), borrowed: Vec::new() }
    }

    /// Calls `step` with this thread's instance, emptied.
    pub(in crate::gateway) fn with<T>(step: impl FnOnce(&mut Gather) -> T) -> T {
        GATHER.with_borrow_mut(|gather| {
            gather.copied.clear();
            gather.borrowed.clear();
            step(gather)
        })
    }

    pub(in crate::gateway) fn is_empty(&self) -> bool {
        self.copied.is_empty() && self.borrowed.is_empty()
    }

    /// The bytes that are copied, for bytes to be appended.
    pub(in crate::gateway) fn copied(&mut self) -> &mut Vec<u8> {
        &mut self.copied
    }

    /// Appends the bytes at `range` of `buffer`, which is to be passed to [`Gather::write`].
    pub(in crate::gateway) fn add(&mut self, buffer: &[u8], range: Range<usize>) {
        if range.len() < MIN_BORROWED {
            self.copied.extend_from_slice(&buffer[range]);
        } else {
            self.borrowed.push((self.copied.len(), range));
        }
    }

    /// Writes all bytes, after those in `unwritten`. Bytes that are not accepted are added to it.
    ///
    /// # Errors
    ///
    /// When a write to the stream fails.
    pub(in crate::gateway) fn write<W: AsyncWrite + Unpin>(
        &self,
        buffer: &[u8],
        cx: &mut Context<'_>,
        unwritten: &mut WriteBuffer,
        stream: &mut W,
    ) -> io::Result<()> {
        if self.borrowed.is_empty() {
            return unwritten.write(cx, stream, &mut [IoSlice::new(&self.copied)]);
        }
        let mut parts = Vec::with_capacity(2 * self.borrowed.len() + 1);
        let mut at = 0;
        for (position, range) in &self.borrowed {
            parts.push(IoSlice::new(&self.copied[at..*position]));
            parts.push(IoSlice::new(&buffer[range.clone()]));
            at = *position;
        }
        parts.push(IoSlice::new(&self.copied[at..]));
        parts.retain(|part| !part.is_empty());
        unwritten.write(cx, stream, &mut parts)
    }
}
