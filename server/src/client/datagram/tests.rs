use std::time::Instant;

use tokio::{net::UdpSocket, time::timeout};

use super::*;

const SILENCE: Duration = Duration::from_millis(50);

/// Our halves and the peer.
async fn connected() -> (DatagramOutbound, DatagramInbound, UdpSocket) {
    let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let socket = Udp::new([peer.local_addr().unwrap()]).unwrap();
    peer.connect(socket.local_addr().unwrap()).await.unwrap();
    let (outbound, inbound) = halves(Datagrams::Udp(socket), SILENCE);
    (outbound, inbound, peer)
}

fn message(text: &'static str) -> Received {
    Received::Message(Bytes::from_static(text.as_bytes()))
}

#[tokio::test]
async fn each_line_is_a_datagram_without_a_newline_and_so_is_each_reply() {
    let (mut outbound, mut inbound, peer) = connected().await;
    outbound.send_line("hello".to_owned()).await.unwrap();
    outbound.send_line("again".to_owned()).await.unwrap();
    let mut buffer = [0; 64];
    assert_eq!(peer.recv(&mut buffer).await.unwrap(), 5);
    assert_eq!(&buffer[..5], b"hello");
    peer.send(b"HELLO").await.unwrap();
    peer.send(b"").await.unwrap();
    assert_eq!(inbound.receive().await.unwrap(), message("HELLO"));
    assert_eq!(inbound.receive().await.unwrap(), message(""));
}

#[tokio::test]
async fn after_many_without_a_reply_each_reply_makes_room_and_so_does_silence() {
    let (mut outbound, mut inbound, peer) = connected().await;
    for _ in 0..MOST_UDP {
        outbound.room().await;
        outbound.send_line("hello".to_owned()).await.unwrap();
    }
    let start = Instant::now();
    peer.send(b"HELLO").await.unwrap();
    let (reply, ()) = tokio::join!(inbound.receive(), outbound.room());
    assert_eq!(reply.unwrap(), message("HELLO"));
    outbound.send_line("hello".to_owned()).await.unwrap();
    tokio::select! {
        () = outbound.room() => assert!(start.elapsed() >= SILENCE),
        received = inbound.receive() => panic!("{received:?}"),
    }
}

#[tokio::test]
async fn a_reply_that_is_not_taken_away_is_no_silence() {
    let (mut outbound, mut inbound, peer) = connected().await;
    for _ in 0..=MOST_UDP {
        outbound.send_line("hello".to_owned()).await.unwrap();
    }
    peer.send(b"HELLO").await.unwrap();
    inbound.receive().await.unwrap();
    outbound.send_line("hello".to_owned()).await.unwrap();
    timeout(4 * SILENCE, outbound.room()).await.unwrap_err();
}

#[tokio::test]
async fn a_port_that_nobody_has_is_named_whichever_half_hears_of_it() {
    let (mut outbound, mut inbound, peer) = connected().await;
    drop(peer);
    // The first is answered by ICMP, which the second or the reader hears of.
    outbound.send_line("one".to_owned()).await.unwrap();
    outbound.send_line("two".to_owned()).await.unwrap_err();
    let error = inbound.receive().await.unwrap_err();
    assert_eq!(error.to_string(), "port unreachable: nobody listens there");
}
