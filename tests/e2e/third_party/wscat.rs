//! `wscat`, on a terminal, where it prints all events.

use echogate_tests::{
    program::{free_port, packages, programs},
    pty::Terminal,
    server::Server,
};

use super::endings;
use crate::{ECHOGATE, server};

/// Starts wscat as a client; `None` if it is not installed.
fn wscat(url: &str, options: &[&str]) -> Option<Terminal> {
    start(&[&["-c", url], options].concat())
}

fn start(arguments: &[&str]) -> Option<Terminal> {
    let [node] = programs(["node"])?;
    let program = packages(&["wscat"])?.join("node_modules/wscat/bin/wscat");
    let program = program.display().to_string();
    let arguments = [&[&*program, "--no-color"], arguments].concat();
    Some(Terminal::start(&node.display().to_string(), &arguments))
}

#[test]
fn wscat_gets_replies_and_pongs_and_its_own_close_back() {
    let server = server();
    let Some(terminal) = wscat(&server.ws("/ws"), &["-P", "--slash"]) else { return };
    terminal.wait_for("Connected");
    terminal.exchange("hello, ß\r", "< HELLO, ß");
    terminal.exchange("/ping there?\r", "Received pong (data: \"there?\")");
    terminal.exchange("/close 4321 enough\r", "Disconnected (code: 4321, reason: \"\")");
}

#[test]
fn wscat_connects_only_if_its_subprotocol_is_chosen() {
    let server = server();
    let Some(terminal) = wscat(&server.ws("/ws"), &["-s", "mqtt", "-s", "binary"]) else { return };
    terminal.wait_for("Connected");
    terminal.exchange("hello\r", "< HELLO");
    let Some(terminal) = wscat(&server.ws("/ws"), &["-s", "base64"]) else { return };
    terminal.wait_for("error: Server sent no subprotocol");
}

#[test]
fn wscat_sees_why_a_connection_ends() {
    let server = endings();
    for (path, options, sent, shown) in [
        ("/ends", &[][..], "go", "code: 1000, reason: \"the upstream ended the stream\""),
        ("/breaks", &[], "go", "code: 1011, reason: \"the upstream reset the connection\""),
        ("/ws", &[], &"x".repeat(1001), "code: 1009, reason: \""),
    ] {
        let Some(terminal) = wscat(&server.ws(path), options) else { return };
        terminal.wait_for("Connected");
        terminal.exchange(&format!("{sent}\r"), shown);
    }
    // wscat is no page, whatever origin it sends, and can read a status.
    let refused = wscat(&server.ws("/ws"), &["-o", "http://evil.example"]);
    let Some(terminal) = refused else { return };
    terminal.wait_for("error: Unexpected server response: 403");
}

#[test]
fn wscat_is_on_both_sides_of_a_route() {
    let port = free_port();
    let Some(listening) = start(&["-l", &port.to_string()]) else { return };
    listening.wait_for("Listening on port");
    let route = format!("/relayed=ws://127.0.0.1:{port}/");
    let server = Server::start(ECHOGATE, &["--route", &route]);
    let Some(client) = wscat(&server.ws("/relayed"), &["--slash"]) else { return };
    client.wait_for("Connected");
    listening.wait_for("Client connected");
    client.type_in("to the server, ß\r");
    listening.wait_for("< to the server, ß");
    listening.type_in("to the client\r");
    client.wait_for("< to the client");
    client.type_in("/close 4321 enough\r");
    listening.wait_for("Disconnected (code: 4321, reason: \"enough\")");
}
