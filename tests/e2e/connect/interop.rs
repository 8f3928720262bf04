//! Responses of other WebSocket servers, and URLs of all forms.

use std::{
    ffi::OsStr,
    io::{Read, Write},
    os::unix::{ffi::OsStrExt, net::UnixListener},
    process::Command,
    thread,
};

use echogate_tests::http::read_head;
use echogate_tests::tls::{Authority, finish as finish_tls};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{assert_fails, assert_prints, connect, finish, run, serve};
use crate::ECHOGATE;

/// Starts a server that answers a handshake with `head`, in which `KEY` stands for the correct
/// `Sec-WebSocket-Accept`, and then sends `frames`; returns its `HOST:PORT`.
pub(super) fn serve_101(head: String, frames: Vec<u8>) -> String {
    serve(move |mut stream| {
        let request = read_head(&mut stream).unwrap();
        let head = answer(&request, &head);
        stream.write_all(&[head.as_bytes(), &frames].concat()).unwrap();
        stream.read_to_end(&mut Vec::new()).ok();
    })
}

/// The response to `request`: `head` with `KEY` replaced by the correct `Sec-WebSocket-Accept`.
pub(super) fn answer(request: &str, head: &str) -> String {
    let key = request.split("Sec-WebSocket-Key: ").nth(1).unwrap().lines().next().unwrap();
    head.replace("KEY", &derive_accept_key(key.as_bytes()))
}

/// The head of a valid response without its last line.
pub(super) const HEAD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\
                    Connection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n";

/// A text message `hello` and a Close frame.
pub(super) const HELLO: &[u8] = b"\x81\x05hello\x88\x02\x03\xe8";

#[test]
fn a_101_is_taken_in_every_form_that_the_rfcs_allow() {
    let lists = ["keep-alive, Upgrade", "Upgrade, close", "keep-alive\r\nConnection: upgrade"];
    let mut heads: Vec<String> =
        lists.map(|list| HEAD.replace(": Upgrade", &format!(": {list}"))).into();
    for interim in ["100 Continue", "103 Early Hints\r\nLink: </style.css>"] {
        heads.push(format!("HTTP/1.1 {interim}\r\n\r\n{HEAD}"));
    }
    for head in heads {
        let url = format!("ws://{}/", serve_101(head + "\r\n", HELLO.to_vec()));
        assert_prints(&finish(connect(&[&url])), b"hello\n");
    }
}

#[test]
fn what_was_not_offered_is_named() {
    for (header, what) in [
        ("Sec-WebSocket-Extensions: permessage-deflate", "extension \"permessage-deflate\""),
        ("Sec-WebSocket-Protocol: mqtt", "subprotocol \"mqtt\""),
    ] {
        let url = format!("ws://{}/", serve_101(format!("{HEAD}{header}\r\n\r\n"), Vec::new()));
        let line = format!("{url}: the server selected the {what}, which was not offered");
        assert_fails(&run(&[&url], b""), 1, &line);
    }
}

#[test]
fn an_invalid_close_code_is_reported_as_it_was_sent() {
    for code in [999, 1004, 1005, 1006, 1015, 2999] {
        let close = [&[0x88, 2][..], &u16::to_be_bytes(code)].concat();
        let url = format!("ws://{}/", serve_101(format!("{HEAD}\r\n"), close));
        let line = format!("{url}: the server sent close code {code}, which must not be sent");
        assert_fails(&finish(connect(&[&url])), 1, &line);
    }
}

#[test]
fn bench_accepts_the_same_servers_and_reports_the_same_codes() {
    let head = HEAD.replace(": Upgrade", ": keep-alive, Upgrade");
    let head = format!("HTTP/1.1 103 Early Hints\r\n\r\n{head}\r\n");
    let url = format!("ws://{}/", serve_101(head, b"\x88\x02\x03\xee".to_vec()));
    let mut bench = Command::new(ECHOGATE);
    bench.args(["bench", &url, "--connections=1", "--duration=1h"]);
    let output = bench.output().unwrap();
    let words = "connection 1: the server sent close code 1006, which must not be sent";
    assert_fails(&output, 1, &format!("{url}: {words}"));
}

#[test]
fn a_server_that_speaks_tls_is_named_as_such() {
    let address = serve(|mut stream| {
        read_head(&mut stream).unwrap();
        stream.write_all(b"\x15\x03\x03\x00\x02\x02\x46").unwrap();
    });
    let url = format!("ws://{address}/");
    let line = format!("{url}: the response is TLS, not HTTP: use wss:// instead of ws://");
    assert_fails(&run(&[&url], b""), 1, &line);
}

#[test]
fn urls_are_requested_as_browsers_do() {
    for (url, target, header) in [
        ("WS://HOST/", "/", ""),
        ("ws://HOST/chât/ä b", "/ch%C3%A2t/%C3%A4%20b", ""),
        ("ws://HOST?q=世&f={\"a\":1}", "/?q=%E4%B8%96&f={%22a%22:1}", ""),
        ("ws://us%65r:pä:ss@HOST/", "/", "Authorization: Basic dXNlcjpww6Q6c3M="),
        ("ws://token@HOST/", "/", "Authorization: Basic dG9rZW46"),
    ] {
        let (sender, requests) = std::sync::mpsc::channel();
        let address = serve(move |mut stream| {
            sender.send(read_head(&mut stream).unwrap()).unwrap();
            stream.write_all(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n").unwrap();
        });
        let output = run(&[&url.replace("HOST", &address)], b"");
        let request = requests.recv().unwrap();
        assert!(request.starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{url}: {request}");
        assert!(request.contains(&format!("\r\nHost: {address}\r\n")), "{url}: {request}");
        assert!(request.contains(header), "{url}: {request}");
        // Credentials before the `@` are sent to the server only.
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.starts_with(&format!("echogate: ws://{address}/")), "{stderr}");
        assert!(stderr.ends_with(": the server responded 401 Unauthorized\n"), "{stderr}");
    }
}

#[test]
fn what_no_url_can_mean_is_named() {
    for (url, complaint) in [
        ("tcp://user:pass@127.0.0.1:1", "a user name is possible with ws:// and wss:// only"),
        ("ws://127.0.0.1:1/#a", "a WebSocket URL has no fragment: encode # as %23"),
        ("unix:///a%zz", "bad percent-encoding in \"/a%zz\""),
        ("tcp://[::g]:1", "bad host \"[::g]:1\""),
    ] {
        let output = run(&[url], b"");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(complaint), "{url}: {stderr}");
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{url}");
    }
}

#[test]
fn an_ipv6_zone_is_part_of_the_address_and_of_no_host_header() {
    let Ok(listener) = std::net::TcpListener::bind("[::1]:0") else { return };
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for _ in 0..2 {
            let (mut stream, _) = listener.accept().unwrap();
            let head = read_head(&mut stream).unwrap();
            let host = head.lines().find(|line| line.starts_with("Host: ")).unwrap();
            let answer =
                format!("HTTP/1.1 400 Bad\r\nContent-Length: {}\r\n\r\n{host}", host.len());
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    for zone in ["%251", "%1"] {
        let output = run(&[&format!("ws://[::1{zone}]:{port}/")], b"");
        let words = format!("the server responded 400 Bad: Host: [::1]:{port}\n");
        assert!(String::from_utf8_lossy(&output.stderr).ends_with(&words), "{output:?}");
    }
}

#[test]
fn a_unix_socket_may_have_any_bytes_in_its_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(OsStr::from_bytes(b"a b%,?\xff"));
    let listener = UnixListener::bind(&path).unwrap();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            super::upper(stream);
        }
    });
    let folder = folder.path().display();
    for name in ["a b%25%2C%3F%FF", "a%20b%25,%3f%ff"] {
        assert_prints(&run(&[&format!("unix://{folder}/{name}")], b"hello"), b"HELLO");
    }
}

#[test]
fn with_insecure_any_certificate_is_taken_and_it_is_said() {
    let authority = Authority::new();
    let issued = authority.issue(&["other.example"]);
    let address = serve(move |stream| {
        let (mut served, _) = issued.accept(stream);
        let mut received = [0; 5];
        served.read_exact(&mut received).unwrap();
        served.write_all(&received.to_ascii_uppercase()).unwrap();
        finish_tls(&mut served);
    });
    let output = run(&[&format!("tls://{address}"), "-k"], b"hello");
    let warning = "echogate: warning: the server's certificate is not verified (--insecure)\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), warning);
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"HELLO"[..]));
    let output = run(&["tcp://127.0.0.1:1", "--insecure"], b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("--insecure is valid with tls:// and wss:// only"), "{stderr}");
}
