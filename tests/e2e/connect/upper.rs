//! The client against the real server, over TCP and through the gateway.

use std::{
    io::{Read, Write},
    net::TcpListener,
    thread,
};

use echogate_tests::{pty::Terminal, server::Server, ws::BROWSER};

use super::{
    INPUT_PAUSED, assert_fails, assert_prints, connect,
    file::{MAX_MEMORY, peak_memory},
    finish, run,
};
use crate::ECHOGATE;

/// Sends 100 MB through the client with these arguments, checks the replies in upper case, and checks
/// the client's peak memory.
fn assert_100_mb_come_back_upper_cased_in_little_memory(arguments: &[&str]) {
    const PIECES: usize = 1600;

    // All byte values, in a length that is no multiple of a buffer size.
    let piece: Vec<u8> = (0..62_501_u32).map(|i| (i % 251) as u8 ^ (i / 251) as u8).collect();
    let mut client = connect(arguments);
    let mut input = client.stdin.take().unwrap();
    let mut output = client.stdout.take().unwrap();
    let sent = piece.clone();
    let sender = thread::spawn(move || {
        (0..PIECES).for_each(|_| input.write_all(&sent).unwrap());
        input
    });
    let expected = piece.to_ascii_uppercase();
    let mut received = vec![0; piece.len()];
    for i in 0..PIECES {
        output.read_exact(&mut received).unwrap();
        assert!(received == expected, "piece {i} of {PIECES}");
    }
    let input = sender.join().unwrap();
    // Everything is transferred, and the client still runs: it waits for the end of its input.
    let memory = peak_memory(&client);
    assert!(memory < MAX_MEMORY, "{memory} KiB");
    drop(input);
    assert_eq!(output.read_to_end(&mut received).unwrap(), 0);
    assert_prints(&finish(client), b"");
}

#[test]
fn a_hundred_megabytes_come_back_whole_over_tcp() {
    let server = Server::start(ECHOGATE, &[]);
    assert_100_mb_come_back_upper_cased_in_little_memory(&[server.url("upper")]);
}

#[test]
fn a_hundred_megabytes_come_back_whole_through_the_gateway() {
    let server = Server::start(ECHOGATE, &[]);
    assert_100_mb_come_back_upper_cased_in_little_memory(&[&server.ws("/ws"), "--binary"]);
}

#[test]
fn ten_megabytes_and_the_end_of_the_input_at_once_are_answered_in_full() {
    let server = Server::start(ECHOGATE, &[]);
    let data: Vec<u8> = (0..10_000_000_u32).map(|i| (i % 251) as u8).collect();
    for arguments in [&[server.url("upper")][..], &[&server.ws("/ws"), "--binary"]] {
        assert_prints(&run(arguments, &data), &data.to_ascii_uppercase());
    }
}

#[test]
fn with_half_close_all_is_answered_through_the_gateway_however_late() {
    let server = Server::start(ECHOGATE, &[]);
    let data: Vec<u8> = (0..1_000_000_u32).map(|i| (i % 251) as u8).collect();
    let url = server.ws("/ws");
    assert_prints(&run(&[&url, "--half-close", "--binary"], &data), &data.to_ascii_uppercase());
    let line =
        format!("{url}: the server selected the subprotocol \"binary\" instead of half-close");
    assert_fails(&run(&[&url, "--half-close", "--protocol=binary"], b""), 1, &line);
}

#[test]
fn the_service_time_reads_each_ticks_time_over_any_transport() {
    let listen = ["--listen", "time=tcp://127.0.0.1:0", "--listen", "time=udp://127.0.0.1:0"];
    let server = Server::start(ECHOGATE, &[&listen[..], &["--route", "/t=service:time"]].concat());
    for url in server.urls("time").chain([server.ws("/t")]) {
        for more in [&[][..], &["--once"]] {
            let arguments = [&[&*url, "--now", "--every=10ms", "--count=2"], more].concat();
            let output = run(&arguments, b"");
            let text = String::from_utf8(output.stdout).unwrap();
            let is_time = |line: &str| line.starts_with("20") && line.len() == 19;
            assert!(text.lines().count() == 2 && text.lines().all(is_time), "{url}: {text}");
        }
    }
}

#[test]
fn a_refusal_is_named_with_its_status_and_to_a_page_with_its_close_code() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(ECHOGATE, &["--route", &format!("/gone=tcp://{free}")]);
    let own = format!("http://{}", server.address("http"));
    let (policy, failed) = ("1008, refused by policy", "1011, the server or its upstream failed");
    let foreign = "origin http://evil.example is not allowed (--allow-origin)";
    for (path, origin, status, code, reason) in [
        ("/nope", &*own, "404 Not Found", policy, "no such route: /nope"),
        ("/gone", &own, "502 Bad Gateway", failed, "the upstream refused the connection"),
        ("/gone", "http://evil.example", "403 Forbidden", policy, foreign),
    ] {
        let url = server.ws(path);
        let program = [&*url, "--origin", origin];
        let page = [&program[..], &["--header", BROWSER]].concat();
        for (arguments, what) in [
            (&program[..], format!("the server responded {status}")),
            (&page, format!("closed by the server ({code})")),
        ] {
            let output = run(arguments, b"");
            let stderr = String::from_utf8_lossy(&output.stderr);
            let line = format!("echogate: {url}: {what}: {reason}");
            assert!(stderr.starts_with(&line) && stderr.lines().count() == 1, "{stderr}");
            assert_eq!(output.status.code(), Some(1));
        }
    }
}

#[test]
fn a_server_that_shuts_down_ends_both_cleanly() {
    let mut server = Server::start(ECHOGATE, &[]);
    let ws = server.ws("/ws");
    let clients = [&[server.url("upper")][..], &[&ws, "--binary"]].map(|arguments| {
        let mut client = connect(arguments);
        // The reply shows that the client is connected.
        let input = client.stdin.as_mut().unwrap();
        input.write_all(b"x").unwrap();
        let output = client.stdout.as_mut().unwrap();
        output.read_exact(&mut [0]).unwrap();
        client
    });
    server.signal("TERM");
    for (client, notice) in clients.into_iter().zip([INPUT_PAUSED, ""]) {
        let output = finish(client);
        assert_eq!(String::from_utf8_lossy(&output.stderr), notice);
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b""[..]));
    }
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_person_at_a_terminal_gets_replies_with_their_times_over_both() {
    let server = Server::start(ECHOGATE, &[]);
    for url in [server.url("upper"), &server.ws("/ws")] {
        let terminal = Terminal::start(ECHOGATE, &["connect", url, "--timing"]);
        terminal.wait_for("; Ctrl-D ends the input\n");
        terminal.wait_for("> ");
        terminal.exchange("hello, 世界 ß\r", "HELLO, 世界 ß  (");
        terminal.wait_for(" ms)\n");
        terminal.type_in("\x04");
        let (status, shown) = terminal.wait();
        assert_eq!(status.code(), Some(0), "{shown}");
    }
}
