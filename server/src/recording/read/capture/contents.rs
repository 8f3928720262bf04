//! The contents of the connections of a capture: WebSocket frames after an opening handshake, TLS,
//! or any other bytes.

use bytes::Bytes;
use echogate_proto::recording::{Direction, Opened};

use super::connections::CapturedConnection;
use crate::{
    recording::{
        decode::RecordDecoder,
        head,
        read::Builder,
        wire::{WireEvent, WireRecord},
    },
    text::counted,
};

/// The longest head of an opening handshake, in bytes.
const MAX_HEAD: usize = 64 * 1024;

/// Adds the records of a connection to a recording, as the connection `number`.
pub(super) fn add(number: u64, connection: &CapturedConnection, builder: &mut Builder) {
    let heads = [Direction::ToServer, Direction::ToClient].map(|of| start(connection, of));
    let mut opened = connection.opened();
    let mut skip = [0; 2];
    if is_tls(&heads) {
        let text = "it is TLS: record the plain side, or with echogate, which terminates TLS";
        builder.refuse(number, text.to_owned());
    } else if let Some(lengths) = websocket(&heads, &mut opened) {
        skip = lengths;
    }
    for defect in &connection.defects {
        builder.add_defect(number, (*defect).to_owned());
    }
    let has_frames = opened.client_has_frames;
    let gap = connection.events.iter().find_map(|(_, event)| match event {
        WireEvent::Lost(lost) => Some(lost.bytes),
        _ => None,
    });
    if let Some(bytes) = gap.filter(|_| has_frames) {
        let text = format!(
            "{} missing among its frames, and the capture does not say where the next one begins",
            counted(bytes, "byte")
        );
        builder.refuse(number, text);
    }
    let mut decoder = RecordDecoder::default();
    let time = connection.events.first().map_or(0, |(time, _)| *time);
    let opened = (time, WireEvent::Opened(opened.into()));
    let lost = (connection.lost.events > 0).then(|| (time, WireEvent::Lost(connection.lost)));
    for (time, event) in [&opened].into_iter().chain(&connection.events).chain(&lost) {
        let event = match event {
            WireEvent::Bytes(point, bytes) => {
                let bytes = without(&mut skip[point.direction as usize], bytes);
                if bytes.is_empty() {
                    continue;
                }
                WireEvent::Bytes(*point, bytes)
            }
            WireEvent::Position(..) if !has_frames => continue,
            event => event.clone(),
        };
        let record = WireRecord { time: *time, connection: number, event };
        decoder.decode(record, |record| builder.add(record));
    }
}

/// The bytes at the start of a direction.
fn start(connection: &CapturedConnection, of: Direction) -> Vec<u8> {
    let mut start = Vec::new();
    for (_, event) in &connection.events {
        match event {
            WireEvent::Bytes(point, bytes) if point.direction == of => start.extend(bytes),
            _ => {}
        }
        if start.len() >= MAX_HEAD || head::length(&start).is_some() {
            break;
        }
    }
    start
}

/// Whether the client begins with a TLS handshake (TLS 1.0 or later) or, in a capture that begins
/// later, both directions begin with a TLS record.
fn is_tls(starts: &[Vec<u8>; 2]) -> bool {
    let is_record = |start: &Vec<u8>| {
        // Types 20 to 23, and the length limit of TLS 1.2 (RFC 5246 section 6.2.3).
        let [0x14..=0x17, 3, 0..=4, high, low, ..] = start[..] else { return false };
        (1..=(1 << 14) + 2048).contains(&u16::from_be_bytes([high, low]))
    };
    matches!(starts[0][..], [0x16, 3, 0..=4, ..]) || starts.iter().all(is_record)
}

/// The lengths of the heads of an opening handshake, if there is one. Adds the handshake to
/// `opened`.
fn websocket(starts: &[Vec<u8>; 2], opened: &mut Opened) -> Option<[usize; 2]> {
    let lengths = [head::length(&starts[0])?, head::length(&starts[1])?];
    let text = |at: usize| String::from_utf8_lossy(&starts[at][..lengths[at]]).into_owned();
    let (request, response) = (text(0), text(1));
    if !head::is_opening(&request) || !response.starts_with("HTTP/1.1 101") {
        return None;
    }
    opened.client_has_frames = true;
    opened.protocol = head::field(&response, "sec-websocket-protocol").map(str::to_owned);
    (opened.request, opened.response) = (Some(request), Some(response));
    Some(lengths)
}

/// `bytes` without the first `skip` bytes. Subtracts the skipped ones from `skip`.
fn without(skip: &mut usize, bytes: &Bytes) -> Bytes {
    let skipped = bytes.len().min(*skip);
    *skip -= skipped;
    bytes.slice(skipped..)
}
