//! TLS of listeners, upstreams and the native client, and the reload of certificates.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::Shutdown,
    process::{Command, Output, Stdio},
    sync::{Arc, mpsc},
    thread,
};

use echogate_tests::{
    http::{self, Response},
    program::programs,
    server::Server,
    tcp::{BLOCKED, noise, read_exactly, read_to_end, round_trip, write_over_until_blocked},
    tls::{Authority, finish},
    upstream::Upstream,
    ws::{self, BROWSER, RawWs, first},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use crate::{ECHOGATE, connect::run as call};

/// An authority, and a server with its certificate for 127.0.0.1: HTTPS, `upper` over TCP, and
/// `echo` over TLS.
fn secure(arguments: &[&str]) -> (Authority, Server) {
    let authority = Authority::with_certificate(&["127.0.0.1", "localhost"]);
    let mut command = Command::new(ECHOGATE);
    command.env("ECHOGATE_LOG", "debug");
    command.args(["serve", "--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"]);
    command.args(["--listen", "echo=tls://127.0.0.1:0"]).args(authority.flags()).args(arguments);
    let server = Server::spawn(command);
    (authority, server)
}

/// Sends a GET request for `path` over HTTPS.
fn get(authority: &Authority, server: &Server, path: &str) -> Response {
    let mut client = authority.connect(server.address("http"));
    let host = format!("Host: {}", server.address("http"));
    http::exchange(&mut client, &[&format!("GET {path} HTTP/1.1"), &host])
}

#[track_caller]
fn assert_fails(output: &Output, status: i32, parts: &[&str]) {
    let printed = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(status), "{printed}");
    assert_eq!(printed.lines().count(), 1, "one line: {printed}");
    for part in parts {
        assert!(printed.contains(part), "no {part:?} in {printed}");
    }
}

#[test]
fn a_tls_listener_answers_and_each_side_ends_its_own() {
    let (authority, server) = secure(&[]);
    assert!(server.url("echo").starts_with("tls://127.0.0.1:"));
    let mut client = authority.connect(server.address("echo"));
    assert_eq!(round_trip(&mut client, b"hello"), b"hello");
    assert!(round_trip(&mut client, &[7; 100_000]) == [7; 100_000]);
    client.write_all(b"the last").unwrap();
    finish(&mut client);
    assert_eq!(read_to_end(&mut client), b"the last", "and TLS's own end");
    server.wait_for_log(&["kind=tls", "the client closed the connection"]);
}

#[test]
fn the_page_and_the_api_are_served_by_https() {
    let (authority, server) = secure(&[]);
    assert!(server.url("http").starts_with("https://127.0.0.1:"));
    let page = get(&authority, &server, "/");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("<html"));
    assert_eq!(get(&authority, &server, "/healthz").text(), "ok\n");
    let connections = get(&authority, &server, "/api/connections");
    assert_eq!(connections.text(), "[]");
}

#[test]
fn http_2_is_agreed_on_with_those_who_offer_it() {
    let (authority, server) = secure(&[]);
    for (offered, agreed) in [
        (&["h2", "http/1.1"][..], Some("h2")),
        (&["http/1.1", "h2"], Some("h2")),
        (&["http/1.1"], Some("http/1.1")),
        (&[], None),
    ] {
        let mut config = Arc::unwrap_or_clone(authority.trusted());
        config.alpn_protocols = offered.iter().map(|name| name.as_bytes().to_vec()).collect();
        let name = ServerName::try_from("localhost").unwrap();
        let mut client = tokio_rustls::rustls::ClientConnection::new(config.into(), name).unwrap();
        client.complete_io(&mut http::connect(server.address("http"))).unwrap();
        assert_eq!(client.alpn_protocol(), agreed.map(str::as_bytes));
    }
}

#[test]
fn a_websocket_over_tls_is_bridged_and_closed() {
    let (authority, server) = secure(&[]);
    for (path, capitals) in [("/ws", true), ("/ws/echo", false)] {
        let stream = authority.connect(server.address("http"));
        let origin = format!("Origin: https://{}", server.address("http"));
        let mut client = RawWs::over(stream, &server, path, &[&origin]);
        for message in [&b"one"[..], b"", &[b'a'; 70_000]] {
            client.send_frame(first::BINARY, message);
            let expected = if capitals { message.to_ascii_uppercase() } else { message.to_vec() };
            assert_eq!(client.read_message().payload, expected, "{path}");
        }
        assert_eq!(client.end(1000, "").0, Some(1000));
    }
}

#[test]
fn a_page_of_another_scheme_is_refused_even_with_the_same_host() {
    let (authority, server) = secure(&[]);
    let stream = authority.connect(server.address("http"));
    let mut client =
        RawWs::over(stream, &server, "/ws", &["Origin: https://evil.example", BROWSER]);
    assert_eq!(client.read_close().0, Some(1008));
    // With plain HTTP, anybody on the network path can answer for this host.
    let plain = format!("Origin: http://{}", server.address("http"));
    let stream = authority.connect(server.address("http"));
    let mut client = RawWs::over(stream, &server, "/ws", &[&plain, BROWSER]);
    let (code, reason) = client.read_close();
    assert_eq!(code, Some(1008));
    assert!(reason.contains("https") && reason.contains("--allow-origin"), "{reason}");
}

#[test]
fn without_a_plain_listener_the_default_route_leads_to_the_service_in_memory() {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let mut command = Command::new(ECHOGATE);
    command.args(["serve", "--http", "127.0.0.1:0", "--listen", "upper=tls://127.0.0.1:0"]);
    command.args(authority.flags());
    let server = Server::spawn(command);
    let stream = authority.connect(server.address("http"));
    let mut client = RawWs::over(stream, &server, "/ws", &[]);
    assert_eq!(client.exchange(b"hello"), b"HELLO");
}

#[test]
fn ten_megabytes_go_both_ways_however_slowly_they_are_taken() {
    let authority = Authority::new();
    let issued = authority.issue(&["127.0.0.1"]);
    authority.install(&issued);
    let upstream = Upstream::new();
    let route = format!("/x=tls://{}?ca={}", upstream.address(), authority.ca());
    let server = Server::start_with_tls(ECHOGATE, &authority, &["--route", &route]);
    let sent = noise(10 << 20);
    let frame = ws::frame(first::BINARY, &sent);
    let (go, wait) = mpsc::channel::<()>();
    let (block, blocked) = mpsc::channel();
    let there = sent.clone();
    let serving = upstream.serve(move |stream| {
        let (mut served, _) = issued.accept(stream);
        wait.recv().unwrap();
        let got = read_exactly(&mut served, there.len());
        let socket = served.sock.try_clone().unwrap();
        let written = write_over_until_blocked(&mut served, &socket, &there);
        block.send(written).unwrap();
        served.write_all(&there[written..]).unwrap();
        finish(&mut served);
        got == there
    });
    let stream = authority.connect(server.address("http"));
    let socket = stream.sock.try_clone().unwrap();
    let mut client = RawWs::over(stream, &server, "/x", &[]);
    let written = write_over_until_blocked(&mut client.stream, &socket, &frame);
    assert!(written < frame.len(), "the upstream does not read, and so nobody does");
    go.send(()).unwrap();
    client.send(&frame[written..]);
    let written = blocked.recv().unwrap();
    assert!(written < sent.len(), "the client does not read, and so nobody does");
    let mut got = Vec::new();
    let close = loop {
        let frame = client.read();
        if frame.first == first::CLOSE {
            break frame;
        }
        got.extend(frame.payload);
    };
    assert!(got == sent, "{} bytes", got.len());
    assert_eq!(close.close(), (Some(1000), "the upstream ended the stream"));
    assert!(serving.join().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tls_client_that_does_not_read_is_not_read_and_gets_it_all_later() {
    let (authority, server) = secure(&[]);
    let stream = tokio::net::TcpStream::connect(server.address("echo")).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let stream = TlsConnector::from(authority.trusted()).connect(name, stream).await.unwrap();
    let (mut reader, mut writer) = tokio::io::split(stream);
    let flood = noise(64 << 20);
    let mut sent = 0;
    while let Ok(written) = timeout(BLOCKED, writer.write(&flood[sent..])).await {
        sent += written.unwrap();
        assert!(sent < flood.len(), "the server reads all from a client that does not read");
    }
    let sending = async {
        writer.write_all(&flood[sent..]).await.unwrap();
        writer.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let (received, ()) = tokio::join!(reader.read_to_end(&mut got), sending);
    received.unwrap();
    assert!(got == flood, "{} bytes", got.len());
}

#[test]
fn a_client_that_does_not_speak_tls_is_closed_and_harms_nobody() {
    let (authority, server) = secure(&[]);
    let mut other = authority.connect(server.address("echo"));
    for what in ["http", "echo"] {
        for bytes in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], b"\n", &noise(100_000), b""] {
            let mut client = http::connect(server.address(what));
            client.write_all(bytes).ok();
            client.shutdown(Shutdown::Write).ok();
            // An alert, or a reset because the server left bytes unread.
            client.read_to_end(&mut Vec::new()).ok();
        }
    }
    server.wait_for_log(&["DEBUG", "TLS handshake failed"]);
    assert_eq!(round_trip(&mut other, b"still here"), b"still here");
    assert_eq!(get(&authority, &server, "/healthz").status, 200);
    assert!(!server.log().iter().any(|l| l.contains("panicked")), "{:#?}", server.log());
    assert!(!server.log().iter().any(|l| l.contains("ERROR") || l.contains("WARN")));
}

#[test]
fn a_handshake_that_does_not_come_is_not_waited_for() {
    let (_authority, server) = secure(&["--header-timeout", "300ms"]);
    for what in ["http", "echo"] {
        let mut silent = http::connect(server.address(what));
        let mut slow = http::connect(server.address(what));
        slow.write_all(&[0x16, 3, 1]).unwrap();
        assert!(read_to_end(&mut silent).is_empty());
        assert!(read_to_end(&mut slow).is_empty());
    }
    server.wait_for_log(&["DEBUG", "TLS handshake failed: timed out"]);
}

#[test]
fn a_forward_waits_for_no_handshake_at_the_shutdown() {
    let (_authority, mut server) =
        secure(&["--forward", "tls://127.0.0.1:0=service:echo", "--drain", "100s"]);
    let _silent = http::connect(server.address("forward"));
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_new_certificate_is_shown_from_sighup_on_and_a_broken_one_never() {
    let authority = Authority::new();
    let [old, new, other] = [(); 3].map(|()| authority.issue(&["127.0.0.1"]));
    authority.install(&old);
    let echo = ["--listen", "echo=tls://127.0.0.1:0"];
    let server = Server::start_with_tls(ECHOGATE, &authority, &echo);
    let shown = |what: &str| {
        let client = authority.connect(server.address(what));
        client.conn.peer_certificates().unwrap()[0].clone()
    };
    let mut before = authority.connect(server.address("echo"));
    assert_eq!(&shown("http"), old.der());

    authority.install(&new);
    assert_eq!(&shown("http"), old.der(), "not before SIGHUP");
    server.signal("HUP");
    server.wait_for_log(&["SIGHUP: configuration reloaded"]);
    assert_eq!(&shown("http"), new.der());
    assert_eq!(&shown("echo"), new.der());
    assert_eq!(round_trip(&mut before, b"still here"), b"still here");

    let key = authority.file("key.pem");
    for (broken, complaint) in [
        (other.key_pem(), "not the private key of"),
        (String::new(), "no private key"),
        (new.key_pem().replace('M', "!"), "key.pem: not PEM"),
    ] {
        fs::write(&key, &broken).unwrap();
        server.signal("HUP");
        server.wait_for_log(&[
            "WARN",
            "SIGHUP: reload rejected, configuration unchanged: ",
            complaint,
        ]);
        assert_eq!(&shown("echo"), new.der());
    }
    fs::remove_file(&key).unwrap();
    server.signal("HUP");
    server.wait_for_log(&["WARN", "SIGHUP: reload rejected", "key.pem: no such file"]);
    assert_eq!(&shown("http"), new.der());
    assert_eq!(round_trip(&mut before, b"still here"), b"still here");
}

#[test]
fn tls_clients_of_all_kinds_get_an_orderly_end() {
    let (authority, mut server) = secure(&[]);
    let mut echo = authority.connect(server.address("echo"));
    assert_eq!(round_trip(&mut echo, b"hello"), b"hello");
    let stream = authority.connect(server.address("http"));
    let mut ws = RawWs::over(stream, &server, "/ws", &[]);
    let mut idle = authority.connect(server.address("http"));
    let mut silent = http::connect(server.address("http"));
    server.signal("STOP");
    echo.write_all(b"just in time").unwrap();
    ws.send_frame(first::TEXT, b"me too");
    server.signal("TERM");
    server.signal("CONT");
    assert_eq!(ws.read().payload, b"ME TOO");
    assert_eq!(ws.read().close().0, Some(1001));
    ws.send(&ws::close(1001, ""));
    assert_eq!(ws.try_read().unwrap(), None, "TLS's own end");
    assert_eq!(read_to_end(&mut echo), b"just in time");
    assert!(read_to_end(&mut idle).is_empty());
    assert!(read_to_end(&mut silent).is_empty());
    drop(echo);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.log().iter().any(|l| l.contains("did not end within")), "{:#?}", server.log());
}

/// Connects through a gateway's route `/x` to a TLS upstream with a certificate for `names`.
/// Returns the status and the text for a client, and the Close frame for a page. `options` are
/// appended to the route's URL.
fn refused(authority: &Authority, names: &[&str], options: &str) -> (Response, String) {
    let upstream = Upstream::new();
    let route = format!("/x=tls://{}{options}", upstream.address());
    let issued = authority.issue(names);
    thread::spawn(move || {
        loop {
            issued.accept(upstream.accept());
        }
    });
    let server = Server::start(ECHOGATE, &["--route", &route]);
    let answer = ws::handshake(&server, "/x", &[]);
    let origin = format!("Origin: http://{}", server.address("http"));
    let mut page = RawWs::connect_with(&server, "/x", &[&origin, BROWSER]);
    let (code, reason) = page.read_close();
    assert_eq!(code, Some(1011));
    (answer, reason)
}

#[test]
fn an_upstream_is_verified_and_the_reason_of_a_failure_is_reported() {
    let (good, foreign) = (Authority::new(), Authority::new());
    let (ca, foreign) = (format!("?ca={}", good.ca()), format!("?ca={}", foreign.ca()));
    for (names, options, expected) in [
        (&["127.0.0.1"][..], foreign, "the upstream's certificate is not trusted: its issuer"),
        (&["127.0.0.1"], String::new(), "the upstream's certificate is not trusted: its issuer"),
        (&["127.0.0.2"], ca.clone(), "the upstream's certificate is not for 127.0.0.1"),
        (&["one.example"], ca.clone(), "the upstream's certificate is not for 127.0.0.1"),
        (
            &["one.example"],
            ca + "&server-name=two.example",
            "the upstream's certificate is not for two.example",
        ),
    ] {
        let (answer, reason) = refused(&good, names, &options);
        assert_eq!(answer.status, 502, "{answer:?}");
        assert!(answer.text().starts_with(expected), "{}", answer.text());
        assert!(reason.starts_with(expected), "{reason}");
    }
}

#[test]
fn a_trusted_upstream_is_bridged_under_the_name_that_was_given() {
    let authority = Authority::new();
    for (names, option, sent) in [
        (&["127.0.0.1"][..], "", None),
        (&["one.example"], "&server-name=one.example", Some("one.example")),
    ] {
        let issued = authority.issue(names);
        let upstream = Upstream::new();
        let route = format!("/x=tls://{}?ca={}{option}", upstream.address(), authority.ca());
        let server = Server::start(ECHOGATE, &["--route", &route]);
        let serving = upstream.serve(move |stream| {
            let (mut served, name) = issued.accept(stream);
            let received = read_to_end(&mut served);
            served.write_all(b"and goodbye").unwrap();
            finish(&mut served);
            (name, received)
        });
        let mut client = RawWs::connect(&server, "/x");
        client.send_frame(first::BINARY, b"hello");
        client.send(&ws::close(1000, ""));
        assert_eq!(client.read().payload, b"and goodbye", "half-close works by TLS");
        assert_eq!(client.read_close().0, Some(1000));
        let (name, received) = serving.join().unwrap();
        assert_eq!(name.as_deref(), sent);
        assert_eq!(received, b"hello");
    }
}

#[test]
fn without_a_ca_the_systems_roots_are_used() {
    let authority = Authority::new();
    let none = authority.file("none.pem");
    fs::write(&none, "").unwrap();
    for (roots, status) in [(authority.file("ca.pem"), 101), (none, 502)] {
        let issued = authority.issue(&["127.0.0.1"]);
        let upstream = Upstream::new();
        let mut command = Command::new(ECHOGATE);
        command.env("SSL_CERT_FILE", roots).env_remove("SSL_CERT_DIR");
        command.args(["serve", "--http", "127.0.0.1:0", "--route"]);
        command.arg(format!("/x=tls://{}", upstream.address()));
        let server = Server::spawn(command);
        thread::spawn(move || issued.accept(upstream.accept()));
        let answer = ws::handshake(&server, "/x", &[]);
        assert_eq!(answer.status, status, "{answer:?}");
        if status == 502 {
            assert!(answer.text().contains("no root certificates"), "{}", answer.text());
        }
    }
}

#[test]
fn an_upstream_that_does_not_speak_tls_is_reported_as_such() {
    for (says, expected) in [
        (&b"220 mail.example\r\n"[..], "the upstream does not speak TLS"),
        (b"", "the upstream ended the connection during the TLS handshake"),
    ] {
        let upstream = Upstream::new();
        let route = format!("/x=tls://{}", upstream.address());
        let server = Server::start(ECHOGATE, &["--route", &route]);
        let serving = upstream.serve(move |mut stream| {
            stream.write_all(says).unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_to_end(&mut Vec::new()).ok();
        });
        let answer = ws::handshake(&server, "/x", &[]);
        assert_eq!((answer.status, answer.text().trim_end()), (502, expected));
        serving.join().unwrap();
    }
    // A silent upstream has the same timeout as any other.
    let upstream = Upstream::new();
    let route = format!("/x=tls://{}", upstream.address());
    let server = Server::start(ECHOGATE, &["--route", &route, "--dial-timeout", "300ms"]);
    assert_eq!(ws::handshake(&server, "/x", &[]).status, 504);
}

#[test]
fn an_upstream_gets_the_proxy_header_before_tls_begins() {
    let authority = Authority::new();
    let issued = authority.issue(&["127.0.0.1"]);
    let upstream = Upstream::new();
    let route = format!("/x=tls://{}?ca={}&proxy=v1", upstream.address(), authority.ca());
    let server = Server::start(ECHOGATE, &["--route", &route]);
    let serving = upstream.serve(move |mut stream| {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(read_exactly(&mut stream, 1));
        }
        let (mut served, _) = issued.accept(stream);
        (line, read_exactly(&mut served, 5))
    });
    let mut client = RawWs::connect(&server, "/x");
    client.send_frame(first::BINARY, b"hello");
    let (line, payload) = serving.join().unwrap();
    let port = client.stream.local_addr().unwrap().port();
    let begin = format!("PROXY TCP4 127.0.0.1 127.0.0.1 {port} ");
    assert!(line.starts_with(begin.as_bytes()), "{}", line.escape_ascii());
    assert_eq!(payload, b"hello");
}

#[test]
fn an_upstream_that_is_cut_off_does_not_look_like_one_that_ended() {
    let authority = Authority::new();
    for (framing, ends_well) in
        [("bytes", true), ("bytes", false), ("line", false), ("message", false)]
    {
        let issued = authority.issue(&["127.0.0.1"]);
        let upstream = Upstream::new();
        let options = format!("ca={}&framing={framing}", authority.ca());
        let route = format!("/x=tls://{}?{options}", upstream.address());
        let server = Server::start(ECHOGATE, &["--route", &route]);
        let serving = upstream.serve(move |stream| {
            let (mut served, _) = issued.accept(stream);
            read_exactly(&mut served, 5);
            served.write_all(b"12345").unwrap();
            if ends_well {
                finish(&mut served);
            } else {
                served.sock.shutdown(Shutdown::Write).unwrap();
            }
            served.read_to_end(&mut Vec::new()).ok();
        });
        let mut client = RawWs::connect(&server, "/x");
        client.send_frame(first::BINARY, b"hello");
        let mut last = client.read();
        while last.first != first::CLOSE && framing != "line" {
            assert_eq!(last.payload, b"12345");
            last = client.read();
        }
        if framing == "line" {
            // The line has begun, and a Close frame cannot interrupt it.
            while !matches!(client.try_read(), Ok(None) | Err(_)) {}
            server.wait_for_log(&["the upstream was cut off: TCP ended before TLS did"]);
        } else if ends_well {
            assert_eq!(last.close(), (Some(1000), "the upstream ended the stream"));
        } else {
            let reason = "the upstream was cut off: TCP ended before TLS did (no close_notify)";
            assert_eq!(last.close(), (Some(1011), reason), "{framing}");
        }
        drop(client);
        serving.join().unwrap();
    }
}

#[test]
fn the_native_client_speaks_tls() {
    let (authority, server) = secure(&[]);
    let ca = authority.ca();
    let tls = server.url("echo");
    let output = call(&[tls, "--ca", &ca], b"hello");
    assert_eq!(output.stdout, b"hello", "{output:?}");
    assert_eq!(output.status.code(), Some(0));

    let sent = noise(10 << 20);
    let output = call(&[tls, "--ca", &ca], &sent);
    assert!(output.stdout == sent, "{} bytes: {:?}", output.stdout.len(), output.stderr);

    let wss = format!("wss://{}/ws", server.address("http"));
    let output = call(&[&wss, "--ca", &ca, "--binary"], &sent);
    assert!(output.stdout == sent.to_ascii_uppercase(), "{}", output.stdout.len());
    assert_eq!(output.status.code(), Some(0));

    let output = call(&[tls, "--ca", &ca, "--server-name", "localhost"], b"by name");
    assert_eq!(output.stdout, b"by name");
}

#[test]
fn the_native_client_says_in_one_line_why_it_does_not_trust_a_server() {
    let (authority, server) = secure(&[]);
    let (ca, foreign) = (authority.ca(), Authority::new().ca());
    let wss = format!("wss://{}/ws", server.address("http"));
    for url in [server.url("echo"), &wss] {
        let output = call(&[url], b"");
        let why = "the server's certificate is not trusted: its issuer is unknown (trust it with --ca FILE";
        assert_fails(&output, 1, &[url, why]);
        let output = call(&[url, "--ca", &ca, "--server-name", "other.example"], b"");
        assert_fails(&output, 1, &[url, "the server's certificate is not for other.example"]);
        // That authority's folder is deleted.
        assert_fails(&call(&[url, "--ca", &foreign], b""), 2, &[&foreign, "no such file"]);
        assert_fails(&call(&[url, "--server-name", "a b"], b""), 2, &["\"a b\" is not a name"]);
    }
    assert_fails(
        &call(&["--ca", "x", "tcp://127.0.0.1:7"], b""),
        2,
        &["--ca is valid with tls://"],
    );
    let silent = Upstream::new();
    let address = silent.address();
    let serving = silent.serve(|mut stream| stream.write_all(b"220 hello\r\n").unwrap());
    let line = format!("tls://{address}: the server does not speak TLS");
    assert_fails(&call(&[&format!("tls://{address}")], b""), 1, &[&line]);
    serving.join().unwrap();
}

#[test]
fn the_native_client_distinguishes_a_cut_off_stream_from_an_end() {
    let authority = Authority::new();
    for ends_well in [true, false] {
        let issued = authority.issue(&["127.0.0.1"]);
        let upstream = Upstream::new();
        let url = format!("tls://{}", upstream.address());
        let serving = upstream.serve(move |stream| {
            let (mut served, _) = issued.accept(stream);
            served.write_all(b"half of").unwrap();
            if ends_well {
                finish(&mut served);
            }
            served.sock.shutdown(Shutdown::Write).ok();
            served.read_to_end(&mut Vec::new()).ok();
        });
        let output = call(&[&url, "--ca", &authority.ca()], b"");
        assert_eq!(output.stdout, b"half of");
        if ends_well {
            assert_eq!(output.status.code(), Some(0), "{output:?}");
        } else {
            assert_fails(&output, 1, &[&url, "cut off: TCP ended before TLS did"]);
        }
        serving.join().unwrap();
    }
}

#[test]
fn a_load_runs_over_tls() {
    let (authority, server) = secure(&[]);
    let wss = format!("wss://{}/ws/echo", server.address("http"));
    for url in [server.url("echo"), &wss] {
        let output = Command::new(ECHOGATE)
            .args(["bench", url, "--ca", &authority.ca(), "--expect", "echo", "--json"])
            .args(["--connections", "4", "--size", "20000", "--in-flight", "8"])
            .args(["--warm-up", "0s", "--duration", "300ms"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{url}: {output:?}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["errors"], 0, "{report}");
    }
}

/// The error of a server that rejects these settings.
fn wrong(arguments: &[&str]) -> Output {
    Command::new("timeout")
        .args(["30", ECHOGATE, "--http", "127.0.0.1:0"])
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[test]
fn what_is_wrong_with_a_certificate_is_named_at_the_start_with_status_2() {
    let authority = Authority::new();
    let [one, two] = [(); 2].map(|()| authority.issue(&["127.0.0.1"]));
    authority.install(&one);
    let put = |name: &str, text: &str| {
        let path = authority.file(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (cert, key) = (put("good.pem", &one.pem()), put("good.key", &one.key_pem()));
    let other = put("other.key", &two.key_pem());
    let empty = put("empty.pem", "");
    let torn = put("torn.pem", &one.pem()[..100]);
    let junk =
        put("junk.pem", "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n");
    let nowhere = "/nowhere/at/all.pem";
    for (cert, key, parts) in [
        (&*cert, &*other, &[&*other, "not the private key of", &*cert][..]),
        (&empty, &key, &[&empty, "no certificate in it"]),
        (&cert, &empty, &[&empty, "no private key in it"]),
        (&cert, &cert, &[&cert, "no private key in it"]),
        (&key, &key, &[&key, "no certificate in it"]),
        (&torn, &key, &[&torn, "not PEM"]),
        (&junk, &key, &[&junk, "not a certificate"]),
        (nowhere, &key, &[nowhere, "no such file"]),
        (&cert, nowhere, &[nowhere, "no such file"]),
        (&cert, "/", &["/: ", "directory"]),
    ] {
        let output = wrong(&["--tls-cert", cert, "--tls-key", key]);
        assert_fails(&output, 2, parts);
        assert!(output.stdout.is_empty());
    }
    assert_fails(&wrong(&["--tls-cert", &cert]), 2, &["--tls-cert needs --tls-key"]);
    assert_fails(&wrong(&["--tls-key", &key]), 2, &["--tls-key needs --tls-cert"]);
    let listener = "upper=tls://127.0.0.1:0";
    assert_fails(&wrong(&["--listen", listener]), 2, &[listener, "needs tls-cert and tls-key"]);
    for (route, parts) in [
        ("/x=tls://h:1?ca=/nowhere/at/all.pem", &["--route", nowhere, "no such file"][..]),
        ("/x=tls://h:1?server-name=a..b", &["--route", "\"a..b\" is not a name"]),
    ] {
        assert_fails(&wrong(&["--route", route]), 2, parts);
    }
    let file = put("settings.toml", "drain = \"1s\"\ntls-cert = 1\n");
    assert_fails(&wrong(&["--config", &file]), 2, &[&format!("{file}:2: ")]);
}

#[test]
fn the_certificate_can_be_given_in_the_environment_and_in_a_file() {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let [_, cert, _, key] = authority.flags();
    let file = authority.file("settings.toml");
    fs::write(&file, format!("tls-cert = {cert:?}\ntls-key = {key:?}\n")).unwrap();
    let mut by_file = Command::new(ECHOGATE);
    by_file.arg("--config").arg(file);
    let mut by_environment = Command::new(ECHOGATE);
    by_environment.env("ECHOGATE_TLS_CERT", cert).env("ECHOGATE_TLS_KEY", key);
    for mut command in [by_file, by_environment] {
        command.args(["--http", "127.0.0.1:0", "--listen", "upper=tls://127.0.0.1:0"]);
        let server = Server::spawn(command);
        assert_eq!(get(&authority, &server, "/healthz").status, 200);
        let mut client = authority.connect(server.address("upper"));
        assert_eq!(round_trip(&mut client, b"hello"), b"HELLO");
    }
}

#[test]
fn openssl_and_curl_can_connect() {
    let (authority, server) = secure(&[]);
    let (ca, url) = (authority.ca(), server.url("http"));
    let s_client = |version: &str| {
        let address = server.address("echo");
        let options = "-quiet -no_ign_eof -verify_return_error";
        format!("openssl s_client {version} {options} -CAfile {ca} -connect {address} 2>/dev/null")
    };
    for (program, command, expected) in [
        ("curl", format!("curl -s --cacert {ca} {url}/healthz"), "ok\n"),
        ("openssl", format!("(printf hello; sleep 1) | {}", s_client("-tls1_3")), "hello"),
        ("openssl", format!("(printf hello; sleep 1) | {}", s_client("-tls1_2")), "hello"),
    ] {
        let run = |command: &str| Command::new("sh").args(["-c", command]).output().unwrap();
        if !run(&format!("command -v {program}")).status.success() {
            eprintln!("SKIPPED: no {program} on this machine");
            continue;
        }
        let output = run(&command);
        assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "$ {command}\n{output:?}");
    }
}

#[test]
fn a_client_that_cuts_tcp_off_harms_nobody() {
    let (authority, server) = secure(&[]);
    let mut client = authority.connect(server.address("echo"));
    assert_eq!(round_trip(&mut client, b"hello"), b"hello");
    client.sock.shutdown(Shutdown::Both).unwrap();
    server.wait_for_log(&["kind=tls", "cut off: TCP ended before TLS did"]);
    let stream = authority.connect(server.address("http"));
    let mut client = RawWs::over(stream, &server, "/ws/echo", &[]);
    client.exchange(b"hello");
    client.stream.sock.shutdown(Shutdown::Write).unwrap();
    server.wait_for_log(&["kind=websocket", "the client's connection failed (1006)"]);
    let end = client.stream.read(&mut [0; 10]);
    assert!(matches!(end, Ok(0)) || end.is_err_and(|e| e.kind() == ErrorKind::UnexpectedEof));
}

#[test]
fn plain_http_on_the_https_port_is_redirected_or_refused_with_the_url_over_tls() {
    let (authority, server) = secure(&[]);
    let address = server.address("http");
    let words = |scheme: &str, path: &str| {
        format!("this port speaks TLS: use {scheme}://{address}{path}\n")
    };
    let host = format!("Host: {address}");
    let mut stream = http::connect(address);
    for byte in format!("GET /x?y=z HTTP/1.1\r\n{host}\r\n\r\n").bytes() {
        stream.write_all(&[byte]).unwrap();
    }
    let response = Response::read(&mut stream).unwrap();
    assert_eq!((response.status, response.text()), (308, words("https", "/x?y=z")));
    assert_eq!(response.header("location"), Some(&*format!("https://{address}/x?y=z")));
    assert_eq!(response.header("cache-control"), Some("no-store"));
    assert_eq!(response.header("connection"), Some("close"));
    assert!(read_to_end(&mut stream).is_empty(), "the connection ends");
    server.wait_for_log(&["plain HTTP on the HTTPS port, answered with 308"]);
    let mut stream = http::connect(address);
    stream.write_all(format!("HEAD / HTTP/1.1\r\n{host}\r\n\r\n").as_bytes()).unwrap();
    let head = String::from_utf8(read_to_end(&mut stream)).unwrap();
    assert!(head.starts_with("HTTP/1.1 308 ") && head.ends_with("\r\n\r\n"), "{head}");
    // Without a Host there is no URL.
    for head in ["GET / HTTP/1.0\r\n\r\n".to_owned(), format!("GET {}", "/x".repeat(20_000))] {
        let mut stream = http::connect(address);
        stream.write_all(head.as_bytes()).unwrap();
        let response = Response::read(&mut stream).unwrap();
        assert_eq!(response.status, 400, "{head}");
        assert!(response.text().contains("use https:// or wss://"), "{}", response.text());
    }
    // The response arrives although the rest of the request is unread.
    let mut stream = http::connect(address);
    let head = format!("POST / HTTP/1.1\r\n{host}\r\nContent-Length: 100000\r\n\r\n");
    stream.write_all(&[head.as_bytes(), &noise(100_000)].concat()).unwrap();
    let response = Response::read(&mut stream).unwrap();
    assert_eq!((response.status, response.text()), (400, words("https", "/")));
    assert!(read_to_end(&mut stream).is_empty(), "and not by a reset");
    let response = ws::handshake(&server, "/ws", &[]);
    assert_eq!((response.status, response.text()), (400, words("wss", "/ws")));
    server.wait_for_nth_log(&["plain HTTP on the HTTPS port, answered with 400"], 2);
    // Bytes that are neither get a TLS alert, not HTTP.
    let mut stream = http::connect(address);
    stream.write_all(b"\x00\x01 what is this?").unwrap();
    assert!(!read_to_end(&mut stream).starts_with(b"HTTP"));
    assert_eq!(get(&authority, &server, "/healthz").status, 200);
}

#[test]
fn with_tls_only_plain_http_is_refused_to_browsers_too() {
    let (authority, server) = secure(&["--tls-only"]);
    let address = server.address("http");
    let response = http::get(address, "/x");
    let words = format!("this port speaks TLS: use https://{address}/x\n");
    assert_eq!((response.status, response.text()), (400, words));
    assert_eq!(response.header("location"), None);
    assert_eq!(get(&authority, &server, "/healthz").status, 200);
}

#[test]
fn curl_follows_the_redirection_to_https() {
    let Some([curl]) = programs(["curl"]) else { return };
    let (authority, server) = secure(&[]);
    let url = format!("http://{}/healthz", server.address("http"));
    let mut command = Command::new(curl);
    command.args(["--silent", "--location", "--cacert", &authority.ca(), &url]);
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "ok\n", "{output:?}");
}

#[test]
fn a_tls_client_on_a_plain_http_port_is_named_in_the_log() {
    let server = crate::server();
    // A ClientHello, or the beginning of one.
    let mut stream = http::connect(server.address("http"));
    stream.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").unwrap();
    let answer = read_to_end(&mut stream);
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", answer.escape_ascii());
    server.wait_for_log(&["INFO", "a TLS client on the plain HTTP port", "--tls-cert"]);
    assert_eq!(http::get(server.address("http"), "/healthz").status, 200);
}
