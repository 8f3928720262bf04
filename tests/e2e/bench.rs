//! `echogate bench`: its counts, its checks of replies, its output. The tests measure no speed.

mod compare;
mod datagrams;

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixListener,
    process::{Child, Command, Output, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use echogate_tests::{
    program::signal,
    pty::Terminal,
    server::{Server, WAIT_TIMEOUT, wait_until},
    upstream::Upstream,
};
use serde_json::Value;
use tokio_tungstenite::tungstenite::{
    Message, WebSocket, accept,
    protocol::{
        CloseFrame,
        frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

use crate::{ECHOGATE, server};

/// The arguments of a short run without a warm-up.
const SHORT: [&str; 4] = ["--duration", "200ms", "--warm-up", "0s"];

fn start(arguments: &[&str]) -> Child {
    Command::new(ECHOGATE)
        .arg("bench")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn run(arguments: &[&str]) -> Output {
    start(arguments).wait_with_output().unwrap()
}

fn run_short(arguments: &[&str]) -> Output {
    run(&[arguments, &SHORT].concat())
}

/// The results of a successful short run.
#[track_caller]
fn results(arguments: &[&str]) -> Value {
    let output = run(&[arguments, &SHORT, &["--json"]].concat());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(results["messages"].as_u64().unwrap() > 0, "{results}");
    assert_eq!(results["errors"], 0, "{results}");
    results
}

/// Asserts a failure: its exit status and the end of its error, a single line.
#[track_caller]
fn assert_fails(output: &Output, status: i32, end: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("echogate: ") && stderr.trim_end().ends_with(end), "{stderr}");
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(status), 1), "{stderr}");
}

/// Replies to all bytes in upper case, after a call of `each`; returns the number of bytes.
fn upper(mut stream: impl Read + Write, mut each: impl FnMut(&mut [u8])) -> u64 {
    let (mut buffer, mut sum) = (vec![0; 64 * 1024], 0);
    loop {
        match stream.read(&mut buffer) {
            Ok(n @ 1..) => {
                buffer[..n].make_ascii_uppercase();
                each(&mut buffer[..n]);
                sum += n as u64;
                if stream.write_all(&buffer[..n]).is_err() {
                    return sum;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            _ => return sum,
        }
    }
}

/// Starts a TCP server for one connection; returns its URL.
fn serve(connection: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || connection(listener.accept().unwrap().0));
    format!("tcp://{address}")
}

/// Starts a WebSocket server for one connection; returns its URL.
fn serve_ws(connection: impl FnOnce(WebSocket<TcpStream>) + Send + 'static) -> String {
    serve(|stream| connection(accept(stream).unwrap())).replace("tcp:", "ws:")
}

fn interrupt(bench: &Child) {
    signal(bench.id(), "INT");
}

#[test]
fn every_message_is_answered_over_tcp_and_through_the_gateway() {
    let server = server();
    for url in [server.url("upper"), &server.ws("/ws")] {
        for load in [
            &["--connections=7", "--size=1"][..],
            &["--connections=3", "--size=70000"],
            &["--connections=2", "--size=1000", "--in-flight=20"],
            &["--connections=2", "--size=65536", "--in-flight=100"],
            &["--connections=20", "--size=10", "--rate=2000"],
        ] {
            let results = results(&[&[url], load].concat());
            if url.starts_with("ws") {
                // A long reply may come in fragments.
                let frames = results["frames_per_message"].as_f64().unwrap();
                let is_long = results["size"].as_u64().unwrap() >= 16_384;
                assert!(frames >= 1.0 && (is_long || frames <= 1.0), "{load:?}: {results}");
            }
        }
    }
}

#[test]
fn the_expected_reply_can_be_chosen() {
    let server = server();
    results(&[&server.ws("/ws/echo"), "--expect=echo"]);
    results(&[&server.ws("/ws/echo"), "--expect=any"]);
    assert_eq!(run_short(&[&server.ws("/ws/echo")]).status.code(), Some(1));
}

#[test]
fn the_messages_counted_are_those_that_the_server_has_seen() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    let seen = Arc::new(AtomicU64::new(0));
    let sum = seen.clone();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, sum) = (stream.unwrap(), sum.clone());
            thread::spawn(move || {
                upper(stream, |bytes| {
                    sum.fetch_add(bytes.len() as u64, Ordering::SeqCst);
                })
            });
        }
    });
    let url = format!("unix://{}", path.display());
    let mut before = 0;
    for load in [&["--in-flight=1"][..], &["--in-flight=9"], &["--in-flight=9", "--rate=999"]] {
        let results = results(&[&[&*url, "--connections=5", "--size=33"], load].concat());
        let now = seen.load(Ordering::SeqCst);
        assert_eq!(results["messages"].as_u64().unwrap() * 33, now - before, "{results}");
        before = now;
    }
}

#[test]
fn each_message_can_have_a_connection_of_its_own() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let (tell, received) = mpsc::channel();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, tell) = (stream.unwrap(), tell.clone());
            thread::spawn(move || tell.send(upper(stream, |_| ())).unwrap());
        }
    });
    let results = results(&[&url, "--once", "--connections=3", "--size=33"]);
    let messages = results["messages"].as_u64().unwrap();
    assert_eq!(results["once"], true);
    // The count includes connections that had sent nothing at the end of the run.
    let mut bytes = Vec::new();
    while bytes.iter().filter(|&&bytes| bytes == 33).count() < messages as usize {
        bytes.push(received.recv_timeout(WAIT_TIMEOUT).unwrap());
    }
    bytes.retain(|&bytes| bytes != 33);
    assert!(bytes.len() <= 3 && bytes.iter().all(|&bytes| bytes == 0), "{bytes:?}");
}

#[test]
fn connections_are_made_and_ended_through_the_gateway() {
    let server = server();
    let url = server.ws("/ws");
    let results = results(&[&url, "--once", "--connections=2"]);
    assert_eq!(results["frames_per_message"], 1.0, "{results}");
    let refused = run_short(&[&server.ws("/nowhere"), "--once", "--connections=1"]);
    assert_fails(&refused, 1, "404 Not Found: no such route: /nowhere");
    let output = run_short(&[&url, "--once"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("50 connections, 64 bytes per message, a new one per message\n"),
        "{text}"
    );
}

#[test]
fn a_connection_that_is_never_made_is_an_error_in_the_end() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}", silent.local_addr().unwrap());
    let output = run_short(&[&url, "--once", "--connections=1"]);
    assert_fails(&output, 1, "connection 1: not established by the end of the run");
}

#[test]
fn the_json_has_every_field() {
    let server = server();
    let url = server.ws("/ws");
    let results = results(&[&url, "--connections=2", "--size=9", "--in-flight=3", "--rate=500"]);
    assert_eq!(results["url"], url);
    for (field, value) in [("connections", 2), ("size", 9), ("in_flight", 3), ("rate", 500)] {
        assert_eq!(results[field], value, "{field}");
    }
    let number = |value: &Value| value.as_f64().unwrap_or_else(|| panic!("{value}: {results}"));
    for field in ["seconds", "messages_per_second", "bytes_per_second"] {
        assert!(number(&results[field]) > 0.0, "{field}: {results}");
    }
    assert!(results["unsent"].is_u64(), "{results}");
    assert!(results["lost"].is_null() && results["stray"].is_null(), "no datagrams: {results}");
    let latency =
        ["p50", "p90", "p99", "p99.9", "max"].map(|at| number(&results["latency_us"][at]));
    assert!(latency[0] > 0.0 && latency.is_sorted(), "{results}");
}

#[test]
fn the_default_output_is_a_table_with_a_progress_line_on_a_terminal() {
    let server = server();
    let output = run_short(&[server.url("upper"), "--connections=2"]);
    let text = String::from_utf8(output.stdout).unwrap();
    let names: Vec<_> = text.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert_eq!(names[..5], ["endpoint", "load", "answered", "rate", "latency"], "{text}");
    assert_eq!(text.lines().last(), Some("errors    0"), "{text}");
    assert_eq!(output.stderr, b"");
    let terminal =
        Terminal::start(ECHOGATE, &["bench", server.url("upper"), "--duration=1s", "--json"]);
    terminal.wait_for(" s of 2 s, ");
    terminal.wait_for("{\"url\":");
    assert_eq!(terminal.wait().0.code(), Some(0));
}

#[test]
fn a_wrong_byte_is_found_and_named() {
    let url = serve(|stream| {
        let mut at = 0;
        upper(stream, |bytes| {
            for byte in bytes {
                at += 1;
                if at == 10 * 100 + 7 {
                    *byte = b'\n';
                }
            }
        });
    });
    let output = run_short(&[&url, "--connections=1", "--size=100"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(": connection 1: byte 7 of reply 11 is '\\n', expected '"), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("answered  10 messages"), "what came before counts: {text}");
}

#[test]
fn a_wrong_byte_is_found_behind_a_gateway() {
    let upstream = Upstream::new();
    let server = Server::start(ECHOGATE, &["--route", &upstream.route("/wrong", "bytes")]);
    let served = upstream.serve(|stream| upper(stream, |bytes| bytes[0] = b'?'));
    let output = run_short(&[&server.ws("/wrong"), "--connections=1", "--json"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains(": connection 1: byte 1 of reply 1 is '?', expected '"), "{stderr}");
    assert!(stderr.contains("with --expect upper, echo or any)"), "{stderr}");
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&results["errors"], &results["messages"]), (&1.into(), &0.into()), "{results}");
    served.join().unwrap();
}

#[test]
fn more_than_was_asked_for_is_found() {
    let url = serve(|mut stream| {
        stream.read_exact(&mut [0; 5]).unwrap();
        stream.write_all(b"123456").unwrap();
        stream.read_exact(&mut [0]).ok();
    });
    let output = run_short(&[&url, "--connections=1", "--size=5", "--expect=any"]);
    assert_fails(
        &output,
        1,
        "connection 1: the server sent more bytes than expected after reply 1",
    );
}

#[test]
fn a_connection_that_ends_or_cannot_be_made_is_named() {
    let url = serve(|mut stream| stream.read_exact(&mut [0; 64]).unwrap());
    let output = run_short(&[&url, "--connections=1"]);
    assert_fails(&output, 1, &format!("{url}: connection 1: closed by the server"));
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("tcp://{free}");
    let output = run_short(&[&url]);
    assert_fails(&output, 1, &format!("{url}: connection 1: connection refused"));
    assert_eq!(output.stdout, b"", "nothing was measured");
}

#[test]
fn a_close_is_an_error_with_its_code_and_reason() {
    let url = serve_ws(|mut socket| {
        let close = CloseFrame { code: 1008.into(), reason: "not you".into() };
        socket.close(Some(close)).unwrap();
        while socket.read().is_ok() {}
    });
    let output = run_short(&[&url, "--connections=1"]);
    assert_fails(
        &output,
        1,
        "connection 1: closed by the server (1008, refused by policy): not you",
    );
}

#[test]
fn pings_are_answered_and_fragments_counted() {
    let (sender, pongs) = mpsc::channel();
    let url = serve_ws(move |mut socket| {
        socket.send(Message::Ping("first".into())).unwrap();
        while let Ok(message) = socket.read() {
            match message {
                Message::Binary(bytes) => {
                    let bytes = bytes.to_ascii_uppercase();
                    let (head, tail) = bytes.split_at(bytes.len() / 3);
                    let part = |bytes: &[u8], data, last| {
                        Message::Frame(Frame::message(bytes.to_vec(), OpCode::Data(data), last))
                    };
                    socket.send(part(head, Data::Binary, false)).unwrap();
                    socket.send(Message::Ping("between".into())).unwrap();
                    socket.send(part(tail, Data::Continue, true)).unwrap();
                }
                Message::Pong(payload) => sender.send(payload).unwrap(),
                _ => {}
            }
        }
    });
    let results = results(&[&url, "--connections=1", "--in-flight=4"]);
    assert_eq!(results["frames_per_message"], 2.0, "{results}");
    let pongs: Vec<_> = pongs.iter().collect();
    assert_eq!(pongs[0], "first");
    assert_eq!(pongs.len() as u64, 1 + results["messages"].as_u64().unwrap());
}

#[test]
fn an_interrupt_ends_it_with_what_was_measured() {
    let (sender, served) = mpsc::channel();
    let url = serve(move |stream| {
        upper(stream, |_| sender.send(()).unwrap_or_default());
    });
    let bench = start(&[&url, "--connections=1", "--duration=1h", "--warm-up=0s", "--json"]);
    for _ in 0..3 {
        served.recv_timeout(WAIT_TIMEOUT).unwrap();
    }
    interrupt(&bench);
    let output = bench.wait_with_output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(results["messages"].as_u64().unwrap() >= 2, "{results}");
}

#[test]
fn a_second_interrupt_does_not_wait_for_answers() {
    let (sender, served) = mpsc::channel();
    let url = serve(move |mut stream| {
        stream.read_exact(&mut [0; 64]).unwrap();
        sender.send(()).unwrap();
        stream.read_exact(&mut [0]).ok();
    });
    let mut bench = start(&[&url, "--connections=1", "--duration=1h"]);
    served.recv_timeout(WAIT_TIMEOUT).unwrap();
    wait_until("the load goes on", || {
        interrupt(&bench);
        bench.try_wait().unwrap().is_some()
    });
    let output = bench.wait_with_output().unwrap();
    assert_eq!(
        (output.status.code(), &*output.stdout, &*output.stderr),
        (Some(1), &b""[..], &b""[..])
    );
}

#[test]
fn an_answer_that_never_comes_is_an_error_in_the_end() {
    let url = serve(|mut stream| {
        stream.read_exact(&mut [0; 64]).unwrap();
        stream.write_all(&[b'x'; 63]).unwrap();
        stream.read_exact(&mut [0]).ok();
    });
    let output = run_short(&[&url, "--connections=1", "--expect=any"]);
    assert_fails(&output, 1, "connection 1: no reply to message 1 by the end of the run");
}

#[test]
fn at_a_rate_a_stall_shows_in_all_the_messages_that_it_held_up() {
    const STALL: Duration = Duration::from_millis(300);

    let url = serve(|stream| {
        let mut count = 0;
        upper(stream, |_| {
            count += 1;
            if count == 100 {
                thread::sleep(STALL);
            }
        });
    });
    let arguments = ["--connections=1", "--rate=1000", "--warm-up=0s", "--duration=1s", "--json"];
    let output = run(&[&[&*url], &arguments[..]].concat());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let results: Value = serde_json::from_slice(&output.stdout).unwrap();
    let latency = |at: &str| results["latency_us"][at].as_f64().unwrap();
    assert!(latency("max") >= 250_000.0, "{results}");
    // Only one message was in flight; about 300 of 1000 were due.
    assert!(latency("p90") >= 100_000.0, "{results}");
}

#[test]
fn invalid_arguments_are_a_usage_error() {
    for (arguments, complaint) in [
        (&["tcp://h:1", "--origin=x"][..], "--origin is valid with ws:// and wss:// only"),
        (&["--connections=0"], "--connections"),
        (&["--size=0"], "--size"),
        (&["--rate=0"], "--rate"),
        (&["--duration=0s"], "--duration 0 is invalid"),
        (&["--size=1000000", "--in-flight=1000"], "exceeds 64 MiB"),
        (&["--expect=lower"], "--expect"),
        (&["--once", "--rate=9"], "--rate"),
        (
            &["udp://127.0.0.1:1", "--once"],
            "--once requires connections, which datagram sockets do not have",
        ),
    ] {
        let output = run(arguments);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains(complaint), "{arguments:?}: {stderr}");
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{stderr}");
    }
}
