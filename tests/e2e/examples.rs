//! The configuration files of `server/examples`: each starts a working server. Ports are replaced by
//! free ones, and system folders by temporary ones.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
};

use echogate_tests::{
    http,
    program::free_port,
    server::Server,
    tcp::round_trip,
    tls::Authority,
    upstream::Upstream,
    ws::{RawWs, first},
};

use crate::ECHOGATE;

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../server/examples");

/// The text of an example, with free ports for its listeners.
fn example(name: &str, folder: &Path) -> String {
    let text = fs::read_to_string(format!("{EXAMPLES}/{name}.toml")).unwrap();
    let ports = [8080, 8443, 7007, 7008, 7009, 7013, 7017, 7443, 5433, 5353];
    let text = ports
        .into_iter()
        .fold(text, |text, port| text.replace(&format!(":{port}"), &format!(":{}", free_port())));
    let folder = folder.display();
    text.replace("/etc/echogate", &format!("{folder}"))
        .replace("/run/echogate", &format!("{folder}"))
        .replace("/var/lib/echogate", &format!("{folder}"))
}

/// A server with an example as its only configuration.
fn start(text: &str, folder: &Path) -> Server {
    let file = folder.join("echogate.toml");
    fs::write(&file, text).unwrap();
    let mut command = Command::new(ECHOGATE);
    command.arg("--config").arg(file);
    Server::spawn(command)
}

fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    (folder, path)
}

#[track_caller]
fn route_answers(server: &Server, path: &str, question: &str, answer: &str) {
    let reply = RawWs::connect(server, path).exchange(question.as_bytes());
    assert_eq!(String::from_utf8_lossy(&reply), answer);
}

#[test]
fn every_example_is_in_a_test() {
    let mut names: Vec<_> = fs::read_dir(EXAMPLES)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    // The modules `metrics` and `third_party::prometheus` test the dashboard.
    names.retain(|name| name != "grafana-dashboard.json");
    let tested = ["all", "chat", "forwards", "gateway", "minimal", "public", "tls"];
    assert_eq!(names, tested.map(|name| format!("{name}.toml")));
}

#[test]
fn the_minimal_example_serves_its_service_over_tcp_and_websocket() {
    let (_folder, folder) = folder();
    let server = start(&example("minimal", &folder), &folder);
    assert_eq!(round_trip(&mut http::connect(server.address("upper")), b"hello"), b"HELLO");
    route_answers(&server, "/ws", "hello", "HELLO");
}

#[test]
fn the_gateway_example_bridges_to_its_upstreams() {
    let (_folder, folder) = folder();
    let upstream = Upstream::new();
    let text = example("gateway", &folder).replace("127.0.0.1:2525", &upstream.address());
    let server = start(&text, &folder);
    assert_eq!(server.urls("upper").count(), 0, "it opens no service ports");
    let mut client = RawWs::connect(&server, "/smtp");
    client.send_frame(first::TEXT, b"EHLO me");
    let mut stream = BufReader::new(upstream.accept());
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    assert_eq!(line, "EHLO me\r\n");
    stream.get_mut().write_all(b"250 mail.example\r\n").unwrap();
    assert_eq!(client.read().payload, b"250 mail.example");
}

#[test]
fn the_forwards_example_passes_connections_to_its_upstreams() {
    let (_folder, folder) = folder();
    let upstream = Upstream::new();
    let text = example("forwards", &folder)
        .replace("wss://gateway.example/db#", &format!("tcp://{}?", upstream.address()))
        .replace("/tmp", &folder.display().to_string());
    let server = start(&text, &folder);
    assert_eq!((server.urls("forward").count(), server.urls("upper").count()), (3, 0));
    let mut client = http::connect(server.address("forward"));
    client.write_all(b"hello").unwrap();
    let mut hello = [0; 5];
    upstream.accept().read_exact(&mut hello).unwrap();
    assert_eq!(&hello, b"hello");
}

#[test]
fn the_tls_example_serves_https_and_a_service_over_tls() {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let folder = authority.file("");
    let server = start(&example("tls", &folder), &folder);
    let mut client = authority.connect(server.address("http"));
    let health = http::exchange(&mut client, &["GET /healthz HTTP/1.1", "Host: echo.example"]);
    assert_eq!(health.text(), "ok\n");
    assert_eq!(round_trip(&mut authority.connect(server.address("upper")), b"hello"), b"HELLO");
}

#[test]
fn the_public_example_serves_what_its_proxy_passes_on_and_no_api() {
    let (_folder, folder) = folder();
    let server = start(&example("public", &folder), &folder);
    route_answers(&server, "/ws", "hello", "HELLO");
    let get = |path: &str| {
        let request = format!("GET {path} HTTP/1.1");
        let head = [&*request, "Host: echo.example", "X-Forwarded-For: 192.0.2.1"];
        http::exchange(&mut http::connect(server.address("http")), &head).status
    };
    assert_eq!((get("/version"), get("/api/connections")), (200, 404));
    assert_eq!(server.metric("echogate_connections_limit"), 2000);
}

#[test]
fn the_chat_example_takes_the_token_of_its_file() {
    let (_folder, folder) = folder();
    let token = "correct-horse-battery-staple";
    fs::write(folder.join("operator-token"), token).unwrap();
    let server = start(&example("chat", &folder), &folder);
    let welcome = |token: &str| {
        let mut operator = RawWs::connect(&server, "/ws/operator");
        let message = format!(r#"{{"type":"token","token":"{token}"}}"#);
        operator.send_frame(first::TEXT, message.as_bytes());
        String::from_utf8_lossy(&operator.read().payload).contains("welcome")
    };
    assert_eq!((welcome(token), welcome("another")), (true, false));
}

#[test]
fn the_example_of_all_settings_serves_and_leaves_none_out() {
    let (_folder, folder) = folder();
    let text = example("all", &folder);
    let server = start(&text, &folder);
    assert_eq!(round_trip(&mut http::connect(server.address("upper")), b"hello"), b"HELLO");
    assert_eq!(
        round_trip(&mut UnixStream::connect(folder.join("echo.sock")).unwrap(), b"hello"),
        b"hello"
    );
    for path in ["/ws", "/ws/echo"] {
        route_answers(&server, path, "HELLO", "HELLO");
    }
    let help = Command::new(ECHOGATE).args(["serve", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let flags = help.lines().filter_map(|line| line.strip_prefix("      --"));
    let flags: Vec<_> = flags.filter_map(|line| line.split([' ', '=']).next()).collect();
    assert!(flags.len() > 20, "{flags:?}");
    for flag in flags {
        let is_set = |line: &str| line.trim_start_matches("# ").starts_with(&format!("{flag} = "));
        let is_table = |line: &str| {
            line == "[[listener]]" && flag == "listen" || line == format!("[[{flag}]]")
        };
        let is_there = text.lines().any(|line| is_set(line) || is_table(line));
        assert!(is_there || ["config", "console", "help"].contains(&flag), "--{flag} is missing");
    }
}

#[test]
fn what_the_example_of_all_settings_leaves_out_may_be_set_too() {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let folder = authority.file("");
    fs::write(folder.join("operator-token"), "correct-horse-battery-staple").unwrap();
    let text = example("all", &folder).replace("/usr/share/novnc", &folder.display().to_string());
    let is_setting =
        |line: &&str| line.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    let lines = text.lines().map(|line| line.strip_prefix("# ").filter(is_setting).unwrap_or(line));
    let server = start(&lines.collect::<Vec<_>>().join("\n"), &folder);
    let mut client = authority.connect(server.address("http"));
    let health = http::exchange(&mut client, &["GET /healthz HTTP/1.1", "Host: 127.0.0.1"]);
    assert_eq!(health.text(), "ok\n");
}
