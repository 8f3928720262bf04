//! A pool of I/O buffers for each thread. A connection borrows a buffer from a read to the write
//! that answers it, within one poll; an idle connection holds none.

use std::cell::RefCell;

/// The number of bytes that stay free in front of a read, for a frame header (at most 14). A whole
/// cache line, so that the read is aligned to one.
pub(crate) const HEADROOM: usize = 64;

/// The largest number of bytes of one read, after the headroom. More than 64 KiB, a common message
/// size that with its header would take two reads. Not a multiple of a page: otherwise the offset of
/// a stream's bytes in the kernel's pages would be the same at each read, and never the one that is
/// copied fastest (10 % more CPU time, measured on AMD EPYC).
pub(crate) const READ: usize = 256 * 1024 - HEADROOM;

/// The alignment of a buffer in bytes. A copy by the kernel to an offset in its page that is 1 to
/// 31 bytes above the source's offset takes five times as long on some processors (measured on
/// AMD EPYC), and the source is often at the start of a page.
const PAGE: usize = 4096;

thread_local! {
    /// Free buffers of this thread. At most two are in use at once: the poll of a bridge may poll an
    /// in-memory service.
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `step` with a buffer of [`HEADROOM`] + [`READ`] bytes with arbitrary content. A caller that
/// needs no headroom reads to the start of the buffer: after the headroom an echo of 64 KiB takes up
/// to 50 % more CPU time ([`PAGE`]).
pub(crate) fn with<T>(step: impl FnOnce(&mut [u8]) -> T) -> T {
    let free = FREE.with_borrow_mut(Vec::pop);
    let mut buffer = free.unwrap_or_else(|| vec![0; PAGE + HEADROOM + READ].into());
    let start = buffer.as_ptr().align_offset(PAGE).min(PAGE);
    let done = step(&mut buffer[start..start + HEADROOM + READ]);
    FREE.with_borrow_mut(|free| free.push(buffer));
    done
}
