use tokio::io::{DuplexStream, duplex};
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;

type Socket = WebSocketStream<DuplexStream>;

/// Our halves and the peer, beyond their handshake.
async fn connected() -> (SocketOutbound<DuplexStream>, SocketInbound<DuplexStream>, Socket) {
    connected_with(Goodbye::Close(Duration::ZERO)).await
}

async fn connected_with(
    goodbye: Goodbye,
) -> (SocketOutbound<DuplexStream>, SocketInbound<DuplexStream>, Socket) {
    let (ours, theirs) = duplex(1024);
    let ours = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
    let theirs = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
    let (outbound, inbound) = halves(ours, goodbye);
    (outbound, inbound, theirs)
}

fn close(code: u16, reason: &str) -> Message {
    Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
}

#[tokio::test]
async fn bytes_are_binary_and_a_line_is_text_without_its_end() {
    let (mut outbound, _inbound, mut peer) = connected().await;
    outbound.send_bytes(Bytes::from_static(b"\0\xff")).await.unwrap();
    outbound.send_line("hello".to_owned()).await.unwrap();
    outbound.finish().await.unwrap();
    assert_eq!(peer.next().await.unwrap().unwrap(), Message::binary(&b"\0\xff"[..]));
    assert_eq!(peer.next().await.unwrap().unwrap(), Message::text("hello"));
    assert_eq!(peer.next().await.unwrap().unwrap(), close(1000, ""));
}

#[tokio::test]
async fn what_is_owed_after_our_close_still_arrives() {
    let (mut outbound, mut inbound, mut peer) = connected().await;
    outbound.finish().await.unwrap();
    peer.send(Message::text("owed")).await.unwrap();
    let peer = tokio::spawn(async move { while let Some(Ok(_)) = peer.next().await {} });
    assert_eq!(inbound.receive().await.unwrap(), Received::Message("owed".into()));
    let Received::End(words) = inbound.receive().await.unwrap() else { panic!() };
    assert_eq!(words, "closed by the server (1000, closed normally)");
    peer.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stops_at_a_close_is_heard_out_before_it() {
    let (mut outbound, mut inbound, mut peer) =
        connected_with(Goodbye::Close(Duration::from_secs(1))).await;
    outbound.send_line("hello".to_owned()).await.unwrap();
    let peer = tokio::spawn(async move {
        let message = peer.next().await.unwrap().unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        peer.send(message).await.unwrap();
        peer.next().await.unwrap().unwrap()
    });
    let reply = async { inbound.receive().await.unwrap() };
    let (finished, reply) = tokio::join!(outbound.finish(), reply);
    finished.unwrap();
    assert_eq!(reply, Received::Message("hello".into()));
    assert_eq!(peer.await.unwrap(), close(1000, ""));
}

#[tokio::test]
async fn with_half_close_an_empty_binary_message_ends_each_side_and_a_close_both() {
    let (mut outbound, mut inbound, mut peer) = connected_with(Goodbye::HalfClose).await;
    outbound.finish().await.unwrap();
    assert_eq!(peer.next().await.unwrap().unwrap(), Message::Binary(Bytes::new()));
    for message in [Message::text("and the rest"), Message::Binary(Bytes::new())] {
        peer.send(message).await.unwrap();
    }
    peer.send(close(1000, "")).await.unwrap();
    let peer = tokio::spawn(async move { while let Some(Ok(_)) = peer.next().await {} });
    assert_eq!(inbound.receive().await.unwrap(), Received::Message("and the rest".into()));
    let Received::End(words) = inbound.receive().await.unwrap() else { panic!() };
    assert_eq!(words, "closed by the server (1000, closed normally)");
    peer.await.unwrap();
}

#[tokio::test]
async fn with_half_close_the_server_may_end_first() {
    let (_outbound, mut inbound, mut peer) = connected_with(Goodbye::HalfClose).await;
    peer.send(Message::Binary(Bytes::new())).await.unwrap();
    let end = Received::End("ended by the server".to_owned());
    assert_eq!(inbound.receive().await.unwrap(), end);
}

#[tokio::test]
async fn a_close_with_a_failures_code_is_a_failure_with_its_reason() {
    let (_outbound, mut inbound, mut peer) = connected().await;
    peer.send(close(1011, "upstream reset\x07")).await.unwrap();
    let peer = tokio::spawn(async move { peer.next().await.unwrap().unwrap() });
    assert_eq!(
        inbound.receive().await.unwrap_err().to_string(),
        "closed by the server (1011, the server, or what lies behind it, failed): \
         upstream reset\\x07"
    );
    assert_eq!(peer.await.unwrap(), close(1011, "upstream reset\x07"), "our answer");
}

#[tokio::test]
async fn an_end_without_a_close_is_a_failure() {
    let (_outbound, mut inbound, peer) = connected().await;
    drop(peer);
    assert_eq!(
        inbound.receive().await.unwrap_err().to_string(),
        "the connection broke without a goodbye (1006)"
    );
}

#[tokio::test]
async fn pings_are_answered_while_reading() {
    let (_outbound, mut inbound, mut peer) = connected().await;
    peer.send(Message::Ping("?".into())).await.unwrap();
    peer.send(Message::text("after")).await.unwrap();
    assert_eq!(inbound.receive().await.unwrap(), Received::Message("after".into()));
    let (_, pong) = tokio::join!(
        async { timeout(Duration::from_millis(50), inbound.receive()).await.ok() },
        peer.next()
    );
    assert_eq!(pong.unwrap().unwrap(), Message::Pong("?".into()));
}
