//! `--verbose`: the steps of a connection.

use std::thread;

use echogate_tests::{pty::Terminal, tls::Authority};
use tokio_tungstenite::tungstenite::{Message, accept};

use super::{listen::listen, run, serve, upper};
use crate::ECHOGATE;

/// Serves a WebSocket that answers messages.
fn serve_ws() -> String {
    serve(|stream| {
        let mut socket = accept(stream).unwrap();
        while let Ok(message) = socket.read() {
            if message.is_text() {
                socket.send(Message::Ping("?".into())).unwrap();
                socket.send(Message::binary(vec![0; 300])).unwrap();
            }
        }
    })
}

/// Asserts that `shown` has these lines, or lines that begin like them if they end in `…`, in order.
#[track_caller]
fn assert_lines(shown: &str, expected: &[&str]) {
    let mut lines = shown.lines();
    for line in expected {
        let is_it = |shown: &str| match line.strip_suffix('…') {
            Some(beginning) => shown.starts_with(beginning),
            None => shown == *line,
        };
        assert!(lines.any(is_it), "no {line:?} in order in:\n{shown}");
    }
}

#[test]
fn addresses_both_heads_and_all_frames_are_shown_without_passwords() {
    let address = serve_ws();
    let url = format!("ws://me:secret@{address}/a?b");
    let output = run(&[&url, "-v", "-H", "Cookie: id=secret", "-H", "X-Y: z"], b"hello\n");
    assert_eq!(output.status.code(), Some(0));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(!stderr.contains("secret"), "{stderr}");
    assert_lines(
        &stderr,
        &[
            &format!("* trying {address}"),
            &format!("* connected to {address} from 127.0.0.1:…"),
            "> GET /a?b HTTP/1.1",
            &format!("> Host: {address}"),
            "< HTTP/1.1 101 Switching Protocols",
            "> text FIN, 5 bytes",
            "< Ping FIN, 1 byte: \"?\"",
            "< binary FIN, 300 bytes",
            "> Close FIN, 2 bytes: 1000 (closed normally)",
            "< Close FIN, 2 bytes: 1000 (closed normally)",
        ],
    );
    let secrets =
        ["> Cookie: ***", "> X-Y: z", "> Authorization: ***", "> Pong FIN, 1 byte: \"?\""];
    for line in secrets {
        assert!(stderr.lines().any(|shown| shown == line), "{line}: {stderr}");
    }
}

#[test]
fn each_address_is_shown_with_its_result_and_nothing_without_the_flag() {
    let address = serve(upper);
    let port = address.rsplit(':').next().unwrap();
    let output = run(&["--verbose", "localhost", port], b"hello");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_lines(
        &stderr,
        &[
            "* localhost resolved to […",
            "* trying …",
            &format!("* connected to 127.0.0.1:{port} from …"),
        ],
    );
    let output = run(&[&serve(upper)], b"hello");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn tls_is_shown_with_its_version_its_cipher_suite_and_the_certificate() {
    let authority = Authority::new();
    let issued = authority.issue(&["localhost"]);
    let address = serve(move |stream| {
        let (mut stream, _) = issued.accept(stream);
        std::io::copy(&mut stream, &mut std::io::sink()).unwrap();
        echogate_tests::tls::finish(&mut stream);
    });
    let url = format!("tls://localhost:{}", address.rsplit(':').next().unwrap());
    let output = run(&[&url, "-v", "--ca", &authority.ca()], b"hello");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_lines(
        &stderr,
        &["* TLS 1.3, cipher suite TLS13_…", "* certificate of the peer: subject …"],
    );
}

#[test]
fn at_a_prompt_the_steps_are_shown_above_it() {
    let address = serve_ws();
    let terminal = Terminal::start(ECHOGATE, &["connect", "-v", &format!("http://{address}")]);
    terminal.wait_for("< HTTP/1.1 101 Switching Protocols");
    terminal.wait_for("Ctrl-D ends the input\n");
    terminal.wait_for("> ");
    terminal.exchange("hello\r", "> text FIN, 5 bytes\n");
    terminal.wait_for("< binary FIN, 300 bytes\n");
    terminal.type_in("\x04");
    assert_eq!(terminal.wait().0.code(), Some(0));
}

#[test]
fn a_listener_shows_the_clients_head_and_its_own() {
    let listener = listen(&["-v", "ws://127.0.0.1:0"]);
    let url = listener.url.clone();
    let client = thread::spawn(move || run(&[&url, "--wait=0s"], b"hello\n"));
    let output = listener.finish();
    client.join().unwrap();
    assert_lines(
        &String::from_utf8(output.stderr).unwrap(),
        &[
            "< GET / HTTP/1.1",
            "> HTTP/1.1 101 Switching Protocols",
            "< text FIN, 5 bytes",
            "< Close FIN, 2 bytes: 1000 (closed normally)",
        ],
    );
}
