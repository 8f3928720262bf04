//! The end of an exchange: replies that are late, follow a greeting, come in numbers or do not
//! come, and the option `--wait`.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use echogate_tests::http::read_head;
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept, protocol::Role};

use super::{assert_fails, assert_prints, interop, run, serve};
use crate::ECHOGATE;

const MS: Duration = Duration::from_millis(1);

/// Starts a WebSocket server for any number of connections at once; returns its URL.
fn serve_ws(connection: impl Fn(&mut WebSocket<TcpStream>) + Clone + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            let connection = connection.clone();
            thread::spawn(move || {
                let mut socket = accept(stream).unwrap();
                connection(&mut socket);
                // A Close frame is answered at once.
                while socket.read().is_ok() {}
            });
        }
    });
    format!("ws://{address}/")
}

fn send_text(socket: &mut WebSocket<TcpStream>, text: &'static str) {
    socket.send(Message::text(text)).unwrap();
}

/// Reads a data message.
fn read_message(socket: &mut WebSocket<TcpStream>) {
    let message = socket.read().unwrap();
    assert!(message.is_text() || message.is_binary(), "{message:?}");
}

/// The ways to send one message, each with its standard input: `--message`, a pipe, a line of a
/// pipe, and a new connection; some with `--wait`.
const WAYS: [(&[&str], &[u8]); 6] = [
    (&["--message=q"], b""),
    (&[], b"q\n"),
    (&["--count=1"], b"q\n"),
    (&["--once"], b"q\n"),
    (&["--message=q", "--wait=4s"], b""),
    (&["--once", "--wait=4s"], b"q\n"),
];

/// Runs the client in all of these ways at the same time.
fn run_all(url: &str) -> Vec<Output> {
    thread::scope(|scope| {
        let start = |(flags, input): (&'static [&'static str], &'static [u8])| {
            scope.spawn(move || run(&[&[url], flags].concat(), input))
        };
        let clients: Vec<_> = WAYS.into_iter().map(start).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    })
}

#[track_caller]
fn assert_all_print(url: &str, words: &[&str]) {
    for (output, (flags, _)) in run_all(url).into_iter().zip(WAYS) {
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!((stdout.replace('\n', ""), &*stderr), (words.concat(), ""), "{flags:?}");
        assert_eq!(output.status.code(), Some(0), "{flags:?}");
    }
}

#[test]
fn a_greeting_does_not_count_as_the_reply() {
    let url = serve_ws(|socket| {
        send_text(socket, "welcome");
        read_message(socket);
        thread::sleep(600 * MS);
        send_text(socket, "answer");
    });
    assert_all_print(&url, &["welcome", "answer"]);
}

#[test]
fn a_greeting_before_the_first_message_is_no_reply_at_all() {
    // In the same segment as the 101, so that it certainly comes first.
    let greet = |mut stream: TcpStream, answers: bool| {
        let request = read_head(&mut stream).unwrap();
        let answer = interop::answer(&request, interop::HEAD) + "\r\n";
        stream.write_all(&[answer.as_bytes(), b"\x81\x07welcome"].concat()).unwrap();
        let mut socket = WebSocket::from_raw_socket(stream, Role::Server, None);
        read_message(&mut socket);
        if answers {
            thread::sleep(1500 * MS);
            send_text(&mut socket, "answer");
        }
        while socket.read().is_ok() {}
    };
    let url = format!("ws://{}/", serve(move |stream| greet(stream, true)));
    assert_prints(&run(&[&url, "--message=q"], b""), b"welcome\nanswer\n");
    let url = format!("ws://{}/", serve(move |stream| greet(stream, false)));
    let output = run(&[&url, "--message=q", "--wait=1s"], b"");
    assert_eq!(output.stdout, b"welcome\n");
    assert_fails(&output, 1, &format!("{url}: no reply within 1 second"));
}

#[test]
fn an_acknowledgement_does_not_count_as_the_reply() {
    let url = serve_ws(|socket| {
        read_message(socket);
        send_text(socket, "ack");
        thread::sleep(300 * MS);
        send_text(socket, "answer");
    });
    assert_all_print(&url, &["ack", "answer"]);
}

#[test]
fn a_slow_answer_is_waited_for() {
    let url = serve_ws(|socket| {
        read_message(socket);
        thread::sleep(2000 * MS);
        send_text(socket, "answer");
    });
    assert_all_print(&url, &["answer"]);
}

#[test]
fn all_that_is_pushed_after_a_message_is_printed() {
    let url = serve_ws(|socket| {
        read_message(socket);
        for word in ["one", "two", "three", "four"] {
            send_text(socket, word);
            thread::sleep(300 * MS);
        }
        socket.close(None).unwrap();
    });
    assert_all_print(&url, &["one", "two", "three", "four"]);
}

#[test]
fn answers_to_messages_in_a_row_are_all_waited_for_however_slow() {
    let url = serve_ws(|socket| {
        for word in ["one", "two"] {
            read_message(socket);
            thread::sleep(1500 * MS);
            send_text(socket, word);
        }
    });
    assert_prints(&run(&[&url, "--count=2"], b"1\n2\n"), b"one\ntwo\n");
    assert_prints(&run(&[&url, "--text"], b"1\n2\n"), b"one\ntwo\n");
    let every = [&url, "--message=x", "--every=100ms", "--count=2"];
    assert_prints(&run(&every, b""), b"one\ntwo\n");
}

#[test]
fn with_stay_it_reads_until_the_server_ends() {
    let url = serve_ws(|socket| {
        for word in ["one", "two"] {
            thread::sleep(1500 * MS);
            send_text(socket, word);
        }
        socket.close(None).unwrap();
    });
    for stay in ["--stay", "--wait=forever"] {
        let client = Command::new(ECHOGATE)
            .args(["connect", &url, stay])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert_prints(&client, b"one\ntwo\n");
    }
    assert_prints(&run(&[&url, "--stay", "--message=x"], b""), b"one\ntwo\n");
}

#[test]
fn a_reply_that_does_not_come_is_a_failure_that_names_it() {
    let url = serve_ws(|socket| drop(socket.read()));
    for (flags, input) in WAYS.into_iter().take(4) {
        let arguments = [&[&*url, "--wait=200ms"], flags].concat();
        assert_fails(&run(&arguments, input), 1, &format!("{url}: no reply within 200 ms"));
    }
    let url = serve_ws(|socket| {
        read_message(socket);
        send_text(socket, "one");
    });
    let output = run(&[&url, "--count=3", "--wait=1s"], b"1\n2\n3\n");
    assert_eq!(output.stdout, b"one\n");
    assert_fails(&output, 1, &format!("{url}: only 1 of 3 replies within 1 second"));
}

#[test]
fn a_reply_that_comes_when_the_input_is_said_to_have_ended_is_none_that_is_missing() {
    let url = serve_ws(|socket| {
        read_message(socket);
        // The Close frame, which tungstenite answers at the next call.
        socket.read().unwrap();
        socket.get_mut().write_all(b"\x81\x04late").unwrap();
    });
    assert_prints(&run(&[&url, "--wait=200ms"], b"q"), b"late\n");
}

#[test]
fn where_no_reply_is_expected_none_is_waited_for() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp = format!("udp://{}", socket.local_addr().unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp = format!("tcp://{}", listener.local_addr().unwrap());
    let ws = serve_ws(|socket| drop(socket.read()));
    for url in [udp, tcp, ws] {
        assert_prints(&run(&[&url, "--wait=0s"], b"hello"), b"");
        assert_prints(&run(&[&url, "--wait=0s", "--message=hello"], b""), b"");
    }
}

#[test]
fn a_wait_is_heeded_over_streams_and_datagrams_too() {
    /// Replies to a line, but not to an incomplete one, and does not end the connection.
    fn answer_a_line(stream: &mut TcpStream) {
        if stream.read_exact(&mut [0; 2]).is_ok() {
            stream.write_all(b"ok\n").unwrap();
        }
        thread::park();
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        while let Ok((mut stream, _)) = listener.accept() {
            thread::spawn(move || answer_a_line(&mut stream));
        }
    });
    let start = Instant::now();
    assert_prints(&run(&[&url, "--wait=2s"], b"q\n"), b"ok\n");
    assert_prints(&run(&[&url, "--wait=2s", "--message=q"], b""), b"ok\n");
    assert!(start.elapsed() >= 4000 * MS);
    let line = format!("{url}: no reply within 300 ms");
    assert_fails(&run(&[&url, "--wait=300ms"], b"q"), 1, &line);

    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("udp://{}", socket.local_addr().unwrap());
    thread::spawn(move || {
        while let Ok((_, from)) = socket.recv_from(&mut [0; 64]) {
            for (pause, word) in [(0, "ack"), (300, "answer")] {
                thread::sleep(pause * MS);
                socket.send_to(word.as_bytes(), from).unwrap();
            }
        }
    });
    for arguments in [&[&*url][..], &[&url, "--wait=2s"]] {
        assert_prints(&run(arguments, b"q"), b"ackanswer");
    }
    assert_prints(&run(&[&url, "--message=q"], b""), b"ack\nanswer\n");
}
