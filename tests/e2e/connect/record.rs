//! `--record`: the client's connections in a file of each format.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::symlink,
    path::Path,
};

use echogate_tests::{server::Server, tcp::reset, tls::Authority};
use serde_json::Value;

use super::{assert_fails, run, serve};
use crate::{ECHOGATE, server};

/// Sends `input` to `url`, recorded in `file`, and returns what the file has.
fn recorded(file: &Path, url: &str, more: &[&str], input: &str) -> Vec<u8> {
    let arguments = [&["--record", file.to_str().unwrap(), url], more].concat();
    let output = run(&arguments, input.as_bytes());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(file).unwrap()
}

/// The events of a file, each as its kind and what it carries.
fn events(file: &[u8]) -> Vec<String> {
    let lines = str::from_utf8(file).unwrap().lines();
    let events = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    let text = |event: Value| {
        let member = |name: &str| event[name].as_str().map(str::to_owned);
        let what = [member("event"), member("direction"), member("kind"), member("text")];
        let code = event["code"].as_u64().map(|code| code.to_string());
        what.into_iter().chain([code]).flatten().collect::<Vec<_>>().join(" ")
    };
    events.map(text).collect()
}

#[test]
fn a_websocket_is_recorded_with_its_heads_and_frames() {
    let (server, dir) = (server(), tempfile::tempdir().unwrap());
    let url = server.ws("/ws").replace("ws://", "ws://me:secret@");
    let file = recorded(&dir.path().join("a.jsonl"), &url, &["-H", "Cookie: a=b"], "hello\n");
    let text = String::from_utf8_lossy(&file);
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let request = first["request"].as_str().unwrap();
    assert!(request.starts_with("GET /ws HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("Authorization: ***\r\n") && request.contains("Cookie: ***\r\n"));
    assert!(first["response"].as_str().unwrap().starts_with("HTTP/1.1 101 "));
    assert_eq!(first["target"], server.ws("/ws"));
    assert!(!text.contains("secret"));
    assert_eq!(
        events(&file)[1..],
        [
            "data to-server text hello",
            "data to-client text HELLO",
            "close to-server 1000",
            "close to-client 1000",
            "end-of-input to-client",
            "closed",
        ]
    );
}

#[test]
fn byte_streams_and_datagrams_are_recorded_with_their_ends() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("socket");
    let authority = Authority::new();
    let listeners = [
        format!("upper=unix://{}", socket.display()),
        "upper=udp://127.0.0.1:0".to_owned(),
        "upper=tls://127.0.0.1:0".to_owned(),
    ];
    let mut arguments: Vec<_> = listeners.iter().flat_map(|l| ["--listen", l]).collect();
    authority.install(&authority.issue(&["localhost"]));
    let flags = authority.flags();
    arguments.extend(flags.iter().map(String::as_str));
    let server = Server::start(ECHOGATE, &arguments);
    for url in server.urls("upper") {
        let url = url.replace("tls://127.0.0.1", "tls://localhost");
        let trust = ["--ca", &authority.ca()];
        let more = if url.starts_with("tls") { &trust[..] } else { &[] };
        let all = events(&recorded(&dir.path().join("a.jsonl"), &url, more, "hello"));
        if url.starts_with("udp") {
            let datagrams = ["data to-server datagram hello", "data to-client datagram HELLO"];
            assert_eq!(all[1..], [&datagrams[..], &["closed"]].concat());
        } else {
            let of = |direction: &str| {
                let has = |event: &&String| event.contains(direction);
                all.iter().filter(has).cloned().collect::<Vec<_>>()
            };
            assert_eq!(of("to-server"), ["data to-server bytes hello", "end-of-input to-server"]);
            assert_eq!(of("to-client"), ["data to-client bytes HELLO", "end-of-input to-client"]);
            assert_eq!(all.last().unwrap(), "closed");
        }
    }
}

#[test]
fn each_connection_of_a_session_has_its_number_and_har_its_entry() {
    let (server, dir) = (server(), tempfile::tempdir().unwrap());
    let file = dir.path().join("a.har");
    let har = recorded(&file, &server.ws("/ws"), &["--once"], "one\ntwo\n");
    let har: Value = serde_json::from_slice(&har).unwrap();
    let entries = har["log"]["entries"].as_array().unwrap();
    let data: Vec<_> = entries.iter().map(|e| e["_webSocketMessages"][1]["data"].clone()).collect();
    assert_eq!(data, ["ONE", "TWO"]);
    assert_eq!(entries[1]["connection"], "2");
    assert_eq!(entries[0]["request"]["url"], server.ws("/ws"));
}

#[test]
fn a_file_that_cannot_be_used_is_refused_before_the_connection() {
    for (file, url, why) in [
        (
            "a.txt",
            "ws://127.0.0.1:1/",
            "a.txt: expected a name that ends in .pcapng, .jsonl or .har",
        ),
        ("/missing/a.har", "ws://127.0.0.1:1/", "/missing/a.har: no such file or directory"),
        (
            "a.har",
            "tcp://127.0.0.1:1",
            "a.har: HAR has WebSocket connections only: use .pcapng or .jsonl",
        ),
    ] {
        assert_fails(&run(&["--record", file, url], b""), 2, &format!("--record {why}"));
    }
}

#[test]
fn a_full_disk_ends_the_recording_with_a_warning_and_nothing_else() {
    let (server, dir) = (server(), tempfile::tempdir().unwrap());
    let file = dir.path().join("full.jsonl");
    symlink("/dev/full", &file).unwrap();
    let file = file.to_str().unwrap();
    let output = run(&["--record", file, &server.ws("/ws")], b"hello\n");
    assert_eq!(output.stdout, b"HELLO\n");
    assert!(output.status.success());
    let warning =
        format!("echogate: warning: the recording has ended: {file}: no space left on device\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), warning);
}

#[test]
fn a_reset_is_recorded_and_what_came_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let address = serve(|mut stream| {
        let mut input = [0; 2];
        stream.read_exact(&mut input).unwrap();
        stream.write_all(b"part").unwrap();
        reset(stream);
    });
    let file = dir.path().join("a.jsonl");
    let output = run(&["--record", file.to_str().unwrap(), &format!("tcp://{address}")], b"hi");
    assert_eq!(output.status.code(), Some(1));
    let file = fs::read(&file).unwrap();
    let all = events(&file);
    assert!(all.contains(&"data to-server bytes hi".to_owned()), "{all:?}");
    assert!(all.contains(&"reset to-client".to_owned()), "{all:?}");
    let last: Value =
        serde_json::from_slice(file.split(|byte| *byte == b'\n').nth_back(1).unwrap()).unwrap();
    assert_eq!(last["reason"], "the connection failed");
}
