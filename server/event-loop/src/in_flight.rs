//! Bytes that a TCP peer has not acknowledged yet (`TCP_INFO` of Linux).
//!
//! A reset discards bytes that the kernel has not delivered yet. A task that must reset a connection
//! after its last byte therefore waits until nothing is in flight.

use std::os::fd::AsFd;

/// Bytes and segments under way to the peer of a TCP connection.
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
    /// Everything has reached the peer.
    pub const NOTHING: InFlight = InFlight { acknowledged: 0, segments: 0, unsent: 0 };

    /// At least `unsent` bytes in flight, and the end of the stream after them.
    pub fn unfinished(unsent: usize) -> InFlight {
        let unsent = u32::try_from(unsent).unwrap_or(u32::MAX);
        InFlight { acknowledged: 0, segments: 1, unsent }
    }

    /// Whether everything that was written has reached the peer's kernel.
    pub fn is_nothing(&self) -> bool {
        self.segments == 0 && self.unsent == 0
    }

    /// The bytes in flight on `socket`. None where the kernel does not report them: on another system
    /// than Linux, on Linux before 4.6, and for a socket that is not TCP.
    pub fn on(socket: &impl AsFd) -> Option<InFlight> {
        system::in_flight(socket)
    }
}

#[cfg(any(target_os = "android", target_os = "linux"))]
mod system {
    use std::{os::fd::AsFd, sync::LazyLock};

    use nix::{
        getsockopt_impl, libc, sockopt_impl,
        sys::{socket::getsockopt, utsname::uname},
    };

    use super::InFlight;

    /// Whether the kernel fills all of [`Fields`]. nix panics where it fills fewer.
    static IS_SUPPORTED: LazyLock<bool> = LazyLock::new(|| {
        let release = uname().ok();
        let release = release.as_ref().and_then(|name| name.release().to_str());
        release.is_some_and(is_supported)
    });

    /// Whether a kernel of this `release`, such as `6.1.0-18-amd64`, is Linux 4.6 or later.
    fn is_supported(release: &str) -> bool {
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= (4, 6),
            _ => false,
        }
    }

    /// The first fields of Linux's `struct tcp_info`, as Linux 4.6 has them. Later versions have
    /// only appended to them.
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
        let fields = IS_SUPPORTED.then(|| getsockopt(socket, TcpInfo).ok()).flatten()?;
        Some(InFlight {
            acknowledged: fields.bytes_acked,
            segments: fields.unacked,
            unsent: fields.notsent_bytes,
        })
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn kernels_that_fill_fewer_fields_are_not_asked() {
            for release in ["4.6", "4.10.0", "5.4.0-26-generic", "6.18.44-fc-v595", "10.0-rc1"] {
                assert!(is_supported(release), "{release}");
            }
            for release in ["2.6.32-754.el6", "3.10.0-1160.el7", "4.5.7", "4", "", "next"] {
                assert!(!is_supported(release), "{release}");
            }
        }
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
