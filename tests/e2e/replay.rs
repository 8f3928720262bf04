//! `echogate replay` and `echogate compare`: recordings that the tests write, played against servers
//! and clients that they control.

#![allow(clippy::unwrap_used, reason = "the servers of tests are tests")]

mod chrome;
mod compare;
mod formats;
mod incomplete;
mod serve;
mod transports;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use echogate_proto::{
    api::Kind,
    recording::{
        Close, Control, Data, DataKind, Direction, Event, Frame, Opened, Record, Side, TapPoint,
    },
};
use echogate_tests::{server::Server, tcp, ws::RawWsServer};
use tempfile::TempDir;

use crate::ECHOGATE;

const UP: TapPoint = TapPoint { side: Side::Client, direction: Direction::ToServer };
const DOWN: TapPoint = TapPoint { side: Side::Client, direction: Direction::ToClient };

/// A recording in JSON Lines that a test writes.
struct Recording {
    folder: TempDir,
    lines: String,
    /// In milliseconds.
    time: u64,
}

impl Recording {
    fn new() -> Recording {
        Recording { folder: tempfile::tempdir().unwrap(), lines: String::new(), time: 0 }
    }

    /// Lets time pass.
    fn after(mut self, milliseconds: u64) -> Recording {
        self.time += milliseconds;
        self
    }

    fn add(mut self, connection: u64, event: Event) -> Recording {
        let time = 1_790_000_000.0 + self.time as f64 / 1e3;
        let record = Record { time, connection, event };
        self.lines += &(serde_json::to_string(&record).unwrap() + "\n");
        self
    }

    fn tcp(self, connection: u64) -> Recording {
        let opened = Opened { kind: Some(Kind::Tcp), ..Opened::default() };
        self.add(connection, Event::Opened(opened.into()))
    }

    fn websocket(self, connection: u64) -> Recording {
        let opened = Opened {
            kind: Some(Kind::WebSocket),
            client_has_frames: true,
            request: Some("GET /recorded?x=1 HTTP/1.1\r\n".to_owned()),
            protocol: Some("chat".to_owned()),
            ..Opened::default()
        };
        self.add(connection, Event::Opened(opened.into()))
    }

    fn bytes(self, connection: u64, point: TapPoint, bytes: &str) -> Recording {
        self.data(connection, point, DataKind::Bytes, None, bytes)
    }

    fn text(self, connection: u64, point: TapPoint, text: &str) -> Recording {
        let length = text.len() as u64;
        let frame = Frame { fin: true, opcode: 1, rsv: 0, masked: false, length, offset: 0 };
        self.data(connection, point, DataKind::Text, Some(frame), text)
    }

    fn data(
        self,
        connection: u64,
        point: TapPoint,
        kind: DataKind,
        frame: Option<Frame>,
        bytes: &str,
    ) -> Recording {
        let payload = bytes.as_bytes().into();
        self.add(connection, Event::Data(Data { point, kind, frame, payload }))
    }

    fn close(self, connection: u64, point: TapPoint, code: u16, reason: &str) -> Recording {
        let reason = reason.to_owned();
        self.add(connection, Event::Close(Close { point, code: Some(code), reason }))
    }

    /// The file.
    fn file(&self) -> PathBuf {
        let path = self.folder.path().join("recording.jsonl");
        std::fs::write(&path, &self.lines).unwrap();
        path
    }
}

/// An exchange with the service `upper`.
fn hello() -> Recording {
    Recording::new()
        .tcp(1)
        .bytes(1, UP, "hello")
        .bytes(1, DOWN, "HELLO")
        .add(1, Event::EndOfInput(UP))
        .add(1, Event::EndOfInput(DOWN))
}

fn echogate(command: &str, file: &Path, arguments: &[&str]) -> Output {
    Command::new(ECHOGATE).arg(command).arg(file).args(arguments).output().unwrap()
}

fn replay(recording: &Recording, arguments: &[&str]) -> Output {
    echogate("replay", &recording.file(), arguments)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[track_caller]
fn assert_status(output: &Output, status: i32) {
    assert_eq!(output.status.code(), Some(status), "{}{}", stdout(output), stderr(output));
}

/// A server for `count` connections in turn, each with its number; returns its URL.
fn serve(count: usize, mut connection: impl FnMut(usize, TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for number in 0..count {
            connection(number, listener.accept().unwrap().0);
        }
    });
    url
}

#[test]
fn a_recorded_stream_replays_and_its_answers_are_compared() {
    let server = crate::server();
    let url = server.url("upper");
    for pace in [&["--speed", "max"][..], &["--paced-by-peer"], &[]] {
        let output = replay(&hello(), &[&[url, "--compare"], pace].concat());
        assert_status(&output, 0);
        assert!(stdout(&output).ends_with("the same: 1 connection\n"), "{}", stdout(&output));
    }
    let other = Recording::new().tcp(1).bytes(1, UP, "hello").bytes(1, DOWN, "HELLA");
    let output = replay(&other, &[url, "--compare", "--speed", "max"]);
    assert_status(&output, 1);
    let difference = "to the client, byte 4:\n    A: HELL|A\n    B: HELL|O\n";
    assert!(stdout(&output).contains(difference), "{}", stdout(&output));
    assert_eq!(stderr(&output), "echogate: 1 of 1 connections differ\n");
}

#[test]
fn without_compare_only_failures_are_reported() {
    let server = crate::server();
    let output = replay(&hello(), &[server.url("upper"), "--speed", "max"]);
    assert_status(&output, 0);
    assert_eq!((&*stdout(&output), &*stderr(&output)), ("", "echogate: 1 connection replayed\n"));
    drop(server);
    let output = replay(&hello(), &["tcp://127.0.0.1:1", "--speed", "max"]);
    assert_status(&output, 1);
    assert_eq!(
        stderr(&output),
        "echogate: connection 1: connection refused\n\
         echogate: tcp://127.0.0.1:1: 1 of 1 connections failed\n"
    );
}

#[test]
fn connections_begin_at_their_offsets_divided_by_the_speed() {
    let recording =
        Recording::new().tcp(1).bytes(1, UP, "a").after(10_000).tcp(2).bytes(2, UP, "b");
    let (sender, times) = mpsc::channel();
    let url = serve(2, move |_, mut stream| {
        let byte = tcp::read_exactly(&mut stream, 1);
        sender.send((byte, Instant::now())).unwrap();
    });
    assert_status(&replay(&recording, &[&url, "--speed", "10"]), 0);
    let [(first, begun), (second, next)] = [times.recv().unwrap(), times.recv().unwrap()];
    assert_eq!((&first[..], &second[..]), (&b"a"[..], &b"b"[..]));
    assert!(next - begun >= Duration::from_millis(500), "{:?}", next - begun);
}

#[test]
fn at_full_speed_a_connection_follows_those_that_had_ended_before_it() {
    let recording = Recording::new()
        .tcp(1)
        .bytes(1, UP, "a")
        .bytes(1, DOWN, "A")
        .add(1, Event::EndOfInput(UP))
        .add(1, Event::EndOfInput(DOWN))
        .after(100_000)
        .tcp(2)
        .bytes(2, UP, "b");
    let (sender, seen) = mpsc::channel();
    let url = serve(2, move |number, mut stream| {
        if number == 0 {
            tcp::read_exactly(&mut stream, 1);
            stream.write_all(b"A").unwrap();
        }
        sender.send(tcp::read_to_end(&mut stream)).unwrap();
    });
    assert_status(&replay(&recording, &[&url, "--speed", "max"]), 0);
    assert_eq!([seen.recv().unwrap(), seen.recv().unwrap()], [b"".to_vec(), b"b".to_vec()]);
}

#[test]
fn paced_by_the_peer_a_message_waits_for_the_reply_to_the_one_before() {
    let recording = Recording::new()
        .tcp(1)
        .bytes(1, UP, "a")
        .after(100_000)
        .bytes(1, DOWN, "AA")
        .bytes(1, UP, "b")
        .bytes(1, DOWN, "B");
    let (sender, seen) = mpsc::channel();
    let url = serve(1, move |_, mut stream| {
        let mut reads = Vec::new();
        // The first reply has two parts.
        for parts in [&["A", "A"][..], &["B"]] {
            let mut buffer = [0; 9];
            let n = stream.read(&mut buffer).unwrap();
            reads.push(buffer[..n].to_vec());
            parts.iter().for_each(|part| stream.write_all(part.as_bytes()).unwrap());
        }
        sender.send(reads).unwrap();
        tcp::read_to_end(&mut stream);
    });
    assert_status(&replay(&recording, &[&url, "--paced-by-peer", "--compare"]), 0);
    assert_eq!(seen.recv().unwrap(), [b"a", b"b"]);
}

#[test]
fn half_closes_and_resets_are_as_recorded() {
    let recording = Recording::new()
        .tcp(1)
        .bytes(1, UP, "a")
        .add(1, Event::EndOfInput(UP))
        .after(1)
        .bytes(1, DOWN, "late")
        .add(1, Event::EndOfInput(DOWN))
        .tcp(2)
        .bytes(2, UP, "b")
        .bytes(2, DOWN, "B")
        .add(2, Event::Reset(UP));
    let (sender, ends) = mpsc::channel();
    let url = serve(2, move |_, mut stream| {
        let mut first = [0];
        stream.read_exact(&mut first).unwrap();
        if first == *b"b" {
            stream.write_all(b"B").unwrap();
        }
        let end = stream.read(&mut [0]).map_err(|e| e.kind());
        if first == *b"a" {
            stream.write_all(b"late").unwrap();
        }
        sender.send((first[0], end)).unwrap();
    });
    let output = replay(&recording, &[&url, "--speed", "max", "--compare"]);
    assert_status(&output, 0);
    let mut ends = [ends.recv().unwrap(), ends.recv().unwrap()];
    ends.sort_by_key(|(first, _)| *first);
    assert_eq!(ends, [(b'a', Ok(0)), (b'b', Err(std::io::ErrorKind::ConnectionReset))]);
}

#[test]
fn a_websocket_has_the_recorded_path_subprotocol_messages_and_close() {
    let recording = Recording::new()
        .websocket(1)
        .text(1, UP, "hello")
        .add(1, Event::Ping(Control { point: UP, payload: b"p"[..].into() }))
        .text(1, DOWN, "HELLO")
        .close(1, UP, 4000, "bye")
        .close(1, DOWN, 4000, "");
    let (sender, seen) = mpsc::channel();
    let url = serve(2, move |_, stream| {
        let mut socket = RawWsServer::accept(stream, &["Sec-WebSocket-Protocol: chat"]);
        let offered = socket.header("sec-websocket-protocol").map(str::to_owned);
        // A Ping is answered although the recording has none.
        socket.send_frame(0x89, b"live");
        let frames: Vec<_> = (0..3).map(|_| socket.read()).collect();
        let mut frames: Vec<_> =
            frames.into_iter().map(|frame| (frame.first, frame.payload)).collect();
        frames.sort();
        socket.send_frame(0x81, b"HELLO");
        let close = socket.read();
        let (code, reason) = close.close();
        sender.send((offered, frames, (code, reason.to_owned()))).unwrap();
        socket.close(4000, "");
    });
    let url = url.replacen("tcp", "ws", 1);
    let output = replay(&recording, &[&url, "--speed", "max", "--compare"]);
    assert_status(&output, 0);
    let (offered, frames, close) = seen.recv().unwrap();
    assert_eq!(offered.as_deref(), Some("chat"));
    let expected = [(0x81, b"hello".to_vec()), (0x89, b"p".to_vec()), (0x8a, b"live".to_vec())];
    assert_eq!(frames, expected);
    assert_eq!(close, (Some(4000), "bye".to_owned()));
}

#[test]
fn the_recorded_path_is_asked_for_unless_the_url_has_one() {
    let recording = Recording::new().websocket(1).text(1, UP, "hello");
    let (sender, seen) = mpsc::channel();
    let url = serve(2, move |_, mut stream| {
        let head = echogate_tests::ws::read_request(&mut stream);
        sender.send(head[0].clone()).unwrap();
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").unwrap();
        stream.shutdown(Shutdown::Write).ok();
        tcp::read_to_end(&mut stream);
    });
    let url = url.replacen("tcp", "ws", 1);
    for (url, path) in [(url.clone(), "/recorded?x=1"), (url + "/given", "/given")] {
        let output = replay(&recording, &[&url, "--speed", "max"]);
        assert_status(&output, 1);
        assert!(stderr(&output).contains("the server responded 404 Not Found"));
        assert_eq!(seen.recv().unwrap(), format!("GET {path} HTTP/1.1"));
    }
}

#[test]
fn a_server_that_is_silent_or_ends_early_is_a_failure_in_words() {
    let (sender, stop) = mpsc::channel::<()>();
    let url = serve(1, move |_, _stream| assert!(stop.recv().is_err()));
    let output = replay(&hello(), &[&url, "--speed", "max", "--timeout", "50ms"]);
    assert_status(&output, 1);
    let silent = "connection 1: no data from the server for 50ms (--timeout 50ms beyond the longest \
                  pause of the recording): received 0 of 5 bytes";
    assert!(stderr(&output).contains(silent), "{}", stderr(&output));
    drop(sender);

    let url = serve(1, |_, mut stream| {
        tcp::read_exactly(&mut stream, 5);
        stream.write_all(b"HEL").unwrap();
    });
    let output = replay(&hello(), &[&url, "--speed", "max", "--compare"]);
    assert_status(&output, 1);
    let early = "  B: the server closed the connection early: received 3 of 5 bytes\n";
    assert!(stdout(&output).contains(early), "{}", stdout(&output));
    assert!(stdout(&output).contains("A: HEL|LO\n    B: nothing more"), "{}", stdout(&output));
}

#[test]
fn a_large_stream_passes_in_both_directions_at_once() {
    let big = "abcdefgh".repeat(256 * 1024);
    let recording = Recording::new()
        .tcp(1)
        .bytes(1, UP, &big)
        .bytes(1, DOWN, &big.to_uppercase())
        .add(1, Event::EndOfInput(UP))
        .add(1, Event::EndOfInput(DOWN));
    let server = crate::server();
    let output = replay(&recording, &[server.url("upper"), "--speed", "max", "--compare"]);
    assert_status(&output, 0);
}

#[test]
fn datagrams_replay_to_a_datagram_socket() {
    let server = Server::start(ECHOGATE, &["--listen", "upper=udp://127.0.0.1:0"]);
    let url = server.urls("upper").find(|url| url.starts_with("udp")).unwrap();
    let opened = Opened { kind: Some(Kind::Udp), ..Opened::default() };
    let mut recording = Recording::new().add(1, Event::Opened(opened.into()));
    for text in ["one", "two"] {
        recording = recording.data(1, UP, DataKind::Datagram, None, text).data(
            1,
            DOWN,
            DataKind::Datagram,
            None,
            &text.to_uppercase(),
        );
    }
    let output = replay(&recording, &[&url, "--paced-by-peer", "--compare"]);
    assert_status(&output, 0);
}

#[test]
fn what_passes_is_recorded_and_the_record_replays() {
    let server = crate::server();
    let recording = hello();
    for format in ["pcapng", "jsonl"] {
        let record = recording.folder.path().join(format!("record.{format}"));
        let path = record.to_str().unwrap();
        let url = server.url("upper");
        assert_status(&replay(&recording, &[url, "--speed", "max", "--record", path]), 0);
        assert_status(&echogate("compare", &recording.file(), &[path]), 0);
        assert_status(&echogate("replay", &record, &[url, "--speed", "max", "--compare"]), 0);
    }
}

#[test]
fn what_cannot_be_replayed_is_refused_in_one_line() {
    let recording = hello();
    let file = recording.file();
    let name = file.display();
    let damaged = recording.folder.path().join("damaged");
    std::fs::write(&damaged, "{\"time\":1,").unwrap();
    for (file, arguments, complaint) in [
        (
            &file,
            &["ws://127.0.0.1:1"][..],
            format!(
                "{name}: connection 1 (to ) is a byte stream: give an endpoint of tcp://, tls:// and \
             unix://, or select other connections with --connection"
            ),
        ),
        (&file, &["-n", "2"], format!("{name}: no connection 2: the recording has 1")),
        (&file, &["--json"], "--json requires --compare".to_owned()),
        (&file, &["--record", "x"], "x: expected a name that ends in .pcapng".to_owned()),
        (
            &file,
            &["--serve", "-H", "a:b"],
            "--header is not valid with --serve: only clients use it".to_owned(),
        ),
        (&file, &["--speed", "0"], "expected a number from 0.001 to 1000000, or max".to_owned()),
        (&damaged, &[], format!("{}: byte 10: the file ends within a line", damaged.display())),
        (&recording.folder.path().join("none"), &[], "none: no such file".to_owned()),
    ] {
        let output = echogate("replay", file, arguments);
        assert_status(&output, 2);
        let stderr = stderr(&output);
        assert!(stderr.contains(&complaint) && stderr.lines().count() == 1, "{stderr}");
    }
}
