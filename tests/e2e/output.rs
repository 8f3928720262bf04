//! A standard output or standard error that is not read: the server continues to serve.

use std::{
    fs::File,
    io::{PipeReader, PipeWriter, Read, Write, pipe},
    net::TcpStream,
    os::fd::OwnedFd,
    process::{Child, ChildStderr, Command, Stdio},
};

use echogate_tests::{
    http::connect,
    program::{exit_status, free_port, signal},
    server::{Server, WAIT_TIMEOUT, wait_until},
    tcp::{
        connect_with_small_buffer, noise, read_to_end, round_trip, wait_until_refused,
        write_until_blocked,
    },
    ws::{self, RawWs},
};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

use crate::ECHOGATE;

/// The number of log lines that [`fill_log`] causes. Their paths are so long that the pipe and the
/// server's queue cannot hold all of them.
const REFUSED: usize = 700;

/// A server whose log is not read and whose log queue is full.
fn with_stuck_log(more: &[&str]) -> (Server, ChildStderr, TcpStream) {
    let mut command = Command::new(ECHOGATE);
    command
        .args(["serve", "--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"])
        .args(more);
    let (server, log) = Server::spawn_with_unread_log(command);
    let client = connect(server.address("upper"));
    fill_log(&server);
    (server, log, client)
}

fn fill_log(server: &Server) {
    let path = format!("/{}", "x".repeat(6000));
    let mut http = connect(server.address("http"));
    for i in 0..REFUSED {
        assert_eq!(ws::handshake_over(&mut http, server, &format!("{path}{i}"), &[]).status, 404);
    }
}

/// Whether a client of `upper` gets a reply.
fn is_served(client: &mut TcpStream) -> bool {
    round_trip(client, b"served") == b"SERVED"
}

#[test]
fn a_log_that_is_not_read_blocks_nothing_and_counts_lost_lines() {
    let (mut server, log, mut before) = with_stuck_log(&[]);
    assert!(is_served(&mut before));
    for _ in 0..1000 {
        assert!(is_served(&mut connect(server.address("upper"))));
    }
    let mut ws = RawWs::connect(&server, "/ws");
    assert_eq!(ws.exchange(b"a"), b"A");
    drop(ws);
    assert!(is_served(&mut before));

    server.read_log(log);
    let received = server.wait_for_log(&[" WARN ", " log lines were dropped: the reader of"]);
    let number = |line: &str| -> usize {
        let words: Vec<_> = line.split(' ').collect();
        let at = words.windows(2).position(|two| two == ["log", "lines"]).unwrap();
        words[at - 1].parse().unwrap()
    };
    assert!(number(&received) > 0, "{received}");
    drop(before);
    assert_eq!(server.terminate(), Some(0));
    server.wait_for_log(&["shutting down within --drain; a second SIGTERM or SIGINT"]);
    // Every line is complete, and each logged line is present or counted as lost.
    let lines = server.log();
    let year = |line: &String| line.starts_with("20") && line.contains("Z ");
    assert!(lines.iter().all(year), "{:?}", lines.iter().find(|line| !year(line)));
    let is_of = |line: &&String| line.contains("no such route") || line.contains("kind=");
    let lost: usize =
        lines.iter().filter(|line| line.contains("were dropped")).map(|it| number(it)).sum();
    assert_eq!(lines.iter().filter(is_of).count() + lost, REFUSED + 1000 + 1 + 2);
}

#[test]
fn a_server_whose_log_nobody_reads_ends_by_its_signals() {
    let (mut server, log, mut client) = with_stuck_log(&[]);
    server.signal("TERM");
    assert_eq!(read_to_end(&mut client), b"", "an orderly end");
    drop(client);
    assert_eq!(server.wait().code(), Some(0));
    drop(log);

    let (mut server, log, client) = with_stuck_log(&["--drain", "1h"]);
    let mut deaf = connect_with_small_buffer(server.address("upper"));
    write_until_blocked(&mut deaf, &noise(64 << 20));
    server.signal("TERM");
    wait_until_refused(server.address("upper"));
    assert_eq!(server.terminate(), Some(1));
    drop((log, client, deaf));
}

#[test]
fn a_log_without_a_reader_blocks_nothing() {
    let (mut server, log, mut before) = with_stuck_log(&[]);
    drop(log);
    fill_log(&server);
    assert!(is_served(&mut before));
    drop(before);
    assert_eq!(server.terminate(), Some(0));
}

/// A full pipe.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    while writer.write(&[b'\n'; 4096]).is_ok() {}
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty())).unwrap();
    (reader, writer)
}

/// A child process that is killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[test]
fn a_standard_output_that_is_not_read_blocks_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (config, token) = (dir.path().join("echogate.toml"), dir.path().join("token"));
    std::fs::write(&token, "correct-horse-battery-staple").unwrap();
    let port = free_port();
    let settings = |more: &str| {
        let listener =
            format!("[[listener]]\nservice = \"upper\"\nurl = \"tcp://127.0.0.1:{port}\"\n");
        std::fs::write(&config, format!("http = [\"127.0.0.1:0\"]\n{more}\n{listener}")).unwrap();
    };
    settings(&format!("operator-token-file = {:?}", token.to_str().unwrap()));
    let (reader, writer) = full_pipe();
    let log = tempfile::NamedTempFile::new().unwrap();
    let mut command = Command::new(ECHOGATE);
    command.arg("serve").arg("--config").arg(&config).stdin(Stdio::null());
    command.stdout(OwnedFd::from(writer)).stderr(log.reopen().unwrap());
    let mut running = Running(command.spawn().unwrap());
    drop(command);
    let address = format!("127.0.0.1:{port}");
    wait_until(&format!("nothing listens at {address}"), || TcpStream::connect(&address).is_ok());
    let mut client = connect(&address);
    assert!(is_served(&mut client));
    // A generated token has to be printed; that must not block the reload.
    settings("");
    signal(running.0.id(), "HUP");
    let logged = || std::fs::read_to_string(log.path()).unwrap();
    wait_until("the configuration is not reloaded", || logged().contains("configuration reloaded"));
    assert!(is_served(&mut client));
    drop(client);
    signal(running.0.id(), "TERM");
    let status = exit_status(&mut running.0, WAIT_TIMEOUT).expect("the server ends");
    assert_eq!(status.code(), Some(0));
    drop(reader);
}

#[test]
fn what_is_printed_is_there_when_the_reader_comes_late() {
    let (mut reader, writer) = full_pipe();
    let mut command = Command::new(ECHOGATE);
    command.args(["serve", "--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"]);
    command.stdin(Stdio::null()).stdout(OwnedFd::from(writer)).stderr(Stdio::null());
    let running = Running(command.spawn().unwrap());
    drop(command);
    let mut printed = Vec::new();
    let mut buffer = [0; 1024];
    while !printed.ends_with(b"ready\n") {
        let read = reader.read(&mut buffer).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&printed));
        printed.extend_from_slice(&buffer[..read]);
    }
    let printed = String::from_utf8(printed).unwrap();
    assert!(
        printed.trim_start().starts_with("listening  upper  tcp://"),
        "{}",
        printed.trim_start()
    );
    drop(running);
}

#[test]
fn a_failure_to_start_is_printed_in_full() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = Command::new(ECHOGATE)
        .args(["serve", "--http", &address])
        .stdin(Stdio::null())
        .stdout(File::create("/dev/null").unwrap())
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        printed,
        format!(
            "echogate: cannot listen on http://{address}: address already in use (choose another one, or end the process that uses it)\n"
        )
    );
}
