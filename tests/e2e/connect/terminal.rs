//! Terminal mode, on a pseudo-terminal.

use std::{
    io::{Read, Write},
    net::Shutdown,
    os::unix::{net::UnixListener, process::ExitStatusExt},
    sync::mpsc,
};

use echogate_tests::{program::signal, pty::Terminal, server::WAIT_TIMEOUT};
use tokio_tungstenite::tungstenite::{Message, accept};

use super::{serve, upper};
use crate::ECHOGATE;

/// The client on a terminal.
fn started(address: &str, flags: &[&str]) -> Terminal {
    let url = format!("tcp://{address}");
    let terminal = Terminal::start(ECHOGATE, &[&["connect", &url], flags].concat());
    if !flags.contains(&"--quiet") {
        terminal.wait_for(&format!("connected to {url} (from 127.0.0.1:"));
        terminal.wait_for("; Ctrl-D ends");
    }
    terminal
}

/// The client on a terminal, after its prompt has appeared.
fn at_the_prompt(address: &str, flags: &[&str]) -> Terminal {
    let terminal = started(address, flags);
    terminal.wait_for("> ");
    terminal
}

#[test]
fn a_line_is_sent_and_its_reply_appears_above_the_prompt() {
    let terminal = at_the_prompt(&serve(upper), &[]);
    terminal.exchange("hello, 世界 ß\r", "HELLO, 世界 ß\n> ");
    terminal.exchange("again\r", "AGAIN\n> ");
    terminal.type_in("\x04");
    let (status, shown) = terminal.wait();
    assert_eq!(status.code(), Some(0), "{shown}");
    assert!(!shown.contains("closed by the server"), "{shown}");
}

#[test]
fn a_reply_does_not_disturb_the_line_being_typed() {
    let (speak, words) = mpsc::channel::<&str>();
    let terminal = at_the_prompt(
        &serve(move |mut stream| {
            words.iter().for_each(|words| stream.write_all(words.as_bytes()).unwrap());
            upper(stream);
        }),
        &[],
    );
    terminal.exchange("half", "half");
    speak.send("news\n").unwrap();
    terminal.wait_for("news\n> half");
    speak.send("more\nnews\n").unwrap();
    terminal.wait_for("more\nnews\n> half");
    // A line of three rows, with the cursor in the first.
    terminal.type_in(&"x".repeat(200));
    terminal.wait_for(&"x".repeat(10));
    terminal.type_in("\x01");
    speak.send("last news\n").unwrap();
    terminal.wait_for("last news\n> half");
    drop(speak);
    terminal.exchange("one \r", "ONE HALFXXX");
    terminal.wait_for("X\n> ");
    let line = format!("> one half{}", "x".repeat(200));
    let reply = format!("ONE HALF{}", "X".repeat(200));
    let lines = ["news", "more", "news", "last news", &line, &reply, ">"];
    terminal.wait_for_lines(&lines);
}

#[test]
fn an_empty_line_sends_nothing() {
    let (sender, received) = mpsc::channel();
    let terminal = at_the_prompt(
        &serve(move |mut stream| {
            let mut all = String::new();
            stream.read_to_string(&mut all).unwrap();
            sender.send(all).unwrap();
        }),
        &[],
    );
    for _ in 0..3 {
        terminal.exchange("\r", "> ");
    }
    terminal.exchange("something\r", "> ");
    terminal.type_in("\x04");
    assert_eq!(received.recv().unwrap(), "something\n");
    assert_eq!(terminal.wait().0.code(), Some(0));
}

#[test]
fn the_keys_of_a_line_editor_work() {
    let terminal = at_the_prompt(&serve(upper), &[]);
    // Cursor left twice and a letter; then Home.
    terminal.exchange("helo\x1b[D\x1b[Dl\x01>\r", ">HELLO\n> ");
    terminal.exchange("\x1b[A\r", ">HELLO\n> ");
    terminal.exchange("a\tb\r", "A\\tB\n> ");
}

#[test]
fn many_lines_pasted_at_once_are_sent_one_by_one_and_none_is_lost() {
    let terminal = at_the_prompt(&serve(upper), &[]);
    let lines: Vec<String> = (0..500).map(|i| format!("line {i}")).collect();
    terminal.type_in(&(lines.join("\r") + "\r"));
    for line in &lines {
        terminal.wait_for(&format!("{}\n", line.to_uppercase()));
    }
    terminal.type_in("\x04");
    assert_eq!(terminal.wait().0.code(), Some(0));
}

#[test]
fn ctrl_d_half_closes_and_what_still_comes_is_shown() {
    let terminal = at_the_prompt(
        &serve(|mut stream| {
            let mut all = String::new();
            stream.read_to_string(&mut all).unwrap();
            write!(stream, "received {all:?}\nand that was all").unwrap();
        }),
        &[],
    );
    terminal.exchange("words\r", "> ");
    terminal.type_in("\x04");
    let (status, shown) = terminal.wait();
    assert!(shown.ends_with("received \"words\\n\"\nand that was all\n"), "{shown:?}");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_reply_and_the_end_of_the_input_in_the_same_moment_lose_nothing() {
    for _ in 0..20 {
        let terminal = at_the_prompt(&serve(upper), &["--quiet"]);
        terminal.type_in("one\rtwo\rthree\r\x04");
        let (status, shown) = terminal.wait();
        let replies: Vec<&str> =
            shown.split_whitespace().filter(|w| ["ONE", "TWO", "THREE"].contains(w)).collect();
        assert_eq!(replies, ["ONE", "TWO", "THREE"], "{shown:?}");
        assert_eq!(status.code(), Some(0));
    }
}

#[test]
fn what_the_server_sends_cannot_reach_the_terminal_unescaped() {
    let terminal = started(
        &serve(|mut stream| {
            stream.write_all(b"\x1b]0;title\x07\x1b[2J\xff\xc2\x9b2J\n").unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        }),
        &[],
    );
    terminal.wait_for("\\x1b]0;title\\x07\\x1b[2J\\xff\\u{9b}2J\n> ");
    let raw = terminal.raw();
    assert!(!raw.contains("\x1b]") && !raw.contains("\x1b[2J") && !raw.contains('\u{9b}'));
}

#[test]
fn a_reply_without_a_newline_is_not_held_back() {
    let terminal = started(
        &serve(|mut stream| {
            stream.write_all(b"login: ").unwrap();
            stream.read_to_end(&mut Vec::new()).unwrap();
        }),
        &[],
    );
    terminal.wait_for("login: \n> ");
}

#[test]
fn a_server_that_closes_ends_it_and_leaves_the_terminal_as_it_was() {
    let (close, closed) = mpsc::channel::<()>();
    let terminal = at_the_prompt(
        &serve(move |mut stream| {
            closed.recv().ok();
            stream.write_all(b"bye\n").unwrap();
            stream.shutdown(Shutdown::Both).unwrap();
        }),
        &[],
    );
    let is_on = |terminal: &Terminal, name| terminal.settings().iter().any(|s| s == name);
    assert!(!is_on(&terminal, "echo") && !is_on(&terminal, "icanon"));
    terminal.exchange("unfinished", "unfinished");
    drop(close);
    terminal.wait_for("closed by the server\n");
    terminal.wait_for_lines(&["bye", "closed by the server"]);
    for name in ["echo", "icanon", "isig", "icrnl"] {
        assert!(is_on(&terminal, name), "{name}");
    }
    assert_eq!(terminal.wait().0.code(), Some(0));
}

#[test]
fn a_reset_ends_it_with_one_line() {
    let address = serve(|stream| {
        stream.peek(&mut [0]).unwrap();
    });
    let terminal = at_the_prompt(&address, &[]);
    terminal.exchange("x\r", &format!("echogate: tcp://{address}: connection reset by peer\n"));
    assert_eq!(terminal.wait().0.code(), Some(1));
}

#[test]
fn ctrl_c_ends_it_at_once() {
    for before in ["", "unfinished"] {
        let terminal = at_the_prompt(&serve(upper), &[]);
        terminal.exchange(before, before);
        terminal.type_in("\x03");
        assert_eq!(terminal.wait().0.signal(), Some(2), "SIGINT");
    }
}

#[test]
fn a_flood_is_shown_while_lines_are_edited_and_ctrl_c_still_works() {
    let terminal = at_the_prompt(
        &serve(|mut stream| {
            let line = [&[b'x'; 70][..], b"\n"].concat().repeat(1000);
            while stream.write_all(&line).is_ok() {}
        }),
        &[],
    );
    for _ in 0..1000 {
        terminal.wait_for("xxxx\n");
    }
    terminal.type_in("\x03");
    assert_eq!(terminal.wait().0.signal(), Some(2), "SIGINT");
}

#[test]
fn a_server_that_does_not_read_does_not_block_the_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s");
    // The buffers are far smaller than TCP's, and nothing accepts the connection.
    let _listener = UnixListener::bind(&path).unwrap();
    let url = format!("unix://{}", path.display());
    let terminal = Terminal::start(ECHOGATE, &["connect", &url]);
    terminal.wait_for("> ");
    for _ in 0..20 {
        terminal.type_in(&"x\r".repeat(100));
        (0..100).for_each(|_| drop(terminal.wait_for("> ")));
    }
    terminal.type_in("\x03");
    assert_eq!(terminal.wait().0.signal(), Some(2), "SIGINT");
}

#[test]
fn timing_shows_each_replys_round_trip() {
    let terminal = at_the_prompt(&serve(upper), &["--timing"]);
    terminal.exchange("hello\r", "HELLO  (");
    let time = terminal.wait_for(" ms)\n");
    let ms: f64 = time.trim_end_matches(" ms)\n").parse().unwrap();
    assert!(ms > 0.0 && ms < 30_000.0, "{ms}");
}

#[test]
fn a_terminal_that_cannot_move_its_cursor_is_served_plainly() {
    let url = format!("tcp://{}", serve(upper));
    let terminal = Terminal::start("/usr/bin/env", &["TERM=dumb", ECHOGATE, "connect", &url]);
    terminal.wait_for("> ");
    terminal.exchange("hello\n", "HELLO\n");
    terminal.type_in("\x04");
    assert_eq!(terminal.wait().0.code(), Some(0));
}

#[test]
fn over_a_websocket_each_line_is_a_text_message_and_ctrl_d_closes() {
    let (sender, received) = mpsc::channel();
    let address = serve(move |stream| {
        let mut socket = accept(stream).unwrap();
        while let Ok(message) = socket.read() {
            if let Message::Text(text) = &message {
                socket.send(Message::text(format!("{text}!\nand\tmore"))).unwrap();
                socket.send(Message::text("")).unwrap();
            }
            sender.send(message).unwrap();
        }
    });
    let url = format!("ws://{address}/ws");
    let terminal = Terminal::start(ECHOGATE, &["connect", &url, "--quiet"]);
    terminal.wait_for("> ");
    terminal.exchange("hello ß\r", "hello ß!\nand\\tmore\n");
    terminal.wait_for("\n> ");
    terminal.type_in("\x04");
    let received: Vec<Message> = received.iter().collect();
    assert!(
        matches!(&received[..], [Message::Text(text), Message::Close(_)] if *text == "hello ß")
    );
    assert_eq!(terminal.wait().0.code(), Some(0));
}

#[test]
fn a_signal_ends_it_and_leaves_the_terminal_as_it_was() {
    for (name, number) in [("HUP", 1), ("INT", 2), ("QUIT", 3), ("TERM", 15)] {
        let terminal = at_the_prompt(&serve(upper), &[]);
        terminal.exchange("unfinished", "unfinished");
        terminal.wait_for_canonical_mode(false);
        signal(terminal.pid(), name);
        terminal.wait_for_canonical_mode(true);
        assert_eq!(terminal.wait().0.signal(), Some(number), "{name}");
    }
}

#[test]
fn a_process_that_is_stopped_gives_the_terminal_back_and_takes_it_again() {
    let terminal = at_the_prompt(&serve(upper), &[]);
    terminal.exchange("abc", "abc");
    for _ in 0..3 {
        signal(terminal.pid(), "TSTP");
        terminal.wait_for_canonical_mode(true);
        signal(terminal.pid(), "CONT");
        terminal.wait_for_canonical_mode(false);
        terminal.wait_for("> abc");
    }
    terminal.exchange("\x7fx\r", "ABX\n> ");
}

#[test]
fn ctrl_z_and_fg_bring_the_prompt_back_with_the_line_in_it() {
    let url = format!("tcp://{}", serve(upper));
    let shell = ["HISTFILE=", "PS1=$ ", "bash", "--norc", "--noprofile", "--noediting", "-i"];
    let terminal = Terminal::start("/usr/bin/env", &shell);
    terminal.wait_for("$ ");
    terminal.exchange(&format!("{ECHOGATE} connect --no-history {url}\n"), "; Ctrl-D ends");
    terminal.wait_for("> ");
    for _ in 0..2 {
        terminal.exchange("abc", "abc");
        terminal.exchange("\x1a", "Stopped");
        terminal.wait_for("$ ");
        terminal.wait_for_canonical_mode(true);
        terminal.exchange("fg\n", "> abc");
        terminal.wait_for_canonical_mode(false);
        terminal.exchange("\x7f\x7fxyz\r", "AXYZ\n> ");
    }
    terminal.exchange("\x04", "$ ");
}

#[test]
fn lines_typed_into_a_pipeline_are_text_messages_and_each_reply_is_a_line() {
    for (flag, is_text) in [("", true), ("--binary", false)] {
        let (sender, received) = mpsc::channel();
        let address = serve(move |stream| {
            let mut socket = accept(stream).unwrap();
            while let Ok(message) = socket.read() {
                if !message.is_close() {
                    socket.send(Message::text("{}")).unwrap();
                    socket.send(Message::text("{}")).unwrap();
                }
                sender.send(message).unwrap();
            }
        });
        let pipeline = format!("{ECHOGATE} connect {flag} ws://{address}/ | cat");
        let terminal = Terminal::start("/bin/sh", &["-c", &pipeline]);
        terminal.type_in("hello\r");
        let message = received.recv_timeout(WAIT_TIMEOUT).unwrap();
        match is_text {
            true => {
                assert_eq!(message, Message::text("hello"));
                terminal.wait_for("hello\n{}\n{}\n");
            }
            // As the bytes that they are.
            false => assert_eq!(message, Message::binary(&b"hello\n"[..])),
        }
        terminal.type_in("\x04");
        assert_eq!(terminal.wait().0.code(), Some(0));
    }
}
