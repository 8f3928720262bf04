//! A connection of one or two sides, which may continue from another file.

use std::{mem, sync::Arc};

use echogate_proto::{
    api::Kind,
    recording::{Direction, Lost, Opened, Side, TapPoint},
    ws::scanner::{FrameScanner, RawHeader},
};

use super::{
    addresses,
    block::Packets,
    handshake, loss, packet,
    packet_stream::{PacketProtocol, PacketStream},
};
use crate::recording;

const DIRECTIONS: [Direction; 2] = [Direction::ToServer, Direction::ToClient];

/// The longest gap of sequence numbers, in bytes: they are compared modulo 2^32.
const MAX_GAP: u64 = 1 << 30;

/// A connection of one or two sides.
#[derive(Debug)]
pub(super) struct Conversation {
    connection: u64,
    opened: Arc<Opened>,
    sides: [PacketSide; 2],
    /// The comment of the next packet.
    comment: String,
    /// The events that were lost since the previous packet, and the time of the latest loss report.
    lost: Lost,
    lost_at: u64,
}

/// The packets of a side.
#[derive(Debug, Default)]
struct PacketSide {
    /// The state after the last packet, in this file or in one before.
    stream: Option<PacketStream>,
    /// Whether this file has a packet of the side.
    has_begun: bool,
    /// The beginning of the frame that the first bytes of each direction continue, which this file has
    /// between the opening handshake and those bytes.
    prefixes: [Vec<u8>; 2],
    /// The gap in front of the next bytes of each direction, where the frames continue after lost
    /// bytes.
    gaps: [Option<Gap>; 2],
    /// The most bytes that each direction has lost since its last ones.
    lost: [u64; 2],
}

/// Lost bytes in a direction, after which the position within the frames is known again.
#[derive(Debug)]
struct Gap {
    /// The number of sequence numbers without bytes: at least that of the bytes up to the end of the
    /// frame, so that no later byte is taken for the rest of an earlier frame.
    length: u64,
    /// The beginning of the frame that continues after the gap.
    prefix: Vec<u8>,
}

impl Conversation {
    /// A connection without packets.
    pub(super) fn new(connection: u64, opened: Arc<Opened>) -> Conversation {
        let (sides, comment, lost) = (Default::default(), String::new(), Lost::default());
        Conversation { connection, opened, sides, comment, lost, lost_at: 0 }
    }

    /// Continues the connection in a further file, where `opened` describes it.
    pub(super) fn continued(self, opened: Arc<Opened>) -> Conversation {
        let sides = self.sides.map(|side| PacketSide { has_begun: false, ..side });
        Conversation { opened, sides, ..self }
    }

    /// A connection whose client's side has begun with `stream`.
    #[cfg(test)]
    pub(super) fn with_stream(
        connection: u64,
        opened: Opened,
        stream: PacketStream,
    ) -> Conversation {
        let mut conversation = Conversation::new(connection, opened.into());
        conversation.sides[0] =
            PacketSide { stream: Some(stream), has_begun: true, ..PacketSide::default() };
        conversation
    }

    /// The beginning of the connection, as far as it has packets before its first event: those of
    /// the handshake of TCP.
    pub(super) fn open(&mut self, time: u64, out: &mut Vec<u8>) {
        let is_tcp = protocol(&self.opened, Side::Client) == PacketProtocol::Tcp;
        if is_tcp && self.opened.bytes_before == 0 {
            self.side(Side::Client, time, out);
        }
    }

    /// Bytes or a datagram.
    pub(super) fn data(&mut self, point: TapPoint, bytes: &[u8], time: u64, out: &mut Vec<u8>) {
        let TapPoint { side, direction } = point;
        let gap = self.sides[side as usize].gaps[direction as usize].take();
        self.sides[side as usize].lost[direction as usize] = 0;
        let Some(Gap { length, prefix }) = gap else {
            let (stream, mut to) = self.side(side, time, out);
            return stream.data(direction, bytes, &mut to);
        };
        let (stream, mut to) = self.side(side, time, out);
        stream.skip(direction, length as u32);
        super::add_comment(to.comment, loss::FRAMES_CONTINUE);
        stream.data(direction, &[&prefix, bytes].concat(), &mut to);
    }

    /// The position within the frames of a direction whose earlier bytes were not observed.
    pub(super) fn position(&mut self, point: TapPoint, scanner: &FrameScanner) {
        let (side, direction) = (&mut self.sides[point.side as usize], point.direction as usize);
        let (prefix, lost) = (scanner.prefix(), side.lost[direction]);
        if !side.has_begun && lost == 0 {
            side.prefixes[direction] = prefix;
            return;
        }
        let rest = RawHeader::parse(&prefix).map_or(0, |(header, _)| header.len);
        let length = lost.saturating_add(rest).clamp(1, MAX_GAP);
        side.gaps[direction] = Some(Gap { length, prefix });
    }

    /// The end of a direction.
    pub(super) fn fin(&mut self, point: TapPoint, time: u64, out: &mut Vec<u8>) {
        let (stream, mut to) = self.side(point.side, time, out);
        stream.fin(point.direction, &mut to);
    }

    /// A reset.
    pub(super) fn reset(&mut self, point: TapPoint, time: u64, out: &mut Vec<u8>) {
        let (stream, mut to) = self.side(point.side, time, out);
        stream.reset(point.direction, &mut to);
    }

    /// Lost events of any side and direction.
    pub(super) fn lose(&mut self, lost: Lost, time: u64) {
        self.lost += lost;
        self.lost_at = time;
        for of_direction in self.sides.iter_mut().flat_map(|side| &mut side.lost) {
            *of_direction = of_direction.saturating_add(lost.bytes);
        }
    }

    /// Appends a packet without payload that names the losses since the previous packet, if any.
    pub(super) fn note_losses(&self, out: &mut Vec<u8>) {
        if self.lost.events == 0 {
            return;
        }
        // A side without packets has no stream yet.
        let ends = addresses::ends(self.connection, &self.opened, Side::Client);
        let mut comment = format!("connection {}; {}", self.connection, recording::lost(self.lost));
        Packets { time: self.lost_at, comment: &mut comment, out }
            .add(|out| packet::empty(out, ends));
    }

    /// Forgets the losses since the previous packet, which the end of a file names.
    pub(super) fn forget_losses(&mut self) {
        self.lost = Lost::default();
    }

    /// The end of the connection, which a comment names.
    pub(super) fn end(&mut self, reason: &str, time: u64, out: &mut Vec<u8>) {
        for side in [Side::Client, Side::Upstream] {
            if side == Side::Client || self.sides[side as usize].stream.is_some() {
                self.side(side, time, out);
            }
        }
        let ends = addresses::ends(self.connection, &self.opened, Side::Client);
        let text = format!("connection {} {reason}", self.connection);
        super::add_comment(&mut self.comment, &text);
        let Conversation { sides, comment, .. } = self;
        let mut to = Packets { time, comment, out };
        let streams = sides.iter_mut().filter_map(|side| side.stream.as_mut());
        streams.for_each(|stream| stream.end(&mut to));
        // No packet follows a reset or datagrams.
        if !to.comment.is_empty() {
            to.add(|out| packet::empty(out, ends));
        }
    }

    /// The stream of a side, which begins with this event if the file has none of it yet.
    fn side<'a>(
        &'a mut self,
        side: Side,
        time: u64,
        out: &'a mut Vec<u8>,
    ) -> (&'a mut PacketStream, Packets<'a>) {
        let begins = !mem::replace(&mut self.sides[side as usize].has_begun, true);
        if begins {
            let text = description(self.connection, &self.opened, side);
            super::add_comment(&mut self.comment, &text);
        }
        self.comment_losses();
        let Conversation { connection, opened, sides, comment, .. } = self;
        let mut to = Packets { time, comment, out };
        let state = &mut sides[side as usize];
        if begins {
            state.begin(*connection, opened, side, &mut to);
        }
        (state.stream.as_mut().expect("a side that has begun has a stream"), to)
    }

    /// Adds the losses so far to the comment of the next packet.
    fn comment_losses(&mut self) {
        if self.lost.events > 0 {
            super::add_comment(&mut self.comment, &recording::lost(mem::take(&mut self.lost)));
        }
    }
}

impl PacketSide {
    /// Begins the packets of this file: with the handshake of TCP and the opening handshake or, where
    /// the side continues from another file, with the opening handshake in front of the next byte. It
    /// has the sequence numbers of bytes in the other file, so that together it counts as a
    /// retransmission, and the next byte follows the last one there.
    fn begin(&mut self, connection: u64, opened: &Opened, side: Side, to: &mut Packets<'_>) {
        let ends = addresses::ends(connection, opened, side);
        let heads = if opened.has_frames(side) {
            handshake::heads(opened, side, ends[1])
        } else {
            <_>::default()
        };
        let prefixes = mem::take(&mut self.prefixes);
        let mut ended = [false; 2];
        let stream = match &mut self.stream {
            Some(stream) => {
                for direction in DIRECTIONS {
                    let at = direction as usize;
                    ended[at] = stream.rewind(direction, heads[at].len() + prefixes[at].len());
                }
                stream
            }
            none => {
                let stream =
                    none.insert(PacketStream::new(protocol(opened, side), ends, connection));
                if opened.bytes_before == 0 {
                    stream.open(to);
                }
                stream
            }
        };
        let heads = heads.map(String::into_bytes);
        let parts = heads.iter().chain(&prefixes).zip(DIRECTIONS.into_iter().cycle());
        for (bytes, direction) in parts.filter(|(bytes, _)| !bytes.is_empty()) {
            stream.data(direction, bytes, to);
        }
        for direction in DIRECTIONS.into_iter().filter(|direction| ended[*direction as usize]) {
            stream.fin(direction, to);
        }
    }
}

/// The protocol of the packets of a side.
fn protocol(opened: &Opened, side: Side) -> PacketProtocol {
    let is_datagrams = match side {
        Side::Client => matches!(opened.kind, Some(Kind::Udp | Kind::UnixGram)),
        Side::Upstream => opened
            .upstream
            .as_ref()
            .is_some_and(|url| ["udp:", "unixgram:"].iter().any(|scheme| url.starts_with(scheme))),
    };
    if is_datagrams { PacketProtocol::Udp } else { PacketProtocol::Tcp }
}

/// The comment of a side's first packet.
fn description(connection: u64, opened: &Opened, side: Side) -> String {
    let mut text = format!("connection {connection}");
    if side == Side::Upstream {
        text.push_str(", upstream side");
    }
    text.push(':');
    if let Some(kind) = opened.kind {
        text += &format!(" {kind}");
    }
    text += &format!(" {}", opened.target);
    for (name, value) in [("client", &opened.peer), ("upstream", &opened.upstream)] {
        if let Some(value) = value {
            text += &format!(", {name} {value}");
        }
    }
    if opened.bytes_before > 0 {
        super::add_comment(&mut text, &recording::earlier_bytes(opened.bytes_before));
    }
    text
}
