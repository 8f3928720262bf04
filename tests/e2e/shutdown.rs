//! SIGTERM with clients of all kinds.
//!
//! The tests measure no time. A connection that ended in time is one that the log does not report
//! as cut off.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::fd::AsFd,
    process::Child,
    sync::mpsc,
    thread::JoinHandle,
    time::Duration,
};

use echogate_tests::{
    http::{self, Response, connect},
    program::{exit_status, signal},
    server::{Server, WAIT_TIMEOUT, wait_until},
    tcp::{
        connect_with_small_buffer, enlarge_receive_buffer, noise, read_exactly, read_to_end,
        round_trip, wait_until_read, wait_until_refused, write_until_blocked,
    },
    upstream::Unresponsive,
    ws::{self, Frame, RawWs, first},
};

use pty_process::blocking::{Command as PtyCommand, Pty, open};

use crate::{ECHOGATE, connected, raise_own_limit, server};

const GOODBYE: &str = "the server is shutting down";
const CUT: &str = "did not end within";

/// Waits until the server has handled its signal and closed its listeners.
fn wait_for_ending(server: &Server) {
    server.wait_for_log(&["shutting down within --drain; a second SIGTERM or SIGINT"]);
    for what in ["upper", "http"] {
        wait_until_refused(server.address(what));
    }
}

#[test]
fn a_server_without_clients_ends_with_status_0() {
    for signal in ["TERM", "INT"] {
        let mut server = server();
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0), "{signal}");
    }
}

#[test]
fn idle_clients_of_all_kinds_get_an_orderly_end() {
    let mut server = server();
    let mut tcp: Vec<_> = (0..20).map(|_| connect(server.address("upper"))).collect();
    let mut ws: Vec<_> = (0..20).map(|_| RawWs::connect(&server, "/ws")).collect();
    let mut memory: Vec<_> = (0..5).map(|_| RawWs::connect(&server, "/ws/echo")).collect();
    let mut http = connect(server.address("http"));
    for client in &mut tcp {
        assert_eq!(round_trip(client, b"a"), b"A");
    }
    server.signal("TERM");
    for client in ws.iter_mut().chain(&mut memory) {
        assert_eq!(client.read().close(), (Some(1001), GOODBYE));
        client.send(&ws::close(1001, ""));
        assert_eq!(client.try_read().unwrap(), None);
    }
    for client in &mut tcp {
        assert!(read_to_end(client).is_empty(), "an orderly end");
    }
    assert!(read_to_end(&mut http).is_empty(), "a connection without a request ends too");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.log().iter().any(|line| line.contains(CUT)), "{:#?}", server.log());
}

#[test]
fn replies_that_are_pending_come_before_the_close() {
    let (mut client, mut stream, mut server) = connected("message", &[]);
    client.send_frame(first::TEXT, b"one");
    client.send_frame(first::BINARY, b"two");
    assert_eq!(read_exactly(&mut stream, 6), b"onetwo");
    server.signal("TERM");
    wait_for_ending(&server);
    stream.write_all(b"ONETW").unwrap();
    assert_eq!(client.read(), Frame { first: first::TEXT, payload: b"ONE".to_vec() });
    stream.write_all(b"O").unwrap();
    assert_eq!(client.read(), Frame { first: first::BINARY, payload: b"TWO".to_vec() });
    assert_eq!(client.read().close(), (Some(1001), GOODBYE));
    client.send(&ws::close(1001, ""));
    assert!(read_to_end(&mut stream).is_empty(), "the upstream gets the end");
    drop(stream);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_client_gets_the_reply_that_it_waits_for_where_the_framing_counts_none() {
    for framing in ["bytes", "text", "line"] {
        let (mut client, mut stream, mut server) = connected(framing, &[]);
        client.send_frame(first::TEXT, b"and now?\n");
        assert_eq!(read_exactly(&mut stream, 9), b"and now?\n");
        server.signal("TERM");
        server.wait_for_log(&["shutting down within --drain"]);
        stream.write_all(b"last words\n").unwrap();
        assert!(client.read().payload.starts_with(b"last words"));
        assert_eq!(client.read().close(), (Some(1001), GOODBYE), "{framing}");
        client.send(&ws::close(1001, ""));
        assert!(read_to_end(&mut stream).is_empty(), "the upstream gets the end");
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn a_handshake_that_waits_for_its_upstream_is_answered_before_the_drain_is_over() {
    let upstream = Unresponsive::new();
    let route = format!("/x=tcp://{}", upstream.address());
    let mut server = Server::start(ECHOGATE, &["--drain", "2s", "--route", &route]);
    let origin = format!("Origin: http://{}", server.address("http"));
    let fetch = "Sec-Fetch-Site: same-origin";
    let mut program = connect(server.address("http"));
    let page = connect(server.address("http"));
    let (answer, mut page) = std::thread::scope(|scope| {
        let program = scope.spawn(|| ws::handshake_over(&mut program, &server, "/x", &[]));
        let page = scope.spawn(|| RawWs::over(page, &server, "/x", &[&origin, fetch]));
        server.signal("TERM");
        (program.join().unwrap(), page.join().unwrap())
    });
    assert_eq!((answer.status, answer.text()), (503, format!("{GOODBYE}\n")));
    assert!(answer.header("retry-after").is_some());
    assert_eq!(page.read().close(), (Some(1001), GOODBYE));
    page.send(&ws::close(1001, ""));
    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.log().iter().any(|line| line.contains(CUT)), "{:#?}", server.log());
}

#[test]
fn an_upstream_that_does_not_end_costs_its_client_no_close() {
    let (mut client, _stream, mut server) = connected("bytes", &["--drain", "2s"]);
    server.signal("TERM");
    assert_eq!(client.read().close(), (Some(1001), GOODBYE));
    client.send(&ws::close(1001, ""));
    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.log().iter().any(|line| line.contains(CUT)), "{:#?}", server.log());
}

#[test]
fn a_client_that_only_leaves_the_close_unanswered_costs_its_upstream_no_reset() {
    for framing in ["message", "bytes"] {
        let (mut client, mut stream, mut server) = connected(framing, &["--drain", "500ms"]);
        client.send_frame(first::BINARY, b"ab");
        assert_eq!(read_exactly(&mut stream, 2), b"ab");
        stream.write_all(b"AB").unwrap();
        assert_eq!(client.read().payload, b"AB");
        server.signal("TERM");
        assert_eq!(client.read().close(), (Some(1001), GOODBYE), "{framing}");
        assert_eq!(server.wait().code(), Some(0));
        assert!(matches!(stream.read(&mut [0]), Ok(0)), "an end in order: {framing}");
    }
}

#[test]
fn bytes_that_have_arrived_are_answered_and_then_comes_the_end() {
    let mut server = server();
    let mut tcp = connect(server.address("upper"));
    let mut ws = RawWs::connect(&server, "/ws");
    ws.exchange(b"a");
    round_trip(&mut tcp, b"a");
    // While the server is stopped, the kernel buffers the bytes, and then the signal.
    server.signal("STOP");
    tcp.write_all(b"just in time").unwrap();
    ws.send_frame(first::TEXT, b"me too");
    server.signal("TERM");
    server.signal("CONT");
    assert_eq!(ws.read(), Frame { first: first::TEXT, payload: b"ME TOO".to_vec() });
    assert_eq!(ws.read().close().0, Some(1001));
    ws.send(&ws::close(1001, ""));
    assert_eq!(read_to_end(&mut tcp), b"JUST IN TIME");
    drop(tcp);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn bytes_that_have_arrived_for_thousands_at_once_are_answered() {
    let mut server = server();
    let count = 3_000.min(raise_own_limit().saturating_sub(500));
    let mut clients: Vec<_> = (0..count).map(|_| connect(server.address("upper"))).collect();
    server.wait_for_connections(|all| all.len() == count);
    server.signal("STOP");
    for client in &mut clients {
        client.write_all(b"just in time").unwrap();
    }
    server.signal("TERM");
    server.signal("CONT");
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(read_to_end(client), b"JUST IN TIME", "client {i}");
    }
    drop(clients);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn clients_that_the_kernel_has_accepted_are_served() {
    let mut server = server();
    server.signal("STOP");
    // The kernel completes the handshakes, and buffers the bytes.
    let mut clients: Vec<_> = (0..300).map(|_| connect(server.address("upper"))).collect();
    for client in &mut clients {
        client.write_all(b"just in time").unwrap();
    }
    let mut http = connect(server.address("http"));
    http.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    server.signal("TERM");
    server.signal("CONT");
    for (i, client) in clients.iter_mut().enumerate() {
        assert_eq!(read_to_end(client), b"JUST IN TIME", "client {i}");
    }
    // The readiness check may arrive before or after the signal.
    assert!(matches!(Response::read(&mut http).unwrap().status, 200 | 503));
    assert!(read_to_end(&mut http).is_empty(), "and the connection ends");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_tcp_client_gets_all_pending_replies_and_then_the_end() {
    let mut server = server();
    let mut client = connect_with_small_buffer(server.address("upper"));
    let flood = noise(64 << 20);
    let sent = write_until_blocked(&mut client, &flood);
    assert!(sent < flood.len(), "it is held back");
    server.signal("TERM");
    wait_for_ending(&server);
    enlarge_receive_buffer(&client);
    assert!(read_to_end(&mut client) == flood[..sent].to_ascii_uppercase());
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_busy_client_is_ended_between_two_messages() {
    // The drain leaves a busy machine time to read what has been sent; at its end the rest is
    // cut off.
    let mut server = Server::start(ECHOGATE, &["--drain", "1m"]);
    let mut client = RawWs::connect(&server, "/ws");
    let mut writer = client.stream.try_clone().unwrap();
    // Megabytes of replies under way would take this client longer to read than the shutdown.
    let (sent, answered) = mpsc::sync_channel(64);
    let sending = std::thread::spawn(move || {
        let frame = ws::frame(first::TEXT, b"never quiet");
        while sent.send(()).is_ok() && writer.write_all(&frame).is_ok() {}
    });
    assert_eq!(client.read().payload, b"NEVER QUIET");
    server.signal("TERM");
    loop {
        answered.recv().unwrap();
        let frame = client.read();
        if frame.first == first::CLOSE {
            assert_eq!(frame.close(), (Some(1001), GOODBYE));
            break;
        }
        assert_eq!(frame.payload, b"NEVER QUIET");
    }
    drop(answered);
    client.stream.shutdown(std::net::Shutdown::Both).unwrap();
    sending.join().unwrap();
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn many_clients_are_closed_one_after_the_other() {
    raise_own_limit();
    // The drain is so long that few connections are closed during the test.
    let mut server = Server::start(ECHOGATE, &["--drain", "1h"]);
    let mut clients: Vec<_> = (0..120).map(|_| RawWs::connect(&server, "/ws")).collect();
    server.signal("TERM");
    let mut first = clients.remove(0);
    assert_eq!(first.read().close(), (Some(1001), GOODBYE));
    let last = clients.last_mut().unwrap();
    assert_eq!(last.exchange(b"not yet"), b"NOT YET");
    server.signal("TERM");
    server.wait();

    let mut server = Server::start(ECHOGATE, &["--drain", "5s"]);
    let mut tcp: Vec<_> = (0..120).map(|_| connect(server.address("upper"))).collect();
    let mut clients: Vec<_> = (0..120).map(|_| RawWs::connect(&server, "/ws")).collect();
    server.wait_for_connections(|all| all.len() == 360);
    server.signal("TERM");
    for client in &mut clients {
        assert_eq!(client.read().close(), (Some(1001), GOODBYE));
        client.send(&ws::close(1001, ""));
    }
    for client in &mut tcp {
        assert_eq!(read_to_end(client), b"");
    }
    drop(tcp);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.log().iter().any(|line| line.contains(CUT)), "{:#?}", server.log());
}

#[test]
fn clients_that_neither_read_nor_answer_are_cut_off_when_time_is_up() {
    let mut server = Server::start(ECHOGATE, &["--drain", "500ms"]);
    let mut deaf = connect_with_small_buffer(server.address("upper"));
    write_until_blocked(&mut deaf, &noise(64 << 20));
    let stream = connect_with_small_buffer(server.address("http"));
    let mut deaf_ws = RawWs::over(stream, &server, "/ws", &[]);
    write_until_blocked(
        &mut deaf_ws.stream,
        &ws::frame(first::BINARY, &noise(10_000)).repeat(6_000),
    );
    let silent = RawWs::connect(&server, "/ws");
    server.signal("TERM");
    server.wait_for_log(&[CUT, "500ms"]);
    assert_eq!(server.wait().code(), Some(0));
    drop((deaf, deaf_ws, silent));
}

#[test]
fn an_http_connection_between_requests_or_within_a_head_is_ended_at_once() {
    for rest in ["", "GET /readyz HTTP/1.1\r\nHo"] {
        let mut server = Server::start(ECHOGATE, &["--drain", "1h"]);
        let mut http = connect(server.address("http"));
        http.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let response = Response::read(&mut http).unwrap();
        assert_eq!((response.status, response.text().as_str()), (200, "ready\n"));
        http.write_all(rest.as_bytes()).unwrap();
        wait_until_read(&http);
        server.signal("TERM");
        assert!(read_to_end(&mut http).is_empty(), "an orderly end");
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn during_the_drain_delay_the_server_is_not_ready_and_serves_everybody() {
    let mut server = Server::start(ECHOGATE, &["--drain", "1h", "--drain-delay", "59m"]);
    let mut before = RawWs::connect(&server, "/ws");
    server.signal("TERM");
    server.wait_for_log(&["shutting down within --drain; a second SIGTERM or SIGINT"]);
    wait_until("the server is still ready", || {
        let ready = http::get(server.address("http"), "/readyz");
        (ready.status, &*ready.text()) == (503, "draining\n")
    });
    assert_eq!(http::get(server.address("http"), "/healthz").status, 200);
    let mut late = connect(server.address("upper"));
    assert_eq!(round_trip(&mut late, b"late"), b"LATE");
    assert_eq!(before.exchange(b"open"), b"OPEN");
    RawWs::connect(&server, "/ws");
    server.signal("TERM");
    server.wait();
}

#[test]
fn after_the_drain_delay_connections_end_in_order() {
    let mut server = Server::start(ECHOGATE, &["--drain", "5s", "--drain-delay", "100ms"]);
    let mut client = connect(server.address("upper"));
    assert_eq!(round_trip(&mut client, b"a"), b"A");
    server.signal("TERM");
    assert_eq!(read_to_end(&mut client), b"");
    drop(client);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_head_that_never_ends_holds_the_server_no_longer_than_the_drain() {
    let mut server = Server::start(ECHOGATE, &["--drain", "500ms"]);
    let mut http = connect(server.address("http"));
    http.write_all(b"GET /readyz HT").unwrap();
    wait_until_read(&http);
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = Server::start(ECHOGATE, &["--drain", "1h"]);
    let mut deaf = connect_with_small_buffer(server.address("upper"));
    write_until_blocked(&mut deaf, &noise(64 << 20));
    server.signal("TERM");
    wait_for_ending(&server);
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(1));
}

#[test]
fn no_time_to_drain_is_an_end_at_once() {
    let mut server = Server::start(ECHOGATE, &["--drain", "0s"]);
    let _tcp = connect(server.address("upper"));
    let _ws = RawWs::connect(&server, "/ws");
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_reply_that_has_begun_is_finished_before_the_close() {
    let (mut client, mut stream, mut server) = connected("message", &[]);
    client.send_frame(first::BINARY, &[b'a'; 1000]);
    read_exactly(&mut stream, 1000);
    stream.write_all(&[b'A'; 400]).unwrap();
    let part = client.read();
    assert_eq!((part.first, part.payload), (first::BINARY_BEGINS, vec![b'A'; 400]));
    server.signal("TERM");
    wait_for_ending(&server);
    stream.write_all(&[b'A'; 600]).unwrap();
    let rest = client.read();
    assert_eq!((rest.first, rest.payload), (first::LAST, vec![b'A'; 600]));
    assert_eq!(client.read().close(), (Some(1001), GOODBYE));
    client.send(&ws::close(1001, ""));
    assert_eq!(server.wait().code(), Some(0));
}

/// Connects clients to `address` one after the other until one is refused.
pub(crate) fn keep_coming(address: &str) -> Vec<JoinHandle<()>> {
    let (came, coming) = mpsc::channel();
    let clients = (0..4)
        .map(|_| {
            let (address, came) = (address.to_owned(), came.clone());
            std::thread::spawn(move || {
                while let Ok(mut client) = TcpStream::connect(&address) {
                    client.set_read_timeout(Some(WAIT_TIMEOUT)).ok();
                    client.write_all(b"x").ok();
                    client.read_exact(&mut [0]).ok();
                    came.send(()).ok();
                    std::thread::sleep(Duration::from_millis(2));
                }
            })
        })
        .collect();
    (0..20).for_each(|_| coming.recv().unwrap());
    clients
}

#[test]
fn clients_that_keep_coming_do_not_delay_the_end() {
    let mut server = Server::start(ECHOGATE, &["--drain", "2s"]);
    let clients = keep_coming(server.address("upper"));
    assert_eq!(server.terminate(), Some(0));
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert!(!server.log().iter().any(|line| line.contains(CUT)), "{:#?}", server.log());
}

/// A server on a pseudo-terminal, and the other end of that.
fn on_terminal() -> (Child, Pty, BufReader<File>) {
    let (pty, pts) = open().unwrap();
    let command = PtyCommand::new(ECHOGATE);
    let child = command.args(["serve", "--http", "127.0.0.1:0"]).spawn(pts).unwrap();
    let reader = BufReader::new(File::from(pty.as_fd().try_clone_to_owned().unwrap()));
    let mut terminal = (child, pty, reader);
    shown(&mut terminal.2, "ready");
    terminal
}

/// Reads a terminal's output up to a line that contains `text`.
fn shown(terminal: &mut BufReader<File>, text: &str) {
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert!(terminal.read_line(&mut line).unwrap() > 0, "no {text}");
    }
}

/// The exit code of a process, which is killed after a timeout.
fn exit_code(child: &mut Child) -> Option<i32> {
    let status = exit_status(child, WAIT_TIMEOUT);
    child.kill().unwrap();
    status.expect("the process ends").code()
}

#[test]
fn a_server_whose_terminal_is_closed_ends() {
    let (mut child, pty, reader) = on_terminal();
    drop((pty, reader));
    assert_eq!(exit_code(&mut child), Some(0));
}

#[test]
fn sighup_from_an_open_terminal_is_a_reload() {
    let (mut child, pty, mut reader) = on_terminal();
    for _ in 0..2 {
        signal(child.id(), "HUP");
        shown(&mut reader, "SIGHUP: configuration reloaded");
    }
    signal(child.id(), "TERM");
    assert_eq!(exit_code(&mut child), Some(0));
    drop(pty);
}
