//! The client role over TCP on an event loop: resets as a socket shows them.

use std::net::{Ipv4Addr, SocketAddr};

use echogate_event_loop::EventLoops;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::oneshot,
};

use super::*;
use crate::net::stream::Stream;

/// Both ends of a TCP connection.
async fn connection() -> (TcpStream, Stream) {
    let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (connected, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
    (connected.unwrap(), accepted.unwrap().0.into())
}

/// A bridge in the client role on an event loop, and the other ends of its connections.
struct Bridged {
    client: TcpStream,
    upstream: TcpStream,
    end: oneshot::Receiver<End>,
    _loops: EventLoops,
}

async fn bridge() -> Bridged {
    let (client, stream) = connection().await;
    let (upstream, ws) = connection().await;
    let negotiated = Negotiated { config: config(Framing::Bytes).into(), half_close: false };
    let bridge = run(Role::Client, ws, stream, b"", negotiated, enter(), &Drain::new());
    let loops = EventLoops::start().unwrap();
    let (ended, end) = oneshot::channel();
    loops.spawn(async move {
        ended.send(bridge.await).ok();
    });
    Bridged { client, upstream, end, _loops: loops }
}

impl Bridged {
    async fn end(self) -> End {
        timeout(TIMEOUT, self.end).await.expect("it ends").unwrap()
    }
}

/// Reads a frame, and removes its mask.
async fn read_frame(stream: &mut TcpStream) -> (u8, Vec<u8>) {
    let [first, second] = stream.read_u16().await.unwrap().to_be_bytes();
    let len = match second & 0x7f {
        126 => stream.read_u16().await.unwrap().into(),
        127 => stream.read_u64().await.unwrap(),
        len => len.into(),
    };
    assert_eq!(second & 0x80, 0x80, "masked");
    let mut key: [u8; 4] = stream.read_u32().await.unwrap().to_be_bytes();
    let mut payload = vec![0; usize::try_from(len).unwrap()];
    stream.read_exact(&mut payload).await.unwrap();
    mask::apply(&mut payload, &mut key);
    (first, payload)
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

/// Waits until everything that was written to `stream` has arrived, so that a reset discards nothing.
async fn wait_until_acknowledged(stream: &TcpStream) {
    while InFlight::on(stream).is_some_and(|bytes| !bytes.is_nothing()) {
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_close_in_order_is_a_fin_to_the_client_and_another_a_reset() {
    let sent = vec![7; 1 << 20];
    for (code, is_reset) in [(1000, false), (1001, false), (1011, true), (3000, true)] {
        let mut bridged = bridge().await;
        let frames = [server_frame(0x82, &sent), close(CloseCode(code), "")].concat();
        let (upstream, client) = (&mut bridged.upstream, &mut bridged.client);
        let closing = async {
            upstream.write_all(&frames).await.unwrap();
            assert_eq!(read_frame(upstream).await, (0x88, close_payload(code, "")));
            upstream.shutdown().await.unwrap();
        };
        let ((), (got, reset)) = tokio::join!(closing, read_to_end_or_reset(client));
        assert!(got == sent, "{code}: {} bytes", got.len());
        assert_eq!(reset, is_reset, "{code}");
        assert_eq!(bridged.end().await.code.0, code);
    }
}

#[tokio::test]
async fn what_a_client_sent_before_its_reset_reaches_the_upstream_before_the_reset() {
    let mut bridged = bridge().await;
    let sent = vec![7; 200_000];
    bridged.client.write_all(&sent).await.unwrap();
    wait_until_acknowledged(&bridged.client).await;
    socket2::SockRef::from(&bridged.client).set_linger(Some(Duration::ZERO)).unwrap();
    bridged.client = connection().await.0;
    let mut got = Vec::new();
    while got.len() < sent.len() {
        got.extend(read_frame(&mut bridged.upstream).await.1);
    }
    assert!(got == sent);
    let end = read_to_end_or_reset(&mut bridged.upstream).await;
    assert_eq!(end, (Vec::new(), true), "no Close, and a reset");
    assert_eq!(bridged.end().await.to_string(), "the client reset the connection (1006)");
}

#[tokio::test]
async fn an_upstream_that_is_cut_off_resets_the_client_behind_what_it_sent() {
    for resets in [true, false] {
        let mut bridged = bridge().await;
        let sent = vec![7; 1 << 20];
        let (upstream, client) = (&mut bridged.upstream, &mut bridged.client);
        let mut got = vec![0; sent.len()];
        let frame = server_frame(0x82, &sent);
        let (written, read) = tokio::join!(upstream.write_all(&frame), client.read_exact(&mut got));
        written.and(read.map(drop)).unwrap();
        assert!(got == sent);
        if resets {
            socket2::SockRef::from(&*upstream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        bridged.upstream = connection().await.0;
        let end = read_to_end_or_reset(&mut bridged.client).await;
        assert_eq!(end, (Vec::new(), true), "upstream resets: {resets}");
        assert_eq!(bridged.end().await.code, CloseCode::ABNORMAL);
    }
}
