//! The native client, `echogate connect` and `echogate listen`, as a process: in pipes, over
//! WebSocket, by datagrams, on a terminal, with messages of any source, with reconnects. The servers
//! here are a few lines each and misbehave on purpose.

#![allow(clippy::unwrap_used, reason = "the servers of tests are tests")]

mod again;
mod commands;
mod datagram;
mod done;
mod file;
mod history;
mod interop;
pub(crate) mod listen;
mod messages;
mod output;
mod pipe;
mod record;
mod terminal;
mod upper;
mod verbose;
mod websocket;

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Output, Stdio},
    sync::mpsc,
    thread,
};

use echogate_tests::{program::signal, server::WAIT_TIMEOUT};

use crate::ECHOGATE;

/// The notice of a client whose input pauses after the server's end.
const INPUT_PAUSED: &str =
    "echogate: the server has ended, and the input has paused: the rest is not sent (see --wait)\n";

/// Starts a server for one connection in a thread; returns its `HOST:PORT`.
fn serve(connection: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    thread::spawn(move || connection(listener.accept().unwrap().0));
    address
}

/// Replies to all bytes in upper case, and reads only as fast as it can write.
fn upper(mut stream: impl Read + Write) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(n @ 1..) = stream.read(&mut buffer) {
        buffer[..n].make_ascii_uppercase();
        if stream.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
}

/// `echogate connect` with pipes for all three standard streams.
fn connect(arguments: &[&str]) -> Child {
    spawn(&mut Command::new(ECHOGATE), arguments)
}

/// As [`connect`], with a command that runs the program.
fn spawn(program: &mut Command, arguments: &[&str]) -> Child {
    program
        .arg("connect")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The output and the exit status of `echogate connect` with this standard input.
pub(crate) fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut client = connect(arguments);
    let mut stdin = client.stdin.take().unwrap();
    thread::scope(|scope| {
        // In a thread, while the output is read; a client that ends early does not read all input.
        scope.spawn(move || stdin.write_all(input).ok());
        finish(client)
    })
}

/// Waits for the process to end. An open standard input stays open.
fn finish(mut client: Child) -> Output {
    let pid = client.id();
    let input = client.stdin.take();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(client.wait_with_output().unwrap()));
    let output = receiver.recv_timeout(WAIT_TIMEOUT).unwrap_or_else(|_| {
        signal(pid, "KILL");
        panic!("the client does not end")
    });
    drop(input);
    output
}

/// Asserts a failure: its exit status and its error, a single line.
#[track_caller]
fn assert_fails(output: &Output, status: i32, line: &str) {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(stderr, format!("echogate: {line}\n"));
    assert_eq!(output.status.code(), Some(status));
}

/// Asserts a success with the standard output `stdout` and an empty standard error.
#[track_caller]
fn assert_prints(output: &Output, stdout: &[u8]) {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == stdout, "{} bytes came", output.stdout.len());
}
