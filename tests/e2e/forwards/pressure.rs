//! Floods through forwards and routes: memory is bounded, and other clients are served.

use std::{
    io::{Read, Write},
    net::{TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use echogate_tests::{
    server::Server,
    tcp::{noise, round_trip, write_until_blocked},
    upstream::Upstream,
    ws::{self, RawWs, RawWsServer, first},
};

use super::{client, forward};
use crate::ECHOGATE;

/// Clients that flood at the same time.
const CLIENTS: usize = 20;

/// The limit on the memory of a connection, in KiB: in each direction 256 KiB that wait to be written
/// and as much that wait to be framed; and of the buffers that the threads keep.
const BOUND: u64 = CLIENTS as u64 * 1024 + (4 << 10);

/// Both ends of connections through the server, where nobody reads, with what each of them floods.
type Ends = Vec<(TcpStream, TcpStream)>;

/// Asserts that floods from both ends are held back within the limit on memory.
fn assert_held_back(server: &Server, ends: Ends, from_client: &[u8], from_upstream: &[u8]) {
    let before = server.peak();
    let floods: Vec<_> = ends
        .into_iter()
        .flat_map(|(client, upstream)| [(client, from_client), (upstream, from_upstream)])
        .map(|(mut stream, flood)| {
            let flood = flood.to_vec();
            thread::spawn(move || (write_until_blocked(&mut stream, &flood) < flood.len(), stream))
        })
        .collect();
    // The streams are kept until all are measured.
    let floods: Vec<_> = floods.into_iter().map(|flood| flood.join().unwrap()).collect();
    assert!(floods.iter().all(|(is_held_back, _)| *is_held_back));
    let grown = server.peak_growth(before);
    assert!(grown < BOUND, "{grown} KiB for {CLIENTS} connections whose ends do not read");
}

/// Frames of a server, 40 MB in all.
fn frames() -> Vec<u8> {
    let payload = noise(50_000);
    [&[first::BINARY, 126][..], &50_000_u16.to_be_bytes(), &payload].concat().repeat(800)
}

#[test]
fn streams_hold_little_memory_where_nobody_reads() {
    let upstream = Upstream::new();
    let server = forward(&format!("tcp://{}", upstream.address()), &[]);
    let ends = (0..CLIENTS).map(|_| (client(&server), upstream.accept())).collect();
    let flood = noise(1 << 20).repeat(40);
    assert_held_back(&server, ends, &flood, &flood);
}

#[test]
fn a_stream_and_a_websocket_server_hold_little_memory_where_nobody_reads() {
    let upstream = Upstream::new();
    let server = forward(&format!("ws://{}/", upstream.address()), &[]);
    let connect = |_| {
        let client = client(&server);
        (client, RawWsServer::accept(upstream.accept(), &[]).stream)
    };
    let ends = (0..CLIENTS).map(connect).collect();
    assert_held_back(&server, ends, &noise(1 << 20).repeat(40), &frames());
}

#[test]
fn two_websockets_hold_little_memory_where_nobody_reads() {
    let upstream = Arc::new(Upstream::new());
    let route = format!("/x=ws://{}/", upstream.address());
    let server = Server::start(ECHOGATE, &["--route", &route]);
    let connect = |_| {
        let upstream = upstream.clone();
        let accepting = thread::spawn(move || RawWsServer::accept(upstream.accept(), &[]).stream);
        (RawWs::connect(&server, "/x").stream, accepting.join().unwrap())
    };
    let ends = (0..CLIENTS).map(connect).collect();
    let from_client = ws::frame(first::BINARY, &noise(100_000)).repeat(400);
    assert_held_back(&server, ends, &from_client, &frames());
}

#[test]
fn datagrams_for_a_websocket_server_that_does_not_read_hold_little_memory() {
    let upstream = Upstream::new();
    let url = format!("udp://127.0.0.1:0=ws://{}/", upstream.address());
    let server = Server::start(ECHOGATE, &["--forward", &url]);
    let before = server.peak();
    let mut held = Vec::new();
    for _ in 0..CLIENTS {
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.connect(server.address("forward")).unwrap();
        client.send(b"first").unwrap();
        held.push((RawWsServer::accept(upstream.accept(), &[]), client));
    }
    let datagram = noise(8_000);
    for _ in 0..1_000 {
        for (_, client) in &held {
            client.send(&datagram).unwrap();
        }
    }
    // The datagrams that are read after these.
    let mut last = forward_client(&server, &upstream);
    assert_eq!(last.read().payload, b"last");
    let grown = server.peak_growth(before);
    assert!(grown < BOUND, "{grown} KiB");
}

/// A session with one datagram.
fn forward_client(server: &Server, upstream: &Upstream) -> RawWsServer {
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(server.address("forward")).unwrap();
    client.send(b"last").unwrap();
    RawWsServer::accept(upstream.accept(), &[])
}

/// Floods the address of a forward whose upstream sends everything back, until `stop`.
fn flood(address: &str, stop: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
    let mut writer = echogate_tests::http::connect(address);
    let mut reader = writer.try_clone().unwrap();
    let stop = stop.clone();
    thread::spawn(move || {
        let reading = thread::spawn(move || {
            let mut buffer = [0; 65_536];
            while reader.read(&mut buffer).is_ok_and(|read| read > 0) {}
        });
        let data = [b'x'; 65_536];
        while !stop.load(Ordering::Relaxed) && writer.write_all(&data).is_ok() {}
        writer.shutdown(std::net::Shutdown::Both).ok();
        reading.join().unwrap();
    })
}

#[test]
fn floods_of_forwards_exclude_no_other_client() {
    let back = Server::start(ECHOGATE, &["--route", "/up=service:upper"]);
    let urls = [back.url("upper").to_owned(), back.ws("/up")];
    for url in urls {
        let server = forward(&url, &[]);
        let stop = Arc::new(AtomicBool::new(false));
        let floods: Vec<_> = (0..10).map(|_| flood(server.address("forward"), &stop)).collect();
        let mut client = client(&server);
        for i in 0..100 {
            let start = Instant::now();
            assert_eq!(round_trip(&mut client, b"a message"), b"A MESSAGE");
            // Far above the normal milliseconds: the machine is busy with the floods.
            assert!(start.elapsed() < Duration::from_secs(5), "exchange {i} of {url}");
        }
        stop.store(true, Ordering::Relaxed);
        floods.into_iter().for_each(|flood| flood.join().unwrap());
    }
}
