//! The JSON types of the events of a connection: a line of a recording (`.jsonl`), or an event of a
//! tap. The page's export has the same form.
//!
//! ```
//! use echogate_proto::recording::{Direction, Event, Payload, Record, Side, DataKind};
//! let line = r#"{"time":1790000000.25,"connection":7,"event":"data","side":"client",
//!     "direction":"to-server","kind":"bytes","text":"hello\n"}"#;
//! let record: Record = serde_json::from_str(line).unwrap();
//! let Event::Data(data) = record.event else { panic!() };
//! assert_eq!((data.point.side, data.point.direction), (Side::Client, Direction::ToServer));
//! assert_eq!((data.kind, data.payload), (DataKind::Bytes, Payload::Text("hello\n".into())));
//! ```

use std::ops::AddAssign;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{api::Kind, hex};

/// An event with its time and its connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The time, in seconds since 1970. It has a resolution of about 0.2 µs.
    pub time: f64,
    /// The identifier of the connection, unique in its recording.
    pub connection: u64,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

/// An event on a connection.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// The first event of a connection.
    Opened(Box<Opened>),
    /// Payload: bytes, a datagram, or a frame or part of one.
    Data(Data),
    /// A Ping frame.
    Ping(Control),
    /// A Pong frame.
    Pong(Control),
    /// A Close frame.
    Close(Close),
    /// The end of one direction: FIN, with TLS also one without close_notify.
    EndOfInput(TapPoint),
    /// The end of one side by a reset, or by a failure of the connection.
    Reset(TapPoint),
    /// Events that are missing here: the observer was slower than the connection, or the file could
    /// not be written.
    Lost(Lost),
    /// The last event of a connection.
    Closed {
        /// The reason, as in the log.
        reason: String,
    },
}

/// One of the two connections that a relay joins. A connection to a service has only the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// The connection from the client.
    Client,
    /// The connection to the upstream.
    Upstream,
}

/// The direction of data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From the client towards the service or upstream.
    ToServer,
    /// From the service or upstream towards the client.
    ToClient,
}

/// The point of a relay at which an event is observed: one of its two connections, and a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TapPoint {
    /// The side.
    pub side: Side,
    /// The direction.
    pub direction: Direction,
}

impl TapPoint {
    /// The tap points of a relay: by side, then by direction.
    pub const ALL: [TapPoint; 4] = [
        TapPoint { side: Side::Client, direction: Direction::ToServer },
        TapPoint { side: Side::Client, direction: Direction::ToClient },
        TapPoint { side: Side::Upstream, direction: Direction::ToServer },
        TapPoint { side: Side::Upstream, direction: Direction::ToClient },
    ];

    /// The index in [`TapPoint::ALL`].
    pub fn index(self) -> usize {
        self.side as usize * 2 + self.direction as usize
    }
}

/// The description of a connection when its observation begins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Opened {
    /// The transport of the client; null if unknown.
    pub kind: Option<Kind>,
    /// The name of the service, the path of the route, or the address of the forward.
    pub target: String,
    /// The client.
    pub peer: Option<String>,
    /// The address that the client connected to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local: Option<String>,
    /// The address of this end of the connection to the upstream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_from: Option<String>,
    /// The upstream, as a URL without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// Whether the client of a WebSocket connected by TLS (`wss`), which `kind` does not
    /// distinguish. In a recording of `connect`, the URL in `target` does.
    #[serde(default, skip_serializing_if = "is_false")]
    pub client_has_tls: bool,
    /// Whether there are frames of the WebSocket protocol on the client's side.
    #[serde(default, skip_serializing_if = "is_false")]
    pub client_has_frames: bool,
    /// Whether there are frames of the WebSocket protocol on the upstream's side.
    #[serde(default, skip_serializing_if = "is_false")]
    pub upstream_has_frames: bool,
    /// The subprotocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The head of the request of the opening handshake on the client's side, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
    /// The head of the response to that request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<String>,
    /// The number of bytes before the first event, if the connection is older than its observation.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bytes_before: u64,
}

impl Opened {
    /// Whether there are frames of the WebSocket protocol on a side.
    pub fn has_frames(&self, side: Side) -> bool {
        match side {
            Side::Client => self.client_has_frames,
            Side::Upstream => self.upstream_has_frames,
        }
    }
}

/// Payload that passed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Data {
    /// Side and direction.
    #[serde(flatten)]
    pub point: TapPoint,
    /// The kind of the payload.
    pub kind: DataKind,
    /// The frame, if the payload is in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frame: Option<Frame>,
    /// The payload, unmasked.
    #[serde(flatten)]
    pub payload: Payload,
}

/// The kind of payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataKind {
    /// Bytes of a stream.
    Bytes,
    /// A datagram.
    Datagram,
    /// A text frame, or part of one.
    Text,
    /// A binary frame, or part of one.
    Binary,
    /// A continuation frame, or part of one.
    Continuation,
    /// A frame whose opcode is not defined, or part of one.
    Unknown,
}

/// The header of a frame (RFC 6455 section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// FIN.
    pub fin: bool,
    /// The opcode.
    pub opcode: u8,
    /// RSV1, RSV2 and RSV3, from the highest bit of three to the lowest.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rsv: u8,
    /// Whether the frame is masked.
    #[serde(default, skip_serializing_if = "is_false")]
    pub masked: bool,
    /// The length of the frame's payload, in bytes.
    pub length: u64,
    /// The number of the frame's payload bytes before this part.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: u64,
}

/// A Ping or Pong frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Control {
    /// Side and direction.
    #[serde(flatten)]
    pub point: TapPoint,
    /// The payload.
    #[serde(flatten)]
    pub payload: Payload,
}

/// A Close frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Close {
    /// Side and direction.
    #[serde(flatten)]
    pub point: TapPoint,
    /// The status code; null if the frame is empty.
    pub code: Option<u16>,
    /// The reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

/// Events that are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The number of events.
    pub events: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl AddAssign for Lost {
    fn add_assign(&mut self, other: Lost) {
        self.events = self.events.saturating_add(other.events);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// Payload as the member `text`, if it is UTF-8 and has no control characters other than tab, CR
/// and LF; otherwise as the member `hex`, two digits for a byte.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// Text.
    #[serde(rename = "text")]
    Text(String),
    /// Any other bytes.
    #[serde(rename = "hex")]
    #[serde(serialize_with = "write_hex", deserialize_with = "read_hex")]
    Bytes(Vec<u8>),
}

impl Payload {
    /// `bytes` as the member `text`; none if they are written as the member `hex`.
    pub fn text(bytes: &[u8]) -> Option<&str> {
        let is_shown = |c: char| !c.is_control() || matches!(c, '\t' | '\r' | '\n');
        // ASCII without an early exit: the compiler compares 16 bytes at once.
        let is_printable = |all, byte: &u8| all & (b' '..0x7f).contains(byte);
        let text = str::from_utf8(bytes).ok()?;
        let is_text = bytes.iter().fold(true, is_printable) || text.chars().all(is_shown);
        is_text.then_some(text)
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Payload::Text(text) => text.as_bytes(),
            Payload::Bytes(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Payload {
        match Payload::text(bytes) {
            Some(text) => Payload::Text(text.to_owned()),
            None => Payload::Bytes(bytes.to_vec()),
        }
    }
}

fn write_hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&bytes.iter().flat_map(|byte| hex::pair(*byte)).collect::<String>())
}

fn read_hex<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    hex::decode(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_zero<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_index_of_a_tap_point_is_its_place_in_all() {
        assert_eq!(TapPoint::ALL.map(TapPoint::index), [0, 1, 2, 3]);
    }

    #[test]
    fn a_line_is_a_flat_object_and_is_read_back_the_same() {
        let point = TapPoint { side: Side::Client, direction: Direction::ToClient };
        let frame = Frame { fin: true, opcode: 2, rsv: 0, masked: false, length: 2, offset: 0 };
        let payload = Payload::from(&b"\0\xff"[..]);
        let data = Data { point, kind: DataKind::Binary, frame: Some(frame), payload };
        let record = Record { time: 1790000000.25, connection: 7, event: Event::Data(data) };
        let json = concat!(
            r#"{"time":1790000000.25,"connection":7,"event":"data","side":"client","#,
            r#""direction":"to-client","kind":"binary","#,
            r#""frame":{"fin":true,"opcode":2,"length":2},"hex":"00ff"}"#,
        );
        assert_eq!(serde_json::to_string(&record).unwrap(), json);
        assert_eq!(serde_json::from_str::<Record>(json).unwrap(), record);
    }

    proptest! {
        #[test]
        fn payload_is_text_without_control_characters_other_than_white_space(
            bytes in prop_oneof![
                "[ -~]{0,40}[\t\r\n]?".prop_map(String::into_bytes),
                "[ -~]{0,40}[\\x00-\\x20\\x7f]".prop_map(String::into_bytes),
                "[a-zé世]{0,9}[\\x7f-\\xa0]?".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..4),
            ],
        ) {
            let is_shown = |c: char| !c.is_control() || "\t\r\n".contains(c);
            let text = String::from_utf8(bytes.clone()).ok();
            let text = text.filter(|text| text.chars().all(is_shown));
            prop_assert_eq!(Payload::text(&bytes), text.as_deref());
            let payload = Payload::from(&bytes[..]);
            prop_assert_eq!(payload.as_bytes(), &bytes);
        }
    }

    #[test]
    fn every_event_is_read_back_the_same() {
        let point = TapPoint { side: Side::Upstream, direction: Direction::ToServer };
        let payload = || Payload::from(&b"p"[..]);
        let opened = Opened { kind: Some(Kind::Tcp), target: "upper".into(), ..Opened::default() };
        for event in [
            Event::Opened(Box::new(opened)),
            Event::Ping(Control { point, payload: payload() }),
            Event::Pong(Control { point, payload: payload() }),
            Event::Close(Close { point, code: Some(1000), reason: "bye".into() }),
            Event::Close(Close { point, code: None, reason: String::new() }),
            Event::EndOfInput(point),
            Event::Reset(point),
            Event::Lost(Lost { events: 2, bytes: 10 }),
            Event::Closed { reason: "closed by the client".into() },
        ] {
            let record = Record { time: 1.5, connection: 1, event };
            let json = serde_json::to_string(&record).unwrap();
            assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record, "{json}");
        }
    }
}
