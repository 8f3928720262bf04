//! Forwards, and routes to WebSocket and datagram upstreams: each pair of sides, with peers that
//! the tests control.
//!
//! - `streams`: byte streams to byte streams
//! - `tls`: TLS on either side of a relay of bytes
//! - `websocket`: a byte stream to a WebSocket server, and WebSocket to WebSocket
//! - `wss`: WebSocket servers over TLS
//! - `datagrams`: datagrams on one side or both
//! - `pressure`: floods
//! - `configuration`: settings that are refused at the start, loops, reloads

mod configuration;
mod datagrams;
mod pressure;
mod streams;
mod tls;
mod websocket;
mod wss;

use std::net::{Shutdown, TcpStream};

use echogate_tests::{http::connect, server::Server};

use crate::ECHOGATE;

/// A server with the forward of a free TCP port to `url`, and with `more` arguments.
fn forward(url: &str, more: &[&str]) -> Server {
    let forward = format!("127.0.0.1:0={url}");
    Server::start(ECHOGATE, &[&["--forward", &*forward][..], more].concat())
}

/// A client of the server's first forward.
fn client(server: &Server) -> TcpStream {
    connect(server.address("forward"))
}

fn end(stream: &TcpStream) {
    stream.shutdown(Shutdown::Write).unwrap();
}

/// Waits until each connection has carried so many bytes and messages, from the client and to it.
#[track_caller]
fn wait_until_carried(server: &Server, bytes: (u64, u64), messages: (u64, u64)) {
    let carried = |connection: &serde_json::Value| {
        let count = |what: &str| connection[what].as_u64().unwrap();
        (count("bytes_received"), count("bytes_sent")) == bytes
            && (count("messages_received"), count("messages_sent")) == messages
    };
    server.wait_for_connections(|all| !all.is_empty() && all.iter().all(carried));
}
