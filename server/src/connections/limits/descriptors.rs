//! The file descriptors of the process, and the reserve of them for HTTP connections: `/healthz` and
//! `/readyz` are answered even when other connections have all other descriptors.
//!
//! A new descriptor has the lowest number that is free. So a socket whose number is in the reserve,
//! the end of the range of numbers, shows that no other descriptor is left; nothing is counted. The
//! connection of a service or a forward that gets such a number waits until a lower one is free, and
//! no further one is accepted meanwhile; upstreams are not dialled. An HTTP connection takes a lower
//! number as soon as one is free. Until then it can be neither upgraded nor hold an event stream.

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

/// The first number of the reserve. Only a server has one.
static RESERVE_BEGIN: AtomicI32 = AtomicI32::new(RawFd::MAX);

/// A socket had a number in the reserve, and no lower number has been found free since.
static IS_SHORT: AtomicBool = AtomicBool::new(false);

/// The number of descriptors that `connections` need at most, and those of HTTP: for each connection one
/// for its client, one for its upstream, and with `hairpins` one for the upstream's side at a listener
/// of this process.
pub(crate) fn needed(connections: u32, hairpins: bool) -> usize {
    (if hairpins { 3 } else { 2 }) * connections as usize + HTTP_CONNECTIONS
}

/// Logs if the descriptors that are `needed` for `connections` exceed the limit of the process.
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

/// Keeps a reserve from now on.
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

/// Whether only descriptors of the reserve are left. In a shortage this looks for another one by
/// duplicating `any`.
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
