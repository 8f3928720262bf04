use std::net::SocketAddr;

use bytes::Bytes;
use echogate_proto::{
    api::Kind,
    recording::{Direction, Lost, Opened, Side, TapPoint},
    ws::{
        OpCode,
        frame::{FrameHeader, masked_frame},
        scanner::FrameScanner,
    },
};
use etherparse::{SlicedPacket, TransportSlice};
use pcap_parser::{
    PcapError, PcapNGReader,
    pcapng::{Block, PcapNGOption},
    traits::PcapReaderIterator,
};
use proptest::prelude::*;

use super::{packet_stream::PacketStream, *};

/// A packet as an independent parser reads it.
#[derive(Clone, Debug)]
struct Packet {
    time: u64,
    from: SocketAddr,
    to: SocketAddr,
    comment: String,
    segment: Option<Tcp>,
    payload: Vec<u8>,
}

#[derive(Clone, Debug)]
struct Tcp {
    sequence: u32,
    acknowledgement: u32,
    flags: String,
}

/// The packets of a file, whose checksums are verified.
fn packets(file: &[u8]) -> Vec<Packet> {
    let mut reader = PcapNGReader::new(1 << 20, file).unwrap();
    let mut packets = Vec::new();
    loop {
        match reader.next() {
            Ok((offset, block)) => {
                if let pcap_parser::PcapBlockOwned::NG(Block::EnhancedPacket(block)) = block {
                    let time = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
                    let data = &block.data[..block.caplen as usize];
                    assert_eq!(block.caplen, block.origlen);
                    packets.push(packet(time, comment(&block.options), data));
                }
                reader.consume(offset);
            }
            Err(PcapError::Eof) => return packets,
            Err(PcapError::Incomplete(_)) => reader.refill().unwrap(),
            Err(e) => panic!("{e:?}"),
        }
    }
}

fn comment(options: &[PcapNGOption<'_>]) -> String {
    let comment = options.iter().find(|option| option.code.0 == 1);
    comment
        .map_or(String::new(), |o| String::from_utf8(o.value()[..o.len as usize].to_vec()).unwrap())
}

fn packet(time: u64, comment: String, data: &[u8]) -> Packet {
    let sliced = SlicedPacket::from_ip(data).unwrap();
    let (from_ip, to_ip): (std::net::IpAddr, std::net::IpAddr) = match sliced.net.unwrap() {
        etherparse::NetSlice::Ipv4(ip) => {
            let header = ip.header();
            assert_eq!(header.header_checksum(), header.to_header().calc_header_checksum());
            (header.source_addr().into(), header.destination_addr().into())
        }
        etherparse::NetSlice::Ipv6(ip) => {
            (ip.header().source_addr().into(), ip.header().destination_addr().into())
        }
        other => panic!("{other:?}"),
    };
    let (from_port, to_port, segment, payload) = match sliced.transport {
        None => (0, 0, None, &[][..]),
        Some(TransportSlice::Tcp(tcp)) => {
            let sum = match (from_ip, to_ip) {
                (std::net::IpAddr::V4(from), std::net::IpAddr::V4(to)) => {
                    tcp.calc_checksum_ipv4(from.octets(), to.octets())
                }
                (std::net::IpAddr::V6(from), std::net::IpAddr::V6(to)) => {
                    tcp.calc_checksum_ipv6(from.octets(), to.octets())
                }
                _ => panic!(),
            };
            assert_eq!(sum.unwrap(), tcp.checksum());
            let flags = [(tcp.syn(), 'S'), (tcp.fin(), 'F'), (tcp.rst(), 'R'), (tcp.ack(), 'A')];
            let flags = flags.into_iter().filter(|(set, _)| *set).map(|(_, name)| name).collect();
            let segment = Tcp {
                sequence: tcp.sequence_number(),
                acknowledgement: tcp.acknowledgment_number(),
                flags,
            };
            (tcp.source_port(), tcp.destination_port(), Some(segment), tcp.payload())
        }
        Some(TransportSlice::Udp(udp)) => {
            (udp.source_port(), udp.destination_port(), None, udp.payload())
        }
        other => panic!("{other:?}"),
    };
    let (from, to) = (SocketAddr::new(from_ip, from_port), SocketAddr::new(to_ip, to_port));
    Packet { time, from, to, comment, segment, payload: payload.to_vec() }
}

/// The file of a connection with the number 7, and of the events that follow.
fn file(opened: Opened, events: Vec<WireEvent>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut encoder = PcapngEncoder::new(&mut out);
    for (n, event) in [WireEvent::Opened(opened.into())].into_iter().chain(events).enumerate() {
        let time = 1_790_000_000_123_456_789 + n as u64;
        encoder.encode(&WireRecord { time, connection: 7, event }, &mut out);
    }
    assert!(encoder.connections.is_empty());
    out
}

const UP: TapPoint = TapPoint { side: Side::Client, direction: Direction::ToServer };
const DOWN: TapPoint = TapPoint { side: Side::Client, direction: Direction::ToClient };

fn bytes(point: TapPoint, bytes: &[u8]) -> WireEvent {
    WireEvent::Bytes(point, Bytes::copy_from_slice(bytes))
}

fn closed() -> WireEvent {
    WireEvent::Closed("closed by the client".into())
}

fn tcp(opened: Opened) -> Opened {
    let [peer, local] = ["192.0.2.7:40001", "192.0.2.1:7007"].map(|text| Some(text.to_owned()));
    Opened { kind: Some(Kind::Tcp), target: "upper".into(), peer, local, ..opened }
}

/// The flags of each packet, with its sender.
fn flags(packets: &[Packet]) -> Vec<String> {
    let sender = |packet: &Packet| if packet.to.port() > packet.from.port() { '<' } else { '>' };
    let flags =
        |packet: &Packet| packet.segment.as_ref().map_or("-".into(), |tcp| tcp.flags.clone());
    packets.iter().map(|packet| format!("{}{}", sender(packet), flags(packet))).collect()
}

#[test]
fn a_tcp_connection_begins_with_a_handshake_and_ends_with_fin() {
    let events = vec![
        bytes(UP, b"hello\n"),
        bytes(DOWN, b"HELLO\n"),
        WireEvent::EndOfInput(UP),
        WireEvent::EndOfInput(DOWN),
        closed(),
    ];
    let packets = packets(&file(tcp(Opened::default()), events));
    assert_eq!(flags(&packets), [">S", "<SA", ">A", ">A", "<A", ">FA", "<FA", ">A"]);
    assert_eq!(packets[3].payload, b"hello\n");
    assert_eq!(packets[4].payload, b"HELLO\n");
    assert_eq!(packets[3].time, 1_790_000_000_123_456_790);
    assert_eq!(packets[0].from.to_string(), "192.0.2.7:40001");
    assert_eq!(packets[0].comment, "connection 7: tcp upper, client 192.0.2.7:40001");
    assert_eq!(packets[7].comment, "connection 7 closed by the client");
}

#[test]
fn a_connection_in_its_middle_has_no_syn_and_a_reset_ends_it() {
    let opened = tcp(Opened { bytes_before: 12, ..Opened::default() });
    let lost = WireEvent::Lost(Lost { events: 2, bytes: 9 });
    let (a, b) = (bytes(UP, b"a"), bytes(DOWN, b"b"));
    let events = vec![a, lost.clone(), lost, b, WireEvent::Reset(DOWN), closed()];
    let packets = packets(&file(opened, events));
    assert_eq!(flags(&packets), [">A", "<A", "<RA", ">-"]);
    assert!(packets[0].comment.ends_with("; bytes before this file: 12"));
    assert_eq!(packets[1].comment, "lost: 4 events (18 bytes)");
    assert_eq!(packets[3].comment, "connection 7 closed by the client");
}

#[test]
fn the_end_of_datagrams_is_a_packet_of_its_own() {
    let opened = Opened { kind: Some(Kind::Udp), target: "upper".to_owned(), ..Opened::default() };
    let datagram = WireEvent::Datagram(UP, Bytes::from_static(b"abc"));
    let lost = WireEvent::Lost(Lost { events: 1, bytes: 3 });
    let packets = packets(&file(opened, vec![datagram, lost, closed()]));
    assert_eq!(packets.len(), 2);
    let expected = "lost: 1 event (3 bytes); connection 7 closed by the client";
    assert_eq!((&*packets[1].comment, &packets[1].payload[..]), (expected, &[][..]));
}

#[test]
fn frames_behind_lost_bytes_are_behind_the_end_of_the_frame_before() {
    let opened = tcp(Opened { client_has_frames: true, ..Opened::default() });
    let frame = masked_frame(OpCode::Binary, &[7; 100], [1, 2, 3, 4]);
    let mut scanner = FrameScanner::default();
    scanner.skip(&frame[..60]);
    let events = vec![
        bytes(UP, &frame[..20]),
        WireEvent::Lost(Lost { events: 1, bytes: 40 }),
        WireEvent::Position(UP, scanner.into()),
        bytes(UP, &frame[60..]),
        closed(),
    ];
    let packets = packets(&file(opened, events));
    let [before, behind] = [&packets[5], &packets[6]];
    assert_eq!(before.payload, frame[..20]);
    let sequence = |packet: &Packet| packet.segment.as_ref().unwrap().sequence;
    let distance = sequence(behind).wrapping_sub(sequence(before));
    assert_eq!(distance as usize, frame.len(), "the frame before has no more bytes");
    let header = FrameHeader::new(OpCode::Continuation, true, 46);
    assert_eq!(behind.payload[..2], header.masked([0; 4]).as_bytes()[..2]);
    assert_eq!(behind.comment, "lost: 1 event (40 bytes); frames continue here");
}

#[test]
fn a_connection_goes_on_in_another_file_with_its_next_sequence_numbers() {
    let opened = tcp(Opened { client_has_frames: true, ..Opened::default() });
    let record = |event| WireRecord { time: 1, connection: 7, event };
    let (mut first, mut second) = (Vec::new(), Vec::new());
    let mut encoder = PcapngEncoder::new(&mut first);
    for event in [
        WireEvent::Opened(opened.clone().into()),
        bytes(UP, b"\x81\x80abcd"),
        bytes(DOWN, b"\x81\x01a"),
        WireEvent::EndOfInput(DOWN),
    ] {
        encoder.encode(&record(event), &mut first);
    }
    let open = encoder.into_open_connections();
    let mut encoder = PcapngEncoder::new(&mut second);
    encoder.follow(open);
    let opened = Opened { bytes_before: 9, ..opened };
    for event in [WireEvent::Opened(opened.into()), bytes(UP, b"\x81\x80efgh"), closed()] {
        encoder.encode(&record(event), &mut second);
    }
    let (first, second) = (packets(&first), packets(&second));
    assert_eq!(flags(&second), [">A", "<A", "<FA", ">A", ">FA", "<A"]);
    assert!(
        second[0].payload.starts_with(b"GET ") && second[1].payload.starts_with(b"HTTP/1.1 101")
    );
    // After the last packet with bytes of a direction.
    let next = |packets: &[Packet], from: &SocketAddr| {
        let mut packets = packets.iter().filter(|packet| packet.from == *from);
        let last = packets.rfind(|packet| !packet.payload.is_empty()).unwrap();
        last.segment.as_ref().unwrap().sequence.wrapping_add(last.payload.len() as u32)
    };
    let sequence = |packet: &Packet| packet.segment.as_ref().unwrap().sequence;
    assert_eq!(next(&first, &second[3].from), sequence(&second[3]), "the next frame");
    assert_eq!(next(&first, &second[2].from), sequence(&second[2]), "the end, once more");
    assert_eq!(second[2].segment.as_ref().unwrap().flags, "FA");
}

#[test]
fn the_sides_of_a_relay_are_two_connections_and_unknown_addresses_are_synthetic() {
    let opened = Opened {
        kind: Some(Kind::Unix),
        target: "unix:///run/x.sock".into(),
        upstream: Some("udp://[2001:db8::1]:53".into()),
        ..Opened::default()
    };
    let upstream = TapPoint { side: Side::Upstream, direction: Direction::ToServer };
    let datagram = WireEvent::Datagram(upstream, Bytes::from_static(b"abc"));
    let packets = packets(&file(opened, vec![bytes(UP, b"abc"), datagram, closed()]));
    let udp = packets.iter().find(|packet| packet.segment.is_none()).unwrap();
    assert_eq!(udp.to.to_string(), "[2001:db8::1]:53");
    assert!(udp.from.ip().to_string().starts_with("fd00::"), "{}", udp.from);
    assert!(udp.comment.starts_with("connection 7, upstream side: "), "{}", udp.comment);
    assert!(packets[0].from.ip().is_loopback() && packets[0].to.ip().is_loopback());
}

#[test]
fn the_largest_datagram_of_udp_is_one_packet() {
    let upstream = TapPoint { side: Side::Upstream, direction: Direction::ToServer };
    for (length, expected) in [(65_507, 1), (65_508, 2)] {
        let datagram = WireEvent::Datagram(upstream, Bytes::from(vec![b'x'; length]));
        let opened = Opened { upstream: Some("udp://127.0.0.1:7".to_owned()), ..Opened::default() };
        let packets = packets(&file(opened, vec![datagram, closed()]));
        let datagrams = packets.iter().filter(|packet| packet.segment.is_none());
        let lengths: Vec<_> = datagrams.map(|packet| packet.payload.len()).collect();
        assert_eq!(lengths.len(), expected, "{lengths:?}");
        assert_eq!(lengths.iter().sum::<usize>(), length);
    }
}

#[test]
fn frames_follow_an_opening_handshake() {
    let request = "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket";
    let response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket";
    for (request, response, first) in [
        (Some(request), Some(response), request),
        (None, None, "GET /ws HTTP/1.1\r\nHost: 192.0.2.1:7007"),
        (Some("CONNECT /ws?x=1 HTTP/2"), Some("HTTP/2 200"), "GET /ws?x=1 HTTP/1.1"),
    ] {
        let opened = tcp(Opened {
            client_has_frames: true,
            request: request.map(Into::into),
            response: response.map(Into::into),
            ..Opened::default()
        });
        let opened = Opened { target: "/ws".into(), ..opened };
        let packets = packets(&file(opened, vec![bytes(DOWN, b"\x81\x01a"), closed()]));
        let [request, response] =
            [3, 4].map(|n| String::from_utf8(packets[n].payload.clone()).unwrap());
        assert!(request.starts_with(first) && request.ends_with("\r\n\r\n"), "{request}");
        assert!(response.starts_with("HTTP/1.1 101 ") && response.ends_with("\r\n\r\n"));
        assert_eq!(packets[5].payload, b"\x81\x01a");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_bytes_are_those_that_passed_in_segments_that_follow_each_other(
        chunks in prop::collection::vec(
            (any::<bool>(), prop_oneof![0_usize..200, 60_000_usize..200_000]), 0..12),
        is_v6: bool,
        sequence: [u32; 2],
    ) {
        let opened = tcp(Opened::default());
        let opened = if is_v6 {
            Opened { peer: Some("[2001:db8::7]:40001".into()), ..opened }
        } else {
            opened
        };
        let (mut out, mut sent) = (Vec::new(), [Vec::<u8>::new(), Vec::new()]);
        let mut encoder = PcapngEncoder::new(&mut out);
        let record = |event| WireRecord { time: 1, connection: 7, event };
        // The first numbers are chosen so that they wrap.
        let ends = addresses::ends(7, &opened, Side::Client);
        let mut stream = PacketStream::with_sequences(ends, sequence.map(|n| 0_u32.wrapping_sub(n % 300_000)));
        stream.open(&mut block::Packets { time: 1, comment: &mut String::new(), out: &mut out });
        encoder.connections.insert(7, Conversation::with_stream(7, opened, stream));
        for (is_up, length) in &chunks {
            let chunk: Vec<u8> = (0..*length).map(|n| n as u8).collect();
            sent[usize::from(!is_up)].extend(&chunk);
            encoder.encode(&record(bytes(if *is_up { UP } else { DOWN }, &chunk)), &mut out);
        }
        encoder.encode(&record(closed()), &mut out);
        let packets = packets(&out);
        let mut next = [None, None];
        let mut received = [Vec::<u8>::new(), Vec::new()];
        for packet in &packets {
            let from = usize::from(packet.from.port() != 40001);
            let tcp = packet.segment.as_ref().unwrap();
            prop_assert_eq!(tcp.sequence, next[from].unwrap_or(tcp.sequence));
            if let Some(other) = next[1 - from] {
                let in_flight = other.wrapping_sub(tcp.acknowledgement);
                prop_assert_eq!(in_flight, 0);
            }
            let marks = tcp.flags.chars().filter(|c| "SF".contains(*c)).count();
            let length = packet.payload.len() + marks;
            next[from] = Some(tcp.sequence.wrapping_add(length as u32));
            received[from].extend(&packet.payload);
        }
        prop_assert_eq!(received, sent);
        prop_assert!(packets.last().unwrap().segment.as_ref().unwrap().flags == "A");
    }
}
