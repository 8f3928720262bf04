use std::time::Instant;

use tokio::net::UdpSocket;

use super::*;
use crate::net::connected_datagrams::Udp;

const SILENCE: Duration = Duration::from_millis(50);

/// The halves of a connected socket, and its peer.
async fn connected() -> (DatagramSender, DatagramReceiver, UdpSocket) {
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(peer.local_addr().unwrap()).await.unwrap();
    peer.connect(socket.local_addr().unwrap()).await.unwrap();
    let (sender, receiver) = split(ConnectedSocket::Udp(Udp::new(socket)), SILENCE, None);
    (sender, receiver, peer)
}

fn message(text: &'static str) -> Received {
    Received::Message(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn each_send_is_a_datagram_and_each_datagram_is_a_reply() {
    let (sender, mut receiver, peer) = connected().await;
    sender.send(b"hello").await.unwrap();
    sender.send(b"again").await.unwrap();
    let mut buffer = [0; 64];
    assert_eq!(peer.recv(&mut buffer).await.unwrap(), 5);
    assert_eq!(&buffer[..5], b"hello");
    peer.send(b"HELLO").await.unwrap();
    peer.send(b"").await.unwrap();
    assert_eq!(receiver.receive().await.unwrap(), message("HELLO"));
    assert_eq!(receiver.receive().await.unwrap(), message(""));
}

#[tokio::test]
async fn a_full_window_is_opened_by_a_reply_and_by_silence() {
    let (sender, mut receiver, peer) = connected().await;
    for _ in 0..WINDOW_UDP {
        sender.ready().await;
        sender.send(b"hello").await.unwrap();
    }
    let start = Instant::now();
    peer.send(b"HELLO").await.unwrap();
    let (reply, ()) = tokio::join!(receiver.receive(), sender.ready());
    assert_eq!(reply.unwrap(), message("HELLO"));
    sender.send(b"hello").await.unwrap();
    tokio::select! {
        () = sender.ready() => assert!(start.elapsed() >= SILENCE),
        received = receiver.receive() => panic!("{received:?}"),
    }
}

#[tokio::test]
async fn time_in_which_the_receiver_is_busy_is_not_silence() {
    let (sender, mut receiver, peer) = connected().await;
    for _ in 0..=WINDOW_UDP {
        sender.send(b"hello").await.unwrap();
    }
    peer.send(b"HELLO").await.unwrap();
    receiver.receive().await.unwrap();
    sender.send(b"hello").await.unwrap();
    timeout(4 * SILENCE, sender.ready()).await.unwrap_err();
}
