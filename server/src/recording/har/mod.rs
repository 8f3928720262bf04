//! HAR 1.2 files, with WebSocket messages as Chrome writes them. Other connections are only
//! counted.
//!
//! The messages of a connection are in one entry. The entries of open connections are at the end of
//! the file, and are written again whenever something is added: see [`HarEncoder::tail`]. A
//! connection with many messages continues in further entries.
//!
//! - `entry`: the JSON of an entry; `message`: messages from frames

mod entry;
mod message;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use echogate_proto::recording::{Direction, Lost, Opened, Side, TapPoint};
use serde_json::json;

use self::{
    entry::Entry,
    message::{Message, MessageAssembler},
};
use super::{
    decode::{FrameDirection, Part},
    missing_connections,
    wire::{WireEvent, WireRecord},
};

/// The most bytes of open entries.
const MAX_OPEN: usize = 2 << 20;

/// An encoder of the connections in one file.
#[derive(Debug)]
pub(crate) struct HarEncoder {
    /// The sides of open connections that have frames.
    open: BTreeMap<(u64, Side), WebSocket>,
    /// The bytes of the entries of `open`.
    open_bytes: usize,
    /// The sides that have ended since the latest flush.
    ended: BTreeMap<(u64, Side), WebSocket>,
    /// Connections without frames.
    others: HashSet<u64>,
    totals: Totals,
    /// The value of `totals` at the latest flush.
    totals_flushed: Totals,
    /// The text between the last complete entry and the next.
    separator: &'static str,
}

/// The totals of connections without an entry, for the end of the file.
#[derive(Clone, Copy, Debug, Default)]
struct Totals {
    /// The number of connections without frames.
    others: u64,
    /// The losses of connections of which no event was recorded.
    missing: Lost,
}

/// A side of an open connection.
#[derive(Debug)]
struct WebSocket {
    opened: Arc<Opened>,
    entries: Entries,
    directions: [(FrameDirection, MessageAssembler); 2],
}

/// The entries of a side.
#[derive(Debug, Default)]
struct Entries {
    /// The messages since the last complete entry, if there are any.
    current: Option<Entry>,
    count: u32,
    /// The value of `count` at the latest flush.
    count_flushed: u32,
}

impl HarEncoder {
    /// Creates an encoder, and appends the start of a file to `out`.
    pub(crate) fn new(out: &mut Vec<u8>) -> HarEncoder {
        let creator = json!({ "name": "echogate", "version": env!("CARGO_PKG_VERSION") });
        out.extend(format!("{{\"log\":{{\"version\":\"1.2\",\"creator\":{creator},").bytes());
        out.extend(b"\"entries\":[");
        HarEncoder {
            open: BTreeMap::new(),
            open_bytes: 0,
            ended: BTreeMap::new(),
            others: HashSet::new(),
            totals: Totals::default(),
            totals_flushed: Totals::default(),
            separator: "\n",
        }
    }

    /// Encodes an event, and appends entries that are complete to `out`.
    pub(crate) fn encode(&mut self, record: WireRecord, out: &mut Vec<u8>) {
        let (time, connection) = (record.seconds(), record.connection);
        match record.event {
            WireEvent::Opened(opened) => self.opened(time, connection, &opened),
            WireEvent::Bytes(point, bytes) => self.bytes(time, connection, point, bytes),
            WireEvent::Position(TapPoint { side, direction }, scanner) => {
                if let Some(socket) = self.open.get_mut(&(connection, side)) {
                    socket.directions[direction as usize].0 = FrameDirection::at(*scanner);
                }
            }
            WireEvent::Datagram(..) | WireEvent::EndOfInput(_) => {}
            WireEvent::Reset(TapPoint { side, direction }) => {
                let sender = if direction == Direction::ToServer { "client" } else { "server" };
                if let Some(entry) = self.described(time, (connection, side)) {
                    entry.comment(&format!("reset by the {sender}"));
                }
            }
            WireEvent::Lost(lost) if connection == 0 => self.totals.missing += lost,
            WireEvent::Lost(lost) => {
                // If only the upstream's side has frames, its entry has the losses.
                if !self.open.contains_key(&(connection, Side::Client))
                    && let Some(socket) = self.open.get_mut(&(connection, Side::Upstream))
                {
                    socket.entries.current(time, Side::Upstream, &mut self.open_bytes);
                }
                for side in [Side::Client, Side::Upstream] {
                    if let Some(entry) = self.described(time, (connection, side)) {
                        entry.lose(lost);
                    }
                }
            }
            WireEvent::Closed(reason) => {
                self.others.remove(&connection);
                for side in [Side::Client, Side::Upstream] {
                    if let Some(entry) = self.described(time, (connection, side)) {
                        entry.comment(&reason);
                    }
                    if let Some(mut socket) = self.open.remove(&(connection, side)) {
                        socket.write(out, &mut self.separator, connection);
                        let len = socket.entries.current.take().as_ref().map_or(0, Entry::len);
                        self.open_bytes = self.open_bytes.saturating_sub(len);
                        self.ended.insert((connection, side), socket);
                    }
                }
            }
        }
        if self.open_bytes > MAX_OPEN {
            for ((connection, _), socket) in &mut self.open {
                socket.write(out, &mut self.separator, *connection);
                socket.entries.current = None;
            }
            self.open_bytes = 0;
        }
    }

    /// Appends the entries of open connections and the end of the file to `out`. Returns the length
    /// of `out` after the entries.
    pub(crate) fn tail(&self, out: &mut Vec<u8>) -> usize {
        out.reserve(self.open_bytes + 1024);
        let mut separator = self.separator;
        for ((connection, _), socket) in &self.open {
            socket.write(out, &mut separator, *connection);
        }
        let end_of_entries = out.len();
        out.extend_from_slice(b"\n]");
        let (mut comments, Totals { others, missing }) = (Vec::new(), self.totals);
        if others > 0 {
            comments.push(format!(
                "connections without WebSocket frames, which HAR cannot hold: {others} (pcapng and \
                 jsonl have them)"
            ));
        }
        if missing.events > 0 {
            comments.push(missing_connections(missing.events));
            out.extend(format!(",\"_lost\":{}", json!(missing)).bytes());
        }
        if !comments.is_empty() {
            out.extend(format!(",\"comment\":{}", json!(comments.join("; "))).bytes());
        }
        out.extend_from_slice(b"}}\n");
        end_of_entries
    }

    /// Records that a flush has been written.
    pub(crate) fn commit(&mut self) {
        self.ended.clear();
        self.totals_flushed = self.totals;
        for WebSocket { entries, .. } in self.open.values_mut() {
            entries.count_flushed = entries.count;
        }
    }

    /// Discards, after a failed flush, everything since the latest successful one. Entries that
    /// were open at that time stay in the file as they are, and their connections continue in
    /// further entries. Connections that have ended since are open again.
    pub(crate) fn roll_back(&mut self, has_entries: bool) {
        self.open.append(&mut self.ended);
        self.open_bytes = 0;
        self.totals = self.totals_flushed;
        self.separator = if has_entries { ",\n" } else { "\n" };
        for WebSocket { entries, .. } in self.open.values_mut() {
            (entries.current, entries.count) = (None, entries.count_flushed);
        }
    }

    fn opened(&mut self, time: f64, connection: u64, opened: &Arc<Opened>) {
        let has_frames = |side: &Side| opened.has_frames(*side);
        let sides = [Side::Client, Side::Upstream];
        if !sides.iter().any(has_frames) && self.others.insert(connection) {
            self.totals.others += 1;
        }
        // The upstream's side has an entry only if it is recorded.
        for side in sides.into_iter().filter(has_frames) {
            let mut socket = WebSocket {
                opened: opened.clone(),
                entries: Entries::default(),
                directions: Default::default(),
            };
            if side == Side::Client {
                socket.entries.current(time, side, &mut self.open_bytes);
            }
            self.open.insert((connection, side), socket);
        }
    }

    /// Adds the messages that are complete with `bytes` to the entry of a side.
    fn bytes(
        &mut self,
        time: f64,
        connection: u64,
        TapPoint { side, direction }: TapPoint,
        bytes: Bytes,
    ) {
        let Some(socket) = self.open.get_mut(&(connection, side)) else { return };
        let WebSocket { entries, directions, .. } = socket;
        let (frames, assembler) = &mut directions[direction as usize];
        let start = entry::message_start(time, direction);
        let mut add = |message: Message<'_>| {
            let entry = entries.current(time, side, &mut self.open_bytes);
            self.open_bytes += entry.add(time, &start, &message);
        };
        frames.decode(bytes, |part| match part {
            Part::Data { frame: Some(frame), payload, .. } => {
                assembler.data(frame, payload, &mut add);
            }
            // The rest of a frame whose header was not observed.
            Part::Data { frame: None, payload, .. } => {
                add(Message { opcode: 0, fin: true, payload });
            }
            Part::Control { opcode, payload, .. } => {
                add(Message { opcode: opcode.bits(), fin: true, payload });
            }
        });
    }

    /// The entry for comments and losses of a side. The upstream's side has an entry only if it has
    /// messages, or losses that no other entry has.
    fn described(&mut self, time: f64, key: (u64, Side)) -> Option<&mut Entry> {
        let (entries, open_bytes) = (&mut self.open.get_mut(&key)?.entries, &mut self.open_bytes);
        let has_entry = key.1 == Side::Client || entries.count > 0;
        has_entry.then(|| entries.current(time, key.1, open_bytes))
    }
}

impl WebSocket {
    /// Appends `separator` and the present entry, if there is one.
    fn write(&self, out: &mut Vec<u8>, separator: &mut &'static str, connection: u64) {
        if let Some(entry) = &self.entries.current {
            out.extend_from_slice(separator.as_bytes());
            entry.write(out, connection, &self.opened);
            *separator = ",\n";
        }
    }
}

impl Entries {
    /// The present entry, which begins now if there is none.
    fn current(&mut self, time: f64, side: Side, open_bytes: &mut usize) -> &mut Entry {
        self.current.get_or_insert_with(|| {
            self.count += 1;
            let entry = Entry::new(time, side, self.count);
            *open_bytes += entry.len();
            entry
        })
    }
}
