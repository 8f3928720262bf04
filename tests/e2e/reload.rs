//! SIGHUP: the settings are read again, and no connection notices.
//!
//! - `listeners`: sockets that come, go, stay, and change what they are for
//! - `routes`: WebSocket paths, and how they are bridged
//! - `limits`: limits that are lowered and raised, with connections that live
//! - `others`: every other setting
//! - `wrong`: settings that are wrong, and sockets that cannot be bound

mod limits;
mod listeners;
mod others;
mod routes;
mod wrong;

use std::{
    fs,
    io::Write,
    net::TcpStream,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use echogate_tests::{
    http::{self, connect},
    program::free_port,
    server::{PATIENCE, Server},
    tcp::read_exactly,
    tls::answers,
    ws::{RawWs, first},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::ECHOGATE;

/// What the log says at the end of each reading, good or bad.
const READ: &str = "SIGHUP: the settings";

/// A server whose settings are in a file, which a test changes.
struct Reloaded {
    server: Server,
    dir: TempDir,
}

impl Reloaded {
    fn new(settings: &str) -> Reloaded {
        Reloaded::with(settings, |_| {})
    }

    /// With more in its command.
    fn with(settings: &str, more: impl FnOnce(&mut Command)) -> Reloaded {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("echogate.toml");
        fs::write(&file, settings).unwrap();
        let mut command = Command::new(ECHOGATE);
        command.arg("serve").arg("--config").arg(&file);
        more(&mut command);
        Reloaded { server: Server::spawn(command), dir }
    }

    /// A file in a folder of its own.
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Changes the settings, has them read, and says what the log says of that.
    fn read(&self, settings: &str) -> String {
        self.write(settings);
        self.hangup()
    }

    /// Changes the settings, which are read whole at any moment.
    fn write(&self, settings: &str) {
        fs::write(self.file("new"), settings).unwrap();
        fs::rename(self.file("new"), self.file("echogate.toml")).unwrap();
    }

    /// Has the settings read as they are.
    fn hangup(&self) -> String {
        let before = self.server.log().iter().filter(|line| line.contains(READ)).count();
        self.server.signal("HUP");
        self.server.wait_for_log_again(&[READ], before)
    }

    /// Has these settings taken.
    fn take(&self, settings: &str) {
        let said = self.read(settings);
        assert!(said.contains("SIGHUP: the settings are read again"), "{said}");
    }

    /// Has these settings turned down, and says why they were.
    fn refuse(&self, settings: &str) -> String {
        let said = self.read(settings);
        assert!(said.contains("WARN"), "{said}");
        let why = said.split_once("SIGHUP: the settings stay as they were: ");
        why.unwrap_or_else(|| panic!("{said}")).1.to_owned()
    }

    /// What `/api/endpoints` tells.
    fn endpoints(&self) -> Value {
        let response = http::get(self.server.address("http"), "/api/endpoints");
        serde_json::from_slice(&response.body).unwrap()
    }

    /// The first listener of a service, as it is told now.
    fn now(&self, service: &str) -> String {
        let endpoints = self.endpoints();
        let listeners = endpoints["listeners"].as_array().unwrap();
        let found = listeners.iter().find(|listener| listener["service"] == service);
        let url = found.unwrap_or_else(|| panic!("no {service}: {endpoints}"))["url"].as_str();
        url.unwrap().split_once("://").unwrap().1.to_owned()
    }
}

/// Settings: HTTP on a free port, and these lines.
fn http_and(more: &str) -> String {
    format!("http = [\"127.0.0.1:0\"]\n{more}\n")
}

fn listener(service: &str, url: &str) -> String {
    format!("[[listener]]\nservice = \"{service}\"\nurl = \"{url}\"\n")
}

fn route(path: &str, url: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nurl = \"{url}\"\n")
}

/// Whether a WebSocket client's words come back in capitals.
fn uppers(client: &mut RawWs) -> bool {
    client.send_frame(first::TEXT, b"still here");
    client.read().payload == b"STILL HERE"
}

/// What a WebSocket handshake on `path` is answered with.
fn handshake(server: &Server, path: &str, more: &[&str]) -> http::Response {
    let mut stream = connect(server.address("http"));
    echogate_tests::ws::handshake(&mut stream, server, path, more)
}

fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

/// Waits until nothing listens at `address` any more.
fn wait_until_closed(address: &str) {
    let start = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(start.elapsed() < PATIENCE, "{address} still takes connections");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn connections_of_all_kinds_outlive_the_listeners_and_routes_they_came_by() {
    let chat = "operator-token-file = \"TOKEN\"\n";
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "correct-horse-battery-staple\n").unwrap();
    let head = http_and(&chat.replace("TOKEN", token.to_str().unwrap()));
    let socket = dir.path().join("upper.sock");
    let before = [
        head.clone(),
        listener("upper", "tcp://127.0.0.1:0"),
        listener("chat", "tcp://127.0.0.1:0"),
        listener("upper", &format!("unix://{}", socket.display())),
        route("/upper", "service:upper"),
        route("/operator", "service:operator"),
    ];
    let mut reloaded = Reloaded::new(&before.concat());
    let server = &reloaded.server;
    let mut tcp = connect(server.address("upper"));
    let mut unix = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    let mut ws = RawWs::connect(server, "/upper");
    let mut client = connect(server.address("chat"));
    let mut operator = RawWs::connect(server, "/operator");
    operator.send_frame(first::TEXT, br#"{"type":"token","token":"correct-horse-battery-staple"}"#);
    let welcome = String::from_utf8(operator.read().payload).unwrap();
    assert!(welcome.contains("welcome"), "{welcome}");
    client.write_all(b"is anybody there?\n").unwrap();
    let mut events = connect(server.address("http"));
    let host = format!("Host: {}", server.address("http"));
    http::exchange(&mut events, &["GET /healthz HTTP/1.1", &host]);
    while !String::from_utf8(operator.read().payload).unwrap().contains("is anybody there?") {}
    assert!(answers(&mut tcp, b"before", b"BEFORE"));
    assert!(answers(&mut unix, b"before", b"BEFORE"));

    reloaded.take(&[head, route("/other", "service:echo")].concat());
    let server = &reloaded.server;
    for gone in ["upper", "chat"] {
        wait_until_closed(server.address(gone));
    }
    assert_eq!(handshake(server, "/upper", &[]).status, 404);
    assert!(!socket.exists(), "its file is removed");
    assert!(answers(&mut tcp, b"after", b"AFTER"));
    assert!(answers(&mut unix, b"after", b"AFTER"));
    assert!(uppers(&mut ws));
    // Both ends of a conversation are where they were.
    operator.send_frame(first::TEXT, br#"{"type":"say","conversation":1,"text":"we are"}"#);
    assert_eq!(read_exactly(&mut client, 7), b"we are\n");
    assert_eq!(http::exchange(&mut events, &["GET /healthz HTTP/1.1", &host]).status, 200);
    let live = server.connections();
    let mut targets: Vec<_> = live.iter().map(|one| one["target"].as_str().unwrap()).collect();
    targets.sort_unstable();
    assert_eq!(targets, ["/operator", "/upper", "chat", "upper", "upper"]);

    // And they are told of the end as all others are.
    reloaded.server.signal("TERM");
    assert_eq!(ws.read().close().0, Some(1001));
    ws.send(&echogate_tests::ws::close(1001, ""));
    assert!(echogate_tests::tcp::read_to_end(&mut tcp).is_empty());
    assert!(echogate_tests::tcp::read_to_end(&mut unix).is_empty());
    while operator.read().first != first::CLOSE {}
    operator.send(&echogate_tests::ws::close(1001, ""));
    drop((tcp, unix, client));
    assert_eq!(reloaded.server.wait().code(), Some(0));
    let log = reloaded.server.log();
    assert!(!log.iter().any(|line| line.contains("did not end within")), "{log:#?}");
}

#[test]
fn sighups_in_a_row_and_during_the_drain_do_no_harm() {
    let settings = http_and(&listener("upper", "tcp://127.0.0.1:0"));
    let mut reloaded = Reloaded::new(&(settings.clone() + &route("/ws", "service:upper")));
    let mut client = connect(reloaded.server.address("upper"));
    let mut ws = RawWs::connect(&reloaded.server, "/ws");
    for round in 0..30 {
        let path = if round % 2 == 0 { "/even" } else { "/odd" };
        reloaded.write(&(settings.clone() + &route(path, "service:upper")));
        reloaded.server.signal("HUP");
        if round % 10 == 0 {
            assert!(answers(&mut client, b"still here", b"STILL HERE"));
        }
    }
    reloaded.hangup();
    // Those before may have been under way.
    reloaded.hangup();
    assert_eq!(handshake(&reloaded.server, "/odd", &[]).status, 101);
    assert_eq!(handshake(&reloaded.server, "/even", &[]).status, 404);
    assert!(answers(&mut client, b"still here", b"STILL HERE"));
    assert!(uppers(&mut ws));

    reloaded.server.signal("TERM");
    reloaded.server.wait_for_log(&["ending"]);
    reloaded.server.signal("HUP");
    assert_eq!(ws.read().close().0, Some(1001));
    reloaded.server.signal("HUP");
    ws.send(&echogate_tests::ws::close(1001, ""));
    assert!(echogate_tests::tcp::read_to_end(&mut client).is_empty());
    drop(client);
    assert_eq!(reloaded.server.wait().code(), Some(0));
}

#[test]
fn what_came_and_went_is_logged_and_nothing_else() {
    let kept = http_and(&listener("upper", "tcp://127.0.0.1:0"));
    let (old, new) = (free_address(), free_address());
    let before = [&kept, &listener("echo", &format!("tcp://{old}")), &route("/x", "service:echo")];
    let reloaded = Reloaded::new(&before.map(String::as_str).concat());
    let after = [
        &kept,
        &listener("time", &format!("tcp://{new}")),
        &route("/x", "service:echo?framing=line"),
        &route("/y", "service:time"),
    ];
    reloaded.take(&after.map(String::as_str).concat());
    let log = |reloaded: &Reloaded| -> Vec<String> {
        let all = reloaded.server.log().into_iter();
        all.filter_map(|line| line.split_once("SIGHUP: ").map(|(_, said)| said.to_owned()))
            .collect()
    };
    reloaded.server.wait_for_log(&["SIGHUP: new", "/y"]);
    let said = log(&reloaded);
    assert_eq!(
        said,
        [
            "the settings are read again".to_owned(),
            format!("gone  listening  echo   tcp://{old}"),
            "gone  route      /x -> service:echo (message)".to_owned(),
            format!("new   listening  time   tcp://{new}"),
            "new   route      /x -> service:echo (line)".to_owned(),
            "new   route      /y -> service:time (line)".to_owned(),
        ]
    );
    reloaded.hangup();
    let again = log(&reloaded);
    assert_eq!(again[said.len()..], ["the settings are read again"]);
}
