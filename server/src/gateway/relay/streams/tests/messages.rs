//! Datagrams, and records with a length prefix, over real sockets.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::{
    gateway::{
        datagram_sessions::{self, DatagramSession},
        test_rig::in_time,
    },
    net::{
        connected_datagrams::{ConnectedSocket, Udp},
        datagram_socket::DatagramSocket,
        datagram_upstream::ConnectedDatagrams,
        length_prefix::LengthPrefixed,
        stream::Stream,
    },
    runtime::reception::{Reception, ReceptionEnd},
};

async fn bound() -> (UdpSocket, std::net::SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let at = socket.local_addr().unwrap();
    (socket, at)
}

/// A socket whose sessions are relayed to an upstream that `dial` connects to. The client is
/// connected to it.
async fn forward<U, D>(dial: impl Fn() -> D + Clone + Send + 'static) -> (UdpSocket, Forward)
where
    U: Transport + Send + 'static,
    D: Future<Output = U> + Send,
{
    let (socket, at) = bound().await;
    let socket = Arc::new(DatagramSocket::udp(socket).unwrap());
    let (ends, received) = tokio::sync::mpsc::unbounded_channel();
    let (drain, guard) = (Drain::new(), enter());
    let entry = guard.clone();
    let mut guard = Some(guard);
    let open = {
        let drain = drain.clone();
        move |_, session: DatagramSession| {
            let (dial, drain, ends) = (dial.clone(), drain.clone(), ends.clone());
            let guard = guard.take().unwrap_or_else(enter);
            tokio::spawn(async move {
                let end = run(session, dial().await, None, guard, &drain).await;
                ends.send(end.to_string()).ok();
            });
            true
        }
    };
    let (reception, stop) = Reception::until(CancellationToken::new());
    tokio::spawn(datagram_sessions::serve(socket, open, Arc::default(), reception));
    let (client, _) = bound().await;
    client.connect(at).await.unwrap();
    (client, Forward { entry, ends: received, _stop: stop, _drain: drain })
}

struct Forward {
    entry: Arc<Entry>,
    ends: tokio::sync::mpsc::UnboundedReceiver<String>,
    _stop: ReceptionEnd,
    _drain: Drain,
}

async fn udp_upstream(at: std::net::SocketAddr) -> ConnectedDatagrams {
    let socket = ConnectedSocket::Udp(Udp::connect_any(&[at], None).await.unwrap());
    ConnectedDatagrams::new(socket, Arc::default())
}

#[tokio::test]
async fn a_refusal_by_the_upstream_ends_the_session_and_the_next_datagram_opens_another() {
    let (server, at) = bound().await;
    drop(server);
    let (client, mut forward) = forward(move || udp_upstream(at)).await;
    for _ in 0..2 {
        client.send(b"anybody?").await.unwrap();
        let end = in_time(forward.ends.recv()).await.unwrap();
        let refused =
            "the upstream's connection failed: port unreachable: no process listens on it";
        assert_eq!(end, refused);
    }
}

/// The upstream does not read: datagrams are dropped, and those that arrive are whole.
#[tokio::test]
async fn a_flood_of_datagrams_to_a_stream_that_is_not_read_loses_whole_datagrams_only() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let dial = move || async move {
        let stream = TcpStream::connect(at).await.unwrap();
        LengthPrefixed::new(Stream::from(stream), 2, &Arc::default())
    };
    let (client, forward) = forward(dial).await;
    let datagram = |number: u32| [&number.to_be_bytes()[..], &[7; 30_000]].concat();
    let mut sent = 0;
    let mut written = 0;
    loop {
        for _ in 0..100 {
            client.send(&datagram(sent)).await.unwrap();
            sent += 1;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        let now = forward.entry.received().bytes();
        if now > 0 && now == std::mem::replace(&mut written, now) {
            break;
        }
    }
    let (mut server, _) = listener.accept().await.unwrap();
    let (mut count, mut last) = (0, None);
    while u64::from(count) * 30_004 < written {
        assert_eq!(in_time(server.read_u16()).await.unwrap(), 30_004);
        let mut payload = vec![0; 30_004];
        in_time(server.read_exact(&mut payload)).await.unwrap();
        let number = u32::from_be_bytes(payload[..4].try_into().unwrap());
        assert!(payload == datagram(number) && Some(number) > last, "{number} after {last:?}");
        (count, last) = (count + 1, Some(number));
    }
    assert!(count < sent, "some are lost");
}

#[tokio::test]
async fn a_record_that_is_too_long_resets_its_sender() {
    let (_server, at) = bound().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let records =
        LengthPrefixed::new(Stream::from(listener.accept().await.unwrap().0), 4, &Arc::default());
    let drain = Drain::new();
    let relay = tokio::spawn(run(records, udp_upstream(at).await, None, enter(), &drain));
    client.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let end = in_time(relay).await.unwrap().to_string();
    let why = "the client's connection failed: a record of 1195725856 bytes is longer than 65536 \
        bytes";
    assert_eq!(end, why);
    let error = in_time(client.read(&mut [0; 10])).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}
