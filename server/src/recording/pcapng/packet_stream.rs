//! A TCP connection or datagrams, as packets between two addresses.

use std::net::SocketAddr;

use echogate_proto::recording::Direction;

use super::{
    block::Packets,
    packet::{self, ACK, FIN, MAX_DATAGRAM, MAX_PAYLOAD, PSH, RST, SYN, Segment},
};

/// The most unacknowledged bytes of a direction: below a window that is not scaled.
const MAX_IN_FLIGHT: u32 = 65_000;

/// The protocol of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PacketProtocol {
    Tcp,
    Udp,
}

/// The packets of a side of a connection.
#[derive(Debug)]
pub(super) struct PacketStream {
    protocol: PacketProtocol,
    /// The client and the server.
    ends: [SocketAddr; 2],
    /// The states of client and server as senders.
    senders: [Sender; 2],
    /// A reset has ended the connection.
    is_reset: bool,
}

#[derive(Debug)]
struct Sender {
    /// The number of the next byte.
    next: u32,
    /// The number up to which the other end has acknowledged.
    acknowledged: u32,
    has_ended: bool,
}

impl Sender {
    fn new(sequence: u32) -> Sender {
        Sender { next: sequence, acknowledged: sequence, has_ended: false }
    }

    fn in_flight(&self) -> u32 {
        self.next.wrapping_sub(self.acknowledged)
    }
}

impl PacketStream {
    pub(super) fn new(
        protocol: PacketProtocol,
        ends: [SocketAddr; 2],
        connection: u64,
    ) -> PacketStream {
        // Numbers that differ between connections, and are the same in each file. Odd, so that neither
        // handshake acknowledges 0, which analysers take for a missing acknowledgement.
        let first = (connection as u32).wrapping_mul(0x9e37_79b1) | 1;
        PacketStream { protocol, ..PacketStream::with_sequences(ends, [first, !first]) }
    }

    /// A TCP connection whose bytes have numbers from these on.
    pub(super) fn with_sequences(ends: [SocketAddr; 2], first: [u32; 2]) -> PacketStream {
        let senders = first.map(Sender::new);
        PacketStream { protocol: PacketProtocol::Tcp, ends, senders, is_reset: false }
    }

    /// The handshake of TCP.
    pub(super) fn open(&mut self, to: &mut Packets<'_>) {
        if self.protocol == PacketProtocol::Udp {
            return;
        }
        // There is nothing to acknowledge yet.
        let [client, server] = [self.senders[0].next, self.senders[1].next];
        self.segment(
            0,
            &Segment { flags: SYN, sequence: client, acknowledgement: 0, payload: &[] },
            to,
        );
        self.senders[0].next = client.wrapping_add(1);
        let acknowledgement = self.senders[0].next;
        let syn = Segment { flags: SYN | ACK, sequence: server, acknowledgement, payload: &[] };
        self.segment(1, &syn, to);
        self.senders[0].acknowledged = acknowledgement;
        self.senders[1].next = server.wrapping_add(1);
        self.send(0, ACK, &[], to);
    }

    /// Payload.
    pub(super) fn data(&mut self, direction: Direction, bytes: &[u8], to: &mut Packets<'_>) {
        let from = direction as usize;
        if self.protocol == PacketProtocol::Udp {
            self.datagram(from, bytes, to);
            return;
        }
        for payload in bytes.chunks(MAX_PAYLOAD) {
            if self.is_reset || self.senders[from].has_ended {
                return;
            }
            let in_flight = self.senders[from].in_flight();
            if in_flight > 0 && in_flight + payload.len() as u32 > MAX_IN_FLIGHT {
                self.send(1 - from, ACK, &[], to);
            }
            self.send(from, PSH | ACK, payload, to);
        }
    }

    /// A datagram, in several packets if it has more bytes than one of UDP can have.
    fn datagram(&mut self, from: usize, bytes: &[u8], to: &mut Packets<'_>) {
        let mut rest = bytes;
        loop {
            let (payload, more) = rest.split_at(rest.len().min(MAX_DATAGRAM));
            if payload.len() < bytes.len() && rest.len() == bytes.len() {
                let text = format!("a datagram of {} bytes, in several packets", bytes.len());
                super::add_comment(to.comment, &text);
            }
            let ends = [self.ends[from], self.ends[1 - from]];
            to.add(|out| packet::udp(out, ends, payload));
            rest = more;
            if rest.is_empty() {
                return;
            }
        }
    }

    /// Rewinds the sequence numbers by `length` bytes, which the caller sends again. Returns whether the
    /// direction had ended: the caller then sends its FIN again, too.
    pub(super) fn rewind(&mut self, direction: Direction, length: usize) -> bool {
        let sender = &mut self.senders[direction as usize];
        let had_ended = std::mem::take(&mut sender.has_ended);
        sender.next = sender.next.wrapping_sub(length as u32 + u32::from(had_ended));
        sender.acknowledged = sender.next;
        had_ended
    }

    /// Skips `length` sequence numbers: bytes that the file does not have.
    pub(super) fn skip(&mut self, direction: Direction, length: u32) {
        let sender = &mut self.senders[direction as usize];
        sender.next = sender.next.wrapping_add(length);
        sender.acknowledged = sender.next;
    }

    /// The end of a direction.
    pub(super) fn fin(&mut self, direction: Direction, to: &mut Packets<'_>) {
        let from = direction as usize;
        if self.protocol == PacketProtocol::Udp || self.is_reset || self.senders[from].has_ended {
            return;
        }
        self.send(from, FIN | ACK, &[], to);
        let sender = &mut self.senders[from];
        sender.next = sender.next.wrapping_add(1);
        sender.has_ended = true;
    }

    /// A reset.
    pub(super) fn reset(&mut self, direction: Direction, to: &mut Packets<'_>) {
        if self.protocol == PacketProtocol::Tcp && !self.is_reset {
            self.send(direction as usize, RST | ACK, &[], to);
            self.is_reset = true;
        }
    }

    /// The end of the connection.
    pub(super) fn end(&mut self, to: &mut Packets<'_>) {
        if self.protocol == PacketProtocol::Udp || self.is_reset {
            return;
        }
        self.fin(Direction::ToServer, to);
        self.fin(Direction::ToClient, to);
        for from in [0, 1] {
            if self.senders[from].in_flight() > 0 {
                self.send(1 - from, ACK, &[], to);
            }
        }
    }

    /// A segment that acknowledges what the other end has sent.
    fn send(&mut self, from: usize, flags: u8, payload: &[u8], to: &mut Packets<'_>) {
        let acknowledgement = self.senders[1 - from].next;
        self.senders[1 - from].acknowledged = acknowledgement;
        let sequence = self.senders[from].next;
        self.senders[from].next = sequence.wrapping_add(payload.len() as u32);
        self.segment(from, &Segment { flags, sequence, acknowledgement, payload }, to);
    }

    fn segment(&self, from: usize, segment: &Segment<'_>, to: &mut Packets<'_>) {
        let ends = [self.ends[from], self.ends[1 - from]];
        to.add(|out| packet::tcp(out, ends, segment));
    }
}
