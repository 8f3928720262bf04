//! Reconnects (`--reconnect`).

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    thread,
};

use echogate_tests::{pty::Terminal, tcp::reset};

use super::{assert_fails, connect, finish, messages::serve_each, run, upper};
use crate::ECHOGATE;

#[test]
fn ticks_go_on_over_a_connection_that_is_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let mut line = String::new();
        let (stream, _) = listener.accept().unwrap();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        (&stream).write_all(b"first\n").unwrap();
        reset(stream);
        let (stream, _) = listener.accept().unwrap();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        (&stream).write_all(b"second\n").unwrap();
        drop(stream);
        upper(listener.accept().unwrap().0);
        line
    });
    let mut client = connect(&[&url, "--reconnect", "--message=tick", "--every=20ms"]);
    let mut output = BufReader::new(client.stdout.take().unwrap());
    let mut line = String::new();
    for expected in ["first\n", "second\n", "TICK\n"] {
        line.clear();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, expected);
    }
    drop(output);
    let ended = finish(client);
    assert_eq!(ended.status.code(), Some(1));
    let printed = String::from_utf8(ended.stderr).unwrap();
    let printed: Vec<&str> = printed.lines().collect();
    assert_eq!(printed.len(), 5, "{printed:?}");
    assert!(printed[4].ends_with(": standard output: broken pipe"), "{printed:?}");
    assert!(printed[0].contains("; reconnecting in "), "{printed:?}");
    assert!(printed[2].starts_with("closed by the server; reconnecting in "), "{printed:?}");
    assert_eq!((printed[1], printed[3]), ("reconnected", "reconnected"));
    assert_eq!(server.join().unwrap(), "tick\ntick\n");
}

#[test]
fn a_server_that_is_not_there_yet_is_waited_for() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("tcp://{free}");
    let mut client = connect(&[&url, "--reconnect"]);
    let mut stderr = BufReader::new(client.stderr.take().unwrap());
    let mut line = String::new();
    stderr.read_line(&mut line).unwrap();
    assert!(line.starts_with("connection refused; reconnecting in "), "{line}");
    let listener = TcpListener::bind(free).unwrap();
    thread::spawn(move || upper(listener.accept().unwrap().0));
    client.stdin.as_mut().unwrap().write_all(b"hello\n").unwrap();
    let mut reply = [0; 6];
    client.stdout.as_mut().unwrap().read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"HELLO\n");
    drop(client.stdin.take());
    assert_eq!(finish(client).status.code(), Some(0));
}

#[test]
fn the_delay_grows_with_each_failure_after_a_connection_with_replies() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let mut client = connect(&[&url, "--reconnect"]);
    let mut stderr = BufReader::new(client.stderr.take().unwrap());
    let (mut stream, _) = listener.accept().unwrap();
    drop(listener);
    stream.write_all(b"hello\n").unwrap();
    client.stdout.as_mut().unwrap().read_exact(&mut [0; 6]).unwrap();
    drop(stream);
    let mut delay = || {
        let mut line = String::new();
        stderr.read_line(&mut line).unwrap();
        let (_, delay) = line.split_once("reconnecting in ").unwrap();
        delay.strip_suffix(" s\n").unwrap().parse::<f64>().unwrap()
    };
    let (first, second) = (delay(), delay());
    assert!(first <= 1.5 && second >= 1.5, "{first} {second}");
    client.kill().unwrap();
    client.wait().unwrap();
}

#[test]
fn once_a_message_that_could_not_be_sent_is_sent_again() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("tcp://{free}");
    let mut client = connect(&[&url, "--reconnect", "--once", "--message=x"]);
    let mut stderr = BufReader::new(client.stderr.take().unwrap());
    stderr.read_line(&mut String::new()).unwrap();
    let listener = TcpListener::bind(free).unwrap();
    thread::spawn(move || upper(listener.accept().unwrap().0));
    let output = finish(client);
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"X\n"[..]));
}

#[test]
fn a_reset_after_the_end_of_the_input_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
        reset(stream);
    });
    let line = format!("{url}: connection reset by peer");
    assert_fails(&run(&[&url, "--reconnect"], b"all of it\n"), 1, &line);
}

#[test]
fn on_a_terminal_the_prompt_stays_and_lines_typed_while_away_are_sent_later() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("tcp://{address}");
    let terminal = Terminal::start(ECHOGATE, &["connect", &url, "--reconnect"]);
    let (stream, _) = listener.accept().unwrap();
    drop(listener);
    terminal.wait_for("> ");
    terminal.exchange("unfini", "unfini");
    drop(stream);
    terminal.wait_for("closed by the server; reconnecting in ");
    terminal.wait_for("> unfini");
    terminal.exchange("shed\rand more\r", "connection refused; reconnecting in ");
    let listener = TcpListener::bind(address).unwrap();
    let stream = listener.accept().unwrap().0;
    terminal.wait_for("reconnected\n");
    thread::spawn(move || upper(stream));
    terminal.wait_for("UNFINISHED\n");
    terminal.wait_for("AND MORE\n> ");
    terminal.type_in("\x04");
    let (status, shown) = terminal.wait();
    assert_eq!(status.code(), Some(0), "{shown}");
}

#[test]
fn on_a_terminal_what_was_typed_before_the_end_is_sent_when_it_is_back() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("tcp://{address}");
    let terminal = Terminal::start(ECHOGATE, &["connect", &url, "--reconnect"]);
    drop(listener.accept().unwrap());
    drop(listener);
    terminal.wait_for("reconnecting in ");
    terminal.exchange("last words\r\x04", "connection refused; reconnecting in ");
    terminal.wait_for("connection refused; reconnecting in ");
    let listener = TcpListener::bind(address).unwrap();
    upper(listener.accept().unwrap().0);
    terminal.wait_for("LAST WORDS\n");
    let (status, shown) = terminal.wait();
    assert_eq!(status.code(), Some(0), "{shown}");
}

#[test]
fn on_a_terminal_once_ends_when_all_that_was_typed_is_answered() {
    let url = serve_each(upper);
    let terminal = Terminal::start(ECHOGATE, &["connect", &url, "--once"]);
    terminal.wait_for("> ");
    terminal.type_in("one\rtwo\rthree\r\x04");
    for reply in ["ONE", "TWO", "THREE"] {
        terminal.wait_for(reply);
    }
    let (status, shown) = terminal.wait();
    assert_eq!(status.code(), Some(0), "{shown}");
}

#[test]
fn on_a_terminal_once_waits_for_a_slow_reply() {
    let url = serve_each(|mut stream| {
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        thread::sleep(std::time::Duration::from_millis(1500));
        stream.write_all(line.to_uppercase().as_bytes()).unwrap();
    });
    let terminal = Terminal::start(ECHOGATE, &["connect", &url, "--once"]);
    terminal.wait_for("> ");
    terminal.exchange("slow\r\x04", "SLOW\n");
    assert_eq!(terminal.wait().0.code(), Some(0));
}

#[test]
fn on_a_terminal_ctrl_c_works_while_away() {
    use std::os::unix::process::ExitStatusExt;

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("tcp://{}", listener.local_addr().unwrap());
    let terminal = Terminal::start(ECHOGATE, &["connect", &url, "--reconnect"]);
    let (stream, _) = listener.accept().unwrap();
    drop((listener, stream));
    terminal.wait_for("connection refused; reconnecting in ");
    terminal.type_in("\x03");
    assert_eq!(terminal.wait().0.signal(), Some(2), "SIGINT");
}
