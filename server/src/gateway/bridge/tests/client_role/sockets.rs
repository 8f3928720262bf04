//! The client role over TCP: resets as a socket shows them.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::net::stream::Stream;

/// Both ends of a TCP connection.
async fn connection() -> (TcpStream, Stream) {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connected, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (connected.unwrap(), accepted.unwrap().0.into())
}

/// A bridge in the client role between a client and an upstream over TCP.
async fn bridge() -> (TcpStream, TcpStream, JoinHandle<End>) {
    let (client, stream) = connection().await;
    let (upstream, ws) = connection().await;
    let negotiated = Negotiated { config: config(Framing::Bytes).into(), half_close: false };
    let drain = Drain::new();
    let bridge = run(Role::Client, ws, stream, b"", negotiated, enter(), &drain);
    (client, upstream, tokio::spawn(bridge))
}

/// Reads to the end of the stream; returns the bytes and whether it ended by a reset.
async fn read_to_end_or_reset(stream: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut got = Vec::new();
    match timeout(TIMEOUT, stream.read_to_end(&mut got)).await.expect("it ends") {
        Ok(_) => (got, false),
        Err(e) if e.kind() == io::ErrorKind::ConnectionReset => (got, true),
        Err(e) => panic!("after {} bytes: {e}", got.len()),
    }
}

#[tokio::test]
async fn a_close_in_order_is_a_fin_to_the_client_and_another_a_reset() {
    let sent = vec![7; 1 << 20];
    for (code, is_reset) in [(1000, false), (1001, false), (1011, true), (3000, true)] {
        let (mut client, mut upstream, bridge) = bridge().await;
        let frames = [server_frame(0x82, &sent), close(CloseCode(code), "")].concat();
        let (_, (got, reset)) = tokio::join!(
            async { upstream.write_all(&frames).await.unwrap() },
            read_to_end_or_reset(&mut client)
        );
        assert!(got == sent, "{code}: {} bytes", got.len());
        // After its end in order the bytes are complete, and the connection may be closed.
        assert_eq!(reset, is_reset, "{code}");
        drop(upstream);
        let end = timeout(TIMEOUT, bridge).await.expect("it ends").unwrap();
        assert_eq!(end.code.0, code);
    }
}

#[tokio::test]
async fn a_reset_of_the_client_is_a_reset_of_the_upstream_behind_all_that_was_read() {
    let (mut client, mut upstream, bridge) = bridge().await;
    let sent = vec![7; 300_000];
    let receiving = tokio::spawn(async move {
        let mut got = Vec::new();
        while got.len() < 300_000 {
            let mut head = [0; 2];
            upstream.read_exact(&mut head).await.unwrap();
            assert_eq!((head[0], head[1] & 0x80), (0x82, 0x80));
            let len = match head[1] & 0x7f {
                126 => upstream.read_u16().await.unwrap().into(),
                127 => upstream.read_u64().await.unwrap(),
                len => len.into(),
            };
            let mut key: [u8; 4] = upstream.read_u32().await.unwrap().to_be_bytes();
            let mut payload = vec![0; usize::try_from(len).unwrap()];
            upstream.read_exact(&mut payload).await.unwrap();
            mask::apply(&mut payload, &mut key);
            got.extend(payload);
        }
        (got, read_to_end_or_reset(&mut upstream).await)
    });
    client.write_all(&sent).await.unwrap();
    // A reset discards bytes in flight.
    while Stream::from(client_copy(&client)).in_flight().is_some_and(|bytes| !bytes.is_nothing()) {
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_millis(100)).await;
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    let (got, end) = timeout(TIMEOUT, receiving).await.expect("it ends").unwrap();
    assert!(got == sent, "{} bytes", got.len());
    assert_eq!(end, (Vec::new(), true), "no Close, and a reset");
    let end = timeout(TIMEOUT, bridge).await.expect("it ends").unwrap();
    assert_eq!(end.to_string(), "the client reset the connection (1006)");
}

/// A second handle to the socket of `stream`.
fn client_copy(stream: &TcpStream) -> TcpStream {
    let copy = socket2::SockRef::from(stream).try_clone().unwrap();
    TcpStream::from_std(copy.into()).unwrap()
}
