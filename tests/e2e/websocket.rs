//! Messages through the gateway to `upper`, over TCP and in memory.
//!
//! The client is tokio-tungstenite, or raw frames where tungstenite would not send them.

use std::{io::Write, thread};

use echogate_tests::{
    server::{Server, WAIT_TIMEOUT},
    tcp::noise,
    ws::{self, Frame, RawWs, first},
};
use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use crate::{ECHOGATE, server};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connect(server: &Server, path: &str) -> Client {
    connect_async(server.ws(path)).await.expect("a WebSocket").0
}

/// The next message, within the timeout.
async fn next(client: &mut Client) -> Message {
    let message = timeout(WAIT_TIMEOUT, client.next()).await.expect("a message in time");
    message.expect("a message, not the end").expect("no error")
}

/// The reply of `upper` to a message.
fn upper(message: &Message) -> Message {
    match message {
        Message::Text(text) => Message::text(text.to_ascii_uppercase()),
        Message::Binary(bytes) => Message::binary(bytes.to_ascii_uppercase()),
        other => other.clone(),
    }
}

#[tokio::test]
async fn text_comes_back_as_text_and_binary_as_binary() {
    let server = server();
    let mut client = connect(&server, "/ws").await;
    for message in [
        Message::text("hello, 世界 ß"),
        Message::binary((0..=255).collect::<Vec<u8>>()),
        Message::text("x"),
        Message::binary(vec![b'x']),
    ] {
        client.send(message.clone()).await.unwrap();
        assert_eq!(next(&mut client).await, upper(&message));
    }
}

#[tokio::test]
async fn an_empty_message_comes_back_empty_and_of_the_same_type() {
    let server = server();
    let mut client = connect(&server, "/ws").await;
    for message in [Message::text(""), Message::binary(vec![])] {
        client.send(message.clone()).await.unwrap();
        assert_eq!(next(&mut client).await, message, "alone");
    }
    // Between others, whose order must not change.
    let messages =
        ["a", "", "b", "", "", "c"].map(Message::text).into_iter().chain([Message::binary(vec![])]);
    for message in messages.clone() {
        client.feed(message).await.unwrap();
    }
    client.flush().await.unwrap();
    for message in messages {
        assert_eq!(next(&mut client).await, upper(&message));
    }
}

/// Messages of all forms of length, and an empty one.
fn mixed() -> Vec<Message> {
    let noise = noise(200_000);
    let sizes =
        [0, 1, 2, 125, 126, 127, 4096, 65_535, 65_536, 65_537, 131_071, 131_072, 131_073, 200_000];
    let messages = sizes.iter().cycle().enumerate().take(sizes.len() * 5);
    messages
        .map(|(i, &size)| {
            if i % 3 == 0 {
                Message::text("ab€".chars().cycle().skip(i).take(size / 2).collect::<String>())
            } else {
                Message::binary(noise[i..].iter().copied().take(size).collect::<Vec<_>>())
            }
        })
        .collect()
}

/// Sends messages to the route `path` without waiting, and checks each reply.
async fn assert_replies(server: &Server, path: &str, reply_to: fn(&Message) -> Message) {
    let (mut to, mut from) = connect(server, path).await.split();
    let messages = mixed();
    let sending = {
        let messages = messages.clone();
        tokio::spawn(async move {
            for message in messages {
                to.send(message).await.unwrap();
            }
            to
        })
    };
    for (i, message) in messages.iter().enumerate() {
        let reply = timeout(WAIT_TIMEOUT, from.next()).await.expect("in time").unwrap().unwrap();
        assert!(reply == reply_to(message), "message {i} through {path}");
    }
    drop(sending.await.unwrap());
}

#[tokio::test]
async fn many_messages_in_flight_keep_their_order_and_their_boundaries() {
    let server = Server::start(ECHOGATE, &["--listen", "echo=tcp://127.0.0.1:0"]);
    // The routes to `upper` and `echo` differ only in the service.
    assert_replies(&server, "/ws", upper).await;
    assert_replies(&server, "/ws/echo", Message::clone).await;
}

#[tokio::test]
async fn the_same_holds_in_memory() {
    let server = Server::start(ECHOGATE, &["--route", "/m=service:upper"]);
    assert_replies(&server, "/m", upper).await;
}

#[tokio::test]
async fn large_messages_come_back_whole() {
    let server = server();
    let mut client = connect(&server, "/ws").await;
    for size in [1 << 20, 15 << 20] {
        let message = Message::binary(noise(size));
        let (mut to, mut from) = client.split();
        let expected = upper(&message);
        let sending = tokio::spawn(async move {
            to.send(message).await.unwrap();
            to
        });
        let reply = timeout(WAIT_TIMEOUT, from.next()).await.expect("in time").unwrap().unwrap();
        assert!(reply == expected, "{size} bytes");
        client = from.reunite(sending.await.unwrap()).unwrap();
    }
}

#[test]
fn each_message_comes_back_as_one_message_and_a_short_one_in_one_frame() {
    let server = server();
    let mut client = RawWs::connect(&server, "/ws");
    for size in [0, 1, 125, 126, 65_535, 65_536, 100_000] {
        client.send_frame(first::BINARY, &noise(size));
        let expected = Frame { first: first::BINARY, payload: noise(size).to_ascii_uppercase() };
        let message = if size < 16_384 { client.read() } else { client.read_message() };
        assert!(message == expected, "{size} bytes");
    }
}

#[test]
fn sixteen_messages_of_64_kib_sent_in_one_go_come_back_whole() {
    let server = server();
    let mut client = RawWs::connect(&server, "/ws");
    let all = noise(16 * 65_536);
    let frames: Vec<u8> =
        all.chunks(65_536).flat_map(|chunk| ws::frame(first::BINARY, chunk)).collect();
    let mut writer = client.stream.try_clone().unwrap();
    let writing = thread::spawn(move || writer.write_all(&frames).unwrap());
    for (i, chunk) in all.chunks(65_536).enumerate() {
        let message = client.read_message();
        assert_eq!(message.first, first::BINARY);
        assert!(message.payload == chunk.to_ascii_uppercase(), "message {i}");
    }
    writing.join().unwrap();
}

#[test]
fn frames_in_single_bytes_are_put_together() {
    let server = server();
    let mut client = RawWs::connect(&server, "/ws");
    let bytes = [
        ws::frame(first::TEXT, "größer".as_bytes()),
        ws::frame(first::BINARY, b""),
        ws::frame(first::PING, b"p"),
        ws::frame(first::BINARY, &[b'z'; 200]),
        ws::close(4321, "enough"),
    ]
    .concat();
    for byte in bytes {
        client.send(&[byte]);
    }
    // The Pong is sent at the next frame boundary, whatever replies are pending.
    let mut frames: Vec<_> = (0..4).map(|_| client.read()).collect();
    let pong = frames.iter().position(|frame| frame.first == first::PONG).expect("a Pong");
    assert_eq!(frames.remove(pong).payload, b"p");
    assert_eq!(
        frames,
        [
            Frame { first: first::TEXT, payload: "GRößER".into() },
            Frame { first: first::BINARY, payload: vec![] },
            Frame { first: first::BINARY, payload: vec![b'Z'; 200] },
        ]
    );
    assert_eq!(client.read_close().0, Some(4321));
}

#[test]
fn a_message_in_fragments_comes_back_as_one_of_the_same_type() {
    let server = server();
    let mut client = RawWs::connect(&server, "/ws");
    // The euro sign is split across two fragments, with an empty fragment between.
    for (begins, kind) in [(first::TEXT_BEGINS, 1), (first::BINARY_BEGINS, 2)] {
        client.send_frame(begins, b"one \xe2\x82");
        client.send_frame(first::MORE, b"");
        client.send_frame(first::MORE, b"\xac two ");
        client.send_frame(first::LAST, b"three");
        let mut message = Vec::new();
        loop {
            let frame = client.read();
            let expected = if message.is_empty() { kind } else { 0 };
            assert_eq!(frame.first & 0x7f, expected, "{frame:?}");
            message.extend(frame.payload);
            if frame.first & 0x80 != 0 {
                break;
            }
        }
        assert_eq!(message, "ONE € TWO THREE".as_bytes());
    }
}

#[test]
fn a_fragment_is_answered_before_the_next_one_comes() {
    let server = server();
    let mut client = RawWs::connect(&server, "/ws");
    client.send_frame(first::TEXT_BEGINS, b"abc");
    assert_eq!(client.read(), Frame { first: first::TEXT_BEGINS, payload: b"ABC".to_vec() });
    client.send_frame(first::LAST, b"");
    assert_eq!(client.read(), Frame { first: first::LAST, payload: vec![] });
}

#[test]
fn a_ping_is_answered_with_its_own_payload() {
    let server = server();
    let mut client = RawWs::connect(&server, "/ws");
    for payload in [&b""[..], b"are you there", &[0xff; 125]] {
        client.send_frame(first::PING, payload);
        assert_eq!(client.read(), Frame { first: first::PONG, payload: payload.to_vec() });
    }
    // The Pong does not wait for the last fragment of a message.
    client.send_frame(first::TEXT_BEGINS, b"a");
    assert_eq!(client.read(), Frame { first: first::TEXT_BEGINS, payload: b"A".to_vec() });
    client.send_frame(first::PING, b"between");
    assert_eq!(client.read(), Frame { first: first::PONG, payload: b"between".to_vec() });
    client.send_frame(first::LAST, b"b");
    assert_eq!(client.read(), Frame { first: first::LAST, payload: b"B".to_vec() });
}

#[test]
fn pings_sent_together_get_a_pong_for_the_last_of_them() {
    let server = server();
    let mut client = RawWs::connect(&server, "/ws");
    let pings: Vec<u8> =
        (0..10).flat_map(|i| ws::frame(first::PING, format!("ping {i}").as_bytes())).collect();
    client.send(&pings);
    // RFC 6455 section 5.5.3: a Pong for the latest Ping is enough.
    loop {
        let frame = client.read();
        assert_eq!(frame.first, first::PONG);
        if frame.payload == b"ping 9" {
            break;
        }
    }
}

#[test]
fn a_pong_that_nobody_asked_for_is_passed_over() {
    let server = server();
    let mut client = RawWs::connect(&server, "/ws");
    client.send_frame(first::PONG, b"unasked");
    client.send_frame(first::TEXT, b"a");
    assert_eq!(client.read(), Frame { first: first::TEXT, payload: b"A".to_vec() });
}

#[tokio::test]
async fn the_clients_close_is_answered_with_its_own_code() {
    let server = server();
    for code in [1000, 1001, 3000, 4999] {
        let mut client = connect(&server, "/ws").await;
        let frame = CloseFrame { code: CloseCode::from(code), reason: "as you like".into() };
        client.send(Message::Close(Some(frame))).await.unwrap();
        let Message::Close(Some(answer)) = next(&mut client).await else { panic!("no Close") };
        assert_eq!(u16::from(answer.code), code);
        assert!(timeout(WAIT_TIMEOUT, client.next()).await.unwrap().is_none(), "and the end");
    }
    // A Close frame without a code is answered by one without.
    let mut client = connect(&server, "/ws").await;
    client.send(Message::Close(None)).await.unwrap();
    assert_eq!(next(&mut client).await, Message::Close(None));
}

#[test]
fn pending_replies_come_before_the_reply_to_a_close() {
    let server = server();
    let mut client = RawWs::connect(&server, "/ws");
    let sent = noise(500_000);
    let mut bytes: Vec<u8> =
        sent.chunks(50_000).flat_map(|chunk| ws::frame(first::BINARY, chunk)).collect();
    bytes.extend(ws::frame(first::TEXT, b""));
    bytes.extend(ws::close(1000, "done"));
    client.send(&bytes);
    for chunk in sent.chunks(50_000) {
        assert!(client.read_message().payload == chunk.to_ascii_uppercase());
    }
    assert_eq!(client.read(), Frame { first: first::TEXT, payload: vec![] });
    assert_eq!(client.read_close(), (Some(1000), String::new()));
}

#[test]
fn a_close_between_fragments_is_answered() {
    let server = server();
    let mut client = RawWs::connect(&server, "/ws");
    client.send_frame(first::TEXT_BEGINS, b"not");
    client.send(&ws::close(1000, ""));
    assert_eq!(client.read(), Frame { first: first::TEXT_BEGINS, payload: b"NOT".to_vec() });
    assert_eq!(client.read_close().0, Some(1000));
}

#[test]
fn one_connections_traffic_is_not_seen_by_another() {
    let server = server();
    let mut clients: Vec<_> = (0..50).map(|_| RawWs::connect(&server, "/ws")).collect();
    for round in 0..5 {
        for (i, client) in clients.iter_mut().enumerate() {
            client.send_frame(first::TEXT, format!("client {i} round {round}").as_bytes());
        }
        for (i, client) in clients.iter_mut().enumerate().rev() {
            assert_eq!(client.read().payload, format!("CLIENT {i} ROUND {round}").into_bytes());
        }
    }
}
