//! The framings in the client role, alone and with a bridge in the server role behind it.

use proptest::prelude::*;

use super::*;
use crate::gateway::test_rig::{in_paused_time, write_in_pieces};

#[tokio::test(start_paused = true)]
async fn a_client_whose_bytes_do_not_fit_the_framing_is_reset_and_the_upstream_told() {
    let cases: [(Framing, &[u8], u16, &str); 2] = [
        (Framing::Text, b"\xff", 1007, "the client sent text that is not valid UTF-8"),
        (
            Framing::Length,
            b"\0\0\0\x02a",
            1011,
            "the client ended within a record (framing=length)",
        ),
    ];
    for (framing, bytes, code, reason) in cases {
        let mut rig = client_rig(framing);
        rig.client.write_all(bytes).await.unwrap();
        rig.client.shutdown().await.unwrap();
        let mut frame = rig.upstream.frame_in().await;
        if frame.0 == 0x02 {
            assert_eq!(frame.1, b"a", "the part of a record is no message");
            frame = rig.upstream.frame_in().await;
        }
        assert_eq!(frame, (0x88, close_payload(code, reason)));
        rig.upstream.send_close(code, "").await;
        rig.upstream.stream.shutdown().await.unwrap();
        assert_eq!(rig.end().await, (code, reason.to_owned(), true, false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_record_that_stalls_goes_out_in_masked_fragments_with_pongs_between() {
    let mut rig = client_rig(Framing::Length);
    rig.client.write_all(b"\0\0\0\x06ab").await.unwrap();
    assert_eq!(rig.upstream.frame_in().await, (0x02, b"ab".to_vec()));
    rig.upstream.send(0x89, b"?").await;
    assert_eq!(rig.upstream.frame_in().await, (0x8a, b"?".to_vec()));
    rig.client.write_all(b"cdef\0\0\0\0\0\0\0\x01x").await.unwrap();
    assert_eq!(rig.upstream.frame_in().await, (0x80, b"cdef".to_vec()));
    assert_eq!(rig.upstream.frame_in().await, (0x82, Vec::new()));
    assert_eq!(rig.upstream.frame_in().await, (0x82, b"x".to_vec()));
}

#[tokio::test(start_paused = true)]
async fn a_record_that_arrives_byte_by_byte_is_one_message() {
    let mut rig = client_rig(Framing::Length);
    let record = [&b"\0\0\x0b\xb8"[..], &[7; 3000]].concat();
    for byte in record.chunks(1) {
        rig.client.write_all(byte).await.unwrap();
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(rig.upstream.frame_in().await, (0x82, vec![7; 3000]));
}

#[tokio::test(start_paused = true)]
async fn a_message_in_fragments_is_written_with_its_length_or_not_at_all() {
    let mut rig = client_rig(Framing::Length);
    rig.upstream.send(0x02, b"in ").await;
    rig.upstream.send(0x00, b"").await;
    rig.upstream.send(0x80, b"pieces").await;
    assert_eq!(exactly(&mut rig.client, 13).await, b"\0\0\0\x09in pieces");
    rig.upstream.send(0x02, b"never complete").await;
    rig.upstream.send_close(1000, "").await;
    rig.upstream.stream.shutdown().await.unwrap();
    assert_eq!(rig.rest_of_client().await, b"");
    let expected = "the upstream closed; bytes not delivered to the client: 14";
    assert_eq!(rig.end().await, (1000, expected.to_owned(), true, false));
}

/// A framing and bytes that it does not change.
fn input() -> impl Strategy<Value = (Framing, u8, [Vec<u8>; 2])> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..20_000);
    let text = || ".{0,3000}".prop_map(String::into_bytes);
    let lines = || "([a-z\u{20ac}]{0,30}\n){0,200}".prop_map(String::into_bytes);
    let records = |prefix| {
        let record = proptest::collection::vec(any::<u8>(), 0..3000);
        let options = FramingOptions { prefix, ..FramingOptions::default() };
        proptest::collection::vec(record, 0..12).prop_map(move |records| {
            let framer = Framer::with_options(Framing::Length, &options);
            let mut bytes = Vec::new();
            for record in records {
                framer.append_prefix(record.len() as u64, &mut bytes);
                bytes.extend(record);
            }
            bytes
        })
    };
    prop_oneof![
        [bytes(), bytes()].prop_map(|both| (Framing::Bytes, 4, both)),
        [text(), text()].prop_map(|both| (Framing::Text, 4, both)),
        [lines(), lines()].prop_map(|both| (Framing::Line, 4, both)),
        [records(2), records(2)].prop_map(|both| (Framing::Length, 2, both)),
        [records(4), records(4)].prop_map(|both| (Framing::Length, 4, both)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn bytes_pass_unchanged_through_bridges_in_both_roles(
        (framing, prefix, both) in input(),
        rooms in [1..40_usize, 100..5_000_usize, 100..100_000_usize],
        cuts in proptest::collection::vec(1..2_000_usize, 1..30),
        half_close: bool,
    ) {
        let mut config = config(framing);
        config.framing_options.prefix = prefix;
        // An empty record is no end of input.
        let half_close = half_close && framing.fits("half-close");
        in_paused_time(pass(config, both, rooms, cuts, half_close));
    }
}

/// Passes bytes both ways through a bridge in each role.
async fn pass(
    config: BridgeConfig,
    [there, back]: [Vec<u8>; 2],
    [small, middle, large]: [usize; 3],
    cuts: Vec<usize>,
    half_close: bool,
) {
    let (client, client_end) = duplex(middle);
    let (ws_client, ws_server) = duplex(small);
    let (upstream, upstream_end) = duplex(large);
    let [client_end, ws_client, ws_server, upstream_end] =
        [client_end, ws_client, ws_server, upstream_end].map(|stream| Pipe::new(stream).0);
    let drain = Drain::new();
    let negotiated = Negotiated { config: config.into(), half_close };
    let forward =
        run(Role::Client, ws_client, client_end, b"", negotiated.clone(), enter(), &drain);
    let route = run(Role::Server, ws_server, upstream_end, b"", negotiated, enter(), &drain);
    let bridges = [tokio::spawn(forward), tokio::spawn(route)];
    let exchange = |stream: DuplexStream, sent: Vec<u8>, expected: Vec<u8>| {
        let cuts = cuts.clone();
        async move {
            let (mut read, mut write) = tokio::io::split(stream);
            let mut got = vec![0; expected.len()];
            let writing = async {
                write_in_pieces(&mut write, &sent, &cuts).await;
                if half_close {
                    write.shutdown().await.unwrap();
                }
            };
            let (_, read_all) = tokio::join!(writing, read.read_exact(&mut got));
            read_all.unwrap();
            assert!(got == expected, "{} bytes are not as they were sent", got.len());
            (read, write)
        }
    };
    let both = async {
        tokio::join!(
            exchange(client, there.clone(), back.clone()),
            exchange(upstream, back.clone(), there.clone())
        )
    };
    let (client, upstream) = timeout(HOUR, both).await.expect("nothing hangs");
    for (mut read, mut write) in [client, upstream] {
        write.shutdown().await.unwrap();
        let mut rest = Vec::new();
        timeout(HOUR, read.read_to_end(&mut rest)).await.expect("it ends").ok();
        assert_eq!(rest, b"");
    }
    for bridge in bridges {
        let end = timeout(HOUR, bridge).await.expect("it ends").unwrap();
        assert_eq!(end.code, CloseCode::NORMAL, "{end}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn tungstenite_reads_the_frames_as_a_server_and_is_read(
        lines in proptest::collection::vec(".{0,300}", 0..30),
        room in prop_oneof![1..40_usize, 100..100_000_usize],
        cuts in proptest::collection::vec(1..500_usize, 1..10),
    ) {
        in_paused_time(echo_lines(lines, room, cuts));
    }
}

/// Sends lines to a server of tungstenite that sends each one back, with a Ping before it.
async fn echo_lines(lines: Vec<String>, room: usize, cuts: Vec<usize>) {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::{
        WebSocketStream,
        tungstenite::{Message, protocol::Role as Side},
    };

    let ClientRig { mut client, upstream, bridge, .. } =
        client_rig_with(config(Framing::Line), false, room);
    let server = tokio::spawn(async move {
        let mut server =
            WebSocketStream::from_raw_socket(upstream.stream, Side::Server, None).await;
        let mut pongs = 0;
        loop {
            match timeout(HOUR, server.next()).await.expect("in time") {
                Some(Ok(message @ Message::Text(_))) => {
                    server.send(Message::Ping("?".into())).await.unwrap();
                    server.send(message).await.unwrap();
                }
                Some(Ok(Message::Pong(_))) => pongs += 1,
                Some(Ok(Message::Close(Some(close)))) => assert_eq!(u16::from(close.code), 1000),
                None => break pongs,
                other => panic!("{other:?}"),
            }
        }
    });
    let sent: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let (mut read, mut write) = tokio::io::split(&mut client);
    let sending = write_in_pieces(&mut write, sent.as_bytes(), &cuts);
    // A carriage return in front of a line's end is part of that.
    let expected = sent.replace("\r\n", "\n");
    let mut got = vec![0; expected.len()];
    let receiving = async { timeout(HOUR, read.read_exact(&mut got)).await.expect("in time") };
    let ((), received) = tokio::join!(sending, receiving);
    received.unwrap();
    write.shutdown().await.unwrap();
    assert_eq!(String::from_utf8(got).unwrap(), expected);
    assert!(server.await.unwrap() <= lines.len());
    let end = timeout(HOUR, bridge).await.expect("it ends").unwrap();
    assert_eq!(end.to_string(), "the client ended the stream (1000)");
}
