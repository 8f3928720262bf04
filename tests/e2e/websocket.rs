//! Messages through the gateway to `upper` and `echo`, beyond the cases of `conformance`.

use echogate_tests::{
    server::{Server, WAIT_TIMEOUT},
    tcp::noise,
    ws::{Frame, RawWs, first},
};
use futures_util::{SinkExt, StreamExt};
use tokio::time::timeout;
use tokio_tungstenite::{connect_async, tungstenite::Message};

use crate::{ECHOGATE, server};

/// The reply of `upper` to a message.
fn upper(message: &Message) -> Message {
    match message {
        Message::Text(text) => Message::text(text.to_ascii_uppercase()),
        Message::Binary(bytes) => Message::binary(bytes.to_ascii_uppercase()),
        other => other.clone(),
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

/// Sends messages to the route `path` by tungstenite, without waiting, and checks each reply.
async fn assert_replies(server: &Server, path: &str, reply_to: fn(&Message) -> Message) {
    let (mut to, mut from) = connect_async(server.ws(path)).await.unwrap().0.split();
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
    let in_memory = Server::start(ECHOGATE, &["--route", "/m=service:upper"]);
    assert_replies(&in_memory, "/m", upper).await;
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
fn a_fragment_is_answered_before_the_next_one_comes() {
    let server = server();
    let mut client = RawWs::connect(&server, "/ws");
    client.send_frame(first::TEXT_BEGINS, b"abc");
    assert_eq!(client.read(), Frame { first: first::TEXT_BEGINS, payload: b"ABC".to_vec() });
    client.send_frame(first::LAST, b"");
    assert_eq!(client.read(), Frame { first: first::LAST, payload: vec![] });
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
