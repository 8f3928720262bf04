//! Byte streams to byte streams.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    os::unix::net::{UnixListener, UnixStream},
};

use echogate_tests::{
    server::Server,
    tcp::{
        noise, read_exactly, read_to_end, reset, round_trip, wait_until_read, write_until_blocked,
    },
    tls::Authority,
    upstream::Upstream,
};
use tempfile::TempDir;

use super::{client, end, forward};
use crate::ECHOGATE;

/// A server with a forward to a TCP upstream, and the ends of a connection through it: the client's
/// first, or the upstream's.
fn connected(client_first: bool) -> (Server, TcpStream, TcpStream) {
    let upstream = Upstream::new();
    let server = forward(&format!("tcp://{}", upstream.address()), &[]);
    let client = client(&server);
    let upstream = upstream.accept();
    if client_first { (server, client, upstream) } else { (server, upstream, client) }
}

#[test]
fn bytes_pass_in_both_directions_and_each_direction_ends_by_itself() {
    for client_first in [true, false] {
        let (server, mut first, mut last) = connected(client_first);
        first.write_all(b"question").unwrap();
        end(&first);
        assert_eq!(read_to_end(&mut last), b"question", "the client first: {client_first}");
        last.write_all(b"still open").unwrap();
        assert_eq!(read_exactly(&mut first, 10), b"still open");
        let bytes = if client_first { (8, 10) } else { (10, 8) };
        super::wait_until_carried(&server, bytes, (0, 0));
        end(&last);
        assert_eq!(read_to_end(&mut first), b"");
        let who = if client_first { "client" } else { "upstream" };
        let line = server.wait_for_log(&[&format!("the {who} ended the stream"), "id=1"]);
        assert!(line.contains("tcp://"), "the log names the upstream: {line}");
    }
}

#[test]
fn many_bytes_arrive_unchanged_in_both_directions_at_once() {
    let upstream = Upstream::new();
    let server = forward(&format!("tcp://{}", upstream.address()), &[]);
    let data = noise(8_000_000);
    let (to, from) = (data.clone(), data.iter().rev().copied().collect::<Vec<u8>>());
    let back = from.clone();
    let serving = upstream.serve(move |mut stream| {
        let mut writer = stream.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            writer.write_all(&back).unwrap();
            end(&writer);
        });
        let read = read_to_end(&mut stream);
        writing.join().unwrap();
        read
    });
    let mut client = client(&server);
    let mut writer = client.try_clone().unwrap();
    let writing = std::thread::spawn(move || {
        writer.write_all(&to).unwrap();
        end(&writer);
    });
    assert!(read_to_end(&mut client) == from);
    writing.join().unwrap();
    assert!(serving.join().unwrap() == data);
}

#[test]
fn a_reset_passes_behind_the_bytes_before_it_in_either_direction() {
    for from_client in [true, false] {
        let (server, mut resets, mut sees) = connected(from_client);
        resets.write_all(b"before").unwrap();
        wait_until_read(&resets);
        reset(resets);
        assert_eq!(read_exactly(&mut sees, 6), b"before", "from the client: {from_client}");
        let error = sees.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "from the client: {from_client}");
        let who = if from_client { "client" } else { "upstream" };
        let why = format!("the {who}'s connection failed: connection reset by peer");
        server.wait_for_log(&["id=1", &why]);
    }
}

#[test]
fn a_side_that_does_not_read_holds_the_other_back_and_loses_nothing() {
    let (_server, mut client, mut upstream) = connected(true);
    let data = noise(60_000_000);
    let sent = write_until_blocked(&mut client, &data);
    assert!(sent < data.len(), "the relay takes no more than it can pass on");
    end(&client);
    assert!(read_to_end(&mut upstream) == data[..sent]);
}

#[test]
fn unix_sockets_and_tls_are_sides_of_forwards() {
    let (folder, authority) =
        (TempDir::new().unwrap(), Authority::with_certificate(&["localhost"]));
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let listener = UnixListener::bind(path("upstream")).unwrap();
    let there = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let read = read_exactly(&mut stream, 4);
        stream.write_all(&read.to_ascii_uppercase()).unwrap();
        read_to_end(&mut stream);
    });
    let to_unix = format!("tls://127.0.0.1:0=unix://{}", path("upstream"));
    let server = Server::start_with_tls(ECHOGATE, &authority, &["--forward", &to_unix]);
    let at = server.address("forward").to_owned();
    // Another server forwards a Unix socket to the TLS port of the first.
    let ca = authority.ca();
    let to_tls =
        format!("unix://{}?mode=600=tls://{at}?ca={ca}&server-name=localhost", path("front"));
    let _front = Server::start(ECHOGATE, &["--forward", &to_tls]);
    let mut client = UnixStream::connect(path("front")).unwrap();
    assert_eq!(round_trip(&mut client, b"ping"), b"PING");
    drop(client);
    there.join().unwrap();
}

#[test]
fn the_client_is_named_in_a_proxy_header_where_the_forward_says_so() {
    let upstream = Upstream::new();
    let server = forward(&format!("tcp://{}?proxy=v1", upstream.address()), &[]);
    let client = client(&server);
    let mut upstream = upstream.accept();
    let (source, to) = (client.local_addr().unwrap(), server.address("forward"));
    let (_, port) = to.split_once(':').unwrap();
    let header = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {port}\r\n", source.port());
    assert_eq!(read_exactly(&mut upstream, header.len()), header.as_bytes());
}

#[test]
fn a_client_whose_upstream_refuses_is_reset_and_the_log_says_why() {
    let gone = Upstream::new().address();
    let server = forward(&format!("tcp://{gone}"), &[]);
    let mut client = client(&server);
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    server.wait_for_log(&["refused: the upstream refused the connection", &gone]);
    server.wait_for_metric("echogate_refused_total{reason=\"upstream_refused\"}", |n| n == 1);
}

#[test]
fn more_connections_than_max_are_reset() {
    let upstream = Upstream::new();
    let server = forward(&format!("tcp://{}?max=1", upstream.address()), &[]);
    let first = client(&server);
    let mut served = upstream.accept();
    let mut second = client(&server);
    assert_eq!(second.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    server.wait_for_log(&["refused: the route or forward is full (max=1)"]);
    drop(first);
    assert_eq!(read_to_end(&mut served), b"");
}

#[test]
fn a_forward_is_listed_and_its_connections_are() {
    let upstream = Upstream::new();
    let server = forward(&format!("tcp://{}", upstream.address()), &[]);
    let _client = client(&server);
    let _upstream = upstream.accept();
    let listed = server.wait_for_connections(|all| !all.is_empty());
    assert_eq!(listed[0]["kind"], "tcp");
    assert_eq!(listed[0]["target"], format!("tcp://{}", upstream.address()));
    let endpoints = echogate_tests::http::get(server.address("http"), "/api/endpoints").text();
    let forward = format!(
        r#""forwards":[{{"url":"{}","upstream":"tcp://{}"}}]"#,
        server.url("forward"),
        upstream.address()
    );
    assert!(endpoints.contains(&forward), "{endpoints}");
}

#[test]
fn a_shutdown_ends_the_upstreams_input_and_resets_what_is_left_at_the_end_of_the_drain() {
    let upstream = Upstream::new();
    let url = format!("tcp://{}", upstream.address());
    let mut server = forward(&url, &["--drain", "2s"]);
    let (mut ends, mut ended) = (client(&server), upstream.accept());
    let (mut stays, mut held) = (client(&server), upstream.accept());
    for (client, upstream) in [(&mut ends, &mut ended), (&mut stays, &mut held)] {
        client.write_all(b"hello").unwrap();
        assert_eq!(read_exactly(upstream, 5), b"hello");
        upstream.write_all(b"HELLO").unwrap();
        assert_eq!(read_exactly(client, 5), b"HELLO");
    }
    server.signal("TERM");
    assert_eq!(read_to_end(&mut ended), b"", "the upstream is asked by the end of input");
    ended.write_all(b"the last").unwrap();
    drop(ended);
    assert_eq!(read_to_end(&mut ends), b"the last");
    end(&ends);
    let cut = stays.read(&mut [0]);
    assert!(cut.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset), "not an orderly end");
    assert!(server.wait().success());
}

#[test]
fn an_upload_that_a_shutdown_cuts_off_looks_complete_to_neither_side() {
    let upstream = Upstream::new();
    let mut server = forward(&format!("tcp://{}", upstream.address()), &["--drain", "1s"]);
    let (mut uploads, mut uploaded) = (client(&server), upstream.accept());
    let (mut pauses, mut paused) = (client(&server), upstream.accept());
    pauses.write_all(b"the first half").unwrap();
    assert_eq!(read_exactly(&mut paused, 14), b"the first half");
    server.signal("TERM");
    let upload = std::thread::spawn(move || while uploads.write_all(&[7; 1000]).is_ok() {});
    for upstream in [&mut uploaded, &mut paused] {
        let error = upstream.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    upload.join().unwrap();
    assert_eq!(pauses.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(server.wait().success());
    server.wait_for_log(&["cut off at the end of the shutdown"]);
}
