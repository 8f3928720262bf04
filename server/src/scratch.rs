//! Buffers that all connections of a thread share: borrowed within a single step from
//! a read to the write that answers it, so that an idle connection holds none.

use std::cell::RefCell;

/// Bytes free in front of what is read, for a frame's head.
pub(crate) const HEADROOM: usize = 16;

/// Bytes read at once, at most. More than 64 KiB, so that a message of that size
/// and its head come in one read.
pub(crate) const READ: usize = 128 * 1024;

thread_local! {
    /// Those not lent. There are as many as steps run within each other: two, where a
    /// bridge's step runs that of a service in memory.
    static FREE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// Lends a buffer of [`HEADROOM`] + [`READ`] bytes of any content.
pub(crate) fn with<T>(step: impl FnOnce(&mut [u8]) -> T) -> T {
    let free = FREE.with_borrow_mut(Vec::pop);
    let mut buffer = free.unwrap_or_else(|| vec![0; HEADROOM + READ].into());
    let done = step(&mut buffer);
    FREE.with_borrow_mut(|free| free.push(buffer));
    done
}
