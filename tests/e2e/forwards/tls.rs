//! TLS on either side of a relay of bytes.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use echogate_tests::{
    server::Server,
    tcp::{noise, read_exactly, read_to_end, reset},
    tls::{Authority, Client, Issued, ServerStream, finish},
    upstream::Upstream,
};

use super::{client, end, forward};
use crate::ECHOGATE;

/// An upstream over TLS, and its authority.
fn upstream() -> (Authority, Issued, Upstream) {
    let authority = Authority::new();
    let issued = authority.issue(&["127.0.0.1"]);
    (authority, issued, Upstream::new())
}

/// A forward of TCP to an upstream over TLS: both ends.
fn tcp_to_tls() -> (TcpStream, ServerStream, Server) {
    let (authority, issued, upstream) = upstream();
    let server = forward(&format!("tls://{}?ca={}", upstream.address(), authority.ca()), &[]);
    let accepting = upstream.serve(move |stream| issued.accept(stream).0);
    (client(&server), accepting.join().unwrap(), server)
}

/// A forward of TLS to an upstream over TCP: both ends.
fn tls_to_tcp() -> (Client, TcpStream, Server) {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let upstream = Upstream::new();
    let forward = format!("tls://127.0.0.1:0=tcp://{}", upstream.address());
    let server = Server::start_with_tls(ECHOGATE, &authority, &["--forward", &forward]);
    (authority.connect(server.address("forward")), upstream.accept(), server)
}

#[test]
fn half_close_passes_between_tcp_and_tls() {
    let (mut client, mut upstream, server) = tcp_to_tls();
    client.write_all(b"all of it").unwrap();
    end(&client);
    assert_eq!(read_to_end(&mut upstream), b"all of it", "close_notify for FIN");
    upstream.write_all(b"and the answer").unwrap();
    finish(&mut upstream);
    assert_eq!(read_to_end(&mut client), b"and the answer");
    server.wait_for_log(&["id=1"]);

    let (mut client, mut upstream, _server) = tls_to_tcp();
    client.write_all(b"all of it").unwrap();
    finish(&mut client);
    assert_eq!(read_to_end(&mut upstream), b"all of it", "FIN for close_notify");
    upstream.write_all(b"and the answer").unwrap();
    drop(upstream);
    assert_eq!(read_to_end(&mut client), b"and the answer");
}

#[test]
fn tls_that_ends_without_close_notify_resets_the_other_side_behind_its_bytes() {
    let (mut client, mut upstream, _server) = tcp_to_tls();
    upstream.write_all(b"cut").unwrap();
    drop(upstream);
    assert_eq!(read_exactly(&mut client, 3), b"cut");
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);

    let (mut client, mut upstream, _server) = tls_to_tcp();
    client.write_all(b"cut").unwrap();
    drop(client);
    assert_eq!(read_exactly(&mut upstream, 3), b"cut");
    assert_eq!(upstream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_ends_tls_without_close_notify() {
    let (mut client, mut upstream, _server) = tcp_to_tls();
    client.write_all(b"cut").unwrap();
    assert_eq!(read_exactly(&mut upstream, 3), b"cut");
    reset(client);
    let error = upstream.read(&mut [0]).unwrap_err().kind();
    assert!([ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof].contains(&error), "{error:?}");

    let (mut client, mut upstream, _server) = tls_to_tcp();
    upstream.write_all(b"cut").unwrap();
    assert_eq!(read_exactly(&mut client, 3), b"cut");
    reset(upstream);
    let error = client.read(&mut [0]).unwrap_err().kind();
    assert!([ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof].contains(&error), "{error:?}");
}

#[test]
fn mebibytes_pass_unchanged_through_tls_on_both_sides() {
    let (authority, issued, upstream) = upstream();
    authority.install(&issued);
    let url = format!("tls://127.0.0.1:0=tls://{}?ca={}", upstream.address(), authority.ca());
    let server = Server::start_with_tls(ECHOGATE, &authority, &["--forward", &url]);
    let data = noise(16 << 20);
    let back = upstream.serve(move |stream| {
        let (mut stream, _) = issued.accept(stream);
        let received = read_to_end(&mut stream);
        stream.write_all(&received).unwrap();
        finish(&mut stream);
        received
    });
    let mut client = authority.connect(server.address("forward"));
    client.write_all(&data).unwrap();
    finish(&mut client);
    assert!(read_to_end(&mut client) == data);
    assert!(back.join().unwrap() == data);
}
