//! `--record`: the client's connections in a file of each format.

use std::{
    fs,
    io::{Read, Write},
    net::SocketAddr,
    os::unix::{fs::symlink, process::ExitStatusExt},
    path::Path,
    process::{Child, Command},
    sync::mpsc,
};

use echogate_tests::{
    http::read_head, program, pty::Terminal, server::Server, tcp, tls::Authority,
};
use serde_json::Value;

use super::{
    assert_fails, connect, finish,
    interop::{HEAD, HELLO, serve_101},
    run, serve, spawn, upper,
};
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

/// The first event of a file, which describes the connection.
fn first_event(file: &[u8]) -> Value {
    serde_json::from_slice(file.split(|byte| *byte == b'\n').next().unwrap()).unwrap()
}

#[test]
fn a_websocket_is_recorded_with_its_heads_and_frames() {
    let (server, dir) = (server(), tempfile::tempdir().unwrap());
    let url = server.ws("/ws").replace("ws://", "ws://me:secret@");
    let file = recorded(&dir.path().join("a.jsonl"), &url, &["-H", "Cookie: a=b"], "hello\n");
    let text = String::from_utf8_lossy(&file);
    let first = first_event(&file);
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

/// Asserts that `file` has only a handshake: a request of `/a`, and this response.
#[track_caller]
fn assert_handshake(file: &Path, response: &str) {
    let file = fs::read(file).unwrap();
    assert_eq!(events(&file), ["opened websocket", "closed"]);
    let opened = first_event(&file);
    assert!(opened["request"].as_str().unwrap().starts_with("GET /a HTTP/1.1\r\n"), "{opened}");
    assert_eq!(opened["response"], response);
}

#[test]
fn a_handshake_that_fails_is_recorded_as_far_as_it_has_passed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.jsonl");
    let record = ["--record", file.to_str().unwrap()];
    let refusal = "HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\n";
    for (answer, response) in [
        (format!("HTTP/1.1 103 Early Hints\r\n\r\n{refusal}body"), refusal),
        ("HTTP/1.1 10".to_owned(), "HTTP/1.1 10\r\n\r\n"),
    ] {
        let address = serve(move |mut stream| {
            read_head(&mut stream).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let output = run(&[&record[..], &[&format!("ws://{address}/a")]].concat(), b"");
        assert_eq!(output.status.code(), Some(1));
        assert_handshake(&file, response);
    }
    let (sender, is_asked) = mpsc::channel();
    let address = serve(move |mut stream| {
        read_head(&mut stream).unwrap();
        sender.send(()).unwrap();
        tcp::read_to_end(&mut stream);
    });
    let client = connect(&[&record[..], &[&format!("ws://{address}/a")]].concat());
    is_asked.recv().unwrap();
    program::signal(client.id(), "TERM");
    assert_eq!(finish(client).status.signal(), Some(15));
    assert_handshake(&file, "\r\n");
}

#[test]
fn frames_that_come_with_the_response_are_recorded_behind_the_handshake() {
    let dir = tempfile::tempdir().unwrap();
    let head = format!("{HEAD}Sec-WebSocket-Protocol: mqtt\r\n\r\n");
    let head = format!("HTTP/1.1 103 Early Hints\r\n\r\n{head}");
    let url = format!("ws://{}/", serve_101(head, HELLO.to_vec()));
    let file = recorded(&dir.path().join("a.jsonl"), &url, &["--protocol", "mqtt"], "");
    let first = first_event(&file);
    assert_eq!(first["protocol"], "mqtt");
    assert!(first["response"].as_str().unwrap().starts_with("HTTP/1.1 101 "), "{first}");
    assert_eq!(events(&file)[1], "data to-client text hello");
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
    let arguments: Vec<_> = listeners.iter().flat_map(|l| ["--listen", l]).collect();
    authority.install(&authority.issue(&["localhost"]));
    let server = Server::start_with_tls(ECHOGATE, &authority, &arguments);
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
fn a_full_disk_ends_the_recording_and_is_a_failure_at_the_end_of_the_session() {
    let (server, dir) = (server(), tempfile::tempdir().unwrap());
    let file = dir.path().join("full.jsonl");
    symlink("/dev/full", &file).unwrap();
    let file = file.to_str().unwrap();
    let output = run(&["--record", file, &server.ws("/ws")], b"hello\n");
    assert_eq!(output.stdout, b"HELLO\n");
    let line = format!("echogate: recording incomplete: {file}: no space left on device\n");
    assert!(String::from_utf8_lossy(&output.stderr).ends_with(&line));
    assert_eq!(output.status.code(), Some(1));
    let mut client = connect(&["--record", file, &server.ws("/ws"), "--binary"]);
    exchange(&mut client);
    program::signal(client.id(), "TERM");
    let output = finish(client);
    assert!(String::from_utf8_lossy(&output.stderr).ends_with(&line));
    assert_eq!(output.status.signal(), Some(15));
}

#[test]
fn an_earlier_recording_stays_until_a_connection_is_made() {
    let (server, dir) = (server(), tempfile::tempdir().unwrap());
    // Bound without listening, so that no other process takes the port.
    let bound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    bound.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let refused = format!("tcp://{}", bound.local_addr().unwrap().as_socket().unwrap());
    for format in ["jsonl", "pcapng", "har"] {
        let file = dir.path().join(format!("a.{format}"));
        fs::write(&file, "earlier ".repeat(1000)).unwrap();
        let name = file.to_str().unwrap();
        let invalid = run(&["--record", name, &refused, "--message=zz", "--hex"], b"");
        assert_eq!(invalid.status.code(), Some(2));
        let url = if format == "har" { refused.replace("tcp", "ws") } else { refused.clone() };
        assert_eq!(run(&["--record", name, &url], b"").status.code(), Some(1));
        assert_eq!(fs::read_to_string(&file).unwrap(), "earlier ".repeat(1000));
        assert!(run(&["--record", name, &server.ws("/ws")], b"hello\n").status.success());
        let recorded = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        assert!(!recorded.is_empty() && !recorded.contains("earlier"), "{recorded}");
    }
}

/// Sends `hello` and waits for the reply.
fn exchange(client: &mut Child) {
    client.stdin.as_mut().unwrap().write_all(b"hello").unwrap();
    client.stdout.as_mut().unwrap().read_exact(&mut [0; 5]).unwrap();
}

/// Ends the client by `signal` after an exchange, and returns the recording.
fn terminated(mut client: Child, signal: &str, number: i32, file: &Path) -> Vec<String> {
    exchange(&mut client);
    program::signal(client.id(), signal);
    assert_eq!(finish(client).status.signal(), Some(number), "{signal}");
    events(&fs::read(file).unwrap())
}

#[test]
fn a_signal_ends_the_session_and_what_has_passed_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.jsonl");
    for (signal, number) in [("INT", 2), ("TERM", 15), ("HUP", 1)] {
        let url = format!("tcp://{}", serve(upper));
        // The tests may run under a program that ignores SIGHUP, as nohup does.
        let mut env = Command::new("env");
        env.args(["--default-signal=HUP", ECHOGATE]);
        let client = spawn(&mut env, &["--record", file.to_str().unwrap(), &url]);
        let all = terminated(client, signal, number, &file);
        let passed = ["data to-server bytes hello", "data to-client bytes HELLO", "closed"];
        assert_eq!(all[1..], passed, "{signal}");
    }
}

#[test]
fn an_ignored_signal_is_still_ignored() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.jsonl");
    let url = format!("tcp://{}", serve(upper));
    let arguments = ["--record", file.to_str().unwrap(), &url];
    let mut client = spawn(Command::new("nohup").arg(ECHOGATE), &arguments);
    exchange(&mut client);
    program::signal(client.id(), "HUP");
    terminated(client, "TERM", 15, &file);
}

#[test]
fn a_prompt_that_ends_by_a_signal_has_recorded_what_has_passed() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("a.jsonl");
    for signal in ["INT", "TERM"] {
        let url = format!("tcp://{}", serve(upper));
        let arguments = ["connect", "--record", file.to_str().unwrap(), &url];
        let terminal = Terminal::start(ECHOGATE, &arguments);
        terminal.exchange("hello\r", "HELLO");
        match signal {
            "INT" => terminal.type_in("\x03"),
            signal => program::signal(terminal.pid(), signal),
        }
        let (status, shown) = terminal.wait();
        assert!(status.signal().is_some(), "{status}: {shown}");
        let all = events(&fs::read(&file).unwrap());
        let passed = ["data to-server bytes hello\n", "data to-client bytes HELLO\n", "closed"];
        assert_eq!(all[1..], passed, "{signal}");
    }
}

#[test]
fn a_reset_is_recorded_and_what_came_before_it() {
    let dir = tempfile::tempdir().unwrap();
    let address = serve(|mut stream| {
        let mut input = [0; 2];
        stream.read_exact(&mut input).unwrap();
        stream.write_all(b"part").unwrap();
        tcp::reset(stream);
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
