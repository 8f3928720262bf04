//! Protection from datagram loops: two services that answer each other's answers, or one that
//! answers itself, for ever. One datagram with a forged sender is enough to start a loop.
//!
//! A datagram is not answered if its sender
//!
//! 1. is a socket of this server ([`OwnSockets`](crate::net::own_sockets::OwnSockets)),
//! 2. has the port of a service that answers any datagram ([`ANSWERING_PORTS`]), the rule of
//!    NetBSD's inetd,
//! 3. has returned the answers of this server for too long ([`Returns`]). The first datagram that
//!    is not answered ends a loop.

use std::{
    hash::{BuildHasher, Hash, RandomState},
    time::{Duration, Instant},
};

/// The ports of echo, discard, daytime, qotd, chargen and time (IANA), and 0, to which no answer
/// can be sent. DNS, NTP and the like are not among them: their answers are marked as such and
/// ignored when they come back.
const ANSWERING_PORTS: [u16; 7] = [0, 7, 9, 13, 17, 19, 37];

/// The number of datagrams in a row that may equal the answer sent before them. A client that
/// sends equal datagrams to `echo` one after the other looks like a loop, so the number is large.
pub(super) const MAX_RETURNS: u32 = 10_000;

/// The time for which a sender is not answered after [`MAX_RETURNS`]. A loop that forged datagrams
/// start again and again takes a few percent of a core at most.
pub(super) const SILENCE: Duration = Duration::from_secs(10);

/// The number of senders that are checked for loops at the same time.
const SLOTS: usize = 1024;

/// The number of bytes that are compared at the beginning and at the end of an answer, besides the
/// length.
const COMPARED: usize = 32;

/// Whether a service on this port answers any datagram.
pub(super) fn answers_anything(port: u16) -> bool {
    ANSWERING_PORTS.contains(&port)
}

/// Senders that return the answers of this server.
///
/// A table of fixed size, indexed by a keyed hash of the sender. Of senders with the same slot, the
/// one that was answered last occupies the slot.
pub(super) struct Returns {
    keys: RandomState,
    slots: Box<[Slot]>,
}

/// The keyed hash of a sender's address.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SenderHash(u64);

#[derive(Clone, Copy)]
struct Slot {
    sender: SenderHash,
    answer: Sample,
    /// The number of datagrams in a row that were equal to the answer before them.
    returns: u32,
    silent_until: Option<Instant>,
}

/// The compared part of an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Sample {
    len: usize,
    start: [u8; COMPARED],
    end: [u8; COMPARED],
}

/// Whether a datagram is part of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Loop {
    No,
    /// The sender is not answered from now on, for [`SILENCE`].
    Found,
    /// The sender is not answered at present.
    Silenced,
}

impl Returns {
    pub(super) fn new() -> Returns {
        let answer = Sample { len: usize::MAX, start: [0; COMPARED], end: [0; COMPARED] };
        let slot = Slot { sender: SenderHash(0), answer, returns: 0, silent_until: None };
        Returns { keys: RandomState::new(), slots: vec![slot; SLOTS].into() }
    }

    pub(super) fn sender(&self, address: impl Hash) -> SenderHash {
        SenderHash(self.keys.hash_one(address))
    }

    /// Records a datagram that was received at `now`.
    pub(super) fn received(&mut self, sender: SenderHash, bytes: &[u8], now: Instant) -> Loop {
        let slot = self.slot(sender);
        if slot.sender != sender {
            return Loop::No;
        }
        if slot.silent_until.is_some_and(|until| now < until) {
            return Loop::Silenced;
        }
        slot.silent_until = None;
        if slot.answer != Sample::of(bytes) {
            slot.returns = 0;
            return Loop::No;
        }
        slot.returns += 1;
        if slot.returns < MAX_RETURNS {
            return Loop::No;
        }
        (slot.returns, slot.silent_until) = (0, Some(now + SILENCE));
        Loop::Found
    }

    /// Records an answer that was sent.
    pub(super) fn answered(&mut self, sender: SenderHash, answer: &[u8]) {
        let slot = self.slot(sender);
        let returns = if slot.sender == sender { slot.returns } else { 0 };
        *slot = Slot { sender, answer: Sample::of(answer), returns, silent_until: None };
    }

    fn slot(&mut self, sender: SenderHash) -> &mut Slot {
        &mut self.slots[sender.0 as usize % SLOTS]
    }
}

impl Sample {
    fn of(bytes: &[u8]) -> Sample {
        let mut sample = Sample { len: bytes.len(), start: [0; COMPARED], end: [0; COMPARED] };
        let len = bytes.len().min(COMPARED);
        sample.start[..len].copy_from_slice(&bytes[..len]);
        sample.end[..len].copy_from_slice(&bytes[bytes.len() - len..]);
        sample
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_that_answer_any_datagram_are_known_by_their_ports() {
        assert!([0, 7, 13, 17, 19, 37].into_iter().all(answers_anything));
        assert!(![53, 123, 7007, 40_000].into_iter().any(answers_anything));
    }

    /// Exchanges datagrams with a sender until one is not answered; at most so many.
    fn exchange(
        returns: &mut Returns,
        most: u32,
        now: Instant,
        mut datagram: impl FnMut(u32) -> Vec<u8>,
    ) -> u32 {
        let sender = returns.sender(7);
        for number in 0..most {
            let bytes = datagram(number);
            if returns.received(sender, &bytes, now) != Loop::No {
                return number;
            }
            returns.answered(sender, &bytes);
        }
        most
    }

    #[test]
    fn a_loop_ends_and_its_sender_is_not_answered_for_a_while() {
        let (mut returns, now) = (Returns::new(), Instant::now());
        for bytes in [vec![], b"hello".to_vec(), vec![b'x'; 65_507]] {
            let mut returns = Returns::new();
            assert_eq!(exchange(&mut returns, u32::MAX, now, |_| bytes.clone()), MAX_RETURNS);
        }
        let sender = returns.sender(7);
        assert_eq!(exchange(&mut returns, u32::MAX, now, |_| vec![1]), MAX_RETURNS);
        assert_eq!(returns.received(sender, b"another", now + SILENCE / 2), Loop::Silenced);
        let other = returns.sender(8);
        assert_eq!(returns.received(other, &[1], now + SILENCE / 2), Loop::No);
        let again = exchange(&mut returns, u32::MAX, now + SILENCE, |_| vec![1]);
        assert!(again >= MAX_RETURNS - 1, "{again}");
    }

    #[test]
    fn clients_whose_datagrams_differ_are_always_answered() {
        let (mut returns, now) = (Returns::new(), Instant::now());
        let most = 5 * MAX_RETURNS;
        let numbered = |number: u32| number.to_be_bytes().repeat(100);
        assert_eq!(exchange(&mut returns, most, now, numbered), most);
        let now_and_then = |number: u32| vec![u8::from(number % MAX_RETURNS == 1)];
        assert_eq!(exchange(&mut returns, most, now, now_and_then), most);
    }

    #[test]
    fn an_answer_that_is_not_what_was_sent_is_no_return() {
        let (mut returns, now) = (Returns::new(), Instant::now());
        let sender = returns.sender(7);
        for _ in 0..2 * MAX_RETURNS {
            assert_eq!(returns.received(sender, b"hello", now), Loop::No);
            returns.answered(sender, b"HELLO");
        }
    }
}
