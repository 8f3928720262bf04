//! Routes and forwards to WebSocket servers over TLS.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread::JoinHandle,
};

use echogate_tests::{
    server::Server,
    tcp::{noise, read_exactly, read_to_end, round_trip},
    tls::{Authority, Issued, ServerStream, finish},
    upstream::Upstream,
    ws::{self, RawWs, RawWsServer, first, handshake},
};

use super::{client, end, forward};
use crate::ECHOGATE;

/// A WebSocket server over TLS, and its authority.
struct Wss {
    authority: Authority,
    issued: Issued,
    upstream: Upstream,
}

impl Wss {
    fn new(names: &[&str]) -> Wss {
        let authority = Authority::new();
        let issued = authority.issue(names);
        Wss { authority, issued, upstream: Upstream::new() }
    }

    fn port(&self) -> String {
        self.upstream.address().rsplit_once(':').unwrap().1.to_owned()
    }

    /// The URL, by the name `localhost`, which may have two addresses.
    fn url(&self) -> String {
        format!("wss://localhost:{}/up#ca={}", self.port(), self.authority.ca())
    }

    /// Accepts the opening handshake of one client.
    fn accepting(self) -> JoinHandle<RawWsServer<ServerStream>> {
        self.upstream.serve(move |stream| RawWsServer::accept(self.issued.accept(stream).0, &[]))
    }

    /// A client of a route to this server, and the server's end.
    fn connected(self) -> (RawWs, RawWsServer<ServerStream>, Server) {
        let server = Server::start(ECHOGATE, &["--route", &format!("/x={}", self.url())]);
        let accepting = self.accepting();
        (RawWs::connect(&server, "/x"), accepting.join().unwrap(), server)
    }

    /// A client of a forward to this server, and the server's end.
    fn forwarded(self) -> (TcpStream, RawWsServer<ServerStream>, Server) {
        let server = forward(&self.url(), &[]);
        let accepting = self.accepting();
        (client(&server), accepting.join().unwrap(), server)
    }
}

#[test]
fn messages_pass_to_a_server_over_tls_and_back() {
    let (mut client, mut upstream, server) = Wss::new(&["localhost"]).connected();
    assert_eq!(upstream.request[0], "GET /up HTTP/1.1");
    assert!(upstream.header("host").is_some_and(|host| host.starts_with("localhost:")));
    let data = noise(60_000);
    for payload in [&b""[..], b"short", &data] {
        client.send_frame(first::BINARY, payload);
        let mut got = upstream.read().payload;
        while got.len() < payload.len() {
            got.extend(upstream.read().payload);
        }
        assert!(got == payload);
        upstream.send_frame(first::BINARY, payload);
        let mut got = client.read().payload;
        while got.len() < payload.len() {
            got.extend(client.read().payload);
        }
        assert!(got == payload);
    }
    client.send(&ws::close(4000, "done"));
    assert_eq!(upstream.read().close(), (Some(4000), "done"));
    upstream.close(4000, "done");
    finish(&mut upstream.stream);
    assert_eq!(client.read_close(), (Some(4000), "done".to_owned()));
    server.wait_for_log(&["id=1", "4000"]);
}

#[test]
fn a_forward_gives_a_tls_server_a_local_port() {
    let (mut client, mut upstream, _server) = Wss::new(&["localhost"]).forwarded();
    let data = noise(300_000);
    let sent = data.clone();
    let mut sender = client.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        sender.write_all(&sent).unwrap();
        end(&sender);
    });
    let mut got = Vec::new();
    while got.len() < data.len() {
        got.extend(upstream.read().payload);
    }
    assert!(got == data);
    sending.join().unwrap();
    assert_eq!(upstream.read().close().0, Some(1000));
    upstream.send_frame(first::BINARY, b"too late, but owed");
    upstream.close(1000, "");
    finish(&mut upstream.stream);
    assert_eq!(read_to_end(&mut client), b"too late, but owed");
}

#[test]
fn a_certificate_that_is_not_trusted_is_refused_with_the_reason() {
    let foreign = Authority::new();
    for (issue, ca, expected) in [
        (["localhost", "valid"], Some(&foreign), "is not trusted: its issuer"),
        (["other.example", "valid"], None, "is not for localhost"),
        (["localhost", "expired"], None, "has expired"),
    ] {
        let authority = Authority::new();
        let issued = match issue {
            [name, "valid"] => authority.issue(&[name]),
            [name, _] => authority.issue_expired(&[name]),
        };
        let upstream = Upstream::new();
        let (_, port) =
            upstream.address().rsplit_once(':').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
        let ca = ca.unwrap_or(&authority).ca();
        let url = format!("wss://localhost:{port}/#ca={ca}");
        let serving = std::thread::spawn(move || {
            for _ in 0..2 {
                issued.accept(upstream.accept());
            }
        });
        let forward = format!("127.0.0.1:0={url}");
        let route = format!("/x={url}");
        let server = Server::start(ECHOGATE, &["--route", &route, "--forward", &forward]);
        let response = handshake(&server, "/x", &[]);
        assert_eq!(response.status, 502, "{expected}");
        assert!(response.text().contains(expected), "{}", response.text());
        server.wait_for_log(&["path=\"/x\"", "refused", expected]);
        let error = client(&server).read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{expected}");
        server.wait_for_log(&["forward=", "refused", expected]);
        serving.join().unwrap();
    }
}

#[test]
fn tls_that_ends_without_close_notify_is_an_abort() {
    let (mut client, mut upstream, _server) = Wss::new(&["localhost"]).connected();
    upstream.send_frame(first::TEXT, b"last words");
    drop(upstream);
    assert_eq!(client.read().payload, b"last words");
    assert_eq!(client.read_close().0, Some(1011));

    let (mut client, mut upstream, server) = Wss::new(&["localhost"]).forwarded();
    upstream.send_frame(first::TEXT, b"last words");
    drop(upstream);
    assert_eq!(read_exactly(&mut client, 10), b"last words");
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    server.wait_for_log(&["id=1", "1006"]);
}

#[test]
fn a_client_that_vanishes_leaves_tls_without_close_notify() {
    let (mut client, mut upstream, _server) = Wss::new(&["localhost"]).connected();
    client.send_frame(first::TEXT, b"last words");
    drop(client);
    assert_eq!(upstream.read().payload, b"last words");
    let error = upstream.try_read().unwrap_err();
    let aborts = [ErrorKind::ConnectionReset, ErrorKind::UnexpectedEof];
    assert!(aborts.contains(&error.kind()), "{error:?}");
}

#[test]
fn routes_and_forwards_have_a_client_certificate_for_a_server_over_tls() {
    let Wss { authority, issued, upstream } = Wss::new(&["127.0.0.1"]);
    let identity = authority.issue(&["client.example"]);
    let file = |name: &str, text: String| {
        fs::write(authority.file(name), text).unwrap();
        authority.file(name).display().to_string()
    };
    let (cert, key) = (file("c.pem", identity.pem()), file("k.pem", identity.key_pem()));
    let url = format!("wss://{}/#ca={}", upstream.address(), authority.ca());
    let with = format!("{url}&cert={cert}&key={key}");
    let forward = format!("127.0.0.1:0={with}");
    let routes = [format!("/with={with}"), format!("/without={url}")];
    let arguments = ["--route", &routes[0], "--route", &routes[1], "--forward", &forward];
    let server = Server::start(ECHOGATE, &arguments);
    let presented = identity.der().clone();
    let serving = std::thread::spawn(move || {
        for _ in 0..2 {
            let stream = issued.accept_identified(upstream.accept(), &authority);
            assert_eq!(stream.conn.peer_certificates().unwrap()[0], presented);
            let mut served = RawWsServer::accept(stream, &[]);
            let frame = served.read();
            served.send_frame(frame.first, &frame.payload);
            served.read();
        }
        issued.accept_identified(upstream.accept(), &authority);
    });
    let mut ws = RawWs::connect(&server, "/with");
    assert_eq!(ws.exchange(b"by route"), b"by route");
    ws.send(&ws::close(1000, ""));
    let mut forwarded = client(&server);
    assert_eq!(round_trip(&mut forwarded, b"by forward"), b"by forward");
    end(&forwarded);
    let response = handshake(&server, "/without", &[]);
    assert_eq!(response.status, 502, "{response:?}");
    assert!(response.text().contains("certificate"), "{}", response.text());
    serving.join().unwrap();
}
