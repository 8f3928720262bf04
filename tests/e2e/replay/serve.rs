//! `echogate replay --serve`: a mock server out of a recording.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    process::{Child, Command, Stdio},
};

use echogate_proto::recording::Event;
use echogate_tests::{server::WAIT_TIMEOUT, tcp};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{DOWN, Recording, UP, assert_status, hello, replay, stderr, stdout};
use crate::ECHOGATE;

/// A running mock server.
pub(super) struct Mock {
    pub(super) child: Child,
    pub(super) url: String,
}

impl Mock {
    pub(super) fn start(recording: &Recording, arguments: &[&str]) -> Mock {
        let mut command = Command::new(ECHOGATE);
        command.args(["replay", "--serve"]).arg(recording.file()).args(arguments);
        Mock::spawn(command)
    }

    /// Starts a command that is a mock server.
    pub(super) fn spawn(mut command: Command) -> Mock {
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
        let url = line.split(' ').nth(3).unwrap_or_else(|| panic!("{line}")).to_owned();
        Mock { child, url }
    }

    /// The address, without the scheme and the path.
    pub(super) fn address(&self) -> &str {
        self.url.split_once("://").unwrap().1.trim_end_matches('/')
    }

    pub(super) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address()).unwrap();
        stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        stream
    }

    /// The exit status and the standard output.
    pub(super) fn finish(self) -> (Option<i32>, String) {
        let output = self.child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    }
}

#[test]
fn a_client_gets_the_recorded_answers_also_byte_by_byte() {
    let mock = Mock::start(&hello(), &["tcp://127.0.0.1:0"]);
    let mut client = mock.connect();
    for byte in b"hello" {
        client.write_all(&[*byte]).unwrap();
    }
    assert_eq!(tcp::read_exactly(&mut client, 5), b"HELLO");
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(tcp::read_to_end(&mut client), b"");
    let (status, text) = mock.finish();
    assert!(status == Some(0) && text.ends_with(": connection 1: as recorded\n"), "{text}");
}

#[test]
fn a_client_that_sends_something_else_is_reported() {
    let mock = Mock::start(&hello(), &["tcp://127.0.0.1:0"]);
    let mut client = mock.connect();
    client.write_all(b"hullo").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(tcp::read_to_end(&mut client), b"HELLO");
    let (status, text) = mock.finish();
    let difference = "to the server, byte 1:\n    A: h|ello\n    B: h|ullo\n";
    assert!(status == Some(1) && text.contains(difference), "{text}");
}

#[test]
fn a_client_that_ends_early_or_resets_is_reported_and_the_next_one_is_served() {
    let recording = hello().after(1000).tcp(2).bytes(2, UP, "b").bytes(2, DOWN, "B");
    let mock = Mock::start(&recording, &["tcp://127.0.0.1:0"]);
    let mut first = mock.connect();
    first.write_all(b"he").unwrap();
    tcp::reset(first);
    let mut line = String::new();
    let mut mock = mock;
    let mut stdout = BufReader::new(mock.child.stdout.take().unwrap());
    while !line.contains("closed the connection early") {
        assert_ne!(stdout.read_line(&mut line).unwrap(), 0, "{line}");
    }
    assert!(
        line.contains("the client closed the connection early: received 2 of 5 bytes"),
        "{line}"
    );
    let mut second = mock.connect();
    assert_eq!(tcp::round_trip(&mut second, b"b"), b"B");
    drop(second);
    stdout.read_to_string(&mut line).unwrap();
    assert!(line.contains("connection 2: as recorded"), "{line}");
    assert_eq!(mock.child.wait().unwrap().code(), Some(1));
}

#[test]
fn the_clients_side_replays_against_the_servers_side() {
    let exchange = |recording: Recording, number| {
        recording
            .websocket(number)
            .text(number, UP, "hello")
            .text(number, DOWN, "HELLO")
            .text(number, DOWN, "more")
            .close(number, DOWN, 4001, "done")
            .close(number, UP, 4001, "")
            .after(10)
    };
    let recording = exchange(exchange(Recording::new(), 1), 2);
    let mock = Mock::start(&recording, &["ws://127.0.0.1:0"]);
    let output = replay(&recording, &[&mock.url, "--paced-by-peer", "--compare"]);
    assert_status(&output, 0);
    assert!(stdout(&output).ends_with("the same: 2 connections\n"), "{}", stdout(&output));
    let (status, text) = mock.finish();
    assert_eq!((status, text.matches("as recorded").count()), (Some(0), 2), "{text}");
}

#[test]
fn a_recorded_reset_is_played() {
    let recording =
        Recording::new().tcp(1).bytes(1, UP, "a").bytes(1, DOWN, "A").add(1, Event::Reset(DOWN));
    let mock = Mock::start(&recording, &["tcp://127.0.0.1:0"]);
    let mut client = mock.connect();
    assert_eq!(tcp::round_trip(&mut client, b"a"), b"A");
    let end = client.read(&mut [0]).map_err(|e| e.kind());
    assert_eq!(end, Err(std::io::ErrorKind::ConnectionReset));
    assert_eq!(mock.finish().0, Some(0));
}

#[test]
#[cfg(target_os = "linux")]
fn a_client_in_its_handshake_at_the_end_is_named() {
    let recording = Recording::new().websocket(1).text(1, UP, "hello");
    let mock = Mock::start(&recording, &["ws://127.0.0.1:0"]);
    let mut client = mock.connect();
    client.write_all(b"GET ").unwrap();
    tcp::wait_until_read(&client);
    kill(Pid::from_raw(mock.child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let output = mock.child.wait_with_output().unwrap();
    assert_status(&output, 0);
    let address = client.local_addr().unwrap();
    assert_eq!(stderr(&output), format!("echogate: {address}: stopped during the handshake\n"));
}

#[test]
fn with_loop_the_recording_begins_again_until_a_signal() {
    let recording = hello();
    let mock = Mock::start(&recording, &["tcp://127.0.0.1:0", "--loop"]);
    for _ in 0..3 {
        let output = replay(&recording, &[&mock.url, "--speed", "max", "--compare"]);
        assert_status(&output, 0);
    }
    kill(Pid::from_raw(mock.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    let (status, _) = mock.finish();
    assert_eq!(status, Some(0));
}
