//! `echogate tap`.

use std::{
    io::{BufRead, BufReader, Read, Write, pipe},
    net::TcpStream,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
};

use echogate_proto::recording::{Event, Record};
use echogate_tests::{
    http::connect,
    server::{Server, WAIT_TIMEOUT},
    tcp::{read_exactly, round_trip},
    tls::Authority,
    ws::RawWs,
};

use super::id_of;
use crate::{ECHOGATE, server};

/// A running `echogate tap`, stopped when dropped.
struct Tap {
    child: Child,
    output: Receiver<String>,
}

/// The lines of a pipe, read in a thread.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (lines, output) = channel();
    thread::spawn(move || {
        let mut all = BufReader::new(pipe).lines().map_while(Result::ok);
        all.try_for_each(|line| lines.send(line))
    });
    output
}

impl Tap {
    fn start(arguments: &[&str]) -> Tap {
        Tap::spawn(command(arguments).stdout(Stdio::piped()))
    }

    fn spawn(command: &mut Command) -> Tap {
        let mut child = command.spawn().unwrap();
        let output = lines(child.stdout.take().unwrap());
        Tap { child, output }
    }

    /// The next line, with `TIME` for the time.
    fn line(&mut self) -> String {
        let line = self.output.recv_timeout(WAIT_TIMEOUT).expect("a line");
        match line.split_once(' ') {
            Some((sign @ (">" | "<" | "*"), rest)) => {
                let (time, rest) = rest.split_once(' ').unwrap();
                assert_eq!(time.len(), "12:00:01.234567".len(), "{line}");
                format!("{sign} TIME {rest}")
            }
            _ => line,
        }
    }

    fn lines<const N: usize>(&mut self) -> [String; N] {
        std::array::from_fn(|_| self.line())
    }

    fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }
}

impl Drop for Tap {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(ECHOGATE);
    command.arg("tap").args(arguments).env("no_proxy", "*");
    command
}

fn output(arguments: &[&str]) -> Output {
    command(arguments).output().unwrap()
}

/// A client of `upper` that has had an answer.
fn client(server: &Server) -> TcpStream {
    let mut client = connect(server.address("upper"));
    round_trip(&mut client, b"hello\n");
    client
}

#[test]
fn the_only_connection_is_shown_until_it_ends() {
    let server = server();
    let url = server.url("http");
    let mut client = client(&server);
    let mut tap = Tap::start(&[url]);
    let [opened, rest @ ..] = tap.lines::<5>();
    let peer = client.local_addr().unwrap();
    assert_eq!(opened, format!("* TIME {peer} to upper, tcp"));
    assert_eq!(
        rest,
        ["> TIME bytes, 6 bytes", "  hello\\n", "< TIME bytes, 6 bytes", "  HELLO\\n"]
    );
    client.write_all(b"\x1b[2J").unwrap();
    assert_eq!(tap.lines(), ["> TIME bytes, 4 bytes", "  \\x1b[2J"]);
    read_exactly(&mut client, 4);
    assert_eq!(tap.lines(), ["< TIME bytes, 4 bytes", "  \\x1b[2J"]);
    drop(client);
    assert_eq!(
        tap.lines(),
        [
            "> TIME end of input",
            "< TIME end of input",
            "* TIME closed: the client closed the connection"
        ]
    );
    assert!(tap.wait().success());
}

#[test]
fn a_client_of_a_bridge_to_a_listener_of_the_server_is_one_connection() {
    let server = server();
    let mut websocket = RawWs::connect(&server, "/ws");
    assert_eq!(websocket.exchange(b"hello"), b"HELLO");
    assert_eq!(server.connections().len(), 2, "the client, and the bridge at the listener");
    let opened = Tap::start(&[server.url("http")]).line();
    assert!(opened.contains(" to /ws, websocket"), "{opened}");
}

#[test]
fn several_connections_are_listed_and_one_is_shown_by_its_id_in_hex_or_json() {
    let server = Server::start(ECHOGATE, &["--route", "/x=service:upper"]);
    let url = server.url("http");
    let none = output(&[url]);
    assert!(none.status.success());
    assert!(String::from_utf8_lossy(&none.stdout).starts_with("no open connections"));
    let _other = client(&server);
    let mut websocket = RawWs::connect(&server, "/x");
    let id = id_of(&server, "/x").to_string();
    let list = String::from_utf8(output(&[url]).stdout).unwrap();
    assert!(list.starts_with("ID  KIND       PEER"), "{list}");
    assert!(list.lines().any(|line| line.starts_with(&format!("{id}   websocket"))), "{list}");
    let mut hex = Tap::start(&[&id, url, "--hex", "--side", "client"]);
    let mut json = Tap::start(&[&id, url, "--json"]);
    hex.line();
    json.line();
    assert_eq!(websocket.exchange(b"hello"), b"HELLO");
    let hello = "  00000000  68 65 6c 6c 6f                                   |hello|";
    assert_eq!(hex.lines(), ["> TIME text FIN, 5 bytes", hello]);
    let record: Record = serde_json::from_str(&json.line()).unwrap();
    assert!(matches!(record.event, Event::Data(data) if data.payload.as_bytes() == b"hello"));
    assert_eq!(record.connection.to_string(), id);
    websocket.end(1000, "bye");
    assert!(hex.wait().success() && json.wait().success());
}

#[test]
fn the_next_connection_is_waited_for_over_a_unix_socket_and_https() {
    let dir = tempfile::tempdir().unwrap();
    let socket = format!("unix://{}", dir.path().join("http.sock").display());
    let authority = Authority::with_certificate(&["localhost"]);
    let mut command = Command::new(ECHOGATE);
    command.args(["serve", "--http", "127.0.0.1:0", "--http", &socket]);
    command.args(["--listen", "upper=tcp://127.0.0.1:0"]).args(authority.flags());
    let server = Server::spawn(command);
    let port = server.address("http").split_once(':').unwrap().1;
    let https = format!("https://localhost:{port}");
    let insecure = [&https, "--any", "--insecure"];
    for arguments in [&[&*socket, "--any"][..], &insecure] {
        let mut tap = command_waiting(arguments);
        let client = client(&server);
        let opened = tap.line();
        assert!(opened.ends_with("to upper, tcp"), "{opened}");
        assert_eq!(tap.lines(), ["> TIME bytes, 6 bytes", "  hello\\n"]);
        drop(client);
    }
}

#[test]
fn with_insecure_any_certificate_is_taken_and_it_is_said() {
    let authority = Authority::with_certificate(&["gate.example"]);
    let flags = authority.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let server = Server::start(ECHOGATE, &flags);
    let output = output(&[&format!("https://{}", server.address("http")), "--insecure"]);
    let warning = "echogate: warning: the server's certificate is not verified (--insecure)\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), warning);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn the_next_connection_is_shown_although_it_ends_at_once() {
    let server = server();
    let mut tap = command_waiting(&[server.url("http"), "--any"]);
    let peer = connect(server.address("upper")).local_addr().unwrap();
    assert_eq!(
        tap.lines(),
        [
            &*format!("* TIME {peer} to upper, tcp"),
            "> TIME end of input",
            "< TIME end of input",
            "* TIME closed: the client closed the connection"
        ]
    );
    assert!(tap.wait().success());
}

#[test]
fn a_reader_that_has_seen_enough_ends_the_command() {
    let server = server();
    let (_, no_reader) = pipe().unwrap();
    let mut command = command(&[server.url("http"), "--any"]);
    let mut child = command.stdout(no_reader).stderr(Stdio::piped()).spawn().unwrap();
    let said = lines(child.stderr.take().unwrap());
    let mut tap = Tap { child, output: said };
    assert_eq!(tap.line(), "echogate: waiting for the next connection");
    let _client = client(&server);
    assert!(tap.output.recv_timeout(WAIT_TIMEOUT).is_err(), "no error is printed");
    assert!(tap.wait().success());
}

/// Starts a command that waits for the next connection, and waits until it does.
fn command_waiting(arguments: &[&str]) -> Tap {
    let mut tap = Tap::spawn(command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()));
    let said = lines(tap.child.stderr.take().unwrap());
    loop {
        let line = said.recv_timeout(WAIT_TIMEOUT).expect("a line");
        if line == "echogate: waiting for the next connection" {
            return tap;
        }
    }
}

#[test]
fn refusals_and_wrong_arguments_are_one_line_and_a_status() {
    let server = Server::start(ECHOGATE, &["--no-tap"]);
    let url = server.url("http");
    let _client = client(&server);
    for (arguments, status, said) in [
        (&[url][..], 1, ": the server answered 403: taps are disabled (--no-tap)"),
        (&[url, "99"], 1, ": the server answered 403: taps are disabled (--no-tap)"),
        (&["127.0.0.1:1", "7"], 1, "http://127.0.0.1:1: connection refused"),
        (&["udp://127.0.0.1:1"], 2, "expected http://, https:// or unix://"),
        (&["1", "2"], 2, "expected one ID: 1 2"),
        (&["abc"], 2, "echogate: abc: no port: expected HOST PORT, HOST:PORT or a URL"),
        (&["1", "--any"], 2, "--any has no effect with the ID of a connection"),
        (&[url, "--ca", "x"], 2, "--ca is valid with https:// only"),
    ] {
        let output = output(arguments);
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {line}");
        assert!(line.contains(said) && line.lines().count() == 1, "{arguments:?}: {line}");
    }
}
