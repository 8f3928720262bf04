//! The file descriptors of the process, a part of which is reserved for HTTP, so that health checks are
//! answered when connections have used up the others.

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::LimitReached;

/// The descriptors of a relay: the client and the upstream. Where the upstream is this server itself, the
/// descriptor of the other end is not counted.
pub(super) const OF_RELAY: u32 = 2;

/// The descriptors of any other connection.
pub(super) const OF_CONNECTION: u32 = 1;

/// Descriptors that are given back when this is dropped, unless it is forgotten.
pub(super) type Taken<'a> = SemaphorePermit<'a>;

/// The descriptors that are reserved at most: a 16th of the free ones where that is less.
const MAX_RESERVED: usize = 5504;

/// The descriptors that are reserved at least, unless that is more than half of the free ones.
const MIN_RESERVED: usize = 24;

/// The descriptors of connections.
#[derive(Debug)]
pub(super) struct Descriptors {
    /// The limit of the process (`RLIMIT_NOFILE`).
    max: usize,
    /// Those that were free at the start.
    free: usize,
    reserved: usize,
    /// Those that are free for connections.
    left: Semaphore,
}

impl Descriptors {
    /// The descriptors that the process has left.
    pub(super) fn of_process() -> Descriptors {
        let max = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
        let max = usize::try_from(max).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        // The lowest free descriptor: the number of used ones, or more.
        let used = io::stderr().as_fd().try_clone_to_owned().map_or(0, |free| free.as_raw_fd());
        Descriptors::new(max, usize::try_from(used).unwrap_or_default())
    }

    fn new(max: usize, used: usize) -> Descriptors {
        let free = max.saturating_sub(used);
        let reserved = (free / 16).max(MIN_RESERVED.min(free / 2)).min(MAX_RESERVED);
        let left = free.saturating_sub(reserved).max(OF_RELAY as usize);
        Descriptors { max, free, reserved, left: Semaphore::new(left) }
    }

    /// The descriptors of established HTTP connections, of `most` at most.
    pub(super) fn of_http(&self, most: usize) -> usize {
        most.min((self.free / 16).max(self.reserved / 4).max(1))
    }

    /// The descriptors of HTTP connections whose first request has not arrived yet, of `most` at most,
    /// beside `http` established ones.
    pub(super) fn of_http_set_ups(&self, most: usize, http: usize) -> usize {
        most.min((self.free / 4).saturating_sub(http).max(1))
    }

    /// The descriptors of connections of one listener that are accepted and wait, of `most` at most.
    pub(super) fn of_waiting(&self, most: usize) -> usize {
        most.min((self.free / 64).max(1))
    }

    /// Takes descriptors.
    ///
    /// # Errors
    ///
    /// So many are not left.
    pub(super) fn try_take(&self, count: u32) -> Result<Taken<'_>, LimitReached> {
        self.left.try_acquire_many(count).map_err(|_| LimitReached::Descriptors(self.max))
    }

    /// Waits for the descriptor of a connection.
    pub(super) async fn take(&self) -> Taken<'_> {
        self.left.acquire_many(OF_CONNECTION).await.expect("the semaphore is never closed")
    }

    pub(super) fn release(&self, count: u32) {
        self.left.add_permits(count as usize);
    }

    /// Warns if `connections` may need more descriptors than the process has.
    pub(super) fn check(&self, connections: u32) {
        let needed = connections as usize * OF_RELAY as usize + self.reserved;
        if needed > self.max {
            tracing::warn!(
                "--max-connections {connections} needs up to {needed} file descriptors, and the limit \
                 of this process is {}: raise it (ulimit -n, or LimitNOFILE= of systemd), or lower \
                 --max-connections",
                self.max
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_reserved_for_http() {
        for (max, used, left, set_ups, http) in [
            (1 << 20, 30, (1 << 20) - 30 - 5504, 4096, 1024),
            (20_000, 32, 18_720, 3968, 1024),
            (1024, 24, 938, 188, 62),
            (64, 24, 20, 5, 5),
            (24, 24, 2, 1, 1),
        ] {
            let descriptors = Descriptors::new(max, used);
            assert_eq!(descriptors.left.available_permits(), left, "{max}");
            let of_http = descriptors.of_http(1024);
            let for_http = [descriptors.of_http_set_ups(4096, of_http), of_http];
            assert_eq!(for_http, [set_ups, http], "{max}");
        }
    }
}
