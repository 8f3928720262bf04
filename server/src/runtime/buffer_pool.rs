//! Buffers that all connections of a thread share: borrowed within a single step from
//! a read to the write that answers it, so that an idle connection holds none.

use std::cell::RefCell;

/// Bytes free in front of what is read, for a frame's head: at most 14, and so many
/// that what is read is aligned as a cache line is.
pub(crate) const HEADROOM: usize = 64;

/// Bytes read at once behind the headroom, at most. Not just 64 KiB, a common size of
/// messages, which with its head would take two reads; and enough that a stream takes
/// few. Not a multiple of a page either: where the bytes of a stream lie in the pages of
/// the kernel would then be the same at each read, and never that which is copied
/// fastest (a tenth more CPU time, measured on AMD EPYC).
pub(crate) const READ: usize = 256 * 1024 - HEADROOM;

/// Where a buffer begins in memory is a multiple of this. The kernel's copy into a
/// place that is 1 to 31 bytes further into its page than the source is into its own
/// takes five times as long on some processors (measured on AMD EPYC), and the source
/// is often at the very start of one.
const PAGE: usize = 4096;

thread_local! {
    /// Those not lent. There are as many as steps run within each other: two, where a
    /// bridge's step runs that of a service in memory.
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Lends a buffer of [`HEADROOM`] + [`READ`] bytes of any content. Who needs no headroom
/// reads at its start: behind it an echo of 64 KiB, whose bytes lie at the start of the
/// kernel's pages, takes up to half as much CPU time again.
pub(crate) fn with<T>(step: impl FnOnce(&mut [u8]) -> T) -> T {
    let free = FREE.with_borrow_mut(Vec::pop);
    let mut buffer = free.unwrap_or_else(|| vec![0; PAGE + HEADROOM + READ].into());
    let start = buffer.as_ptr().align_offset(PAGE).min(PAGE);
    let done = step(&mut buffer[start..start + HEADROOM + READ]);
    FREE.with_borrow_mut(|free| free.push(buffer));
    done
}
