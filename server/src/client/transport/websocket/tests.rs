use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use super::*;

/// The halves of a WebSocket after the handshake, and its peer.
async fn connected() -> (WebSocketSender, WebSocketReceiver, DuplexStream) {
    let (ours, theirs) = duplex(1024);
    let format = MessageFormat::default();
    let (sender, receiver) = split(Box::new(ours), Vec::new(), PeerRole::Server, format).await;
    (sender, receiver, theirs)
}

#[tokio::test]
async fn an_invalid_close_code_is_reported_as_sent_in_either_order_of_closing() {
    for code in [999, 1004, 1005, 1006, 1015, 2999] {
        for ours_first in [false, true] {
            let (mut sender, mut receiver, mut peer) = connected().await;
            if ours_first {
                sender.close(CloseCode::NORMAL, "").await.unwrap();
            }
            let close = [&[0x88, 5][..], &u16::to_be_bytes(code), b"why"].concat();
            peer.write_all(&close).await.unwrap();
            peer.shutdown().await.unwrap();
            let error = receiver.receive().await.unwrap_err().to_string();
            let expected =
                format!("the server sent close code {code}, which must not be sent: why");
            assert_eq!(error, expected, "our Close first: {ours_first}");
        }
    }
}

#[tokio::test]
async fn a_close_of_the_peer_is_answered() {
    let (_sender, mut receiver, mut peer) = connected().await;
    peer.write_all(b"\x88\x04\x03\xf3no").await.unwrap();
    let error = receiver.receive().await.unwrap_err().to_string();
    assert_eq!(error, "closed by the server (1011, the server or its upstream failed): no");
    let mut answer = [0; 10];
    peer.read_exact(&mut answer).await.unwrap();
    let (head, key) = (&answer[..2], &answer[2..6]);
    assert_eq!((head, answer[6] ^ key[0], answer[7] ^ key[1]), (&b"\x88\x84"[..], 0x03, 0xf3));
}
