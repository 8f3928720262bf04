//! Message mode: messages at the ticks of a timer, from the lines of a pipe, as hexadecimal text,
//! each on a new connection.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use echogate_tests::pty::Terminal;
use tokio_tungstenite::tungstenite::{Message, accept};

use super::{assert_fails, assert_prints, connect, finish, run, serve, upper};
use crate::{ECHOGATE, server};

/// Starts a server for connections one after the other; returns its URL.
pub(super) fn serve_each(mut connection: impl FnMut(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        while let Ok((stream, _)) = listener.accept() {
            connection(stream);
        }
    });
    format!("tcp://{address}")
}

/// Reads a line, sends it back, and ends the connection.
fn answer_a_line(mut stream: TcpStream) {
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line).unwrap();
    stream.write_all(line.to_uppercase().as_bytes()).unwrap();
}

#[test]
fn a_given_message_is_sent_as_a_line_and_nothing_is_read() {
    let url = format!("tcp://{}", serve(upper));
    // The input stays open.
    assert_prints(&finish(connect(&[&url, "--message", "hello"])), b"HELLO\n");
}

#[test]
fn a_message_is_sent_at_each_tick_the_first_at_once() {
    let url = format!("tcp://{}", serve(upper));
    let start = Instant::now();
    let arguments = [&url, "--message=hello", "--every=100ms", "--count=3"];
    assert_prints(&run(&arguments, b""), b"HELLO\nHELLO\nHELLO\n");
    assert!(start.elapsed() >= Duration::from_millis(200), "two pauses");
}

#[test]
fn the_time_is_that_of_each_tick_with_its_fraction() {
    let url = format!("tcp://{}", serve(upper));
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
    let before = now();
    let output = run(&[&url, "--now", "--every=50ms", "--count=3"], b"");
    let times: Vec<f64> =
        str::from_utf8(&output.stdout).unwrap().lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!(times.len(), 3);
    assert!(before - 1e-5 < times[0] && times[2] < now(), "{before} {times:?}");
    assert!(times.windows(2).all(|two| two[1] - two[0] > 0.03), "{times:?}");
}

#[test]
fn ticks_end_when_the_server_does() {
    let url = serve_each(answer_a_line);
    assert_prints(&run(&[&url, "--message=x", "--every=1h"], b""), b"X\n");
}

#[test]
fn a_closed_standard_output_ends_the_ticks_and_is_a_failure() {
    for more in [&["--once"][..], &[], &["--reconnect"], &["--once", "--reconnect", "--hex"]] {
        let server = server();
        let message = if more.contains(&"--hex") { "78" } else { "x" };
        let arguments = [server.url("upper"), "--every=5ms", "--message", message];
        let mut client = connect(&[&arguments[..], more].concat());
        client.stdout.take().unwrap().read_exact(&mut [0; 2]).unwrap();
        let line = format!("{}: standard output: broken pipe", server.url("upper"));
        assert_fails(&finish(client), 1, &line);
    }
}

#[test]
fn once_each_message_has_its_own_connection_to_a_server_that_closes() {
    let (sender, accepted) = mpsc::channel();
    let url = serve_each(move |stream| {
        sender.send(()).unwrap();
        answer_a_line(stream);
    });
    assert_prints(&run(&[&url, "--once"], b"one\ntwo\nthree"), b"ONE\nTWO\nTHREE\n");
    assert_eq!(accepted.try_iter().count(), 3);
    let ticks = [&url, "--once", "--message=x", "--every=10ms", "--count=4"];
    assert_prints(&run(&ticks, b""), b"X\nX\nX\nX\n");
}

#[test]
fn once_a_reply_in_pieces_is_read_to_its_end() {
    let url = serve_each(|mut stream| {
        stream.set_nodelay(true).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        for part in all.trim_end().chars() {
            stream.write_all(part.to_string().as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        stream.write_all(b".\n").unwrap();
    });
    assert_prints(&run(&[&url, "--once"], b"one\ntwo\n"), b"one.\ntwo.\n");
}

#[test]
fn once_a_server_that_never_closes_is_left_after_its_reply() {
    let mut held = Vec::new();
    let url = serve_each(move |stream| {
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        thread::sleep(Duration::from_millis(400));
        (&stream).write_all(line.to_uppercase().as_bytes()).unwrap();
        held.push(stream);
    });
    assert_prints(&run(&[&url, "--once", "--count=2"], b"one\ntwo\n"), b"ONE\nTWO\n");
}

#[test]
fn once_over_a_websocket_and_by_datagrams() {
    let server = server();
    let url = server.ws("/ws");
    assert_prints(&run(&[&url, "--once"], b"one\ntwo\n"), b"ONE\nTWO\n");
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let url = format!("udp://{}", socket.local_addr().unwrap());
    let (sender, clients) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((n, from)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..n], from).unwrap();
            sender.send(from).unwrap();
        }
    });
    assert_prints(&run(&[&url, "--once"], b"one\ntwo\n"), b"one\ntwo\n");
    let clients: Vec<_> = clients.try_iter().collect();
    assert!(clients.len() == 2 && clients[0] != clients[1], "{clients:?}");
}

#[test]
fn once_a_server_that_is_not_there_is_a_failure() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let url = format!("tcp://{free}");
    let line = format!("{url}: connection refused");
    assert_fails(&run(&[&url, "--once"], b"one\ntwo\n"), 1, &line);
}

#[test]
fn a_count_ends_it_while_the_input_is_open() {
    let server = server();
    for url in [server.url("upper"), &server.ws("/ws")] {
        let mut client = connect(&[url, "--count", "2"]);
        let mut input = client.stdin.take().unwrap();
        input.write_all(b"one\ntwo\nthree\n").unwrap();
        assert_prints(&finish(client), b"ONE\nTWO\n");
    }
}

#[test]
fn a_count_ends_at_a_server_that_never_closes() {
    let mut held = Vec::new();
    let url = serve_each(move |stream| {
        held.push(stream.try_clone().unwrap());
        upper(stream);
    });
    let arguments = [&url, "--message=x", "--every=1ms", "--count=3"];
    assert_prints(&run(&arguments, b""), b"X\nX\nX\n");
}

#[test]
fn hexadecimal_text_goes_in_and_out() {
    let address = serve(|stream| {
        let mut socket = accept(stream).unwrap();
        while let Ok(message) = socket.read() {
            if let Message::Binary(bytes) = message {
                socket.send(Message::binary(bytes)).unwrap();
            }
        }
    });
    let input = b"00 61 ff\n\n0x62,0x63\n";
    assert_prints(&run(&[&format!("ws://{address}"), "--hex"], input), b"00 61 ff\n62 63\n");
    let url = format!("tcp://{}", serve(upper));
    assert_prints(&run(&[&url, "--hex", "--message=61:62"], b""), b"41 42\n");
}

#[test]
fn messages_are_sent_as_text_or_as_binary_as_asked() {
    for (arguments, input, expected) in [
        (&["--text"][..], "one\ntwo", vec![Message::text("one"), Message::text("two")]),
        (&["--binary", "--message=x"], "", vec![Message::binary(&b"x"[..])]),
        (&["--message=x"], "", vec![Message::text("x")]),
        (&[], "{\"op\":1}\n", vec![Message::text("{\"op\":1}")]),
        (&[], "one\ntwo", vec![Message::text("one"), Message::text("two")]),
        (&["--binary"], "x\ny\n", vec![Message::binary(&b"x\ny\n"[..])]),
    ] {
        let (sender, received) = mpsc::channel();
        let address = serve(move |stream| {
            let mut socket = accept(stream).unwrap();
            while let Ok(message) = socket.read() {
                sender.send(message).unwrap();
            }
        });
        let url = format!("ws://{address}/");
        let arguments = [&[&*url, "--wait=0s"], arguments].concat();
        assert_prints(&run(&arguments, input.as_bytes()), b"");
        let received: Vec<Message> =
            received.iter().filter(|message| !message.is_close()).collect();
        assert_eq!(received, expected, "{arguments:?}");
    }
}

#[test]
fn a_line_that_is_no_text_is_named_with_the_option_for_bytes() {
    let url = format!(
        "ws://{}/",
        serve(|stream| {
            let mut socket = accept(stream).unwrap();
            while socket.read().is_ok() {}
        })
    );
    let advice = "use --binary to send the input as it is, or --hex";
    let line = format!("{url}: standard input: line 2: not UTF-8; {advice}");
    assert_fails(&run(&[&url, "--wait=0s"], b"fine\n\xff\n"), 1, &line);
}

#[test]
fn what_is_no_hexadecimal_text_is_named_with_its_line() {
    let url = format!("tcp://{}", serve(upper));
    let line =
        format!("{url}: standard input: line 3: 'z' at character 4 is not a hexadecimal digit");
    assert_fails(&run(&[&url, "--hex"], b"\n\n61 zz\n"), 1, &line);
    let line = format!("{url}: --message: \"6\" at character 1 is half a byte");
    let output = run(&[&url, "--hex", "--message=6"], b"");
    assert!(String::from_utf8_lossy(&output.stderr).contains(&line));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn before_it_ends_for_a_wrong_line_the_replies_to_those_before_are_printed() {
    let tcp = format!(
        "tcp://{}",
        serve(|mut stream| {
            stream.read_exact(&mut [0; 2]).unwrap();
            stream.write_all(b"1").unwrap();
            // The second part is delayed; the client waits for it.
            thread::sleep(Duration::from_millis(300));
            stream.write_all(b"2").unwrap();
            stream.read_to_end(&mut Vec::new()).ok();
        })
    );
    let ws = format!(
        "ws://{}/",
        serve(|stream| {
            let mut socket = accept(stream).unwrap();
            let messages = [socket.read().unwrap(), socket.read().unwrap()];
            messages.into_iter().for_each(|_| socket.send(Message::binary(&b"1"[..])).unwrap());
            while socket.read().is_ok() {}
        })
    );
    for (url, replies) in [(&tcp, "31\n32\n"), (&ws, "31\n31\n")] {
        let output = run(&[url, "--hex", "--reconnect"], b"61\n62\nzz\n63\n");
        assert_eq!(String::from_utf8_lossy(&output.stdout), replies);
        let line = "standard input: line 3: 'z' at character 1 is not a hexadecimal digit";
        assert_fails(&output, 1, &format!("{url}: {line}"));
    }
}

#[test]
fn after_a_wrong_line_replies_that_do_not_come_are_not_waited_for_without_end() {
    let url = format!("tcp://{}", serve(|mut stream| drop(stream.read_to_end(&mut Vec::new()))));
    let line =
        format!("{url}: standard input: line 2: 'z' at character 1 is not a hexadecimal digit");
    assert_fails(&run(&[&url, "--hex", "--wait=100ms"], b"61\nzz\n"), 1, &line);
    // The server's end is not taken for a complete reply either.
    let url = format!("tcp://{}", serve(|mut stream| stream.read_exact(&mut [0]).unwrap()));
    let line =
        format!("{url}: standard input: line 2: 'z' at character 1 is not a hexadecimal digit");
    assert_fails(&run(&[&url, "--hex", "--wait=1h"], b"61\nzz\n"), 1, &line);
}

#[test]
fn on_a_terminal_hexadecimal_text_is_typed_and_shown_and_a_slip_is_forgiven() {
    let url = format!("tcp://{}", serve(upper));
    let terminal = Terminal::start(ECHOGATE, &["connect", &url, "--hex"]);
    terminal.wait_for("> ");
    terminal.exchange("6x\r", "'x' at character 2 is not a hexadecimal digit\n");
    terminal.exchange("61 0a ff\r", "41 0a ff\n> ");
    terminal.type_in("\x04");
    assert_eq!(terminal.wait().0.code(), Some(0));
}

#[test]
fn on_a_terminal_once_each_line_has_a_connection_of_its_own() {
    let url = serve_each(answer_a_line);
    let terminal = Terminal::start(ECHOGATE, &["connect", &url, "--once", "--count=2"]);
    terminal.wait_for("one connection for each line; Ctrl-D ends the input\n");
    terminal.wait_for("> ");
    terminal.exchange("one\r", "ONE\n> ");
    terminal.exchange("two\r", "TWO\n");
    let (status, shown) = terminal.wait();
    assert_eq!(status.code(), Some(0), "{shown}");
}

#[test]
fn on_a_terminal_ticks_are_shown_escaped_and_ctrl_c_ends_them() {
    use std::os::unix::process::ExitStatusExt;

    let url = serve_each(|mut stream| {
        stream.write_all(b"\x1b[2J\n").unwrap();
        stream.read_to_end(&mut Vec::new()).ok();
    });
    let terminal = Terminal::start(ECHOGATE, &["connect", &url, "--now", "--every=10ms"]);
    terminal.wait_for("\\x1b[2J\n");
    terminal.type_in("\x03");
    assert_eq!(terminal.wait().0.signal(), Some(2), "SIGINT");
}

#[test]
fn timing_is_printed_beside_the_replies() {
    let url = format!("tcp://{}", serve(upper));
    let output = run(&[&url, "--timing", "--message=x", "--every=10ms", "--count=2"], b"");
    assert_eq!(output.stdout, b"X\nX\n");
    let times = String::from_utf8(output.stderr).unwrap();
    let ms = |line: &str| line.strip_suffix(" ms").unwrap().parse::<f64>().unwrap();
    assert!(times.lines().map(ms).all(|ms| ms > 0.0) && times.lines().count() == 2, "{times}");
}

#[test]
fn a_reply_that_dribbles_in_is_timed_once() {
    let address = serve(|mut stream| {
        stream.set_nodelay(true).unwrap();
        stream.read_exact(&mut [0]).unwrap();
        for byte in b"in six\n" {
            stream.write_all(&[*byte]).unwrap();
        }
        stream.read_to_end(&mut Vec::new()).ok();
    });
    let output = run(&[&format!("tcp://{address}"), "--timing"], b"one\ntwo\nthree\n");
    assert_eq!(output.stdout, b"in six\n");
    assert_eq!(output.stderr.iter().filter(|byte| **byte == b'\n').count(), 1, "{output:?}");
}

#[test]
fn options_that_make_no_sense_together_are_named() {
    let url = "tcp://127.0.0.1:1";
    for (arguments, complaint) in [
        (&["--every=1s"][..], "<--message <TEXT>|--now>"),
        (&["--now", "--message=x"], "'--now' cannot be used with '--message <TEXT>'"),
        (&["--now", "--hex"], "'--now' cannot be used with '--hex'"),
        (&["--now", "--count=2"], "--count N above 1 with --message or --now requires --every"),
        (&["--now", "--every=0s"], "--every 0 is invalid"),
        (&["--count=0"], "expected a number from 1 to 18446744073709551615"),
        (&["--every=soon", "--now"], "expected a time"),
        (&["--half-close"], "--half-close is valid with ws:// and wss:// only"),
        (&["--text"], "--text is valid with ws:// and wss:// only"),
        (
            &["--wait=soon"],
            "'soon' for '--wait <TIME>': expected a time: a number of seconds, or one with ms, s, m or h, \
             such as 10s, or forever",
        ),
        (&["--wait=1s", "--stay"], "cannot be used with"),
        (&["--crlf", "--hex"], "cannot be used with"),
        (&["--quiet", "--verbose"], "cannot be used with"),
    ] {
        let output = run(&[&[url], arguments].concat(), b"");
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(stderr.contains(complaint), "{arguments:?}: {stderr}");
        assert_eq!((output.status.code(), stderr.lines().count()), (Some(2), 1), "{arguments:?}");
    }
}
