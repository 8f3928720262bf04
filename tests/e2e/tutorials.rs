//! Python programs in the style of socket tutorials, which know nothing of echogate: clients of its
//! services, and servers behind its gateway and its client.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use echogate_tests::{
    server::Server,
    ws::{RawWs, first},
};

use crate::{ECHOGATE, chat};

/// A running program with piped standard input and output; killed when dropped.
struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Program {
    fn start(mut command: Command) -> Program {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Program { child, stdin, stdout }
    }

    /// Starts a program of the folder `tutorials`. Each waits for its peer for at most 30 s.
    fn python(name: &str, arguments: &[&str]) -> Program {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/e2e/tutorials");
        let mut command = Command::new("python3");
        command.arg(format!("{folder}/{name}.py")).args(arguments);
        // Python encodes piped text in the system's encoding, which may not be UTF-8.
        command.env("PYTHONIOENCODING", "utf-8");
        Program::start(command)
    }

    /// Starts a server of the folder; returns the port that it has printed, too.
    fn server(name: &str, arguments: &[&str]) -> (Program, String) {
        let mut program = Program::python(name, arguments);
        let port = program.line();
        assert!(port.parse::<u16>().is_ok(), "{name} printed {port:?}");
        (program, port)
    }

    fn echogate(arguments: &[&str]) -> Program {
        let mut command = Command::new("timeout");
        command.args(["60", ECHOGATE, "connect"]).args(arguments);
        Program::start(command)
    }

    fn type_in(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
    }

    /// The next line of the output, without its line break.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end_matches('\n').to_owned()
    }

    /// The next `len` bytes of the output.
    fn read(&mut self, len: usize) -> String {
        let mut bytes = vec![0; len];
        self.stdout.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    /// Ends the input; returns the rest of the output, and asserts success.
    fn finish(mut self) -> String {
        self.stdin = None;
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}, its output: {rest}");
        rest
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// `HOST` and `PORT` of a URL such as `tcp://HOST:PORT`, an IPv6 address without its brackets.
fn host_and_port(url: &str) -> (String, String) {
    let (_, address) = url.split_once("://").unwrap();
    let (host, port) = address.rsplit_once(':').unwrap();
    (host.trim_matches(['[', ']']).to_owned(), port.to_owned())
}

#[test]
fn the_uppercase_client_gets_its_lines_on_every_kind_of_socket() {
    const TYPED: &str = "hello\n\n你好, sockets ß\n\n\nlast\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("upper.sock").display().to_string();
    let unix = format!("upper=unix://{path}");
    let more = ["upper=tcp://[::1]:0", "upper=udp://127.0.0.1:0", "upper=udp://[::1]:0", &unix];
    let more: Vec<&str> = more.iter().flat_map(|url| ["--listen", url]).collect();
    let server = Server::start(ECHOGATE, &more);
    let urls: Vec<String> = server.urls("upper").collect();
    assert_eq!(urls.len(), 5, "{urls:?}");
    for url in urls {
        let (kind, _) = url.split_once(':').unwrap();
        let mut client = if kind == "unix" {
            Program::python("upper_client", &["unix", &path])
        } else {
            let (host, port) = host_and_port(&url);
            Program::python("upper_client", &[kind, &host, &port])
        };
        client.type_in(TYPED);
        // The reply to an empty datagram is an empty datagram.
        let empty = if kind == "udp" { "" } else { "(nothing to send)" };
        let expected = format!("HELLO\n{empty}\n你好, SOCKETS ß\n{empty}\n{empty}\nLAST\n");
        assert_eq!(client.finish(), expected, "{url}");
    }
}

#[test]
fn the_loop_with_one_connection_for_each_message_gets_every_answer() {
    let server = Server::start(ECHOGATE, &["--listen", "upper=tcp://127.0.0.1:0?once"]);
    let expected: String = (0..40).map(|number| format!("MESSAGE {number}: 你好\n")).collect();
    for url in server.urls("upper") {
        let (host, port) = host_and_port(url.split('?').next().unwrap());
        let client = Program::python("one_by_one", &[&host, &port, "40"]);
        assert_eq!(client.finish(), expected, "{url}");
    }
}

#[test]
fn the_clock_client_that_sends_no_newline_gets_the_date() {
    let time = ["--listen", "time=tcp://127.0.0.1:0", "--timezone", "UTC"];
    let server = Server::start(ECHOGATE, &time);
    let (host, port) = host_and_port(server.url("time"));
    let client = Program::python("clock_client", &[&host, &port, "0.05", "3"]);
    let output = client.finish();
    assert_eq!(output.lines().count(), 3, "{output}");
    for line in output.lines() {
        let (sent, date) = line.split_once('\t').unwrap();
        let seconds = sent.split('.').next().unwrap();
        let expected = Command::new("date")
            .args(["-u", "-d", &format!("@{seconds}"), "+%Y-%m-%d %H:%M:%S"])
            .output()
            .unwrap();
        assert_eq!(date, String::from_utf8(expected.stdout).unwrap().trim(), "{sent}");
    }
}

#[test]
fn the_chat_client_ends_when_the_operator_says_bye() {
    let server = chat::server();
    let mut operator = chat::Operator::new(&server);
    let (host, port) = host_and_port(server.url("chat"));
    let mut client = Program::python("chat_client", &[&host, &port]);
    client.type_in("hello\n");
    let (conversation, _) = operator.receive_opened();
    assert_eq!(operator.receive_said().2, "hello");
    operator.say(conversation, "你好");
    // Each operator receives the messages of operators, too.
    assert_eq!(operator.receive_said().2, "你好");
    assert_eq!(client.line(), "> 你好");
    client.type_in("that is all\n");
    assert_eq!(operator.receive_said().2, "that is all");
    operator.say(conversation, "bye");
    assert!(client.finish().ends_with("> the other side said bye\n"));
}

/// A gateway to a port of 127.0.0.1.
fn gateway(port: &str) -> Server {
    let mut command = Command::new(ECHOGATE);
    command.args(["gateway", "127.0.0.1:0", &format!("127.0.0.1:{port}?framing=text")]);
    Server::spawn(command)
}

#[test]
fn an_uppercase_server_for_one_client_at_a_time_is_reached_through_a_gateway() {
    let (_upper, port) = Program::server("upper_server", &["tcp"]);
    let server = gateway(&port);
    let mut client = RawWs::connect(&server, "/");
    for (text, answer) in [("hello", "HELLO"), ("你好 a", "你好 A")] {
        client.send_frame(first::TEXT, text.as_bytes());
        let frame = client.read();
        assert_eq!((frame.first, &*frame.payload), (first::TEXT, answer.as_bytes()));
    }
    // The next client is served when the first has ended.
    let mut next = RawWs::connect(&server, "/");
    next.send_frame(first::TEXT, b"next");
    assert_eq!(client.end(1000, "").0, Some(1000));
    assert_eq!(next.read().payload, b"NEXT");
    assert_eq!(next.end(1000, "").0, Some(1000));
}

#[test]
fn the_native_client_speaks_to_the_servers_of_tutorials() {
    const TYPED: &str = "hello\n你好, sockets\n";
    let (_upper, port) = Program::server("upper_server", &["tcp"]);
    let mut client = Program::echogate(&[&format!("tcp://127.0.0.1:{port}")]);
    client.type_in(TYPED);
    assert_eq!(client.finish(), "HELLO\n你好, SOCKETS\n");
    let (_upper, port) = Program::server("upper_server", &["udp"]);
    let mut client = Program::echogate(&["--count", "2", &format!("udp://127.0.0.1:{port}")]);
    client.type_in(TYPED);
    assert_eq!(client.finish(), "HELLO\n你好, SOCKETS\n");
}

#[test]
fn the_native_client_talks_with_a_chat_server_until_that_says_bye() {
    let (mut chat, port) = Program::server("chat_server", &[]);
    let mut client = Program::echogate(&[&format!("tcp://127.0.0.1:{port}")]);
    client.type_in("hello\n");
    assert_eq!(chat.line(), "hello");
    chat.type_in("你好\n");
    assert_eq!(client.read(6), "你好");
    client.type_in("that is all\n");
    assert_eq!(chat.line(), "that is all");
    chat.type_in("bye\n");
    assert_eq!(client.read(3), "bye");
    assert_eq!(client.finish(), "");
    chat.finish();
}

#[test]
fn the_native_client_is_a_clock_to_a_server_of_dates() {
    let (_clock, port) = Program::server("clock_server", &[]);
    let url = format!("tcp://127.0.0.1:{port}");
    let clock = Program::echogate(&["--message", "1532345678.25", &url]);
    assert_eq!(clock.finish().trim_end(), "2018-07-23 11:34:38");
    let clock = Program::echogate(&["--now", "--every", "50ms", "--count", "2", &url]);
    let output = clock.finish();
    let dates = output.matches("20").count();
    assert!(dates >= 2 && output.matches(':').count() == 4, "two dates: {output}");
}
