//! Datagrams, and records with a length prefix, over real sockets.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinHandle,
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

/// A DNS query for `example.com` as `dig` sends it, and a response of the same form.
const QUERY: &[u8] = b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\0\x07example\x03com\0\0\x01\0\x01";

fn response(query: &[u8]) -> Vec<u8> {
    let mut response = query.to_vec();
    response[2] |= 0x80;
    response
}

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
    let task = tokio::spawn(datagram_sessions::serve(socket, open, Arc::default(), reception));
    let (client, _) = bound().await;
    client.connect(at).await.unwrap();
    (client, Forward { entry, stop, task, ends: received, _drain: drain })
}

struct Forward {
    entry: Arc<Entry>,
    stop: ReceptionEnd,
    task: JoinHandle<()>,
    ends: tokio::sync::mpsc::UnboundedReceiver<String>,
    _drain: Drain,
}

async fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65_536];
    let len = in_time(socket.recv(&mut buffer)).await.unwrap();
    buffer[..len].to_vec()
}

async fn udp_upstream(at: std::net::SocketAddr) -> ConnectedDatagrams {
    let socket = ConnectedSocket::Udp(Udp::connect_any(&[at], None).await.unwrap());
    ConnectedDatagrams::new(socket, Arc::default())
}

#[tokio::test]
async fn a_query_over_udp_reaches_a_server_over_tcp_and_its_response_comes_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let dial = move || async move {
        let stream = TcpStream::connect(at).await.unwrap();
        LengthPrefixed::new(Stream::from(stream), 2, &Arc::default())
    };
    let (client, mut forward) = forward(dial).await;
    client.send(QUERY).await.unwrap();
    client.send(QUERY).await.unwrap();
    let (mut server, _) = in_time(listener.accept()).await.unwrap();
    let record = [&[0, QUERY.len() as u8], QUERY].concat();
    let mut query = vec![0; record.len()];
    for _ in 0..2 {
        in_time(server.read_exact(&mut query)).await.unwrap();
        assert_eq!(query, record);
    }
    // Both responses at once, and the end of the connection behind them.
    let record = [&[0, QUERY.len() as u8], &*response(QUERY)].concat();
    server.write_all(&record.repeat(2)).await.unwrap();
    drop(server);
    for _ in 0..2 {
        assert_eq!(receive(&client).await, response(QUERY));
    }
    let carried = forward.entry.carried();
    assert_eq!((carried.messages_received, carried.messages_sent), (2, 2));
    assert_eq!(in_time(forward.ends.recv()).await.unwrap(), "the upstream ended the stream");
    client.send(QUERY).await.unwrap();
    let (mut server, _) = in_time(listener.accept()).await.unwrap();
    in_time(server.read_exact(&mut query)).await.unwrap();
    assert_eq!(&query[2..], QUERY, "on a new connection");
}

#[tokio::test]
async fn a_query_over_tcp_reaches_a_server_over_udp_although_its_client_ends_its_output() {
    let (server, at) = bound().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let records =
        LengthPrefixed::new(Stream::from(listener.accept().await.unwrap().0), 2, &Arc::default());
    let drain = Drain::new();
    let relay = run(records, udp_upstream(at).await, None, enter(), &drain);
    let relay = tokio::spawn(relay);
    let record = [&[0, QUERY.len() as u8], QUERY].concat();
    client.write_all(&record).await.unwrap();
    client.shutdown().await.unwrap();
    let mut buffer = [0; 512];
    let (len, from) = in_time(server.recv_from(&mut buffer)).await.unwrap();
    assert_eq!(&buffer[..len], QUERY);
    server.send_to(&response(QUERY), from).await.unwrap();
    let mut answer = Vec::new();
    in_time(client.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, [&[0, QUERY.len() as u8], &*response(QUERY)].concat());
    assert_eq!(in_time(relay).await.unwrap().to_string(), "the client ended the stream");
}

#[tokio::test]
async fn datagrams_keep_their_boundaries_between_two_sockets() {
    let (server, at) = bound().await;
    let (client, mut forward) = forward(move || udp_upstream(at)).await;
    let mut buffer = vec![0; 65_536];
    for datagram in [vec![], vec![1], vec![], vec![2; 1000], vec![3; 60_000], vec![]] {
        client.send(&datagram).await.unwrap();
        let (len, from) = in_time(server.recv_from(&mut buffer)).await.unwrap();
        assert!(buffer[..len] == datagram);
        server.send_to(&datagram, from).await.unwrap();
        assert!(receive(&client).await == datagram);
    }
    let carried = forward.entry.carried();
    assert_eq!((carried.messages_received, carried.messages_sent), (6, 6));
    forward.stop.close();
    assert_eq!(in_time(forward.ends.recv()).await.unwrap(), "the client ended the stream");
    in_time(forward.task).await.unwrap();
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
