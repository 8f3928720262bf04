//! Whether a TCP peer has acknowledged all that was written (`TCP_INFO` of Linux).
//!
//! A reset discards what the kernel has not delivered yet, so that whoever must reset a
//! connection after its last byte asks here first.

use std::os::fd::AsFd;

/// What is on its way to the peer of a TCP connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InFlight {
    /// Bytes that the peer has acknowledged since the connection was made.
    pub acknowledged: u64,
    /// Segments that were sent and are not acknowledged.
    segments: u32,
    /// Bytes that were not sent yet.
    pub unsent: u32,
}

impl InFlight {
    /// Nothing is in flight.
    pub const NOTHING: InFlight = InFlight { acknowledged: 0, segments: 0, unsent: 0 };

    /// At least `unsent` bytes, and the end behind them.
    pub fn unfinished(unsent: usize) -> InFlight {
        let unsent = u32::try_from(unsent).unwrap_or(u32::MAX);
        InFlight { acknowledged: 0, segments: 1, unsent }
    }

    /// Whether everything that was written has reached the peer's kernel.
    pub fn is_nothing(&self) -> bool {
        self.segments == 0 && self.unsent == 0
    }

    /// What the kernel knows about `socket`; none where it does not tell: not TCP, or
    /// not Linux.
    pub fn on(socket: &impl AsFd) -> Option<InFlight> {
        system::in_flight(socket)
    }
}

#[cfg(any(target_os = "android", target_os = "linux"))]
mod system {
    use std::os::fd::AsFd;

    use nix::{getsockopt_impl, libc, sockopt_impl, sys::socket::getsockopt};

    use super::InFlight;

    /// The first fields of Linux's `struct tcp_info`, which later versions of Linux have
    /// only appended to. The last one is there since Linux 4.6.
    #[derive(Clone, Copy)]
    #[repr(C)]
    #[expect(unreachable_pub, reason = "it stands in the implementation of nix's public trait")]
    pub struct Fields {
        /// State, options and timers.
        _first: [u32; 6],
        unacked: u32,
        /// `tcpi_sacked` to `tcpi_total_retrans`.
        _second: [u32; 19],
        _pacing_rates: [u64; 2],
        bytes_acked: u64,
        _bytes_received: u64,
        _segments: [u32; 2],
        notsent_bytes: u32,
        _min_rtt: u32,
    }

    sockopt_impl!(TcpInfo, GetOnly, libc::IPPROTO_TCP, libc::TCP_INFO, Fields);

    pub(super) fn in_flight(socket: &impl AsFd) -> Option<InFlight> {
        let fields = getsockopt(socket, TcpInfo).ok()?;
        Some(InFlight {
            acknowledged: fields.bytes_acked,
            segments: fields.unacked,
            unsent: fields.notsent_bytes,
        })
    }
}

#[cfg(not(any(target_os = "android", target_os = "linux")))]
mod system {
    use std::os::fd::AsFd;

    use super::InFlight;

    pub(super) fn in_flight(_: &impl AsFd) -> Option<InFlight> {
        None
    }
}
