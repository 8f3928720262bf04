use tokio::io::{DuplexStream, duplex};
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;

type Socket = WebSocketStream<DuplexStream>;

const HALF_CLOSE: MessageFormat = MessageFormat { half_close: true, binary: false };

fn closed_normally() -> Received {
    let description = "closed by the server (1000, closed normally)".to_owned();
    Received::End(End { description, may_read: false })
}

/// The halves of a WebSocket after the handshake, and its peer.
async fn connected() -> (WebSocketSender, WebSocketReceiver, Socket) {
    connected_with(MessageFormat::default()).await
}

async fn connected_with(format: MessageFormat) -> (WebSocketSender, WebSocketReceiver, Socket) {
    let (ours, theirs) = duplex(1024);
    let theirs = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
    let (sender, receiver) = split(Box::new(ours), Vec::new(), PeerRole::Server, format).await;
    (sender, receiver, theirs)
}

fn close(code: u16, reason: &str) -> Message {
    Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
}

#[tokio::test]
async fn bytes_are_binary_and_a_line_is_text_without_its_end() {
    let (mut sender, _receiver, mut peer) = connected().await;
    sender.send_bytes(Bytes::from_static(b"\0\xff")).await.unwrap();
    sender.send_line("hello".to_owned()).await.unwrap();
    sender.finish().await.unwrap();
    sender.close(CloseCode::NORMAL, "").await.unwrap();
    assert_eq!(peer.next().await.unwrap().unwrap(), Message::binary(&b"\0\xff"[..]));
    assert_eq!(peer.next().await.unwrap().unwrap(), Message::text("hello"));
    assert_eq!(peer.next().await.unwrap().unwrap(), close(1000, ""));
}

#[tokio::test]
async fn a_reply_after_our_close_still_arrives() {
    let (mut sender, mut receiver, mut peer) = connected().await;
    sender.close(CloseCode::NORMAL, "").await.unwrap();
    peer.send(Message::text("reply")).await.unwrap();
    let peer = tokio::spawn(async move { while let Some(Ok(_)) = peer.next().await {} });
    assert_eq!(receiver.receive().await.unwrap(), Received::Message("reply".into()));
    assert_eq!(receiver.receive().await.unwrap(), closed_normally());
    peer.await.unwrap();
}

#[tokio::test]
async fn an_invalid_close_code_is_reported_as_sent_in_either_order_of_closing() {
    for code in [999, 1004, 1005, 1006, 1015, 2999] {
        for ours_first in [false, true] {
            let (ours, mut theirs) = duplex(1024);
            let (mut sender, mut receiver) =
                split(Box::new(ours), Vec::new(), PeerRole::Server, MessageFormat::default()).await;
            if ours_first {
                sender.close(CloseCode::NORMAL, "").await.unwrap();
            }
            let close = [&[0x88, 5][..], &u16::to_be_bytes(code), b"why"].concat();
            tokio::io::AsyncWriteExt::write_all(&mut theirs, &close).await.unwrap();
            tokio::io::AsyncWriteExt::shutdown(&mut theirs).await.unwrap();
            let error = receiver.receive().await.unwrap_err().to_string();
            let expected =
                format!("the server sent close code {code}, which must not be sent: why");
            assert_eq!(error, expected, "our Close first: {ours_first}");
        }
    }
}

#[tokio::test]
async fn with_half_close_an_empty_binary_message_ends_each_side_and_a_close_both() {
    let (mut sender, mut receiver, mut peer) = connected_with(HALF_CLOSE).await;
    sender.finish().await.unwrap();
    assert_eq!(peer.next().await.unwrap().unwrap(), Message::Binary(Bytes::new()));
    for message in [Message::text("and the rest"), Message::Binary(Bytes::new())] {
        peer.send(message).await.unwrap();
    }
    peer.send(close(1000, "")).await.unwrap();
    let peer = tokio::spawn(async move { while let Some(Ok(_)) = peer.next().await {} });
    assert_eq!(receiver.receive().await.unwrap(), Received::Message("and the rest".into()));
    assert_eq!(receiver.receive().await.unwrap(), closed_normally());
    peer.await.unwrap();
}

#[tokio::test]
async fn with_half_close_the_server_may_end_first() {
    let (_sender, mut receiver, mut peer) = connected_with(HALF_CLOSE).await;
    peer.send(Message::Binary(Bytes::new())).await.unwrap();
    peer.send(close(1000, "")).await.unwrap();
    assert_eq!(receiver.receive().await.unwrap(), Received::HalfClosed);
    let peer = tokio::spawn(async move { while let Some(Ok(_)) = peer.next().await {} });
    assert_eq!(receiver.receive().await.unwrap(), closed_normally());
    peer.await.unwrap();
}

#[tokio::test]
async fn a_close_with_a_failures_code_is_a_failure_with_its_reason() {
    let (_sender, mut receiver, mut peer) = connected().await;
    peer.send(close(1011, "upstream reset\x07")).await.unwrap();
    let peer = tokio::spawn(async move { peer.next().await.unwrap().unwrap() });
    assert_eq!(
        receiver.receive().await.unwrap_err().to_string(),
        "closed by the server (1011, the server or its upstream failed): \
         upstream reset\\x07"
    );
    assert_eq!(peer.await.unwrap(), close(1011, "upstream reset\x07"), "our answer");
}

#[tokio::test]
async fn an_end_without_a_close_is_a_failure() {
    let (_sender, mut receiver, peer) = connected().await;
    drop(peer);
    assert_eq!(
        receiver.receive().await.unwrap_err().to_string(),
        "the connection ended without a Close frame (1006)"
    );
}

#[tokio::test]
async fn pings_are_answered_while_reading() {
    let (_sender, mut receiver, mut peer) = connected().await;
    peer.send(Message::Ping("?".into())).await.unwrap();
    peer.send(Message::text("after")).await.unwrap();
    assert_eq!(receiver.receive().await.unwrap(), Received::Message("after".into()));
    let (_, pong) = tokio::join!(
        async { timeout(Duration::from_millis(50), receiver.receive()).await.ok() },
        peer.next()
    );
    assert_eq!(pong.unwrap().unwrap(), Message::Pong("?".into()));
}
