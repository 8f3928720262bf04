//! Protection of a Unix datagram socket from peers that do not read.
//!
//! The kernel charges a Unix datagram to the send buffer of its sender until the receiver has read it.
//! A peer that reads nothing could therefore use up the send buffer of a server, which could then answer
//! no peer. The kernel reports how many bytes are unread, but not by which peer. So the peer is guessed:
//!
//! - While at least a quarter of the buffer is unread, the bytes that are sent to each peer are counted.
//! - When half of the buffer is unread, the peer whose count is closest to the growth of the unread bytes
//!   is *excluded*: nothing is sent to that peer until the unread bytes have halved.
//! - If the growth continues, a further peer is excluded when half of the rest is unread. The peer excluded
//!   before is admitted again, once, because the guess may have been wrong.
//!
//! One peer that does not read leaves a quarter of the buffer to others. Two leave 1/16, unless as much is
//! sent to the others as to these two. While a peer holds half of the buffer, a peer that reads may be
//! excluded in its place.

use std::{collections::HashMap, io};

use nix::sys::socket::UnixAddr;
use parking_lot::Mutex;

/// The send buffer that is asked for, in bytes; the system limits it (`net.core.wmem_max`).
const SEND_BUFFER: usize = 1 << 20;

/// The largest number of peers whose bytes are counted.
const MAX_COUNTED: usize = 1024;

/// The unread bytes of one socket.
#[derive(Debug)]
pub(crate) struct Unread(Mutex<State>);

#[derive(Debug)]
struct State {
    /// The size of the send buffer.
    capacity: usize,
    /// An upper bound of the unread bytes: those that the kernel reported last, and those sent since.
    bound: usize,
    /// The unread bytes when the counts began.
    start: usize,
    /// The unread bytes at which a peer is excluded.
    threshold: usize,
    counted: HashMap<UnixAddr, usize>,
    excluded: Vec<Excluded>,
}

/// A peer that was excluded.
#[derive(Debug)]
struct Excluded {
    peer: UnixAddr,
    /// The unread bytes at the exclusion.
    at: usize,
    /// Whether nothing is sent to the peer; false once it is admitted again.
    is_active: bool,
    was_readmitted: bool,
}

impl Unread {
    /// Enlarges the send buffer of `socket`, of which nothing has been sent yet.
    pub(super) fn of(socket: &tokio::net::UnixDatagram) -> Unread {
        // An error leaves the size as it is.
        socket2::SockRef::from(socket).set_send_buffer_size(SEND_BUFFER).ok();
        let capacity = system::send_buffer(socket).map_or(usize::MAX, |buffer| buffer.size);
        Unread(Mutex::new(State::new(capacity)))
    }

    /// Calls `send`, which sends a datagram of `len` bytes, unless the peer is excluded.
    ///
    /// # Errors
    ///
    /// The errors of `send`; `WouldBlock` for an excluded peer.
    pub(super) fn send(
        &self,
        socket: &tokio::net::UnixDatagram,
        to: &UnixAddr,
        len: usize,
        send: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let mut state = self.0.lock();
        let unread = || system::send_buffer(socket).map_or(0, |buffer| buffer.unread);
        if state.is_low() {
            send()?;
            state.bound = state.bound.saturating_add(largest_charge(len));
            return Ok(());
        }
        let before = unread();
        if !state.admits(to, before) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        send()?;
        state.count(to, unread().saturating_sub(before));
        Ok(())
    }
}

/// An upper bound of the bytes that the kernel charges for a datagram: the next power of two, and headers.
fn largest_charge(len: usize) -> usize {
    2 * len + 1024
}

impl State {
    fn new(capacity: usize) -> State {
        State {
            capacity,
            bound: 0,
            start: 0,
            threshold: capacity / 2,
            counted: HashMap::new(),
            excluded: Vec::new(),
        }
    }

    /// Whether so little is unread that nothing is counted.
    fn is_low(&self) -> bool {
        self.bound < self.capacity / 4
    }

    /// Whether a peer is sent a datagram while `unread` bytes are unread. Excludes a peer at the threshold.
    fn admits(&mut self, to: &UnixAddr, unread: usize) -> bool {
        self.bound = unread;
        self.start = self.start.min(unread);
        self.excluded.retain(|excluded| unread >= excluded.at / 2);
        if self.is_low() {
            *self = State { bound: unread, start: unread, ..State::new(self.capacity) };
        } else if unread >= self.threshold {
            let growth = unread - self.start;
            let closest = self.counted.iter().min_by_key(|(_, count)| count.abs_diff(growth));
            if let Some((&peer, _)) = closest {
                self.exclude(peer, unread);
            }
            self.counted.clear();
            self.start = unread;
            self.threshold = unread + self.capacity.saturating_sub(unread) / 2;
        }
        !self.excluded.iter().any(|excluded| excluded.is_active && excluded.peer == *to)
    }

    /// Excludes a peer, and admits each peer again that was excluded before it for the first time.
    fn exclude(&mut self, peer: UnixAddr, at: usize) {
        let mut was_readmitted = false;
        self.excluded.retain_mut(|excluded| {
            if excluded.peer == peer {
                was_readmitted = excluded.was_readmitted;
            } else if !excluded.was_readmitted {
                (excluded.is_active, excluded.was_readmitted) = (false, true);
            }
            excluded.peer != peer
        });
        self.excluded.push(Excluded { peer, at, is_active: true, was_readmitted });
    }

    /// Counts bytes that were sent to a peer.
    fn count(&mut self, to: &UnixAddr, bytes: usize) {
        if self.counted.len() < MAX_COUNTED || self.counted.contains_key(to) {
            *self.counted.entry(*to).or_default() += bytes;
        }
    }
}

/// The send buffer of a socket, in bytes.
struct SendBuffer {
    size: usize,
    unread: usize,
}

#[cfg(target_os = "linux")]
mod system {
    use std::os::fd::AsFd;

    use nix::{getsockopt_impl, libc, sockopt_impl, sys::socket::getsockopt};

    use super::SendBuffer;

    sockopt_impl!(MemInfo, GetOnly, libc::SOL_SOCKET, libc::SO_MEMINFO, [u32; 4]);

    /// The send buffer; none where the kernel does not report it: before Linux 4.12.
    pub(super) fn send_buffer(socket: &impl AsFd) -> Option<SendBuffer> {
        // The numbers of linux/sock_diag.h.
        let [_, _, unread, size] = getsockopt(socket, MemInfo).ok()?;
        Some(SendBuffer { size: size as usize, unread: unread as usize })
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::os::fd::AsFd;

    use super::SendBuffer;

    pub(super) fn send_buffer(_: &impl AsFd) -> Option<SendBuffer> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Peers, of which the first `deaf` read nothing.
    struct Peers {
        state: State,
        addresses: Vec<UnixAddr>,
        deaf: usize,
        unread: usize,
    }

    impl Peers {
        fn new(all: usize, deaf: usize) -> Peers {
            let names = (0..all).map(|number| format!("/run/{number}"));
            let addresses = names.map(|name| UnixAddr::new(&*name).unwrap()).collect();
            Peers { state: State::new(400_000), addresses, deaf, unread: 0 }
        }

        /// Whether a datagram is sent to a peer, which reads it at once unless it is deaf.
        fn send(&mut self, peer: usize, bytes: usize) -> bool {
            let to = &self.addresses[peer];
            if self.state.is_low() {
                self.state.bound += bytes;
            } else if self.unread < 400_000 && self.state.admits(to, self.unread) {
                self.state.count(to, bytes);
            } else {
                return false;
            }
            self.unread += if peer < self.deaf { bytes } else { 0 };
            true
        }
    }

    #[test]
    fn a_peer_that_does_not_read_is_sent_nothing_more_and_others_are_answered() {
        // Datagrams to the peer that reads for each to the other one, and the sizes of both.
        for (ratio, size, deaf_size) in
            [(1, 2304, 768), (1, 768, 2304), (100, 2304, 768), (3, 61_696, 768), (2, 768, 61_696)]
        {
            let mut peers = Peers::new(2, 1);
            let sent = (0..2000).filter(|_| {
                let answers = (0..ratio).filter(|_| peers.send(1, size)).count();
                assert_eq!(answers, ratio, "{ratio} of {size} bytes");
                peers.send(0, deaf_size)
            });
            let held = sent.count() * deaf_size;
            assert!((200_000..300_000).contains(&held), "{held}");
            peers.unread = 0;
            assert!(peers.send(0, deaf_size), "a peer that has read is answered again");
        }
    }

    #[test]
    fn one_peer_that_does_not_read_leaves_a_part_to_one_that_is_sent_as_much_and_two_to_one_less() {
        for (deaf, rounds, most) in [(1, 1, 301_000), (2, 4, 376_000)] {
            let mut peers = Peers::new(deaf + 1, deaf);
            for round in 0..2000 {
                for peer in 0..deaf {
                    peers.send(peer, 768);
                }
                if round % rounds == 0 {
                    peers.send(deaf, 768);
                }
            }
            assert!(peers.unread < most, "{}", peers.unread);
            assert!((0..deaf).all(|peer| !peers.send(peer, 768)));
            assert!(peers.send(deaf, 768), "{deaf}");
        }
    }

    #[test]
    fn nobody_is_excluded_where_the_kernel_reports_nothing() {
        let mut state = State::new(usize::MAX);
        assert!(state.is_low());
        assert!(state.admits(&UnixAddr::new("/run/x").unwrap(), 0));
    }
}
