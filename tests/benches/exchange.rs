//! Whole exchanges over loopback, through the real binary: raw TCP, a WebSocket route over TCP, and
//! one to the service in memory. The client uses as much CPU time as the server, so only the ratios
//! between the lines are meaningful.

use std::{
    hint::black_box,
    io::{Read, Write},
    net::TcpStream,
};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use echogate_tests::server::Server;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

const ECHOGATE: &str = env!("CARGO_BIN_EXE_echogate-under-test");

fn websocket(server: &Server, path: &str) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(server.address("http")).expect("the server listens");
    stream.set_nodelay(true).expect("a live socket");
    client(server.ws(path), stream).expect("a route").0
}

fn exchange(c: &mut Criterion) {
    let server = Server::start(ECHOGATE, &["--route", "/memory=service:upper"]);
    let hop = format!("/hop={}?framing=message", server.url("upper"));
    let gateway = Server::start(ECHOGATE, &["--route", &hop]);
    for size in [64, 1024, 64 * 1024] {
        let mut group = c.benchmark_group(format!("exchange/{size}"));
        group.throughput(Throughput::Bytes(size as u64));
        let sent = vec![b'a'; size];
        let mut got = vec![0; size];
        let mut tcp = TcpStream::connect(server.address("upper")).expect("the server listens");
        tcp.set_nodelay(true).expect("a live socket");
        group.bench_function("tcp", |b| {
            b.iter(|| {
                tcp.write_all(&sent).expect("a live connection");
                tcp.read_exact(&mut got).expect("as many bytes");
                black_box(&got);
            });
        });
        for (name, server, path) in [("hop", &gateway, "/hop"), ("memory", &server, "/memory")] {
            let mut socket = websocket(server, path);
            group.bench_function(name, |b| {
                b.iter(|| {
                    socket.send(Message::binary(sent.clone())).expect("a live connection");
                    assert_eq!(socket.read().expect("a reply").len(), size);
                });
            });
        }
        group.finish();
    }
}

criterion_group!(benches, exchange);
criterion_main!(benches);
