//! A handover that fails changes nothing.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Write},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    process::Output,
    thread,
};

use echogate_tests::{http::connect, server::Server};

use super::{Folder, converse, exists};

const GREETING: &str = "echogate handover 1\n";

/// Starts a server that fails; returns its exit status and its log.
fn fails(folder: &Folder, more: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = folder.command(more).output().unwrap();
    assert!(stdout.is_empty(), "{}", String::from_utf8_lossy(&stdout));
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// Checks that a server serves on all its sockets as if nothing had happened.
fn serves(server: &Server, folder: &Folder) {
    converse(&mut connect(server.address("upper")));
    for name in ["upper.sock", "gram.sock", "handover.sock"] {
        assert!(exists(&folder.path(name)), "{name}");
    }
    let mut client = UnixStream::connect(folder.path("upper.sock")).unwrap();
    client.write_all(b"abc\n").unwrap();
    let mut answer = String::new();
    BufReader::new(client).read_line(&mut answer).unwrap();
    assert_eq!(answer, "ABC\n");
}

/// The next line of the other process.
fn line(stream: &mut BufReader<UnixStream>) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

/// A successor that has said this.
fn successor(folder: &Folder, greeting: &str) -> BufReader<UnixStream> {
    let mut stream = UnixStream::connect(folder.path("handover.sock")).unwrap();
    stream.write_all(greeting.as_bytes()).unwrap();
    BufReader::new(stream)
}

/// A successor that has received the sockets.
fn successor_with_sockets(folder: &Folder) -> BufReader<UnixStream> {
    let mut successor = successor(folder, GREETING);
    assert_eq!(line(&mut successor), GREETING);
    while line(&mut successor) != "end\n" {}
    successor
}

#[test]
fn a_successor_that_cannot_bind_a_socket_leaves_everything_as_it_was() {
    let folder = Folder::new();
    let old = folder.server(&[]);
    let (status, log) = fails(&folder, &["--listen", "upper=tcp://192.0.2.1:7007"]);
    assert_eq!(status, Some(1));
    assert!(log.contains("192.0.2.1:7007"), "{log}");
    old.wait_for_log(&["handover to process", "failed, this server continues to serve"]);
    serves(&old, &folder);
    let (status, _) = fails(&folder, &["--drain", "soon"]);
    assert_eq!(status, Some(2));
    serves(&old, &folder);
    // The next one succeeds.
    let new = folder.server(&[]);
    old.wait_for_log(&["handed over"]);
    serves(&new, &folder);
}

#[test]
fn a_successor_that_ends_with_the_sockets_in_its_hands_leaves_everything_as_it_was() {
    let folder = Folder::new();
    let mut old = folder.server(&[]);
    drop(successor_with_sockets(&folder));
    old.wait_for_log(&["failed, this server continues to serve", "has ended the connection"]);
    serves(&old, &folder);
    let mut successor = successor_with_sockets(&folder);
    successor.get_mut().write_all(b"ready 99\n").unwrap();
    let refused = line(&mut successor);
    assert!(refused.starts_with("refused ") && refused.contains("ready 99"), "{refused}");
    serves(&old, &folder);
    assert_eq!(old.terminate(), Some(0));
    assert!(!exists(&folder.path("handover.sock")), "removed at the end");
}

#[test]
fn a_successor_that_is_gone_when_the_old_process_has_stopped_is_not_waited_for() {
    let folder = Folder::new();
    let old = folder.server(&[]);
    let mut successor = successor_with_sockets(&folder);
    // The answer to the successor cannot be written, whenever the old process comes to it.
    successor.get_ref().shutdown(Shutdown::Read).unwrap();
    successor.get_mut().write_all(b"ready 0 1 2\n").unwrap();
    drop(successor);
    old.wait_for_log(&["failed, this server continues to serve"]);
    serves(&old, &folder);
    let new = folder.server(&[]);
    serves(&new, &folder);
}

#[test]
fn settings_that_are_read_while_a_handover_fails_come_into_force() {
    let folder = Folder::new();
    let file = folder.path("echogate.toml");
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let write = {
        let file = file.clone();
        move || fs::write(&file, "max-connections = 1234\n").unwrap()
    };
    let first = thread::spawn(write.clone());
    let old = folder.server(&["--config", file.to_str().unwrap()]);
    first.join().unwrap();
    let mut successor = successor_with_sockets(&folder);
    old.signal("HUP");
    // Opens as soon as the server waits for the settings.
    let mut settings = OpenOptions::new().write(true).open(&file).unwrap();
    // The answer to the successor cannot be written.
    successor.get_ref().shutdown(Shutdown::Read).unwrap();
    successor.get_mut().write_all(b"ready 0 1 2\n").unwrap();
    old.wait_for_log(&["failed, this server continues to serve"]);
    settings.write_all(b"max-connections = 4321\n").unwrap();
    drop(settings);
    old.wait_for_log(&["configuration reloaded"]);
    assert_eq!(old.metric("echogate_connections_limit"), 4321);
}

#[test]
fn a_successor_of_another_version_is_refused_in_one_line_that_names_both() {
    let folder = Folder::new();
    let old = folder.server(&[]);
    for (greeting, parts) in [
        ("echogate handover 2\n", ["version \"2\"", "version \"1\""]),
        ("GET / HTTP/1.1\n", ["refused", "not echogate"]),
    ] {
        let mut successor = successor(&folder, greeting);
        let refused = line(&mut successor);
        assert!(parts.iter().all(|part| refused.contains(part)), "{refused}");
        old.wait_for_log(&["handover", "continues to serve", parts[1]]);
        assert_eq!(line(&mut successor), "", "the end");
    }
    serves(&old, &folder);
}

#[test]
fn a_predecessor_of_another_version_or_another_program_is_reported_in_one_line() {
    for (answer, parts) in [
        ("echogate handover 2\n", ["version \"2\"", "version \"1\""]),
        ("refused it is not the time\n", ["refused by", "it is not the time"]),
        ("220 mail.example ESMTP\n", ["handover.sock", "not echogate"]),
        ("echogate handover 1\nupper tcp://127.0.0.1:1\n", ["no descriptor", "127.0.0.1:1"]),
        ("", ["--handover", "has ended the connection"]),
    ] {
        let folder = Folder::new();
        let listener = UnixListener::bind(folder.path("handover.sock")).unwrap();
        let other = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut greeting = BufReader::new(client.try_clone().unwrap());
            assert_eq!(line(&mut greeting), GREETING);
            client.write_all(answer.as_bytes()).unwrap();
        });
        let (status, log) = fails(&folder, &[]);
        assert_eq!(status, Some(1), "{log}");
        assert_eq!(log.lines().count(), 1, "{log}");
        assert!(parts.iter().all(|part| log.contains(part)), "{log}");
        other.join().unwrap();
    }
}

#[test]
fn a_socket_file_that_no_process_answers_on_is_replaced() {
    let folder = Folder::new();
    drop(UnixListener::bind(folder.path("handover.sock")).unwrap());
    let mut old = folder.server(&[]);
    let _new = folder.server(&[]);
    assert_eq!(old.wait().code(), Some(0));
}

#[test]
fn a_file_that_is_not_a_socket_is_kept_and_reported() {
    let folder = Folder::new();
    fs::write(folder.path("handover.sock"), "notes").unwrap();
    let (status, log) = fails(&folder, &[]);
    assert_eq!(status, Some(1));
    assert!(log.contains("--handover") && log.contains("not a socket"), "{log}");
    assert!(exists(&folder.path("handover.sock")));
}

#[test]
fn a_program_that_only_looks_whether_the_socket_is_served_leaves_no_trace() {
    let folder = Folder::new();
    let old = folder.server(&[]);
    drop(UnixStream::connect(folder.path("handover.sock")).unwrap());
    let new = folder.server(&[]);
    old.wait_for_log(&["handed over"]);
    assert!(!old.log().iter().any(|line| line.contains("failed")), "{:#?}", old.log());
    serves(&new, &folder);
}
