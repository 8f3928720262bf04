//! Every other setting: a change affects connections and requests that begin afterwards.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream},
    thread,
};

use echogate_tests::{
    http::{self, connect},
    tcp::{read_exactly, read_to_end, round_trip},
    tls::Authority,
    upstream::Upstream,
    ws::{BROWSER, RawWs, first, handshake},
};

use super::{Reloaded, http_and, listener, replies_in_upper_case, route};
use crate::{ECHOGATE, tap::Observer};

const UPPER: &str = "[[listener]]\nservice = \"upper\"\nurl = \"tcp://127.0.0.1:0\"\n";

#[test]
fn changed_origin_and_host_rules_apply_to_new_connections() {
    let reloaded = Reloaded::new(&http_and(UPPER));
    let server = &reloaded.server;
    let friend = ["Origin: https://friend.example", BROWSER];
    let refused = |origin: &[&str]| {
        let mut client = RawWs::connect_with(server, "/ws", origin);
        client.send_frame(first::TEXT, b"hello");
        client.read().first == first::CLOSE
    };
    assert!(refused(&friend));
    reloaded.accept(&http_and(&format!("allow-origin = [\"https://friend.example\"]\n{UPPER}")));
    let mut before = RawWs::connect_with(server, "/ws", &friend);
    assert!(replies_in_upper_case(&mut before));
    reloaded.accept(&http_and(&format!("allow-host = [\"gate.example\"]\n{UPPER}")));
    assert!(refused(&friend));
    assert!(replies_in_upper_case(&mut before), "who was let in stays");
    let head = ["GET /version HTTP/1.1", "Host: gate.example"];
    let mut client = connect(server.address("http"));
    assert_eq!(http::exchange(&mut client, &head).status, 200);
    reloaded.accept(&http_and(UPPER));
    assert_eq!(http::exchange(&mut client, &head).status, 403, "a request of its own");
}

#[test]
fn changed_trusted_proxies_apply_to_new_connections() {
    let reloaded = Reloaded::new(&http_and(UPPER));
    let server = &reloaded.server;
    let header = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n";
    let mut plain = connect(server.address("upper"));
    assert_eq!(round_trip(&mut plain, b"hello"), b"HELLO");
    reloaded.accept(&http_and(&format!(
        "proxy-protocol-from = [\"127.0.0.1/32\"]\nforwarded-from = [\"192.0.2.0/24\"]\n{UPPER}\
         [[route]]\npath = \"/up\"\nurl = \"service:upper\"\n"
    )));
    let mut client = connect(server.address("upper"));
    client.write_all(header).unwrap();
    assert_eq!(round_trip(&mut client, b"hello"), b"HELLO");
    let mut stream = connect(server.address("http"));
    stream.write_all(header).unwrap();
    let mut ws = RawWs::over(stream, server, "/up", &["X-Forwarded-For: 203.0.113.9"]);
    assert!(replies_in_upper_case(&mut ws));
    let mut asking = connect(server.address("http"));
    asking.write_all(header).unwrap();
    let host = format!("Host: {}", server.address("http"));
    let received = http::exchange(&mut asking, &["GET /api/connections HTTP/1.1", &host]).text();
    for peer in [&plain.local_addr().unwrap().to_string(), "192.0.2.7:50000", "203.0.113.9:"] {
        assert!(received.contains(peer), "{peer}: {received}");
    }
    // A proxy that has sent nothing before its listener is removed may send its header afterwards.
    let mut late = connect(server.address("upper"));
    reloaded.accept(&http_and(&route("/up", "service:upper")));
    assert!(TcpStream::connect(server.address("upper")).is_err());
    late.write_all(header).unwrap();
    assert_eq!(round_trip(&mut late, b"hello"), b"HELLO");
    assert_eq!(round_trip(&mut client, b"hello"), b"HELLO");
    RawWs::connect(server, "/up");
}

#[test]
fn changed_sizes_and_timeouts_apply_to_new_connections() {
    let upper = listener("upper", "tcp://127.0.0.1:0") + &route("/ws", "service:upper");
    let reloaded = Reloaded::new(&http_and(&upper));
    let server = &reloaded.server;
    let mut before = RawWs::connect(server, "/ws");
    let mut idle_before = connect(server.address("upper"));
    assert_eq!(round_trip(&mut idle_before, b"hello"), b"HELLO");
    reloaded.accept(&http_and(&format!("max-message = 10\n{upper}")));
    let mut after = RawWs::connect(server, "/ws");
    for client in [&mut before, &mut after] {
        client.send_frame(first::BINARY, b"eleven bytes");
    }
    assert_eq!(after.read_close().0, Some(1009));
    assert_eq!(before.read().payload, b"ELEVEN BYTES");
    let times = "idle-timeout = \"200ms\"\nheader-timeout = \"200ms\"";
    reloaded.accept(&http_and(&format!("{times}\n{upper}")));
    let mut idle = connect(server.address("upper"));
    assert!(read_to_end(&mut idle).is_empty(), "it ends by itself");
    let mut silent = connect(server.address("http"));
    assert!(read_to_end(&mut silent).is_empty(), "and so does this");
    assert!(replies_in_upper_case(&mut before), "and who came before does not");
    assert_eq!(round_trip(&mut idle_before, b"hello"), b"HELLO");
}

#[test]
fn changed_service_settings_and_web_roots_apply_to_new_connections() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("index.html"), "another page").unwrap();
    let time = listener("time", "tcp://127.0.0.1:0");
    let reloaded = Reloaded::new(&http_and(&format!("timezone = \"UTC\"\n{time}")));
    let server = &reloaded.server;
    let read_time = |client: &mut TcpStream| {
        client.write_all(b"0\n").unwrap();
        read_exactly(client, 20)
    };
    let mut before = connect(server.address("time"));
    assert_eq!(read_time(&mut before), b"1970-01-01 00:00:00\n");
    assert_ne!(http::get(server.address("http"), "/").text(), "another page");
    let root = format!("web-root = \"{}\"", dir.path().display());
    reloaded.accept(&http_and(&format!("timezone = \"Europe/Berlin\"\n{root}\n{time}")));
    assert_eq!(read_time(&mut connect(server.address("time"))), b"1970-01-01 01:00:00\n");
    assert_eq!(read_time(&mut before), b"1970-01-01 00:00:00\n");
    assert_eq!(http::get(server.address("http"), "/").text(), "another page");
}

/// Whether an operator with this token is accepted.
fn is_token_accepted(reloaded: &Reloaded, token: &str) -> bool {
    let mut operator = RawWs::connect(&reloaded.server, "/ws/operator");
    let line = format!("{{\"type\":\"token\",\"token\":\"{token}\"}}");
    operator.send_frame(first::TEXT, line.as_bytes());
    String::from_utf8(operator.read().payload).unwrap().contains("welcome")
}

#[test]
fn a_changed_operator_token_applies_to_new_operators() {
    let made_here = Reloaded::new(&http_and(UPPER));
    let made = made_here.server.printed("operator   token ").unwrap();
    made_here.sighup();
    assert!(is_token_accepted(&made_here, &made), "a token that was made stays");

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let settings = http_and(&format!("operator-token-file = \"{}\"\n{UPPER}", file.display()));
    fs::write(&file, "correct-horse-battery-staple").unwrap();
    let reloaded = Reloaded::new(&settings);
    let mut operator = RawWs::connect(&reloaded.server, "/ws/operator");
    operator.send_frame(first::TEXT, br#"{"type":"token","token":"correct-horse-battery-staple"}"#);
    operator.read();
    fs::write(&file, "another-horse-and-its-battery").unwrap();
    assert!(is_token_accepted(&reloaded, "correct-horse-battery-staple"), "not before SIGHUP");
    reloaded.sighup();
    assert!(!is_token_accepted(&reloaded, "correct-horse-battery-staple"));
    assert!(is_token_accepted(&reloaded, "another-horse-and-its-battery"));
    operator.send_frame(first::TEXT, br#"{"type":"say","conversation":9,"text":"hello"}"#);
    let answer = String::from_utf8(operator.read().payload).unwrap();
    assert!(answer.contains("conversation 9 does not exist"), "who is known stays: {answer}");
    // Without a file a token is generated, as at the start.
    reloaded.accept(&http_and(UPPER));
    assert!(!is_token_accepted(&reloaded, "another-horse-and-its-battery"));
}

#[test]
fn the_drain_timeout_is_that_of_the_last_reload() {
    let upstream = Upstream::new();
    let to = route("/x", &format!("tcp://{}", upstream.address()));
    let mut reloaded = Reloaded::new(&http_and(&format!("drain = \"1h\"\n{to}")));
    let _client = RawWs::connect(&reloaded.server, "/x");
    let _stream = upstream.accept();
    reloaded.accept(&http_and(&format!("drain = \"300ms\"\n{to}")));
    reloaded.server.signal("TERM");
    // Neither side of the connection ends.
    reloaded.server.wait_for_log(&["1 connection did not end within 300ms (--drain), cut off"]);
    assert_eq!(reloaded.server.wait().code(), Some(0));
}

#[test]
fn flags_still_take_precedence_over_the_file() {
    let reloaded = Reloaded::with(&http_and("drain = \"1h\""), |command| {
        command.args(["--listen", "upper=tcp://127.0.0.1:0"]);
        command.env("ECHOGATE_ALLOW_HOST", "gate.example");
    });
    let upper = reloaded.server.address("upper").to_owned();
    reloaded.accept(&http_and(
        "allow-host = [\"other.example\"]\n[[listener]]\nservice = \"echo\"\nurl = \"tcp://127.0.0.1:0\"",
    ));
    assert_eq!(reloaded.listener_url("upper"), upper);
    assert_eq!(round_trip(&mut connect(&upper), b"hello"), b"HELLO");
    let status = |host: &str| {
        let head = ["GET /version HTTP/1.1", &format!("Host: {host}")];
        http::exchange(&mut connect(reloaded.server.address("http")), &head).status
    };
    assert_eq!([status("gate.example"), status("other.example")], [200, 403]);
}

#[test]
fn a_file_that_a_flag_names_is_read_again_too() {
    let (one, two) = (Authority::new(), Authority::new());
    let upstream = Upstream::new();
    let issued = two.issue(&["127.0.0.1"]);
    let to = format!("/x=tls://{}?ca={}", upstream.address(), one.ca());
    thread::spawn(move || {
        loop {
            issued.accept(upstream.accept());
        }
    });
    let reloaded = Reloaded::with("http = [\"127.0.0.1:0\"]", |command| {
        command.args(["--route", &to]);
    });
    assert_eq!(handshake(&reloaded.server, "/x", &[]).status, 502);
    fs::copy(two.ca(), one.ca()).unwrap();
    reloaded.sighup();
    assert_eq!(handshake(&reloaded.server, "/x", &[]).status, 101);
    fs::write(one.ca(), "nonsense").unwrap();
    let printed = reloaded.sighup();
    assert!(
        printed.contains("configuration unchanged: ") && printed.contains("ca.pem: "),
        "{printed}"
    );
    assert_eq!(handshake(&reloaded.server, "/x", &[]).status, 101);
}

#[test]
fn a_gateway_reads_its_file_again_too() {
    let upstream = Upstream::new();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("echogate.toml");
    fs::write(&file, "").unwrap();
    let mut command = std::process::Command::new(ECHOGATE);
    command.args(["gateway", "127.0.0.1:0", &upstream.address(), "--config"]).arg(&file);
    let server = echogate_tests::server::Server::spawn(command);
    let reloaded = Reloaded { server, dir };
    let page = reloaded.server.address("http").to_owned();
    let mut before = RawWs::connect(&reloaded.server, "/");
    let mut stream = upstream.accept();
    let friend = ["Origin: https://friend.example"];
    reloaded.accept("allow-origin = [\"*\"]\n");
    assert_eq!(handshake(&reloaded.server, "/websockify", &friend).status, 101);
    before.send_frame(first::BINARY, b"hello");
    assert_eq!(read_exactly(&mut stream, 5), b"hello");
    let printed = reloaded.reject("http = [\"127.0.0.1:0\"]\nfrob = 1\n");
    assert!(printed.contains("frob"), "{printed}");
    page.parse::<SocketAddr>().unwrap();
    assert_eq!(http::get(&page, "/healthz").status, 200);
}

#[test]
fn a_changed_no_tap_applies_to_new_taps() {
    let reloaded = Reloaded::new(&http_and(UPPER));
    let mut client = connect(reloaded.server.address("upper"));
    let mut observer = Observer::of(&reloaded.server, "upper");
    observer.opened();
    reloaded.accept(&http_and(&format!("no-tap = true\n{UPPER}")));
    let path = "/api/connections/1/tap";
    assert_eq!(http::get(reloaded.server.address("http"), path).status, 403);
    client.write_all(b"hello").unwrap();
    assert_eq!(observer.lines(1), ["client > bytes hello"], "an open tap stays");
    let mut new = connect(reloaded.server.address("upper"));
    assert_eq!(round_trip(&mut new, b"unseen"), b"UNSEEN");
    reloaded.accept(&http_and(UPPER));
    let id = reloaded.server.connections()[1]["id"].as_u64().unwrap();
    let mut late = Observer::new(&reloaded.server, id, "both");
    assert_eq!(late.opened().bytes_before, 12, "there was no history");
}
