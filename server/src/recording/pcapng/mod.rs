//! pcapng files (draft-ietf-opsawg-pcapng) for Wireshark and its relatives: the bytes of connections
//! in synthetic packets, with nanosecond times. The payload of TLS is in the clear.
//!
//! - `block`: the blocks of the format; `packet`: IP, TCP and UDP headers
//! - `flow`: the state of a TCP connection; `addresses`: its ends; `handshake`: HTTP in front of frames
//! - [`loss`]: comments about lost events

mod addresses;
mod block;
mod flow;
mod handshake;
pub(super) mod loss;
mod packet;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use echogate_proto::{
    api::Kind,
    recording::{Direction, Lost, Opened, Side},
};

use self::flow::{Flow, Transport};
use super::{
    missing_connections,
    wire::{WireEvent, WireRecord},
};

/// An encoder of the connections in one file.
#[derive(Debug, Default)]
pub(crate) struct PcapngEncoder {
    /// The open connections.
    connections: BTreeMap<u64, Conversation>,
    /// The number of connections that are missing altogether, and the time at which it was known.
    missing: (u64, u64),
}

/// A connection of one or two sides.
#[derive(Debug)]
struct Conversation {
    opened: Arc<Opened>,
    /// The packets of each side, from its first event on.
    flows: [Option<Flow>; 2],
    /// The comment of the next packet.
    comment: String,
    /// The events that are lost since the packet before.
    lost: Lost,
}

impl PcapngEncoder {
    /// An encoder, which appends the start of a file to `out`.
    pub(crate) fn new(out: &mut Vec<u8>) -> PcapngEncoder {
        block::start(out);
        PcapngEncoder::default()
    }

    /// Appends the packets of an event to `out`.
    pub(crate) fn encode(&mut self, record: &WireRecord, out: &mut Vec<u8>) {
        let WireRecord { time, connection, ref event } = *record;
        if let WireEvent::Opened(opened) = event {
            let mut conversation = Conversation {
                opened: opened.clone(),
                flows: [None, None],
                comment: String::new(),
                lost: Lost::default(),
            };
            if transport(opened, Side::Client) == Transport::Tcp {
                conversation.flow(connection, Side::Client, time, out);
            }
            self.connections.insert(connection, conversation);
            return;
        }
        let Some(conversation) = self.connections.get_mut(&connection) else {
            // Only losses are recorded of connections that are missing altogether.
            if let WireEvent::Lost(lost) = event {
                self.missing = (self.missing.0.saturating_add(lost.events), time);
            }
            return;
        };
        match event {
            WireEvent::Bytes(place, bytes) | WireEvent::Datagram(place, bytes) => {
                let (flow, mut to) = conversation.flow(connection, place.side, time, out);
                flow.data(place.direction, bytes, &mut to);
            }
            WireEvent::Position(place, scanner) => {
                let (flow, mut to) = conversation.flow(connection, place.side, time, out);
                flow.data(place.direction, &scanner.prefix(), &mut to);
            }
            WireEvent::EndOfInput(place) => {
                let (flow, mut to) = conversation.flow(connection, place.side, time, out);
                flow.fin(place.direction, &mut to);
            }
            WireEvent::Reset(place) => {
                let (flow, mut to) = conversation.flow(connection, place.side, time, out);
                flow.reset(place.direction, &mut to);
            }
            WireEvent::Lost(lost) => conversation.lost += *lost,
            WireEvent::Closed(reason) => {
                conversation.comment_losses();
                add_comment(
                    &mut conversation.comment,
                    &format!("connection {connection} {reason}"),
                );
                let Conversation { flows, comment, .. } = conversation;
                for flow in flows.iter_mut().flatten() {
                    flow.end(&mut block::Packets { time, comment, out });
                }
                self.connections.remove(&connection);
            }
            WireEvent::Opened(_) => {}
        }
    }

    /// Appends the end of the file to `out`: the connections that are missing so far.
    pub(crate) fn tail(&self, out: &mut Vec<u8>) {
        let (missing, time) = self.missing;
        if missing > 0 {
            block::dropped(time, missing, &missing_connections(missing), out);
        }
    }
}

impl Conversation {
    /// The packets of a side, which begin now if this is its first event.
    fn flow<'a>(
        &'a mut self,
        connection: u64,
        side: Side,
        time: u64,
        out: &'a mut Vec<u8>,
    ) -> (&'a mut Flow, block::Packets<'a>) {
        if self.flows[side as usize].is_none() {
            add_comment(&mut self.comment, &description(connection, &self.opened, side));
        }
        self.comment_losses();
        let Conversation { opened, flows, comment, .. } = self;
        let mut to = block::Packets { time, comment, out };
        let flow = flows[side as usize].get_or_insert_with(|| {
            let ends = addresses::ends(connection, opened, side);
            let mut flow = Flow::new(transport(opened, side), ends, connection);
            if opened.bytes_before == 0 {
                flow.open(&mut to);
            }
            let has_frames = match side {
                Side::Client => opened.client_has_frames,
                Side::Upstream => opened.upstream_has_frames,
            };
            if has_frames {
                let [request, response] = handshake::heads(opened, side, ends[1]);
                flow.data(Direction::ToServer, request.as_bytes(), &mut to);
                flow.data(Direction::ToClient, response.as_bytes(), &mut to);
            }
            flow
        });
        (flow, to)
    }

    /// Adds the losses so far to the comment of the next packet.
    fn comment_losses(&mut self) {
        if self.lost.events > 0 {
            add_comment(&mut self.comment, &loss::comment(std::mem::take(&mut self.lost)));
        }
    }
}

/// The protocol of the packets of a side.
fn transport(opened: &Opened, side: Side) -> Transport {
    let is_datagrams = match side {
        Side::Client => matches!(opened.kind, Some(Kind::Udp | Kind::UnixGram)),
        Side::Upstream => opened
            .upstream
            .as_ref()
            .is_some_and(|url| ["udp:", "unixgram:"].iter().any(|scheme| url.starts_with(scheme))),
    };
    if is_datagrams { Transport::Udp } else { Transport::Tcp }
}

/// The comment of a side's first packet.
fn description(connection: u64, opened: &Opened, side: Side) -> String {
    let mut text = format!("connection {connection}");
    if side == Side::Upstream {
        text.push_str(", upstream side");
    }
    if let Some(kind) = opened.kind {
        text += &format!(": {kind}");
    }
    text += &format!(" {}", opened.target);
    for (name, value) in [("client", &opened.peer), ("upstream", &opened.upstream)] {
        if let Some(value) = value {
            text += &format!(", {name} {value}");
        }
    }
    if opened.bytes_before > 0 {
        text += &format!("; {} bytes before are not in this file", opened.bytes_before);
    }
    text
}

fn add_comment(comment: &mut String, text: &str) {
    if !comment.is_empty() {
        comment.push_str("; ");
    }
    comment.push_str(text);
}
