//! A file from one `echogate` to another: whole, in little memory, and a failure at both ends when
//! the transfer is cut.

use std::{
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
};

use echogate_tests::tcp::{noise, reset};

use super::{
    connect, finish,
    listen::{Listener, listen, listen_with},
};

/// The length of a piece of the file, no multiple of a buffer size.
const PIECE: usize = 1_000_003;

/// The pieces of more than 1 GiB.
const GIB: usize = 1074;

/// The most memory that either end may take, in KiB.
pub(super) const MAX_MEMORY: usize = 40_000;

/// The peak of a process' memory, in KiB.
pub(super) fn peak_memory(process: &Child) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Sends `pieces` through `from` to `to`, checks them and the memory of both processes, and waits
/// for both to end.
fn assert_file_passes(mut from: Child, mut to: Child, pieces: usize) {
    let piece = noise(PIECE);
    let (mut input, mut output) = (from.stdin.take().unwrap(), to.stdout.take().unwrap());
    let sent = piece.clone();
    let sender = thread::spawn(move || {
        (0..pieces).for_each(|_| input.write_all(&sent).unwrap());
        input
    });
    let mut received = vec![0; PIECE];
    for number in 0..pieces {
        output.read_exact(&mut received).unwrap();
        assert!(received == piece, "piece {number} of {pieces}");
    }
    let input = sender.join().unwrap();
    for process in [&from, &to] {
        let memory = peak_memory(process);
        assert!(memory < MAX_MEMORY, "{memory} KiB");
    }
    drop(input);
    assert_eq!(output.read_to_end(&mut received).unwrap(), 0);
    for (end, process) in [("from", from), ("to", to)] {
        assert_eq!(finish(process).status.code(), Some(0), "{end}");
    }
}

#[test]
fn a_file_passes_whole_in_both_directions() {
    let Listener { child, url, .. } = listen_with(&["127.0.0.1:0"], Stdio::null());
    assert_file_passes(connect(&[&url]), child, GIB);
    let Listener { child, url, .. } = listen(&["127.0.0.1:0"]);
    let mut receiver = connect(&[&url]);
    drop(receiver.stdin.take());
    assert_file_passes(child, receiver, 8);
    let Listener { child, url, .. } = listen_with(&["--binary", "ws://127.0.0.1:0"], Stdio::null());
    assert_file_passes(connect(&[&url, "--binary", "--half-close"]), child, 8);
}

fn kill(process: &mut Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

/// The standard error of a process that ends with status 1.
#[track_caller]
fn failure(process: Child) -> String {
    let output = finish(process);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

/// Starts a listener and a client that has sent a piece, which the listener has written.
fn transfer(input: Stdio) -> (Listener, Child) {
    let mut listener = listen_with(&["0"], input);
    let mut sender = connect(&[&listener.url]);
    sender.stdin.as_mut().unwrap().write_all(&noise(PIECE)).unwrap();
    listener.child.stdout.as_mut().unwrap().read_exact(&mut vec![0; PIECE]).unwrap();
    listener.notice();
    (listener, sender)
}

#[test]
fn a_sender_that_is_killed_is_a_failure_for_the_receiver() {
    for input in [Stdio::null(), Stdio::piped()] {
        let (mut listener, mut sender) = transfer(input);
        kill(&mut sender);
        let line = format!("echogate: {}: connection reset by peer", listener.url);
        assert_eq!(listener.notice(), line);
        assert_eq!(listener.finish().status.code(), Some(1));
    }
}

#[test]
fn a_receiver_that_is_killed_is_a_failure_for_the_sender() {
    let (mut listener, sender) = transfer(Stdio::null());
    kill(&mut listener.child);
    let error = failure(sender);
    assert!(error.contains("connection reset by peer"), "{error}");
    // Everything has been sent, but not been written yet.
    let mut listener = listen_with(&["0"], Stdio::null());
    let mut sender = connect(&[&listener.url]);
    sender.stdin.take().unwrap().write_all(&noise(200_000)).unwrap();
    listener.child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    kill(&mut listener.child);
    let error = failure(sender);
    assert!(error.contains("connection reset by peer"), "{error}");
}

#[test]
fn an_output_that_fails_is_a_failure_for_both() {
    let (mut listener, mut sender) = transfer(Stdio::null());
    drop(listener.child.stdout.take());
    let mut input = sender.stdin.take().unwrap();
    thread::spawn(move || while input.write_all(&[0; 65536]).is_ok() {});
    let line = format!("echogate: {}: standard output: broken pipe", listener.url);
    assert_eq!(listener.notice(), line);
    assert_eq!(listener.finish().status.code(), Some(1));
    failure(sender);
}

#[test]
fn a_connection_that_is_reset_in_between_is_a_failure_for_both() {
    let mut listener = listen_with(&["0"], Stdio::null());
    let between = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut sender = connect(&[&between.local_addr().unwrap().to_string()]);
    let (mut from, _) = between.accept().unwrap();
    let mut to = TcpStream::connect(listener.address()).unwrap();
    sender.stdin.as_mut().unwrap().write_all(b"half").unwrap();
    let mut half = [0; 4];
    from.read_exact(&mut half).unwrap();
    to.write_all(&half).unwrap();
    listener.child.stdout.as_mut().unwrap().read_exact(&mut half).unwrap();
    listener.notice();
    reset(from);
    reset(to);
    let error = failure(sender);
    assert!(error.ends_with(": connection reset by peer\n"), "{error}");
    assert!(listener.notice().ends_with(": connection reset by peer"));
    assert_eq!(listener.finish().status.code(), Some(1));
}

#[test]
fn the_shell_redirects_files_as_in_the_readme() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::write(path("photo.jpg"), noise(3_000_000)).unwrap();
    let mut listener = listen_with(&["127.0.0.1:0"], Stdio::null());
    let mut output = listener.child.stdout.take().unwrap();
    let received = thread::spawn(move || {
        let mut received = Vec::new();
        output.read_to_end(&mut received).unwrap();
        received
    });
    let (host, port) = listener.address().rsplit_once(':').unwrap();
    let sent = Command::new(crate::ECHOGATE)
        .args(["connect", host, port])
        .stdin(fs::File::open(path("photo.jpg")).unwrap())
        .output();
    assert_eq!(sent.unwrap().status.code(), Some(0));
    assert_eq!(listener.finish().status.code(), Some(0));
    assert!(received.join().unwrap() == fs::read(path("photo.jpg")).unwrap());
}
