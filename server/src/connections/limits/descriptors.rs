//! The file descriptors of the process, and the reserve for HTTP connections, by which `/healthz`
//! and `/readyz` are answered even when other connections use all other descriptors.
//!
//! The reserve is the end of the range of descriptor numbers. Descriptors need not be counted: a
//! new descriptor has the lowest free number (POSIX), so a number in the reserve shows that no
//! other descriptor is left. A connection to a service or a forward with such a number waits until
//! a lower one is free; meanwhile no further connection is accepted there and no upstream is
//! dialled. An HTTP connection moves to a lower number as soon as one is free. Until then the
//! connection is not upgraded and holds no event stream.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, RawFd},
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
};

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit},
};

use super::HTTP_CONNECTIONS;

/// The maximum size of the reserve.
const MAX_RESERVE: usize = 64;

/// The divisor of the process's limit on descriptors that gives the size of the reserve, where that is
/// lower.
const RESERVE_PART: usize = 8;

/// The first number of the reserve; larger than any descriptor in a process that does not serve.
static RESERVE_BEGIN: AtomicI32 = AtomicI32::new(RawFd::MAX);

/// Whether a socket had a number in the reserve, and no lower number has been found free since.
static IS_SHORT: AtomicBool = AtomicBool::new(false);

/// The maximum number of descriptors that HTTP and `connections` other connections need. Each of
/// the latter has one for its client, one for its upstream, and with `hairpins` one for the other
/// end of the connection to a listener of this process.
pub(crate) fn needed(connections: u32, hairpins: bool) -> usize {
    (if hairpins { 3 } else { 2 }) * connections as usize + HTTP_CONNECTIONS
}

/// Logs a line if the number `needed` for `connections` exceeds the limit of the process.
pub(crate) fn check(connections: u32, needed: usize) {
    let max = max();
    if needed > max {
        tracing::info!(
            "--max-connections {connections} needs up to {needed} file descriptors, and the limit of \
             this process is {max}: raise it (ulimit -n, or LimitNOFILE= of systemd), or lower \
             --max-connections"
        );
    }
}

/// Sets the reserve apart from now on.
pub(crate) fn keep_reserve() {
    let begin = RawFd::try_from(max() - reserve()).unwrap_or(RawFd::MAX);
    RESERVE_BEGIN.store(begin, Ordering::Relaxed);
}

/// The size of the reserve.
pub(super) fn reserve() -> usize {
    (max() / RESERVE_PART).min(MAX_RESERVE)
}

/// Whether the number of a new descriptor is in the reserve.
pub(crate) fn is_in_reserve(descriptor: &impl AsRawFd) -> bool {
    let is_in_reserve = descriptor.as_raw_fd() >= RESERVE_BEGIN.load(Ordering::Relaxed);
    if is_in_reserve {
        IS_SHORT.store(true, Ordering::Relaxed);
    }
    is_in_reserve
}

/// Whether only descriptors of the reserve are left. During a shortage this function duplicates
/// `any` to find out whether a lower number is free.
pub(crate) fn are_short(any: &impl AsFd) -> bool {
    if !IS_SHORT.load(Ordering::Relaxed) {
        return false;
    }
    let is_over = any.as_fd().try_clone_to_owned().and_then(outside_reserve).is_ok();
    if is_over {
        IS_SHORT.store(false, Ordering::Relaxed);
    }
    !is_over
}

/// Returns a new socket unless its number is in the reserve.
///
/// # Errors
///
/// The error of socket(2) when no descriptor is left.
pub(crate) fn outside_reserve<S: AsRawFd>(socket: S) -> io::Result<S> {
    if is_in_reserve(&socket) { Err(Errno::EMFILE.into()) } else { Ok(socket) }
}

/// Whether an error says that the process has no descriptor left.
pub(crate) fn are_exhausted(error: &io::Error) -> bool {
    error.raw_os_error() == Some(Errno::EMFILE as i32)
}

/// The limit on the descriptors of the process.
pub(super) fn max() -> usize {
    let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    usize::try_from(limit).unwrap_or(usize::MAX)
}
