use std::{
    collections::BTreeSet,
    fs::{self, OpenOptions},
};

use bytes::Bytes;
use echogate_proto::{
    api::Kind,
    close::CloseCode,
    recording::{Direction, Lost, Opened, Side, TapPoint},
    ws::{
        OpCode,
        frame::{FrameHeader, close_frame, control_frame, masked_frame},
        scanner::FrameScanner,
    },
};
use proptest::prelude::*;

use super::*;
use crate::recording::{
    file::{OpenConnections, RecordingFile},
    format::Format as FileFormat,
    model::{Action, RecordedConnection, Traffic},
    position::Positions,
    wire::{WireEvent, WireRecord},
};

const UP: TapPoint = TapPoint { side: Side::Client, direction: Direction::ToServer };
const DOWN: TapPoint = TapPoint { side: Side::Client, direction: Direction::ToClient };

/// A file in `format` with these events of connections, one each microsecond.
fn file(format: FileFormat, events: &[(u64, WireEvent)]) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(format!("a.{format}"));
    let options = &mut OpenOptions::new();
    let mut file = RecordingFile::open(&path, format, options.create_new(true)).unwrap();
    for (index, (connection, event)) in events.iter().enumerate() {
        let time = 1_790_000_000_000_000_000 + index as u64 * 1000;
        file.add(WireRecord { time, connection: *connection, event: event.clone() });
    }
    file.flush().unwrap();
    fs::read(path).unwrap()
}

/// The two pcapng files of a connection, of which the first file has `cut` events.
fn two_files(events: &[WireEvent], cut: usize) -> [Vec<u8>; 2] {
    let directory = tempfile::tempdir().unwrap();
    let (mut positions, mut open) = (Positions::default(), OpenConnections::default());
    [0..cut, cut..events.len()].map(|events_of_file| {
        let path = directory.path().join(format!("{}.pcapng", events_of_file.start));
        let options = &mut OpenOptions::new();
        let options = options.create_new(true);
        let mut file = RecordingFile::open(&path, FileFormat::Pcapng, options).unwrap();
        file.follow(std::mem::take(&mut open));
        for at in events_of_file.clone() {
            let record = WireRecord { time: at as u64, connection: 1, event: events[at].clone() };
            positions.pass(events_of_file.start as u64, record, |record| file.add(record));
        }
        file.flush().unwrap();
        open = file.close();
        fs::read(path).unwrap()
    })
}

/// The blocks of a pcapng file.
fn blocks(file: &[u8]) -> Vec<&[u8]> {
    let (mut blocks, mut rest) = (Vec::new(), file);
    while let [_, _, _, _, a, b, c, d, ..] = *rest {
        let (block, behind) = rest.split_at(u32::from_le_bytes([a, b, c, d]) as usize);
        blocks.push(block);
        rest = behind;
    }
    blocks
}

fn tcp() -> WireEvent {
    let opened = Opened {
        kind: Some(Kind::Tcp),
        target: "upper".to_owned(),
        peer: Some("192.0.2.1:50000".to_owned()),
        local: Some("192.0.2.2:7007".to_owned()),
        ..Opened::default()
    };
    WireEvent::Opened(opened.into())
}

fn websocket() -> WireEvent {
    let opened = Opened {
        kind: Some(Kind::WebSocket),
        target: "/ws".to_owned(),
        client_has_frames: true,
        protocol: Some("chat".to_owned()),
        request: Some("GET /ws?x=1 HTTP/1.1\r\nUpgrade: websocket\r\n".to_owned()),
        response: Some(
            "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Protocol: chat\r\n".to_owned(),
        ),
        ..Opened::default()
    };
    WireEvent::Opened(opened.into())
}

fn described(event: &WireEvent) -> Opened {
    let WireEvent::Opened(opened) = event else { panic!("{event:?}") };
    (**opened).clone()
}

fn data(point: TapPoint, bytes: impl AsRef<[u8]>) -> WireEvent {
    WireEvent::Bytes(point, Bytes::copy_from_slice(bytes.as_ref()))
}

fn connections(file: &[u8]) -> Vec<RecordedConnection> {
    read(file).unwrap().connections
}

/// The actions of a connection, with adjacent bytes of a direction joined.
fn actions(connection: &RecordedConnection) -> Vec<(Direction, Action)> {
    let mut joined: Vec<(Direction, Action)> = Vec::new();
    for event in &connection.events {
        match (joined.last_mut(), &event.action) {
            (Some((direction, Action::Bytes(before))), Action::Bytes(bytes))
                if *direction == event.direction =>
            {
                *before = [&before[..], bytes].concat().into();
            }
            _ => joined.push((event.direction, event.action.clone())),
        }
    }
    joined
}

#[test]
fn a_stream_reads_the_same_from_packets_and_lines() {
    let big = vec![b'x'; 200_000];
    let events = [
        (1, tcp()),
        (1, data(UP, "hello")),
        (1, data(DOWN, "HELLO")),
        (1, data(UP, &big)),
        (1, WireEvent::EndOfInput(UP)),
        (1, data(DOWN, b"\xff\0")),
        (1, WireEvent::EndOfInput(DOWN)),
        (1, WireEvent::Closed("closed by the client".into())),
    ];
    for format in [FileFormat::Pcapng, FileFormat::Jsonl] {
        let [connection] = &connections(&file(format, &events))[..] else { panic!("{format}") };
        assert_eq!(connection.traffic, Traffic::Bytes);
        assert_eq!((&connection.defects[..], &connection.refusal), (&[][..], &None), "{format}");
        assert_eq!(connection.opened.peer.as_deref(), Some("192.0.2.1:50000"));
        let (up, down) = (Direction::ToServer, Direction::ToClient);
        let expected = [
            (up, Action::Bytes("hello".into())),
            (down, Action::Bytes("HELLO".into())),
            (up, Action::Bytes(big.clone().into())),
            (up, Action::End),
            (down, Action::Bytes(Bytes::from_static(b"\xff\0"))),
            (down, Action::End),
        ];
        assert_eq!(actions(connection), expected, "{format}");
    }
}

#[test]
fn messages_read_the_same_from_all_formats() {
    let first = FrameHeader::new(OpCode::Binary, false, 2);
    let fragments = [first.as_bytes(), b"ab", &control_frame(OpCode::Continuation, b"c")].concat();
    let close = [&[0x88, 0x85][..], &[0; 4], &1000_u16.to_be_bytes(), b"bye"].concat();
    let events = [
        (1, websocket()),
        (1, data(UP, masked_frame(OpCode::Text, "hällo".as_bytes(), [1, 2, 3, 4]))),
        (1, data(DOWN, &fragments[..3])),
        (1, data(DOWN, &fragments[3..])),
        (1, data(UP, masked_frame(OpCode::Ping, b"p", [1, 2, 3, 4]))),
        (1, data(DOWN, control_frame(OpCode::Pong, b"p"))),
        (1, data(UP, close)),
        (1, data(DOWN, close_frame(CloseCode::NORMAL, ""))),
        (1, WireEvent::EndOfInput(DOWN)),
        (1, WireEvent::EndOfInput(UP)),
        (1, WireEvent::Closed("closed".into())),
    ];
    for format in [FileFormat::Pcapng, FileFormat::Jsonl, FileFormat::Har] {
        let [connection] = &connections(&file(format, &events))[..] else { panic!("{format}") };
        assert_eq!(connection.traffic, Traffic::Messages);
        assert_eq!((&connection.defects[..], &connection.refusal), (&[][..], &None), "{format}");
        assert_eq!(connection.opened.protocol.as_deref(), Some("chat"), "{format}");
        let request = connection.opened.request.as_deref().unwrap();
        assert!(request.starts_with("GET /ws?x=1 HTTP/1.1\r\n"), "{format}: {request}");
        let (up, down) = (Direction::ToServer, Direction::ToClient);
        let close = |reason: &str| Action::Close { code: Some(1000), reason: reason.to_owned() };
        let expected = [
            (up, Action::Message { is_text: true, payload: "hällo".into() }),
            (down, Action::Message { is_text: false, payload: "abc".into() }),
            (up, Action::Ping("p".into())),
            (down, Action::Pong("p".into())),
            (up, close("bye")),
            (down, close("")),
        ];
        assert_eq!(actions(connection), expected, "{format}");
    }
}

#[test]
fn a_long_connection_reads_the_same_from_har_and_lines() {
    let text = |payload: &str| masked_frame(OpCode::Text, payload.as_bytes(), [1, 2, 3, 4]);
    let binary = |payload: &[u8]| {
        let header = FrameHeader::new(OpCode::Binary, true, payload.len() as u64);
        [header.as_bytes(), payload].concat()
    };
    // Longer than a message of the file, and than its entries.
    let (up, down) = (text(&"ä€".repeat(700_000)), binary(&[7; 3_000_000]));
    let mut events = vec![(1, websocket()), (2, websocket())];
    for (up, down) in up.chunks(35_000).zip(down.chunks(30_000)) {
        events.extend([(1, data(UP, up)), (1, data(DOWN, down)), (2, data(UP, text("short")))]);
    }
    for _ in 0..15_000 {
        events.push((1, data(UP, text("a request"))));
        events.push((1, data(DOWN, binary(b"a reply"))));
    }
    events.push((1, WireEvent::Lost(Lost { events: 2, bytes: 10 })));
    events.push((2, data(DOWN, close_frame(CloseCode::NORMAL, "bye"))));
    // The rest of this message is not in the file.
    events.push((2, data(UP, &up[..1_500_000])));
    let har = file(FileFormat::Har, &events);
    let parts = String::from_utf8_lossy(&har).matches("\"_part\"").count();
    assert!(parts > 2, "{parts}");
    let [har, lines] = [har, file(FileFormat::Jsonl, &events)].map(|file| connections(&file));
    for (har, lines) in har.iter().zip(&lines) {
        assert_eq!(har.defects, lines.defects);
        assert!(har.events == lines.events, "connection {}", har.number);
    }
    let facts = |connections: &[RecordedConnection]| {
        let facts = connections.iter().map(|c| (c.events.len(), c.defects.concat()));
        facts.collect::<Vec<_>>()
    };
    let missing = "lost: 2 events (10 bytes)".to_owned();
    assert_eq!(facts(&har), [(30_002, missing), (102, "it ends within a message".to_owned())]);
}

#[test]
fn of_two_recorded_sides_the_clients_is_read() {
    let opened = Opened {
        kind: Some(Kind::Tcp),
        upstream: Some("tcp://192.0.2.9:1".to_owned()),
        ..Opened::default()
    };
    let upstream = TapPoint { side: Side::Upstream, ..UP };
    let events = [
        (1, WireEvent::Opened(opened.into())),
        (1, data(UP, "client")),
        (1, data(upstream, "upstream")),
        (1, WireEvent::Closed("closed".into())),
    ];
    for format in [FileFormat::Pcapng, FileFormat::Jsonl] {
        let [connection] = &connections(&file(format, &events))[..] else { panic!("{format}") };
        let first = &actions(connection)[0];
        assert_eq!(first, &(Direction::ToServer, Action::Bytes("client".into())), "{format}");
    }
}

#[test]
fn of_two_recorded_sides_the_upstreams_is_read_if_the_clients_has_no_events() {
    let opened = Opened {
        upstream: Some("tcp://192.0.2.9:1".to_owned()),
        upstream_from: Some("192.0.2.2:9".to_owned()),
        ..described(&tcp())
    };
    let upstream = TapPoint { side: Side::Upstream, ..DOWN };
    let events = [(1, WireEvent::Opened(opened.into())), (1, data(upstream, "greeting"))];
    let connections = connections(&file(FileFormat::Pcapng, &events));
    assert_eq!(connections.len(), 1, "{connections:?}");
    assert_eq!(actions(&connections[0])[0].1, Action::Bytes("greeting".into()));
}

#[test]
fn connections_that_are_missing_altogether_are_a_warning_in_all_formats() {
    let lost = |events| (0, WireEvent::Lost(Lost { events, bytes: 100 }));
    let frame = control_frame(OpCode::Text, b"hello");
    let events = [lost(1), (1, websocket()), (1, data(DOWN, frame)), lost(2)];
    for format in [FileFormat::Pcapng, FileFormat::Jsonl, FileFormat::Har] {
        let file = file(format, &events);
        let recording = read(&file[..]).unwrap();
        assert_eq!(recording.connections.len(), 1, "{format}");
        let [warning] = &recording.warnings[..] else { panic!("{format}") };
        assert!(warning.ends_with(": 3"), "{format}: {warning}");
    }
}

#[test]
fn connections_of_which_a_file_has_only_losses_are_missing() {
    let udp = Opened { kind: Some(Kind::Udp), ..Opened::default() };
    let lost = WireEvent::Lost(Lost { events: 2, bytes: 10 });
    let known = [(1, tcp()), (1, data(UP, "a"))];
    // A packet names the losses of the second connection, which has no others; the line of the
    // second has no description before it.
    for (format, missing) in [
        (FileFormat::Pcapng, vec![(2, WireEvent::Opened(udp.into())), (2, lost.clone())]),
        (FileFormat::Jsonl, vec![(2, lost)]),
    ] {
        let recording = read(&file(format, &[&known[..], &missing].concat())[..]).unwrap();
        assert_eq!(recording.connections.len(), 1, "{format}");
        let expected = "connections that are missing in this recording: 1";
        assert_eq!(recording.warnings, [expected], "{format}");
        let error = read(&file(format, &missing)[..]).unwrap_err().to_string();
        assert!(error.ends_with(expected), "{format}: {error}");
    }
}

#[test]
fn losses_at_the_end_of_datagrams_are_those_of_their_connection() {
    let upstream = TapPoint { side: Side::Upstream, ..UP };
    let datagram = |point| WireEvent::Datagram(point, Bytes::from_static(b"a"));
    let opened = Opened {
        kind: Some(Kind::Udp),
        upstream: Some("udp://192.0.2.9:53".to_owned()),
        ..Opened::default()
    };
    // The second file has packets of one side, followed by one with the names of both.
    for point in [UP, upstream] {
        let events = [
            WireEvent::Opened(opened.clone().into()),
            datagram(UP),
            datagram(upstream),
            datagram(point),
            WireEvent::Lost(Lost { events: 2, bytes: 10 }),
            WireEvent::Closed("closed".into()),
        ];
        let [_, second] = two_files(&events, 3);
        let [connection] = &connections(&second)[..] else { panic!("{point:?}") };
        assert_eq!(connection.defects, ["lost: 2 events (10 bytes)"], "{point:?}");
    }
}

#[test]
fn what_is_missing_is_reported() {
    let lost = WireEvent::Lost(Lost { events: 2, bytes: 10 });
    let upstream = TapPoint { side: Side::Upstream, ..UP };
    let text = "lost: 2 events (10 bytes)";
    // The packet after the loss is one of either side, and may be the first one of its side.
    for point in [UP, upstream] {
        let events = [
            (1, tcp()),
            (1, data(UP, "a")),
            (1, lost.clone()),
            (1, data(point, "b")),
            (1, WireEvent::Closed("closed".into())),
        ];
        for format in [FileFormat::Jsonl, FileFormat::Pcapng] {
            let [connection] = &connections(&file(format, &events))[..] else { panic!("{format}") };
            assert_eq!(connection.defects, [text], "{format}");
        }
    }
}

#[test]
fn frames_behind_lost_bytes_read_the_same_from_packets_and_lines() {
    let lost = |bytes| WireEvent::Lost(Lost { events: 2, bytes });
    let frame = |text: &str| control_frame(OpCode::Text, text.as_bytes());
    let long = masked_frame(OpCode::Binary, &[7; 100], [1, 2, 3, 4]);
    let at = |bytes: &[u8]| {
        let mut scanner = FrameScanner::default();
        scanner.skip(bytes);
        Box::new(scanner)
    };
    let mut events = vec![(1, websocket()), (1, data(DOWN, frame("a")))];
    // Bytes within a frame are lost, and in the other direction whole frames.
    events.extend([(1, data(UP, &long[..20])), (1, lost(40)), (1, lost(3))]);
    events.extend([(1, WireEvent::Position(DOWN, at(b""))), (1, data(DOWN, frame("b")))]);
    events.extend([(1, WireEvent::Position(UP, at(&long[..60]))), (1, data(UP, &long[60..]))]);
    // The end of a frame is lost, and only one direction has lost anything.
    let text = masked_frame(OpCode::Text, b"text", [1, 2, 3, 4]);
    events.extend([(1, data(UP, &long[..20])), (1, lost(86)), (1, data(DOWN, frame("c")))]);
    events.extend([(1, WireEvent::Position(UP, at(b""))), (1, data(UP, text))]);
    events.extend([(1, data(DOWN, frame("d"))), (1, WireEvent::Closed("closed".into()))]);
    let [packets, lines] = [FileFormat::Pcapng, FileFormat::Jsonl].map(|format| {
        let [connection] = &connections(&file(format, &events))[..] else { panic!("{format}") };
        connection.clone()
    });
    assert_eq!(packets.refusal, None);
    let messages = |connection: &RecordedConnection, of: Direction| {
        let events = connection.of(of).map(|event| event.action.clone());
        events.filter(|action| *action != Action::End).collect::<Vec<_>>()
    };
    for direction in [Direction::ToServer, Direction::ToClient] {
        assert_eq!(messages(&packets, direction), messages(&lines, direction));
    }
    assert_eq!(messages(&packets, Direction::ToServer).len(), 2);
    let missing = "lost: 6 events (129 bytes)";
    assert!(packets.defects.iter().any(|defect| defect == missing), "{:?}", packets.defects);
    assert_eq!(packets.defects.iter().collect::<BTreeSet<_>>(), lines.defects.iter().collect());
}

#[test]
fn a_gap_among_frames_that_no_comment_explains_is_refused_in_words() {
    let frame = || data(DOWN, control_frame(OpCode::Text, b"a"));
    let events = [(1, websocket()), (1, frame()), (1, frame()), (1, frame())];
    let whole = file(FileFormat::Pcapng, &events);
    // The last packet but one is left out.
    let mut blocks = blocks(&whole);
    blocks.remove(blocks.len() - 2);
    let [connection] = &connections(&blocks.concat())[..] else { panic!() };
    let expected = "3 bytes missing among its frames, and the capture does not say where the next one \
                    begins";
    assert_eq!(connection.refusal.as_deref(), Some(expected));
}

#[test]
fn the_files_of_a_connection_read_together_as_one() {
    let text = |payload: &str| masked_frame(OpCode::Text, payload.as_bytes(), [1, 2, 3, 4]);
    let frames = [text("hello"), text(&"long ".repeat(30)), text("bye")].concat();
    // The last of these servers has a higher port than the client.
    let Opened { kind, peer, .. } = described(&tcp());
    let local = Some("192.0.2.2:60000".to_owned());
    let high = Opened { kind, peer, local, ..Opened::default() };
    for opened in [tcp(), websocket(), WireEvent::Opened(high.into())] {
        for cut in 0..frames.len() {
            let events = [
                opened.clone(),
                data(DOWN, control_frame(OpCode::Text, b"first")),
                WireEvent::EndOfInput(DOWN),
                data(UP, &frames[..cut]),
                data(UP, &frames[cut..]),
                WireEvent::EndOfInput(UP),
                WireEvent::Closed("closed".into()),
            ];
            let files = two_files(&events, 4);
            // A file with several sections.
            let [together] = &connections(&files.concat())[..] else { panic!("{cut}") };
            let whole = events.iter().map(|event| (1, event.clone())).collect::<Vec<_>>();
            let [whole] = &connections(&file(FileFormat::Pcapng, &whole))[..] else { panic!() };
            assert_eq!(actions(together), actions(whole), "{cut}");
            assert_eq!((&together.defects[..], &together.refusal), (&[][..], &None), "{cut}");
            let [second] = &connections(&files[1])[..] else { panic!("{cut}") };
            assert_eq!(second.traffic, whole.traffic, "{cut}");
            assert_eq!(second.opened.request, whole.opened.request, "{cut}");
            assert_eq!(second.opened.peer, whole.opened.peer, "{cut}");
        }
    }
}

#[test]
fn the_last_packet_of_a_connection_alone_is_no_connection() {
    let reason = "closed after an error: the peer was too slow";
    let cut = file(
        FileFormat::Pcapng,
        &[(1, tcp()), (1, data(UP, "hello")), (1, WireEvent::Closed(reason.into()))],
    );
    // The section, its interface, and the FIN and its acknowledgements at the end.
    let blocks = blocks(&cut);
    let named = |block: &&[u8]| block.windows(reason.len()).any(|part| part == reason.as_bytes());
    let last = blocks.iter().position(named).unwrap();
    let whole = file(FileFormat::Pcapng, &[(2, tcp()), (2, data(UP, "whole"))]);
    let capture = [blocks[..2].concat(), blocks[last..].concat(), whole].concat();
    let [connection] = &connections(&capture)[..] else { panic!("one connection") };
    assert_eq!(actions(connection)[0].1, Action::Bytes("whole".into()));
}

#[test]
fn a_capture_that_begins_within_a_connection_has_its_start_and_its_opening() {
    let opened = Opened { bytes_before: 100, ..described(&websocket()) };
    let message = masked_frame(OpCode::Text, b"hello", [1, 2, 3, 4]);
    let events = [(1, WireEvent::Opened(opened.into())), (1, data(UP, message))];
    let [connection] = &connections(&file(FileFormat::Pcapng, &events))[..] else { panic!() };
    assert_eq!(connection.defects, ["it begins before the capture"]);
    // The file's first event; numbers of seconds have no single nanoseconds.
    assert!(connection.start.abs_diff(1_790_000_000_000_000_000) < 2000, "{}", connection.start);
    assert_eq!(connection.opened.target, "127.0.0.1:80");
    assert_eq!(connection.opened.protocol.as_deref(), Some("chat"));
    assert!(connection.opened.request.as_deref().unwrap().starts_with("GET /ws?x=1 HTTP/1.1"));
}

#[test]
fn tls_and_compression_are_refused_in_words() {
    let hello = b"\x16\x03\x01\x00\x05hello";
    // The second connection begins before the capture.
    let record = b"\x17\x03\x03\x00\x05bytes";
    for events in [
        [(1, tcp()), (1, data(UP, hello)), (1, data(DOWN, hello))],
        [(1, tcp()), (1, data(DOWN, record)), (1, data(UP, record))],
    ] {
        let [connection] = &connections(&file(FileFormat::Pcapng, &events))[..] else { panic!() };
        assert!(connection.refusal.as_deref().unwrap().starts_with("it is TLS"));
        assert_eq!(connection.opened.target, "192.0.2.2:7007");
    }

    let extension = "Sec-WebSocket-Extensions: permessage-deflate";
    let request = format!("GET / HTTP/1.1\r\nUpgrade: websocket\r\n{extension}\r\n\r\n");
    let response = format!("HTTP/1.1 101 Switching Protocols\r\n{extension}\r\n\r\n");
    let events = [(1, tcp()), (1, data(UP, request)), (1, data(DOWN, response))];
    let [connection] = &connections(&file(FileFormat::Pcapng, &events))[..] else { panic!() };
    let refusal = connection.refusal.as_deref().unwrap();
    assert!(refusal.contains("permessage-deflate"), "{refusal}");
}

#[test]
fn of_a_file_that_is_cut_anywhere_everything_before_is_read_with_a_warning() {
    let events = [(1, tcp()), (1, data(UP, "hello")), (1, data(DOWN, "HELLO"))];
    let websocket = [(1, websocket()), (1, data(DOWN, control_frame(OpCode::Text, b"hello")))];
    for (format, events) in [
        (FileFormat::Pcapng, &events[..]),
        (FileFormat::Jsonl, &events),
        (FileFormat::Har, &websocket),
    ] {
        let whole = file(format, events);
        let all = connections(&whole)[0].events.len();
        let (mut warned, mut refused) = (0, 0);
        for length in 0..whole.len() {
            match read(&whole[..length]) {
                Ok(recording) => {
                    assert!(recording.connections[0].events.len() <= all);
                    warned += recording.warnings.len();
                }
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.starts_with("byte ") && !error.contains('\n'), "{error}");
                    refused += 1;
                }
            }
        }
        let between = whole.len() - warned - refused;
        assert!(between <= 12, "{format}: {between} of {}", whole.len());
        assert_eq!(warned > 0, format != FileFormat::Har, "{format}");
    }
}

#[test]
fn an_entry_of_har_with_an_impossible_start_begins_with_its_first_message() {
    let message = r#"{"type":"send","time":1790000000,"opcode":1,"data":"a"}"#;
    for (started, expected) in [
        ("2026-09-21T14:13:19Z", 1_789_999_999),
        ("0001-01-01T00:00:00Z", 1_790_000_000),
        ("yesterday", 1_790_000_000),
    ] {
        let entry = format!(
            r#"{{"startedDateTime":"{started}","request":{{"url":"ws://a/"}},"_webSocketMessages":[{message}]}}"#
        );
        let file = format!(r#"{{"log":{{"entries":[{entry}]}}}}"#);
        assert_eq!(connections(file.as_bytes())[0].start, expected * 1_000_000_000, "{started}");
    }
}

#[test]
fn damage_is_named_with_its_offset() {
    let pcapng = file(FileFormat::Pcapng, &[(1, tcp()), (1, data(UP, "hello"))]);
    let block = u32::from_le_bytes(pcapng[4..8].try_into().unwrap()) as usize;
    let mut damaged = pcapng.clone();
    damaged[block + 4] = 7;
    let expected = format!("byte {}: expected the length of a block, found 7", block + 4);
    let error = |bytes: &[u8]| read(bytes).unwrap_err().to_string();
    let found = error(&damaged);
    assert!(found.starts_with(&expected[..expected.len() - 1]), "{found}");

    let line = r#"{"time":1,"connection":1,"event":"opened","kind":"tcp","target":"","peer":null}"#;
    let found = error(format!("{line}\n{{\"time\":x}}\n").as_bytes());
    let at = line.len() + 1 + 8;
    assert!(found.starts_with(&format!("byte {at}: expected an event in JSON")), "{found}");
    let found = error(b"{\"time\":1");
    assert!(found.ends_with("the file ends within a line"), "{found}");

    for time in ["1e308", "-1"] {
        let second = line.replacen(":1", &format!(":{time}"), 1);
        let found = error(format!("{line}\n{second}\n").as_bytes());
        let at = line.len() + 1;
        assert!(found.starts_with(&format!("byte {at}: expected a time in seconds")), "{found}");
    }

    let message = r#"{"type":"send","time":1e308,"opcode":1,"data":""}"#;
    let entry = format!(r#"{{"request":{{"url":"ws://a/"}},"_webSocketMessages":[{message}]}}"#);
    let found = error(format!(r#"{{"log":{{"entries":[{entry}]}}}}"#).as_bytes());
    assert!(found.contains("expected a time in seconds since 1970, found 1e308"), "{found}");

    let found = error(b"{\"time\":1,\"connection\":1,\"event\":\"a\\nb\"}");
    assert!(found.contains("unknown variant `a\\nb`") && !found.contains('\n'), "{found}");

    assert_eq!(error(b""), "byte 0: the file is empty");
    for (bytes, words) in [
        (&b"\x1f\x8b\x08"[..], "found gzip: decompress the file first"),
        (b"hello", "expected a recording (pcap, pcapng, HAR or JSON Lines)"),
        (b"{\"log\":{\"entries\":[]}}", "none of the 0 entries of this HAR has WebSocket messages"),
        (b"{\"log\":{\"entries\":[", "the file ends within the JSON of HAR"),
        (b"\xd4\xc3\xb2\xa1\x02\0\x04\0", "the file ends within the header of the file"),
        (b"\xa1\xb2\xc3\xd4\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x93", "found link type 147"),
    ] {
        let found = error(bytes);
        assert!(found.contains(words), "{found}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_a_reader_panic(
        start in 0_usize..5,
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
    ) {
        let starts = [&b"\x0a\x0d\x0d\x0a"[..], b"\xd4\xc3\xb2\xa1", b"{\"log\":", b"{\"time\":", b""];
        let bytes = [starts[start], &bytes].concat();
        if let Err(error) = read(&bytes[..]) {
            prop_assert!(!error.to_string().contains('\n'), "{error}");
        }
    }

    #[test]
    fn damage_anywhere_in_a_capture_makes_no_reader_panic(at in 0_usize..2000, with: u8) {
        let mut bytes = file(FileFormat::Pcapng, &[(1, websocket()), (1, data(UP, b"\x81\x80abcd"))]);
        let at = at % bytes.len();
        bytes[at] = with;
        read(&bytes[..]).ok();
    }
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_text() {
    for format in [FileFormat::Jsonl, FileFormat::Har] {
        let opened = Opened { client_has_frames: true, ..Opened::default() };
        let frame = masked_frame(OpCode::Text, b"a", [0; 4]);
        let events =
            [(1, WireEvent::Opened(opened.into())), (1, WireEvent::Bytes(UP, Bytes::from(frame)))];
        let plain = file(format, &events);
        let marked = [&b"\xef\xbb\xbf"[..], &plain].concat();
        assert_eq!(connections(&marked).len(), connections(&plain).len(), "{format}");
    }
}
