//! Datagrams: UDP and Unix sockets, in a pipe and on a terminal.

use std::{
    io::Write, net::UdpSocket, os::unix::net::UnixDatagram, path::Path, process::Command,
    sync::mpsc, thread, time::Instant,
};

use echogate_tests::{
    program::{Program, free_port, programs},
    pty::Terminal,
    server::{Server, WAIT_TIMEOUT},
};

use super::{assert_fails, assert_prints, connect, finish, run};
use crate::ECHOGATE;

/// A UDP socket and its URL.
fn udp() -> (UdpSocket, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    let url = format!("udp://{}", socket.local_addr().unwrap());
    (socket, url)
}

/// Replies to each datagram in upper case, and passes it on to the test.
fn upper(socket: UdpSocket) -> mpsc::Receiver<Vec<u8>> {
    let (sender, received) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 65_536];
        while let Ok((n, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..n].to_ascii_uppercase(), from).unwrap();
            sender.send(buffer[..n].to_vec()).ok();
        }
    });
    received
}

/// The URL of a Unix datagram socket.
fn unixgram(path: &Path) -> String {
    format!("unixgram://{}", path.display())
}

#[test]
fn the_reply_to_all_of_the_input_is_printed_and_then_it_ends() {
    let (socket, url) = udp();
    upper(socket);
    assert_prints(&run(&[&url], b"hello\n"), b"HELLO\n");
}

#[test]
fn an_empty_input_sends_no_datagram() {
    let (_socket, url) = udp();
    assert_prints(&run(&[&url, "--wait", "1h"], b""), b"");
}

#[test]
fn each_read_of_the_input_is_a_datagram_and_replies_come_at_once() {
    let (socket, url) = udp();
    let received = upper(socket);
    let mut client = connect(&[&url]);
    let mut input = client.stdin.take().unwrap();
    for part in [&b"one"[..], b"two\n", b"\0\xff"] {
        input.write_all(part).unwrap();
        assert_eq!(received.recv_timeout(WAIT_TIMEOUT).unwrap(), part);
    }
    drop(input);
    assert_prints(&finish(client), b"ONETWO\n\0\xff");
}

#[test]
fn what_is_longer_than_a_datagram_goes_in_several() {
    let (socket, url) = udp();
    let data: Vec<u8> = (0..65_508_u32).map(|i| (i % 251) as u8).collect();
    let received = upper(socket);
    assert_prints(&run(&[&url], &data), &data.to_ascii_uppercase());
    let received: Vec<Vec<u8>> = received.try_iter().collect();
    assert!(received.len() > 1 && received.iter().all(|datagram| datagram.len() <= 65_507));
    assert_eq!(received.concat(), data);
}

#[test]
fn what_is_piped_in_faster_than_the_server_takes_it_comes_back_whole() {
    let folder = tempfile::tempdir().unwrap();
    let echo = format!("echo={}", unixgram(&folder.path().join("s")));
    let server =
        Server::start(ECHOGATE, &["--listen", "echo=udp://127.0.0.1:0", "--listen", &echo]);
    let data: Vec<u8> = (0..500_000_u32).map(|i| (i % 251) as u8).collect();
    let lines: String = (0..1_000).map(|i| format!("line {i}\n")).collect();
    for url in server.urls("echo") {
        assert_prints(&run(&[&url], &data), &data);
        let each_line = [&url, "--count", "1000"];
        assert_prints(&run(&each_line, lines.as_bytes()), lines.as_bytes());
        let once = [&url, "--message=x", "--every=10ms", "--count=3", "--once"];
        assert_prints(&run(&once, b""), b"x\nx\nx\n");
    }
}

#[test]
fn a_server_that_does_not_answer_is_sent_all_that_there_is() {
    let (socket, url) = udp();
    let received = thread::spawn(move || {
        let (mut sum, mut buffer) = (0, [0; 65_536]);
        while sum < 200 * 64 {
            sum += socket.recv(&mut buffer).unwrap();
        }
    });
    let mut client = connect(&[&url, "--wait", "100ms"]);
    let mut input = client.stdin.take().unwrap();
    for _ in 0..200 {
        input.write_all(&[b'x'; 64]).unwrap();
    }
    drop(input);
    assert_fails(&finish(client), 1, &format!("{url}: no reply within 100 ms"));
    received.join().unwrap();
}

#[test]
fn a_reply_that_does_not_come_is_waited_for_as_long_as_asked() {
    let (_socket, url) = udp();
    let start = Instant::now();
    let line = format!("{url}: no reply within 300 ms");
    assert_fails(&run(&[&url, "--wait", "300ms"], b"hello"), 1, &line);
    assert!(start.elapsed().as_millis() >= 300);
}

#[test]
fn replies_that_are_lost_are_not_missed_for_ever() {
    let (socket, url) = udp();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        // Every other one.
        for number in 0.. {
            let Ok((n, from)) = socket.recv_from(&mut buffer) else { return };
            if number % 2 == 0 {
                socket.send_to(&buffer[..n], from).unwrap();
            }
        }
    });
    let arguments = [&url, "--message=x", "--every=10ms", "--count=5", "--wait=1s"];
    let output = run(&arguments, b"");
    assert_eq!(output.stdout, b"x\nx\nx\n");
    assert_fails(&output, 1, &format!("{url}: only 3 of 5 replies within 1 second"));
}

#[test]
fn a_port_without_a_socket_is_a_failure_that_says_so() {
    let (socket, url) = udp();
    drop(socket);
    let line = format!("{url}: port unreachable: no process listens on it");
    assert_fails(&run(&[&url], b"hello"), 1, &line);
    assert_fails(&run(&[&url, "--every=10ms", "--now"], b""), 1, &line);
}

#[test]
fn localhost_is_127_0_0_1_first() {
    // The resolver may give ::1 first, where no process listens.
    let (socket, url) = udp();
    upper(socket);
    let url = url.replace("127.0.0.1", "localhost");
    assert_prints(&run(&[&url], b"hello"), b"HELLO");
    assert_prints(&run(&[&url, "--once"], b"one\ntwo\n"), b"ONE\nTWO\n");
}

#[test]
fn on_a_terminal_a_line_is_a_datagram_without_a_newline() {
    let (socket, url) = udp();
    let received = upper(socket);
    let terminal = Terminal::start(ECHOGATE, &["connect", &url]);
    terminal.wait_for(&format!("connected to {url} (from 127.0.0.1:"));
    terminal.wait_for("> ");
    terminal.exchange("hello, 世界\r", "HELLO, 世界\n> ");
    assert_eq!(received.recv().unwrap(), "hello, 世界".as_bytes());
    terminal.type_in("\x04");
    assert_eq!(terminal.wait().0.code(), Some(0));
}

#[test]
fn a_unix_datagram_socket_is_answered_at_an_address_of_the_clients_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let socket = UnixDatagram::bind(&path).unwrap();
    thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        while let Ok((n, from)) = socket.recv_from(&mut buffer) {
            // An abstract address is no path.
            socket.send_to_addr(&buffer[..n].to_ascii_uppercase(), &from).unwrap();
        }
    });
    assert_prints(&run(&[&unixgram(&path)], b"hello"), b"HELLO");
    let data = vec![b'x'; 1_000_000];
    assert_prints(&run(&[&unixgram(&path)], &data), &data.to_ascii_uppercase());
    let left: Vec<_> = folder.path().read_dir().unwrap().collect();
    assert_eq!(left.len(), 1, "the server's own: {left:?}");
}

#[test]
fn a_unix_datagram_socket_that_is_not_there_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let url = unixgram(&path);
    assert_fails(&run(&[&url], b"x"), 1, &format!("{url}: no such file or directory"));
    drop(UnixDatagram::bind(&path).unwrap());
    assert_fails(&run(&[&url], b"x"), 1, &format!("{url}: connection refused"));
}

#[test]
fn a_unix_datagram_socket_that_is_connected_to_another_peer_is_a_failure_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let [path, other] = ["s", "other"].map(|name| folder.path().join(name));
    let socket = UnixDatagram::bind(&path).unwrap();
    let _other = UnixDatagram::bind(&other).unwrap();
    socket.connect(&other).unwrap();
    let url = unixgram(&path);
    let line = format!("{url}: the socket is connected to another peer");
    assert_fails(&run(&[&url], b"x"), 1, &line);
}

#[test]
fn socat_answers_both_kinds() {
    let Some([socat]) = programs(["socat"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    let port = free_port();
    for (address, url) in [
        (format!("UDP4-RECVFROM:{port},fork"), format!("udp://127.0.0.1:{port}")),
        (format!("UNIX-RECVFROM:{},fork", path.display()), unixgram(&path)),
    ] {
        let mut command = Command::new(&socat);
        command.args([&address, "EXEC:tr a-z A-Z"]);
        let _server = Program::start(command);
        let start = Instant::now();
        // The socket does not exist before this.
        let output = loop {
            let output = run(&[&url], b"hello");
            if output.status.success() || start.elapsed() > WAIT_TIMEOUT {
                break output;
            }
        };
        assert_prints(&output, b"HELLO");
    }
}
