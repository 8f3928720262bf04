//! A standard output that fails: in the client, and in commands that only print.

use std::{
    fs::File,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Output, Stdio},
    sync::mpsc::{self, Sender},
    thread,
};

use echogate_tests::http::read_head;

use super::{assert_fails, assert_prints, connect, finish, interop, run, serve, upper};
use crate::ECHOGATE;

/// Runs the program with `output` as its standard output.
fn run_into(output: impl Into<Stdio>, arguments: &[&str]) -> Output {
    Command::new(ECHOGATE)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap()
}

/// A pipe without a reader.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

const PRINTING: [&[&str]; 6] = [
    &["help"],
    &["help", "connect"],
    &["man"],
    &["--version"],
    &["completions", "bash"],
    &["check"],
];

#[test]
fn what_only_prints_fails_when_its_output_does_but_not_when_its_reader_has_seen_enough() {
    for arguments in PRINTING {
        let output = run_into(closed(), arguments);
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{arguments:?}");
        let line = "standard output: no space left on device";
        assert_fails(&run_into(full(), arguments), 1, line);
    }
}

#[test]
fn a_client_in_messages_fails_when_its_output_does() {
    let url = format!("tcp://{}", serve(upper));
    let output = run_into(full(), &["connect", &url, "--message=x"]);
    assert_fails(&output, 1, &format!("{url}: standard output: no space left on device"));
}

#[test]
fn an_error_that_cannot_be_printed_is_still_in_the_exit_status() {
    for arguments in [&["connect", "tcp://"][..], &["help", "nonsense"]] {
        let mut command = Command::new(ECHOGATE);
        command.args(arguments).stdin(Stdio::null()).stderr(closed());
        assert_eq!(command.status().unwrap().code(), Some(2), "{arguments:?}");
    }
    let url = format!("tcp://{}", serve(upper));
    let mut command = Command::new(ECHOGATE);
    command.args(["connect", &url, "--message=x", "--timing"]).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(closed());
    assert_eq!(command.status().unwrap().code(), Some(0), "times are beside the point");
}

/// The payload that a slow reader gets, in pieces of 32 KiB: more than all buffers before it hold.
const PIECES: usize = 512;
const PIECE: usize = 32 << 10;

/// Reports the client's message, answers it with `pieces`, and then stays silent. A Close is not
/// answered.
fn answer_and_stay(mut stream: TcpStream, is_websocket: bool, pieces: usize, asked: &Sender<()>) {
    let mut piece = vec![b'x'; PIECE];
    if is_websocket {
        let head = interop::answer(&read_head(&mut stream).unwrap(), interop::HEAD) + "\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let header = [&[0x82, 126][..], &(PIECE as u16).to_be_bytes()].concat();
        piece.splice(..0, header);
    }
    stream.read_exact(&mut [0]).unwrap();
    asked.send(()).unwrap();
    // Fails when the client ends before it has taken everything.
    stream.write_all(&piece.repeat(pieces)).ok();
    thread::park();
}

#[test]
fn a_slow_reader_gets_everything_whatever_the_time_limits() {
    for scheme in ["tcp", "ws"] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let (sender, asked) = mpsc::channel();
        thread::spawn(move || {
            for (pieces, stream) in [PIECES, 1].into_iter().zip(listener.incoming()) {
                let (stream, sender) = (stream.unwrap(), sender.clone());
                thread::spawn(move || {
                    answer_and_stay(stream, scheme == "ws", pieces, &sender);
                });
            }
        });
        let mut arguments = vec![&*url, "--wait=1s"];
        arguments.extend((scheme == "ws").then_some("--binary"));
        let mut slow = connect(&arguments);
        slow.stdin.take().unwrap().write_all(b"q").unwrap();
        asked.recv().unwrap();
        // When a client with the same limits has ended by them, those of the first have passed.
        assert_prints(&run(&arguments, b"q"), &[b'x'; PIECE]);
        assert_prints(&finish(slow), &[b'x'; PIECES * PIECE]);
    }
}
