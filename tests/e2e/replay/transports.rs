//! `echogate replay --serve` over TLS, Unix sockets and datagrams, for clients of others.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream, UdpSocket},
    os::unix::net::{UnixDatagram, UnixStream},
    path::Path,
    process::{Command, Output, Stdio},
};

use echogate_proto::{
    api::Kind,
    recording::{DataKind, Event, Opened},
};
use echogate_tests::{program::programs, server::WAIT_TIMEOUT, tcp, tls::Authority};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{DOWN, Recording, UP, assert_status, hello, replay, serve::Mock};

/// A recording of a request that curl sends, and of its response.
fn request() -> Recording {
    Recording::new()
        .tcp(1)
        .bytes(1, UP, "GET /x HTTP/1.1\r\nHost: mock\r\n\r\n")
        .bytes(1, DOWN, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n")
        .bytes(1, DOWN, "Connection: close\r\n\r\nok")
        .add(1, Event::EndOfInput(DOWN))
}

/// Runs curl so that it sends this request.
fn curl(curl: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(curl);
    command.args(["-sS", "--max-time", "60", "--noproxy", "*"]);
    command.args(["-H", "Host: mock", "-H", "User-Agent:", "-H", "Accept:"]);
    command.args(arguments).output().unwrap()
}

fn datagrams() -> Recording {
    let opened = Opened { kind: Some(Kind::Udp), ..Opened::default() };
    let recording = Recording::new().add(1, Event::Opened(opened.into()));
    let parts = [(UP, "one"), (DOWN, "ONE"), (UP, "two"), (DOWN, "TWO"), (DOWN, "more")];
    parts.into_iter().fold(recording, |recording, (point, text)| {
        recording.data(1, point, DataKind::Datagram, None, text)
    })
}

/// A mock server with a certificate.
fn tls_mock(recording: &Recording, authority: &Authority, url: &str) -> Mock {
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| authority.file(name));
    let [cert, key] = [&cert, &key].map(|path| path.to_str().unwrap());
    Mock::start(recording, &[url, "--cert", cert, "--key", key])
}

#[track_caller]
fn assert_as_recorded(mock: Mock) {
    let (status, text) = mock.finish();
    assert!(status == Some(0) && text.ends_with("connection 1: as recorded\n"), "{text}");
}

#[test]
fn curl_gets_the_recorded_response_over_tls_and_over_a_unix_socket() {
    let Some([program]) = programs(["curl"]) else { return };
    let (recording, authority) = (request(), Authority::with_certificate(&["127.0.0.1"]));
    let mock = tls_mock(&recording, &authority, "tls://127.0.0.1:0");
    let url = format!("https://{}/x", mock.address());
    let output = curl(&program, &["--cacert", &authority.ca(), &url]);
    assert_eq!(output.stdout, b"ok", "{output:?}");
    assert_as_recorded(mock);

    let socket = recording.folder.path().join("mock.sock");
    let mock = Mock::start(&recording, &[&format!("unix://{}", socket.display())]);
    let output = curl(&program, &["--unix-socket", socket.to_str().unwrap(), "http://mock/x"]);
    assert_eq!(output.stdout, b"ok", "{output:?}");
    assert_as_recorded(mock);
    assert!(!socket.exists());
}

#[test]
fn clients_that_end_tls_with_and_without_close_notify_are_as_recorded() {
    let Some([openssl, ncat]) = programs(["openssl", "ncat"]) else { return };
    let (recording, authority) = (hello(), Authority::with_certificate(&["127.0.0.1"]));
    for has_close_notify in [true, false] {
        let mock = tls_mock(&recording, &authority, "tls://127.0.0.1:0");
        let (host, port) = mock.address().split_once(':').unwrap();
        let mut command = match has_close_notify {
            true => Command::new(&openssl),
            false => Command::new(&ncat),
        };
        match has_close_notify {
            true => command.args(["s_client", "-quiet", "-no_ign_eof", "-connect", mock.address()]),
            false => command.args(["--ssl", host, port]),
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut client = command.spawn().unwrap();
        let mut input = client.stdin.take().unwrap();
        input.write_all(b"hello").unwrap();
        let answer = tcp::read_exactly(client.stdout.as_mut().unwrap(), 5);
        assert_eq!(answer, b"HELLO");
        drop(input);
        client.wait().unwrap();
        assert_as_recorded(mock);
    }
}

#[test]
fn over_tls_a_reset_is_not_an_end() {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    for (recorded_reset, resets) in [(false, false), (false, true), (true, false), (true, true)] {
        let recording = Recording::new().tcp(1).bytes(1, UP, "hello").bytes(1, DOWN, "HELLO");
        let end = if recorded_reset { Event::Reset(UP) } else { Event::EndOfInput(UP) };
        let mock = tls_mock(&recording.add(1, end), &authority, "tls://127.0.0.1:0");
        let mut client = authority.connect(mock.address());
        assert_eq!(tcp::round_trip(&mut client, b"hello"), b"HELLO");
        if resets {
            tcp::reset(client.sock);
        } else {
            drop(client);
        }
        let (status, text) = mock.finish();
        let is_same = recorded_reset == resets;
        assert_eq!(status, Some(i32::from(!is_same)), "{recorded_reset} {resets}: {text}");
        assert_eq!(text.contains("the end:"), !is_same, "{text}");
    }
}

#[test]
fn a_client_that_only_sends_ends_tls_without_a_reset() {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let recording = Recording::new().tcp(1).bytes(1, UP, "hello").add(1, Event::EndOfInput(UP));
    let mock = tls_mock(&recording, &authority, "tls://127.0.0.1:0");
    authority.connect(mock.address()).write_all(b"hello").unwrap();
    assert_as_recorded(mock);
}

#[test]
fn a_client_whose_tls_handshake_fails_has_none_of_the_recorded_connections() {
    let (recording, authority) = (hello(), Authority::with_certificate(&["127.0.0.1"]));
    let mock = tls_mock(&recording, &authority, "tls://127.0.0.1:0");
    let mut plain = TcpStream::connect(mock.address()).unwrap();
    plain.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    plain.read_to_end(&mut Vec::new()).ok();
    let mut client = authority.connect(mock.address());
    assert_eq!(tcp::round_trip(&mut client, b"hello"), b"HELLO");
    echogate_tests::tls::finish(&mut client);
    assert_as_recorded(mock);
}

#[test]
fn the_clients_side_replays_against_the_servers_side_over_every_transport() {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let websocket = Recording::new().websocket(1).text(1, UP, "hello").text(1, DOWN, "HELLO");
    let websocket = websocket.close(1, DOWN, 1000, "").close(1, UP, 1000, "");
    let (stream, datagrams) = (hello(), datagrams());
    let in_folder = |scheme: &str| format!("{scheme}://{}/s", stream.folder.path().display());
    for (recording, url) in [
        (&stream, "tls://127.0.0.1:0".to_owned()),
        (&websocket, "wss://127.0.0.1:0".to_owned()),
        (&stream, in_folder("unix")),
        (&datagrams, "udp://127.0.0.1:0".to_owned()),
        (&datagrams, in_folder("unixgram")),
    ] {
        let has_tls = url.starts_with("tls") || url.starts_with("wss");
        let mock = match has_tls {
            true => tls_mock(recording, &authority, &url),
            false => Mock::start(recording, &[&url]),
        };
        let ca = authority.ca();
        let mut arguments = vec![&*mock.url, "--paced-by-peer", "--compare"];
        arguments.extend(["--ca", &ca].into_iter().filter(|_| has_tls));
        assert_status(&replay(recording, &arguments), 0);
        assert_as_recorded(mock);
    }
}

#[test]
fn a_unix_client_sees_the_half_close_that_was_recorded() {
    let recording = Recording::new()
        .tcp(1)
        .bytes(1, DOWN, "greeting")
        .add(1, Event::EndOfInput(DOWN))
        .bytes(1, UP, "thanks")
        .add(1, Event::EndOfInput(UP));
    let socket = recording.folder.path().join("mock.sock");
    let mock = Mock::start(&recording, &[&format!("unix://{}", socket.display())]);
    let mut client = UnixStream::connect(&socket).unwrap();
    assert_eq!(tcp::read_to_end(&mut client), b"greeting");
    client.write_all(b"thanks").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_as_recorded(mock);
}

#[test]
fn a_datagram_client_gets_the_recorded_datagrams_and_what_it_does_not_send_is_missing() {
    for sent in [&["one", "two"][..], &["one"]] {
        let mock = Mock::start(&datagrams(), &["udp://127.0.0.1:0"]);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        client.connect(mock.address()).unwrap();
        let receive = || {
            let mut buffer = [0; 100];
            let length = client.recv(&mut buffer).unwrap();
            String::from_utf8_lossy(&buffer[..length]).into_owned()
        };
        for text in sent {
            client.send(text.as_bytes()).unwrap();
            assert_eq!(receive(), text.to_uppercase());
        }
        if sent.len() == 2 {
            assert_eq!(receive(), "more");
            assert_as_recorded(mock);
            continue;
        }
        kill(Pid::from_raw(mock.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
        let (status, text) = mock.finish();
        assert_eq!(status, Some(1), "{text}");
        assert!(text.ends_with("  stopped: received 1 of 2 datagrams\n"), "{text}");
    }
}

#[test]
fn a_client_with_a_unix_datagram_socket_is_answered_at_its_path() {
    let recording = datagrams();
    let [server, client] = ["server", "client"].map(|name| recording.folder.path().join(name));
    let mock = Mock::start(&recording, &[&format!("unixgram://{}", server.display())]);
    let socket = UnixDatagram::bind(client).unwrap();
    socket.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    for (text, answers) in [("one", &["ONE"][..]), ("two", &["TWO", "more"])] {
        socket.send_to(text.as_bytes(), &server).unwrap();
        for answer in answers {
            let mut buffer = [0; 100];
            let length = socket.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], answer.as_bytes());
        }
    }
    assert_as_recorded(mock);
    assert!(!server.exists());
}

#[test]
fn a_client_without_an_address_has_none_in_the_recording() {
    let opened = Opened { kind: Some(Kind::UnixGram), ..Opened::default() };
    let recording = Recording::new().add(1, Event::Opened(opened.into()));
    let recording = recording.data(1, UP, DataKind::Datagram, None, "one");
    let [server, file] = ["server", "r.jsonl"].map(|name| recording.folder.path().join(name));
    let url = format!("unixgram://{}", server.display());
    let mock = Mock::start(&recording, &[&url, "--record", file.to_str().unwrap()]);
    UnixDatagram::unbound().unwrap().send_to(b"one", &server).unwrap();
    let (status, text) = mock.finish();
    assert_eq!((status, &*text), (Some(0), "a client: connection 1: as recorded\n"));
    let recorded = std::fs::read_to_string(file).unwrap();
    let opened: serde_json::Value = serde_json::from_str(recorded.lines().next().unwrap()).unwrap();
    assert_eq!((&opened["target"], &opened["peer"]), (&url.into(), &serde_json::Value::Null));
}

#[test]
fn a_client_without_an_address_cannot_be_answered() {
    let opened = Opened { kind: Some(Kind::UnixGram), ..Opened::default() };
    let recording = Recording::new().add(1, Event::Opened(opened.into()));
    let recording = recording.data(1, UP, DataKind::Datagram, None, "one");
    let recording = recording.data(1, DOWN, DataKind::Datagram, None, "two");
    let server = recording.folder.path().join("server");
    let mock = Mock::start(&recording, &[&format!("unixgram://{}", server.display())]);
    UnixDatagram::unbound().unwrap().send_to(b"one", &server).unwrap();
    let (status, text) = mock.finish();
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("the peer has no address to send to"), "{text}");
}
