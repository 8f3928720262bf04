use bytes::Bytes;
use echogate_proto::{
    api::Kind,
    ws::{
        OpCode,
        frame::{FrameHeader, control_frame, masked_frame},
    },
};
use serde_json::Value;

use super::*;
use crate::recording::wire::WireEvent;

const UP: TapPoint = TapPoint { side: Side::Client, direction: Direction::ToServer };
const DOWN: TapPoint = TapPoint { side: Side::Client, direction: Direction::ToClient };

fn bytes(point: TapPoint, bytes: &[u8]) -> WireEvent {
    WireEvent::Bytes(point, Bytes::copy_from_slice(bytes))
}

fn opened() -> Opened {
    Opened {
        kind: Some(Kind::WebSocket),
        target: "/ws".to_owned(),
        peer: Some("127.0.0.1:4000".to_owned()),
        local: Some("127.0.0.1:8080".to_owned()),
        upstream: Some("tcp://127.0.0.1:7007".to_owned()),
        client_has_frames: true,
        request: Some("GET /ws?label=a HTTP/1.1\r\nHost: a.example:8080\r\n\r\n".to_owned()),
        response: Some("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n".to_owned()),
        ..Opened::default()
    }
}

/// A file in memory that is complete JSON after each event.
struct File {
    encoder: HarEncoder,
    bytes: Vec<u8>,
    time: u64,
}

impl File {
    fn new() -> File {
        let mut bytes = Vec::new();
        File { encoder: HarEncoder::new(&mut bytes), bytes, time: 1_790_000_000_000_000_000 }
    }

    fn add(&mut self, connection: u64, event: WireEvent) {
        self.time += 500_000_000;
        let record = WireRecord { time: self.time, connection, event };
        self.encoder.encode(record, &mut self.bytes);
    }

    fn log(&self) -> Value {
        let mut file = self.bytes.clone();
        self.encoder.tail(&mut file);
        serde_json::from_slice::<Value>(&file).unwrap()["log"].take()
    }
}

/// `type`, `opcode` and `data` of the messages of an entry.
fn messages(entry: &Value) -> Vec<String> {
    let messages = entry["_webSocketMessages"].as_array().unwrap().iter();
    let text = |m: &Value| format!("{} {} {}", m["type"], m["opcode"], m["data"]).replace('"', "");
    messages.map(text).collect()
}

#[test]
fn an_entry_has_the_messages_of_a_connection_whether_or_not_it_has_ended() {
    let mut file = File::new();
    file.add(1, WireEvent::Opened(opened().into()));
    file.add(1, bytes(UP, &masked_frame(OpCode::Text, b"h\xc3\xa9", [1, 2, 3, 4])));
    file.add(2, WireEvent::Opened(Opened::default().into()));
    file.add(2, bytes(UP, b"of another kind"));
    file.add(1, bytes(DOWN, &control_frame(OpCode::Binary, b"\0\xff")));
    file.add(1, bytes(DOWN, &control_frame(OpCode::Ping, b"p")));
    let open = file.log();
    assert_eq!(messages(&open["entries"][0]), ["send 1 hé", "receive 2 AP8=", "receive 9 cA=="]);
    file.add(1, bytes(DOWN, &control_frame(OpCode::Close, b"\x03\xe8bye")));
    file.add(1, WireEvent::Closed("closed by the server".into()));
    let log = file.log();
    assert_eq!(log["version"], "1.2");
    assert_eq!(log["entries"].as_array().unwrap().len(), 1);
    let entry = &log["entries"][0];
    assert_eq!(messages(entry)[3], "receive 8 A+hieWU=");
    assert_eq!(entry["_resourceType"], "websocket");
    assert_eq!(entry["request"]["url"], "ws://a.example:8080/ws?label=a");
    assert_eq!(entry["request"]["queryString"][0]["name"], "label");
    assert_eq!(entry["startedDateTime"], "2026-09-21T14:13:20.500Z");
    assert_eq!(entry["_webSocketMessages"][0]["time"], 1_790_000_001.0);
    let comment = "client 127.0.0.1:4000; upstream tcp://127.0.0.1:7007; closed by the server";
    assert_eq!(entry["comment"], comment);
    let others = log["comment"].as_str().unwrap();
    assert!(others.contains("without WebSocket frames, which HAR cannot hold: 1 ("), "{others}");
}

#[test]
fn the_url_of_a_websocket_over_http_2_has_its_query() {
    let request = Some("CONNECT /ws?x=1 HTTP/2\r\nhost: a.example\r\n\r\n".to_owned());
    let opened = Opened { request, client_has_tls: true, ..opened() };
    let mut file = File::new();
    file.add(1, WireEvent::Opened(opened.into()));
    file.add(1, bytes(DOWN, &control_frame(OpCode::Text, b"a")));
    assert_eq!(file.log()["entries"][0]["request"]["url"], "wss://a.example/ws?x=1");
}

#[test]
fn fragments_are_joined_and_long_messages_are_cut_between_characters() {
    let mut file = File::new();
    file.add(1, WireEvent::Opened(opened().into()));
    let fragment = |opcode, fin, payload: &[u8]| {
        [FrameHeader::new(opcode, fin, payload.len() as u64).as_bytes(), payload].concat()
    };
    file.add(1, bytes(DOWN, &fragment(OpCode::Text, false, b"a\xc3")));
    file.add(1, bytes(DOWN, &control_frame(OpCode::Pong, b"")));
    file.add(1, bytes(DOWN, &fragment(OpCode::Continuation, true, b"\xa9b")));
    assert_eq!(messages(&file.log()["entries"][0]), ["receive 10 ", "receive 1 aéb"]);

    let long = format!("x{}", "é".repeat(3 << 19));
    for part in fragment(OpCode::Text, true, long.as_bytes()).chunks(60_000) {
        file.add(1, bytes(DOWN, part));
    }
    let log = file.log();
    let entries = log["entries"].as_array().unwrap().iter();
    let parts: Vec<_> =
        entries.flat_map(|e| e["_webSocketMessages"].as_array().unwrap()).skip(2).collect();
    let opcodes: Vec<_> = parts.iter().map(|part| part["opcode"].as_u64().unwrap()).collect();
    assert_eq!(opcodes, [1, 0, 0]);
    let rest = parts[1..].iter().flat_map(|part| {
        data_encoding::BASE64.decode(part["data"].as_str().unwrap().as_bytes()).unwrap()
    });
    let joined: Vec<u8> = parts[0]["data"].as_str().unwrap().bytes().chain(rest).collect();
    assert!(joined == long.as_bytes());
}

#[test]
fn a_long_connection_continues_in_further_entries_with_bounded_memory() {
    let mut file = File::new();
    file.add(1, WireEvent::Opened(opened().into()));
    let frames = control_frame(OpCode::Text, &[b'a'; 125]).repeat(100);
    for _ in 0..300 {
        file.add(1, bytes(DOWN, &frames));
        assert!(file.encoder.open_bytes < MAX_OPEN);
    }
    let mut tail = Vec::new();
    file.encoder.tail(&mut tail);
    assert!(tail.len() < MAX_OPEN);
    let log = file.log();
    let entries = log["entries"].as_array().unwrap();
    assert_eq!(entries[1]["_part"], 2);
    assert_eq!(entries[0]["connection"], entries[1]["connection"]);
    assert_eq!(entries.iter().map(|entry| messages(entry).len()).sum::<usize>(), 300 * 100);
}

#[test]
fn losses_before_the_first_message_of_a_side_that_alone_has_frames_are_in_its_entry() {
    let mut file = File::new();
    let [client_has_frames, upstream_has_frames] = [false, true];
    let opened = Opened { client_has_frames, upstream_has_frames, ..opened() };
    file.add(1, WireEvent::Opened(opened.into()));
    file.add(1, WireEvent::Lost(Lost { events: 2, bytes: 30 }));
    file.add(1, WireEvent::Lost(Lost { events: 3, bytes: 40 }));
    let entries = &file.log()["entries"];
    assert_eq!(entries[0]["connection"], "1 upstream", "{entries}");
    assert_eq!(entries[0]["_lost"], json!(Lost { events: 5, bytes: 70 }));
    let comment = entries[0]["comment"].as_str().unwrap();
    assert!(comment.ends_with("; lost: 5 events (70 bytes)"), "{comment}");
}
