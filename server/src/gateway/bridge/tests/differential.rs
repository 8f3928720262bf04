//! Differential tests with tungstenite as the client.

use echogate_proto::framing::Newline;
use futures_util::{SinkExt, StreamExt};
use proptest::prelude::*;
use tokio::time::advance;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Bytes, Message, protocol::Role as LibraryRole},
};

use super::*;
use crate::gateway::test_rig::{
    in_paused_time,
    script::{self, Step, script},
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_script_gets_its_replies_as_tungstenite_reads_them(
        script in script(20),
        room in prop_oneof![1..20_usize, 100..5_000_usize, Just(1 << 20)],
        pause in 1..3_000_usize,
    ) {
        in_paused_time(play(script, room, pause));
    }
}

/// Plays `script` against an upstream that echoes in upper case and pauses after each `pause`
/// bytes.
async fn play(script: Vec<Step>, room: usize, pause: usize) {
    let Rig { client, mut upstream, bridge, .. } = rig_with(Framing::Message, room, b"");
    let echo = tokio::spawn(async move {
        let mut buf = vec![0; pause];
        loop {
            match upstream.read(&mut buf).await {
                Ok(0) | Err(_) => break,
                Ok(n) => {
                    buf[..n].make_ascii_uppercase();
                    upstream.write_all(&buf[..n]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    let client = WebSocketStream::from_raw_socket(client, LibraryRole::Client, None).await;
    let (mut to, mut from) = client.split();
    let expected = script.iter().filter_map(Step::message).map(|message| match message {
        Message::Text(text) => Message::text(text.to_ascii_uppercase()),
        message => Message::binary(message.into_data().to_ascii_uppercase()),
    });
    let expected: Vec<Message> = expected.collect();
    let last_ping = script.iter().rev().find_map(|step| match step {
        Step::Fragments(..) => Some(script::BETWEEN.into()),
        Step::Ping(payload) => Some(Bytes::from(payload.clone())),
        _ => None,
    });
    let sending = tokio::spawn(async move {
        script::play(&mut to, script).await;
        to
    });
    let (mut got, mut last_pong) = (Vec::new(), None);
    while got.len() < expected.len() || last_pong != last_ping {
        let message = timeout(HOUR, from.next()).await;
        match message.expect("in time").expect("no end").expect("no error") {
            Message::Pong(payload) => last_pong = Some(payload),
            Message::Ping(_) => {}
            message => got.push(message),
        }
    }
    assert!(got == expected, "{got:?} and not {expected:?}");
    let mut to = sending.await.unwrap();
    to.send(Message::Close(None)).await.unwrap();
    loop {
        match timeout(HOUR, from.next()).await.expect("in time") {
            Some(Ok(Message::Close(frame))) => assert!(frame.is_none()),
            Some(Ok(Message::Pong(_))) => {}
            None => break,
            other => panic!("{other:?} after the Close"),
        }
    }
    let end = timeout(HOUR, bridge).await.expect("it ends").unwrap();
    assert_eq!(end.code, CloseCode::NO_STATUS, "{end}");
    echo.await.unwrap();
    advance(Duration::ZERO).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn all_bytes_of_an_upstream_arrive_as_tungstenite_reads_them(
        text in ".{0,2000}",
        cuts in proptest::collection::vec(1..200_usize, 0..40),
        room in prop_oneof![1..20_usize, 100..5_000_usize],
        framing in prop_oneof![Just(Framing::Bytes), Just(Framing::Text), Just(Framing::Line)],
    ) {
        in_paused_time(deliver(text, cuts, room, framing));
    }
}

async fn deliver(text: String, cuts: Vec<usize>, room: usize, framing: Framing) {
    let Rig { client, mut upstream, bridge, .. } = rig_with(framing, room, b"");
    let sent = text.clone();
    tokio::spawn(async move {
        let mut rest = sent.as_bytes();
        for cut in cuts {
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            upstream.write_all(piece).await.unwrap();
            rest = behind;
            sleep(Duration::from_millis(1)).await;
        }
        upstream.write_all(rest).await.unwrap();
        upstream.shutdown().await.unwrap();
        upstream.read_to_end(&mut vec![]).await.unwrap();
    });
    let mut client = WebSocketStream::from_raw_socket(client, LibraryRole::Client, None).await;
    let mut got: Vec<Message> = Vec::new();
    let code = loop {
        match timeout(HOUR, client.next()).await.expect("in time").expect("a Close").unwrap() {
            Message::Close(frame) => break frame.map(|frame| u16::from(frame.code)),
            message => got.push(message),
        }
    };
    assert_eq!(code, Some(1000));
    assert!(got.iter().all(|message| message.is_binary() == (framing == Framing::Bytes)));
    let got = got.into_iter().map(Message::into_data);
    if framing == Framing::Line {
        let mut lines: Vec<&str> = text.split('\n').collect();
        if lines.last() == Some(&"") {
            lines.pop();
        }
        let last = lines.len().saturating_sub(1);
        let ended = text.ends_with('\n');
        let lines = lines.iter().enumerate().map(|(i, line)| match line.strip_suffix('\r') {
            Some(line) if i < last || ended => line,
            _ => line,
        });
        assert!(lines.map(str::as_bytes).eq(got));
    } else {
        assert!(got.flatten().eq(text.bytes()));
    }
    while client.next().await.is_some() {}
    bridge.await.unwrap();
}

/// A message of framing `line` as the upstream receives it with `newline=crlf`.
fn with_crlf(message: &str) -> String {
    let ended = if message.ends_with('\n') { message.to_owned() } else { format!("{message}\n") };
    ended.replace("\r\n", "\n").replace('\n', "\r\n")
}

proptest! {
    #[test]
    fn with_crlf_every_line_ending_is_crlf_in_any_fragments(
        messages in proptest::collection::vec(proptest::collection::vec("[a\r\n]{0,4}", 1..4), 1..8),
    ) {
        in_paused_time(async {
                let mut config = config(Framing::Line);
                config.framing_options.newline = Newline::CrLf;
                let negotiated = Negotiated { config: config.into(), half_close: false };
                let mut rig = rig_on(negotiated, 4096, b"");
                let (mut sent, mut expected) = (Vec::new(), String::new());
                for fragments in &messages {
                    for (i, fragment) in fragments.iter().enumerate() {
                        let opcode = if i == 0 { 0x01 } else { 0x00 };
                        let fin = if i + 1 == fragments.len() { 0x80 } else { 0x00 };
                        sent.extend(frame(fin | opcode, fragment.as_bytes()));
                    }
                    expected += &with_crlf(&fragments.concat());
                }
                rig.client.write_all(&sent).await.unwrap();
                let got = rig.at_upstream(expected.len()).await;
                assert_eq!(String::from_utf8(got).unwrap(), expected);
            });
    }
}
