//! `echogate listen`: a session with the first client, or with one after the other.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    process::{Child, ChildStderr, Command, Output, Stdio},
};

use echogate_tests::{pty::Terminal, tls::Authority};
use tokio_tungstenite::tungstenite::{Message, client, client::IntoClientRequest};

use super::{assert_prints, connect, finish, run};
use crate::ECHOGATE;

/// A running `echogate listen`.
pub(crate) struct Listener {
    pub(crate) child: Child,
    /// The endpoint that it has announced.
    pub(crate) url: String,
    pub(super) stderr: BufReader<ChildStderr>,
}

/// Starts `echogate listen` with pipes for its standard streams.
pub(crate) fn listen(arguments: &[&str]) -> Listener {
    listen_with(arguments, Stdio::piped())
}

/// Starts `echogate listen` with this standard input.
pub(super) fn listen_with(arguments: &[&str], input: Stdio) -> Listener {
    let mut command = Command::new(ECHOGATE);
    command.arg("listen").args(arguments);
    command.stdin(input).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    let url = line.strip_prefix("listening on ").and_then(|rest| rest.split(" for ").next());
    let url = url.unwrap_or_else(|| panic!("{line}")).to_owned();
    Listener { child, url, stderr }
}

impl Listener {
    /// The `HOST:PORT` of a TCP or WebSocket listener.
    pub(crate) fn address(&self) -> &str {
        let (_, address) = self.url.split_once("://").unwrap();
        address.trim_end_matches('/')
    }

    /// The next line of the standard error.
    pub(super) fn notice(&mut self) -> String {
        let mut line = String::new();
        self.stderr.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Writes the standard input and ends it.
    fn input(&mut self, input: &[u8]) {
        self.child.stdin.take().unwrap().write_all(input).unwrap();
    }

    /// Waits for the process to end; the standard error is the rest of it.
    pub(super) fn finish(mut self) -> Output {
        let mut output = finish(self.child);
        self.stderr.read_to_end(&mut output.stderr).unwrap();
        output
    }
}

#[test]
fn a_pipe_sends_its_input_to_the_client_and_writes_what_the_client_sends() {
    let folder = tempfile::tempdir().unwrap();
    let unix = format!("unix://{}", folder.path().join("s").display());
    for endpoint in ["0", "127.0.0.1:0", "tcp://[::1]:0", &unix] {
        let mut listener = listen(&[endpoint]);
        listener.input(b"from the listener");
        let url = listener.url.clone();
        assert_prints(&run(&[&url], b"from the client"), b"from the listener");
        let output = listener.finish();
        assert_eq!(output.stdout, b"from the client", "{endpoint}");
        assert_eq!(output.status.code(), Some(0), "{endpoint}");
        let notice = String::from_utf8(output.stderr).unwrap();
        assert!(notice.ends_with(" connected\n"), "{endpoint}: {notice}");
    }
    assert!(std::fs::read_dir(folder.path()).unwrap().next().is_none(), "the socket is removed");
}

#[test]
fn the_end_of_the_input_is_a_half_close_and_an_empty_input_ends_when_the_client_does() {
    let mut listener = listen(&["0"]);
    listener.input(b"all");
    let mut client = TcpStream::connect(listener.address()).unwrap();
    let mut received = Vec::new();
    client.read_to_end(&mut received).unwrap();
    assert_eq!(received, b"all");
    client.write_all(b"late").unwrap();
    drop(client);
    let output = listener.finish();
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"late"[..]));

    let listener = listen_with(&["0"], Stdio::null());
    let mut client = TcpStream::connect(listener.address()).unwrap();
    client.set_nonblocking(true).unwrap();
    client.write_all(b"one, ").unwrap();
    let mut output = listener.child;
    let mut stdout = output.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 5]).unwrap();
    let error = client.read(&mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "the listener has not ended");
    client.set_nonblocking(false).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    assert_eq!(finish(output).status.code(), Some(0));
}

#[test]
fn with_wait_a_silent_client_is_left() {
    for endpoint in ["0", "ws://127.0.0.1:0"] {
        let mut listener = listen(&[endpoint, "--wait", "200ms"]);
        listener.input(b"hello\n");
        let url = listener.url.clone();
        assert_prints(&finish(connect(&[&url])), b"hello\n");
        assert_eq!(listener.finish().status.code(), Some(0), "{endpoint}");
    }
}

#[test]
fn over_websocket_lines_are_text_messages_and_half_close_is_agreed_on() {
    let mut listener = listen(&["ws://127.0.0.1:0"]);
    listener.input(b"one\ntwo\n");
    let stream = TcpStream::connect(listener.address()).unwrap();
    let request = format!("{}any/path", listener.url).into_client_request().unwrap();
    let (mut socket, _) = client(request, stream).unwrap();
    assert_eq!(socket.read().unwrap(), Message::text("one"));
    assert_eq!(socket.read().unwrap(), Message::text("two"));
    socket.send(Message::text("three")).unwrap();
    socket.send(Message::text("four")).unwrap();
    socket.close(None).unwrap();
    while socket.read().is_ok() {}
    let output = listener.finish();
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"three\nfour\n"[..]));

    let mut listener = listen(&["ws://127.0.0.1:0", "--binary"]);
    listener.input(b"\x00\xff and all");
    let url = listener.url.clone();
    let output = run(&[&url, "--half-close", "--binary"], b"\xff\n\x00");
    assert_prints(&output, b"\x00\xff and all");
    assert_eq!(listener.finish().stdout, b"\xff\n\x00");
}

#[test]
fn over_tls_a_certificate_is_presented_and_a_client_without_tls_is_answered_in_words() {
    let authority = Authority::with_certificate(&["localhost"]);
    let (cert, key) = (authority.file("cert.pem"), authority.file("key.pem"));
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    for endpoint in ["tls://localhost:0", "wss://localhost:0"] {
        let mut listener = listen(&[endpoint, "--cert", cert, "--key", key]);
        listener.input(b"secret\n");
        let address = listener.address().to_owned();
        let mut plain = TcpStream::connect(&address).unwrap();
        plain.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        plain.read_to_end(&mut Vec::new()).ok();
        assert!(listener.notice().contains("plain HTTP") || endpoint.starts_with("tls"));
        let url = listener.url.clone();
        let ca = authority.ca();
        let arguments = match endpoint.starts_with("wss") {
            true => &[&*url, "--ca", &ca, "--half-close"][..],
            false => &[&*url, "--ca", &ca],
        };
        assert_prints(&run(arguments, b"thanks\n"), b"secret\n");
        assert_eq!(listener.finish().stdout, b"thanks\n", "{endpoint}");
    }
}

#[test]
fn with_keep_open_one_client_follows_the_other_and_a_failure_is_one_of_them() {
    let mut listener = listen_with(&["-k", "0"], Stdio::null());
    let address = listener.address().to_owned();
    let mut stdout = listener.child.stdout.take().unwrap();
    let mut received = [0; 3];
    for word in [b"one", b"two"] {
        let mut client = TcpStream::connect(&address).unwrap();
        client.write_all(word).unwrap();
        stdout.read_exact(&mut received).unwrap();
        assert_eq!(&received, word);
        assert!(listener.notice().ends_with(" connected"));
        match word {
            b"one" => echogate_tests::tcp::reset(client),
            _ => drop(client),
        }
        let notice = listener.notice();
        let expected =
            if word == b"one" { "connection reset by peer" } else { "closed by the client" };
        assert!(notice.ends_with(expected), "{notice}");
    }
    assert!(listener.child.try_wait().unwrap().is_none(), "it waits for the next client");
    listener.child.kill().unwrap();
    listener.child.wait().unwrap();
}

#[test]
fn a_client_that_is_silent_or_asks_for_no_websocket_keeps_no_other_out() {
    let mut listener = listen(&["ws://127.0.0.1:0/chat"]);
    let address = listener.address().split('/').next().unwrap().to_owned();
    let _silent = TcpStream::connect(&address).unwrap();
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let foreign = format!("{handshake}Origin: http://evil.example\r\n");
    for (path, headers, status, reason) in [
        ("/chat", "", "426", "no WebSocket handshake (answered with 426)"),
        ("/other", handshake, "404", "no path /other: this listener has /chat (answered with 404)"),
        ("/chat", &foreign, "403", "origin http://evil.example is not allowed (--allow-origin)"),
    ] {
        let mut client = TcpStream::connect(&address).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
        client.write_all(request.as_bytes()).unwrap();
        let mut response = String::new();
        client.read_to_string(&mut response).unwrap();
        assert!(response.starts_with(&format!("HTTP/1.1 {status} ")), "{response}");
        let notice = listener.notice();
        assert!(notice.contains(reason), "{notice}");
    }
    listener.input(b"hello\n");
    assert_prints(&run(&[&format!("ws://{address}/chat"), "--half-close"], b""), b"hello\n");
    assert_eq!(listener.finish().status.code(), Some(0));
    let listener = listen(&["ws://127.0.0.1:0", "--allow-origin", "http://friend.example"]);
    let url = listener.url.clone();
    let page = [&*url, "--origin", "http://friend.example", "--wait=0s"];
    assert_prints(&run(&page, b"hello\n"), b"");
    assert_eq!(listener.finish().stdout, b"hello\n");
}

#[test]
fn datagrams_are_those_of_the_first_sender() {
    let folder = tempfile::tempdir().unwrap();
    let unixgram = format!("unixgram://{}", folder.path().join("s").display());
    for endpoint in ["udp://127.0.0.1:0", &unixgram] {
        let mut listener = listen(&[endpoint]);
        let url = listener.url.clone();
        let mut first = connect(&[&url]);
        let mut second = connect(&[&url, "--wait=0s", "--verbose"]);
        // A Unix socket that is connected to its first sender refuses later connections.
        let mut notices = BufReader::new(second.stderr.take().unwrap());
        let mut notice = String::new();
        notices.read_line(&mut notice).unwrap();
        assert!(notice.starts_with("* datagrams go to "), "{notice}");
        first.stdin.as_mut().unwrap().write_all(b"question").unwrap();
        assert!(listener.notice().ends_with(" connected"));
        let mut received = [0; 8];
        listener.child.stdout.as_mut().unwrap().read_exact(&mut received).unwrap();
        assert_eq!(&received, b"question");
        second.stdin.take().unwrap().write_all(b"not for you").unwrap();
        finish(second);
        notice.clear();
        notices.read_to_string(&mut notice).unwrap();
        if endpoint == unixgram {
            let refused = format!("echogate: {url}: the socket is connected to another peer\n");
            assert_eq!(notice, refused);
        }
        listener.child.stdin.as_mut().unwrap().write_all(b"answer").unwrap();
        let mut received = [0; 6];
        first.stdout.as_mut().unwrap().read_exact(&mut received).unwrap();
        assert_eq!(&received, b"answer");
        drop(first.stdin.take());
        assert_prints(&finish(first), b"");
        listener.child.kill().unwrap();
        assert_eq!(listener.finish().stdout, b"", "{endpoint}");
    }
}

#[test]
fn on_a_terminal_it_is_a_prompt_for_each_client() {
    let terminal = Terminal::start(ECHOGATE, &["listen", "--keep-open", "ws://127.0.0.1:0"]);
    let hint = terminal.wait_for("echogate connect ws://127.0.0.1:");
    assert!(hint.contains("for clients, one after the other"), "{hint}");
    let port = terminal.wait_for("/\n");
    let url = format!("ws://127.0.0.1:{port}").trim_end().to_owned();
    for (asked, said) in [("knock", "who is there?"), ("again", "you again")] {
        let mut client = connect(&[&url]);
        terminal.wait_for(" connected");
        client.stdin.as_mut().unwrap().write_all(format!("{asked}\n").as_bytes()).unwrap();
        terminal.wait_for(&format!("{asked}\n"));
        terminal.wait_for("> ");
        terminal.type_in(&format!("{said}\r"));
        let mut received = vec![0; said.len() + 1];
        client.stdout.as_mut().unwrap().read_exact(&mut received).unwrap();
        assert_eq!(String::from_utf8(received).unwrap(), format!("{said}\n"));
        drop(client.stdin.take());
        assert_prints(&finish(client), b"");
        terminal.wait_for("closed by the client (1000, closed normally)\n");
    }
    terminal.type_in("\x04");
    assert_eq!(terminal.wait().0.code(), Some(0));
}

#[test]
fn an_endpoint_or_an_option_that_makes_no_sense_is_refused() {
    for (arguments, complaint) in [
        (&["127.0.0.1"][..], "127.0.0.1: no port: expected HOST PORT, HOST:PORT or a URL"),
        (&["service:upper"], "a service: URL is valid only as the upstream of a route or forward"),
        (&["tcp://127.0.0.1:0?once"], "unknown option \"once\": a URL to listen on has no options"),
        (&["ws://me:pw@127.0.0.1:0"], "a URL to listen on has no user name: only clients send one"),
        (&["tls://127.0.0.1:0"], "tls://127.0.0.1:0: --cert is required (and --key, if"),
        (&["wss://127.0.0.1:0", "--cert=/no"], "--cert: /no: no such file"),
        (
            &["wss://127.0.0.1:0", "--cert=/dev/null"],
            "--cert: /dev/null: no private key in it (give it with --key FILE)",
        ),
        (&["0", "--cert=c", "--key=k"], "--cert is valid with tls:// and wss:// only"),
        (&["tls://:0", "--cert=/no", "--key=/no"], "--cert: /no: no such file"),
        (&["0", "--text"], "--text is valid with ws:// and wss:// only"),
        (&["ws://:0", "--crlf"], "--crlf is valid with tcp://, tls:// and unix:// only"),
        (&["udp://:0", "--keep-open"], "--keep-open requires connections"),
        (&["0", "--allow-origin=http://h"], "--allow-origin is valid with ws:// and wss:// only"),
        (&[], "[HOST:]PORT|URL"),
    ] {
        let output = Command::new(ECHOGATE).arg("listen").args(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(complaint), "{arguments:?}: {stderr}");
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{arguments:?}");
    }
    let listener = listen(&["0"]);
    let taken = Command::new(ECHOGATE).args(["listen", listener.address()]).output().unwrap();
    let line = format!("echogate: {}: address already in use\n", listener.url);
    assert_eq!((taken.status.code(), String::from_utf8(taken.stderr).unwrap()), (Some(1), line));
    let mut child = listener.child;
    child.kill().unwrap();
    child.wait().unwrap();
}
