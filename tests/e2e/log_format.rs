//! The log as JSON: `--log-format json`.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use echogate_tests::{
    http::{connect, read_head},
    server::Server,
    tcp::read_to_end,
    ws::RawWs,
};
use serde_json::Value;

use crate::ECHOGATE;

/// The line of the log with this part, as JSON.
fn object(server: &Server, part: &str) -> Value {
    let line = server.wait_for_log(&[part]);
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"))
}

fn assert_all_are_objects(lines: &[String]) {
    for line in lines {
        let object: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        for member in ["time", "level", "target", "message"] {
            assert!(object[member].is_string(), "no {member}: {line}");
        }
    }
}

#[test]
fn an_object_has_time_level_module_message_and_fields() {
    let server = Server::start(ECHOGATE, &["--log-format", "json", "--route", "/x=service:upper"]);
    let mut client = RawWs::connect(&server, "/x");
    client.exchange(b"hello");
    client.end(1000, "");
    let line = object(&server, "the client closed");
    assert_eq!(line["level"], "INFO", "{line}");
    assert_eq!(line["message"], "the client closed (1000)", "{line}");
    assert_eq!(line["target"], "echogate::connections::registry::entry", "{line}");
    let time = line["time"].as_str().unwrap();
    assert!(time.len() == 27 && time.ends_with('Z') && &time[10..11] == "T", "{time}");
    let fields = &line["fields"];
    assert_eq!(fields["target"], "/x", "{line}");
    assert_eq!(fields["kind"], "websocket", "{line}");
    assert_eq!((fields["received"].as_u64(), fields["sent"].as_u64()), (Some(5), Some(5)));
    assert!(fields["seconds"].as_f64().is_some_and(|seconds| seconds < 60.0), "{line}");
}

#[test]
fn bytes_of_clients_cannot_end_a_line_or_a_text() {
    let server = Server::start(ECHOGATE, &["--log-format", "json"]);
    let mut client = connect(server.address("http"));
    let host = server.address("http");
    let path = "/%0A%22,%22level%22:%22ERROR%22\"{}";
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\n\
        Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    client.write_all(head.as_bytes()).unwrap();
    assert!(read_head(&mut client).unwrap().starts_with("HTTP/1.1 404 "));
    server.wait_for_log(&["no such route"]);
    let mut client = connect(server.address("upper"));
    client.write_all(b"\"}\n\x1b[31m\0").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    read_to_end(&mut client);
    server.wait_for_log(&["kind", "tcp"]);
    assert_all_are_objects(&server.log());
}

#[test]
fn the_error_that_ends_the_program_is_an_object() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap().to_string();
    let output = Command::new(ECHOGATE)
        .args(["--http", &at, "--listen", "upper=tcp://127.0.0.1:0", "--log-format", "json"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<_> = said.lines().map(str::to_owned).collect();
    assert_all_are_objects(&lines);
    let last: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!(last["level"], "ERROR", "{last}");
    assert!(last["message"].as_str().unwrap().contains(&at), "{last}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_reload_changes_the_format() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("echogate.toml");
    let settings = |format: &str| {
        let text = format!("http = [\"127.0.0.1:0\"]\nlog-format = \"{format}\"\n");
        fs::write(&file, text).unwrap();
    };
    settings("text");
    let mut command = Command::new(ECHOGATE);
    command.arg("serve").arg("--config").arg(&file);
    let server = Server::spawn(command);
    settings("json");
    server.signal("HUP");
    let line = object(&server, "SIGHUP: configuration reloaded");
    assert_eq!(line["message"], "SIGHUP: configuration reloaded");
    settings("xml");
    server.signal("HUP");
    let line = object(&server, "reload rejected");
    assert_eq!(line["level"], "WARN", "{line}");
    settings("text");
    server.signal("HUP");
    let line = server.wait_for_nth_log(&["SIGHUP: configuration reloaded"], 1);
    assert!(!line.starts_with('{'), "{line}");
}
