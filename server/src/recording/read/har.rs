//! HAR 1.2 with the WebSocket messages of Chrome, mitmproxy and this program
//! (`_webSocketMessages`).

use std::{collections::HashMap, io::BufRead};

use data_encoding::BASE64;
use echogate_proto::{
    api::Kind,
    recording::{
        Data, DataKind, Direction, Event, Frame, Lost, Opened, Payload, Record, Side, TapPoint,
    },
    ws::OpCode,
};
use jiff::Timestamp;
use serde::Deserialize;

use super::{
    Builder, check_time,
    input::{Input, ReadError},
};
use crate::recording::{decode::control, model::Recording};

#[derive(Deserialize)]
struct Har {
    log: Log,
}

#[derive(Deserialize)]
struct Log {
    #[serde(default)]
    creator: Creator,
    entries: Vec<Entry>,
    /// The losses of connections of which this program has recorded no event.
    #[serde(rename = "_lost")]
    lost: Option<Lost>,
}

#[derive(Deserialize, Default)]
struct Creator {
    #[serde(default)]
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default)]
    started_date_time: String,
    request: Request,
    #[serde(default)]
    response: Response,
    connection: Option<String>,
    #[serde(rename = "_part", default)]
    part: u32,
    #[serde(rename = "_bytesBefore", default)]
    bytes_before: u64,
    #[serde(rename = "_lost")]
    lost: Option<Lost>,
    #[serde(rename = "_webSocketMessages")]
    messages: Option<Vec<Message>>,
}

#[derive(Deserialize)]
struct Request {
    url: String,
}

#[derive(Deserialize, Default)]
struct Response {
    #[serde(default)]
    headers: Vec<Header>,
}

#[derive(Deserialize)]
struct Header {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct Message {
    #[serde(rename = "type")]
    kind: String,
    time: f64,
    opcode: i32,
    data: String,
    /// False for a part of a long message that this program has cut, unless it is the last part.
    #[serde(rename = "_fin", default = "whole")]
    fin: bool,
}

fn whole() -> bool {
    true
}

pub(super) fn read(mut input: Input<impl BufRead>) -> Result<Recording, ReadError> {
    let har: Har = serde_json::from_reader(&mut input).map_err(|error| {
        let text = error.to_string();
        if error.is_eof() {
            return ReadError::new(input.offset(), "the file ends within the JSON of HAR");
        }
        let text = text.rsplit_once(" at line ").map_or(&*text, |(text, _)| text);
        ReadError::new(input.offset(), format!("expected HAR 1.2: {text}"))
    })?;
    let Log { creator, entries, lost } = har.log;
    let mut builder = Builder::default();
    let has_losses = lost.is_some();
    if let Some(lost) = lost {
        builder.add(Record { time: 0.0, connection: 0, event: Event::Lost(lost) });
    }
    // A connection may have several entries in a file of this program. The map has the number of
    // each connection, and the side of its first entry.
    let mut known: HashMap<String, (u64, Side)> = HashMap::new();
    let is_own = creator.name == "echogate";
    let all = entries.len();
    let mut others = 0;
    for (number, entry) in (1..).zip(entries) {
        let Some(messages) = &entry.messages else {
            others += 1;
            continue;
        };
        let name = entry.connection.as_deref().filter(|_| is_own);
        let side = match name.and_then(|name| name.strip_suffix(" upstream")) {
            Some(_) => Side::Upstream,
            None => Side::Client,
        };
        let name = name.map(|name| name.trim_end_matches(" upstream"));
        let (connection, first) = match name.and_then(|name| known.get(name)) {
            Some(known) if side == Side::Upstream || entry.part > 1 => *known,
            _ => (number, side),
        };
        if let Some(name) = name {
            known.insert(name.to_owned(), (connection, first));
        }
        let opened = entry.opened(connection, side);
        // The entries of both sides have the losses of the connection, which count once.
        let lost = entry.lost.filter(|_| side == first);
        let lost = lost.map(|lost| Record { event: Event::Lost(lost), ..opened.clone() });
        [Some(opened), lost].into_iter().flatten().for_each(|record| builder.add(record));
        for (index, message) in (1..).zip(messages) {
            message.add(connection, side, &mut builder).map_err(|text| {
                let position = format!("entry {number}, message {index}");
                ReadError::new(input.offset(), format!("before this byte, in {position}: {text}"))
            })?;
        }
    }
    if others == all && !(all == 0 && has_losses) {
        let text = format!("none of the {all} entries of this HAR has WebSocket messages");
        return Err(ReadError::new(input.offset(), text));
    }
    Ok(builder.finish())
}

impl Entry {
    /// The first record of a connection.
    fn opened(&self, connection: u64, side: Side) -> Record {
        let started = self.started_date_time.parse::<Timestamp>().ok();
        let first = self.messages.iter().flatten().map(|message| message.time).next();
        let started = started.map(|at| at.as_nanosecond() as f64 / 1e9);
        // A start that is out of range counts as unknown, like one that cannot be parsed.
        let started = started.filter(|time| check_time(*time).is_ok());
        let time = started.into_iter().chain(first).reduce(f64::min).unwrap_or_default();
        let rest = self.request.url.split_once("://").map_or("", |(_, rest)| rest);
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        let protocol = self
            .response
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case("sec-websocket-protocol"));
        let opened = Opened {
            kind: Some(Kind::WebSocket),
            target: self.request.url.clone(),
            client_has_frames: side == Side::Client,
            upstream_has_frames: side == Side::Upstream,
            protocol: protocol.map(|header| header.value.clone()),
            request: Some(format!("GET {path} HTTP/1.1\r\n")),
            bytes_before: self.bytes_before,
            ..Opened::default()
        };
        Record { time, connection, event: Event::Opened(Box::new(opened)) }
    }
}

impl Message {
    fn add(&self, connection: u64, side: Side, builder: &mut Builder) -> Result<(), String> {
        let direction = match &*self.kind {
            "send" => Direction::ToServer,
            "receive" => Direction::ToClient,
            // Chrome reports a failure of the connection in this way.
            "error" => {
                builder.add_defect(connection, format!("the browser reported: {}", self.data));
                return Ok(());
            }
            other => return Err(format!("expected the type send or receive, found {other:?}")),
        };
        check_time(self.time)?;
        let point = TapPoint { side, direction };
        let payload = match self.opcode {
            1 => self.data.clone().into_bytes(),
            0 | 2 | 8..=10 => {
                let decoded = BASE64.decode(self.data.as_bytes());
                decoded.map_err(|error| format!("expected data in base64: {error}"))?
            }
            other => return Err(format!("expected an opcode of RFC 6455, found {other}")),
        };
        let event = match OpCode::from_bits(self.opcode as u8) {
            Some(opcode) if opcode.is_control() => control(point, opcode, &payload),
            _ => {
                let kind = match self.opcode {
                    0 => DataKind::Continuation,
                    1 => DataKind::Text,
                    _ => DataKind::Binary,
                };
                let frame = Frame {
                    fin: self.fin,
                    opcode: self.opcode as u8,
                    rsv: 0,
                    masked: direction == Direction::ToServer,
                    length: payload.len() as u64,
                    offset: 0,
                };
                let payload = Payload::from(&payload[..]);
                Event::Data(Data { point, kind, frame: Some(frame), payload })
            }
        };
        builder.add(Record { time: self.time, connection, event });
        Ok(())
    }
}
