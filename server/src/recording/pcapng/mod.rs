//! pcapng files (draft-ietf-opsawg-pcapng) for Wireshark and its relatives: the bytes of connections
//! in synthetic packets, with nanosecond times. The payload of TLS is in the clear.
//!
//! - `block`: the blocks of the format; `packet`: IP, TCP and UDP headers
//! - `conversation`: a connection of one or two sides; `packet_stream`: the packets of a side
//! - `addresses`: its ends; `handshake`: HTTP in front of frames; [`loss`]: comments about lost events

mod addresses;
mod block;
mod conversation;
mod handshake;
pub(super) mod loss;
mod packet;
mod packet_stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::conversation::Conversation;
use super::{
    missing_connections,
    wire::{WireEvent, WireRecord},
};

/// An encoder of the connections in one file.
#[derive(Debug, Default)]
pub(crate) struct PcapngEncoder {
    /// The open connections.
    connections: BTreeMap<u64, Conversation>,
    /// The connections that have ended since the latest flush.
    ended: BTreeMap<u64, Conversation>,
    /// The open connections of the previous file of which this file has no event yet.
    earlier: OpenConnections,
    /// The number of connections that are missing altogether, and the time at which it was known.
    missing: (u64, u64),
    /// The value of `missing` at the latest flush.
    missing_flushed: (u64, u64),
}

/// The open connections of a file, for the next one, whose sequence numbers continue there.
#[derive(Debug, Default)]
pub(crate) struct OpenConnections(BTreeMap<u64, Conversation>);

impl PcapngEncoder {
    /// An encoder, which appends the start of a file to `out`.
    pub(crate) fn new(out: &mut Vec<u8>) -> PcapngEncoder {
        block::start(out);
        PcapngEncoder::default()
    }

    /// Continues the connections of another file.
    pub(crate) fn follow(&mut self, earlier: OpenConnections) {
        self.earlier = earlier;
    }

    /// The open connections at the end of the file, for the next one.
    pub(crate) fn into_open_connections(self) -> OpenConnections {
        let PcapngEncoder { mut connections, mut earlier, .. } = self;
        connections.values_mut().for_each(Conversation::forget_losses);
        earlier.0.extend(connections);
        earlier
    }

    /// Appends the packets of an event to `out`.
    pub(crate) fn encode(&mut self, record: &WireRecord, out: &mut Vec<u8>) {
        let WireRecord { time, connection, ref event } = *record;
        if let WireEvent::Opened(opened) = event {
            let mut conversation = match self.earlier.0.remove(&connection) {
                Some(earlier) => earlier.continued(opened.clone()),
                None => Conversation::new(connection, opened.clone()),
            };
            conversation.open(time, out);
            self.connections.insert(connection, conversation);
            return;
        }
        let Some(conversation) = self.connections.get_mut(&connection) else {
            // A connection that is missing altogether has no events but losses.
            if let WireEvent::Lost(lost) = event {
                self.missing = (self.missing.0.saturating_add(lost.events), time);
            }
            return;
        };
        match event {
            WireEvent::Bytes(point, bytes) | WireEvent::Datagram(point, bytes) => {
                conversation.data(*point, bytes, time, out);
            }
            WireEvent::Position(point, scanner) => conversation.position(*point, scanner),
            WireEvent::EndOfInput(point) => conversation.fin(*point, time, out),
            WireEvent::Reset(point) => conversation.reset(*point, time, out),
            WireEvent::Lost(lost) => conversation.lose(*lost, time),
            WireEvent::Closed(reason) => {
                conversation.end(reason, time, out);
                self.ended.extend(self.connections.remove_entry(&connection));
            }
            WireEvent::Opened(_) => {}
        }
    }

    /// Appends the end of the file to `out`: the losses of connections after their last packets, and
    /// the connections that are missing so far.
    pub(crate) fn tail(&self, out: &mut Vec<u8>) {
        self.connections.values().for_each(|conversation| conversation.note_losses(out));
        let (missing, time) = self.missing;
        if missing > 0 {
            block::dropped(time, missing, &missing_connections(missing), out);
        }
    }

    /// Commits the state after a flush that succeeded.
    pub(crate) fn commit(&mut self) {
        self.ended.clear();
        self.missing_flushed = self.missing;
    }

    /// Restores the state of the latest flush after one that failed: earlier losses are in the file,
    /// later ones are forgotten, and connections that have ended since then are open, as in the file.
    pub(crate) fn roll_back(&mut self) {
        self.connections.append(&mut self.ended);
        self.connections.values_mut().for_each(Conversation::forget_losses);
        self.missing = self.missing_flushed;
    }
}

fn add_comment(comment: &mut String, text: &str) {
    if !comment.is_empty() {
        comment.push_str("; ");
    }
    comment.push_str(text);
}
