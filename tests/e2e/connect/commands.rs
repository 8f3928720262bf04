//! The commands of a prompt over WebSocket.

use std::{net::TcpStream, sync::mpsc};

use echogate_tests::pty::Terminal;
use tokio_tungstenite::tungstenite::{Message, WebSocket, accept, protocol::CloseFrame};

use super::{assert_prints, run, serve};
use crate::ECHOGATE;

/// Serves a WebSocket; returns its URL and all messages that it gets.
fn serve_ws() -> (String, mpsc::Receiver<Message>) {
    let (sender, messages) = mpsc::channel();
    let address = serve(move |stream| {
        let mut socket: WebSocket<TcpStream> = accept(stream).unwrap();
        while let Ok(message) = socket.read() {
            sender.send(message).unwrap();
        }
    });
    (format!("ws://{address}/"), messages)
}

fn close(code: u16, reason: &str) -> Message {
    Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
}

#[test]
fn pings_pongs_and_a_close_are_typed_as_commands() {
    let (url, messages) = serve_ws();
    let terminal = Terminal::start(ECHOGATE, &["connect", &url]);
    terminal.wait_for("> ");
    terminal.exchange("/ping there?\r", "pong \"there?\" (");
    terminal.type_in("/pong unasked\r");
    terminal.type_in("//hello\r");
    terminal.exchange("/nope\r", "unknown command \"/nope\": expected /ping, /pong or /close");
    terminal.exchange("/close 1005\r", "\"1005\" is not a code that may be sent");
    terminal.type_in("/close 4321 enough for today\r");
    terminal.wait_for("closed (4321); the server answered 4321\n");
    assert_eq!(terminal.wait().0.code(), Some(0));
    let expected = [
        Message::Ping("there?".into()),
        Message::Pong("unasked".into()),
        Message::text("/hello"),
        close(4321, "enough for today"),
    ];
    assert_eq!(messages.iter().collect::<Vec<_>>(), expected);
}

#[test]
fn in_a_pipe_a_line_that_begins_with_a_slash_is_a_message() {
    let (url, messages) = serve_ws();
    assert_prints(&run(&[&url, "--wait=0s"], b"/ping\n//x\n"), b"");
    let expected = [Message::text("/ping"), Message::text("//x"), close(1000, "")];
    assert_eq!(messages.iter().collect::<Vec<_>>(), expected);
}
