//! HAR 1.2 files, with WebSocket messages as Chrome writes them. Other connections are only counted.
//!
//! The messages of a connection are in one entry, so that those of open connections are written
//! again, at the end of the file, whenever something is added: see [`HarEncoder::tail`]. Where
//! there are too many of them, a connection continues in another entry.
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

use echogate_proto::recording::{Direction, Event, Opened, Place, Record, Side};
use serde_json::json;

use self::{
    entry::Entry,
    message::{Message, MessageAssembler},
};
use super::{decode::RecordDecoder, wire::WireRecord};

/// The most bytes of open entries.
const MAX_OPEN: usize = 2 << 20;

/// An encoder of the connections in one file.
#[derive(Debug)]
pub(crate) struct HarEncoder {
    decoder: RecordDecoder,
    /// The sides of open connections that have frames.
    open: BTreeMap<(u64, Side), WebSocket>,
    /// The bytes of their entries.
    open_bytes: usize,
    /// Connections without frames.
    others: HashSet<u64>,
    others_count: u64,
    /// The text between the last complete entry and the next.
    separator: &'static str,
}

/// A side of an open connection.
#[derive(Debug)]
struct WebSocket {
    opened: Arc<Opened>,
    /// The messages since the last complete entry; none since the last complete one.
    entry: Option<Entry>,
    parts: u32,
    directions: [MessageAssembler; 2],
}

impl HarEncoder {
    /// The end of a file behind complete entries.
    pub(crate) const END: &[u8] = b"\n]}}\n";

    /// An encoder, which appends the start of a file to `out`.
    pub(crate) fn new(out: &mut Vec<u8>) -> HarEncoder {
        let creator = json!({ "name": "echogate", "version": env!("CARGO_PKG_VERSION") });
        out.extend(format!("{{\"log\":{{\"version\":\"1.2\",\"creator\":{creator},").bytes());
        out.extend(b"\"entries\":[");
        HarEncoder {
            decoder: RecordDecoder::default(),
            open: BTreeMap::new(),
            open_bytes: 0,
            others: HashSet::new(),
            others_count: 0,
            separator: "\n",
        }
    }

    /// Takes an event, and appends entries that are complete to `out`.
    pub(crate) fn encode(&mut self, record: WireRecord, out: &mut Vec<u8>) {
        let mut decoder = std::mem::take(&mut self.decoder);
        decoder.decode(record, |record| self.record(record, out));
        self.decoder = decoder;
        if self.open_bytes > MAX_OPEN {
            for ((connection, _), socket) in &mut self.open {
                if let Some(entry) = socket.entry.take() {
                    add(out, &mut self.separator, &entry.json(*connection, &socket.opened));
                }
            }
            self.open_bytes = 0;
        }
    }

    /// The entries of open connections and the end of the file.
    pub(crate) fn tail(&self) -> Vec<u8> {
        let (mut tail, mut separator) =
            (Vec::with_capacity(self.open_bytes + 1024), self.separator);
        for ((connection, _), socket) in &self.open {
            if let Some(entry) = &socket.entry {
                add(&mut tail, &mut separator, &entry.json(*connection, &socket.opened));
            }
        }
        tail.extend(b"\n]");
        if self.others_count > 0 {
            let comment = format!(
                "connections without WebSocket frames, which HAR cannot hold: {} (pcapng and jsonl \
                 have them)",
                self.others_count
            );
            tail.extend(format!(",\"comment\":{}", json!(comment)).bytes());
        }
        tail.extend(b"}}\n");
        tail
    }

    fn record(&mut self, record: Record, out: &mut Vec<u8>) {
        let Record { time, connection, event } = record;
        match event {
            Event::Opened(opened) => self.opened(time, connection, &Arc::new(*opened)),
            Event::Data(data) => {
                let payload = data.payload.as_bytes();
                self.message(time, connection, data.place, |direction, emit| match data.frame {
                    Some(frame) => direction.data(frame, payload, emit),
                    // The rest of a frame whose beginning is not known.
                    None => emit(Message { opcode: 0, fin: true, payload }),
                });
            }
            Event::Ping(control) => {
                self.control(time, connection, control.place, 9, control.payload.as_bytes());
            }
            Event::Pong(control) => {
                self.control(time, connection, control.place, 10, control.payload.as_bytes());
            }
            Event::Close(close) => {
                let code = close.code.map(u16::to_be_bytes);
                let reason = close.reason.as_bytes();
                let payload = code.map_or(Vec::new(), |code| [&code[..], reason].concat());
                self.control(time, connection, close.place, 8, &payload);
            }
            Event::Reset(Place { side, direction }) => {
                let sender = if direction == Direction::ToServer { "client" } else { "server" };
                if let Some(entry) = self.described(time, (connection, side)) {
                    entry.comment(&format!("reset by the {sender}"));
                }
            }
            Event::Lost(lost) => {
                for side in [Side::Client, Side::Upstream] {
                    if let Some(entry) = self.described(time, (connection, side)) {
                        entry.lose(&lost);
                    }
                }
            }
            Event::EndOfInput(_) => {}
            Event::Closed { reason } => {
                self.others.remove(&connection);
                for side in [Side::Client, Side::Upstream] {
                    if let Some(entry) = self.described(time, (connection, side)) {
                        entry.comment(&reason);
                    }
                    let socket = self.open.remove(&(connection, side));
                    let Some(WebSocket { opened, entry: Some(entry), .. }) = socket else {
                        continue;
                    };
                    self.open_bytes = self.open_bytes.saturating_sub(entry.len());
                    add(out, &mut self.separator, &entry.json(connection, &opened));
                }
            }
        }
    }

    fn opened(&mut self, time: f64, connection: u64, opened: &Arc<Opened>) {
        let sides = [
            (Side::Client, opened.client_has_frames),
            (Side::Upstream, opened.upstream_has_frames),
        ];
        if sides.iter().all(|(_, has_frames)| !has_frames) && self.others.insert(connection) {
            self.others_count += 1;
        }
        // The upstream's side has an entry only if it is recorded.
        for (side, _) in sides.into_iter().filter(|(_, has_frames)| *has_frames) {
            let mut socket = WebSocket {
                opened: opened.clone(),
                entry: None,
                parts: 0,
                directions: Default::default(),
            };
            if side == Side::Client {
                self.open_bytes += socket.entry(time, side).len();
            }
            self.open.insert((connection, side), socket);
        }
    }

    fn control(&mut self, time: f64, connection: u64, place: Place, opcode: u8, payload: &[u8]) {
        self.message(time, connection, place, |_, emit| {
            emit(Message { opcode, fin: true, payload });
        });
    }

    /// Adds the messages that `assemble` emits to the entry of a side.
    fn message(
        &mut self,
        time: f64,
        connection: u64,
        Place { side, direction }: Place,
        assemble: impl FnOnce(&mut MessageAssembler, &mut dyn FnMut(Message<'_>)),
    ) {
        let Some(socket) = self.open.get_mut(&(connection, side)) else { return };
        let mut assembler = std::mem::take(&mut socket.directions[direction as usize]);
        assemble(&mut assembler, &mut |message| {
            let entry = socket.entry(time, side);
            let before = entry.len();
            entry.add(time, direction, &message);
            self.open_bytes += entry.len() - before;
        });
        socket.directions[direction as usize] = assembler;
    }

    /// The entry for what is known of a side besides its messages. The upstream's side has one only
    /// if it has messages.
    fn described(&mut self, time: f64, key: (u64, Side)) -> Option<&mut Entry> {
        let socket = self.open.get_mut(&key)?;
        (key.1 == Side::Client || socket.parts > 0).then(|| socket.entry(time, key.1))
    }
}

impl WebSocket {
    /// The entry that is open.
    fn entry(&mut self, time: f64, side: Side) -> &mut Entry {
        self.entry.get_or_insert_with(|| {
            self.parts += 1;
            Entry::new(time, side, self.parts)
        })
    }
}

/// Appends an entry, and what stands in front of it.
fn add(out: &mut Vec<u8>, separator: &mut &'static str, entry: &str) {
    out.extend(separator.bytes());
    out.extend(entry.bytes());
    *separator = ",\n";
}
