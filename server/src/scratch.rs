//! One buffer per thread for all connections: borrowed within a single step from a
//! read to the write that answers it, so that an idle connection holds none.

use std::cell::RefCell;

/// Bytes free in front of what is read, for a frame's head.
pub(crate) const HEADROOM: usize = 16;

/// Bytes read at once, at most. More than 64 KiB, so that a message of that size
/// and its head come in one read.
pub(crate) const READ: usize = 128 * 1024;

thread_local! {
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; HEADROOM + READ].into());
}

/// Lends the thread's buffer, [`HEADROOM`] + [`READ`] bytes of any content.
///
/// # Panics
///
/// When it is lent already: a step borrows it once.
pub(crate) fn with<T>(step: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| step(scratch))
}
