//! The client against the real server, over TCP and through the gateway.

use echogate_tests::{pty::Terminal, server::Server, ws::BROWSER};

use super::{
    INPUT_PAUSED, assert_100_mb_come_back_upper_cased_in_little_memory, assert_fails,
    assert_prints, connect, finish, run,
};
use crate::ECHOGATE;

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
fn datagrams_of_both_kinds_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let unixgram = format!("unixgram://{}", folder.path().join("s").display());
    let listen = ["--listen", "echo=udp://127.0.0.1:0", "--listen", &format!("echo={unixgram}")];
    let server = Server::start(ECHOGATE, &listen);
    for url in server.urls("echo") {
        assert_prints(&run(&[&url], b"hello"), b"hello");
        let arguments = [&url, "--message=x", "--every=10ms", "--count=3", "--once"];
        assert_prints(&run(&arguments, b""), b"x\nx\nx\n");
    }
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
fn a_path_that_is_no_route_is_named_with_404() {
    let server = Server::start(ECHOGATE, &[]);
    let url = server.ws("/nope");
    let output = run(&[&url], b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.starts_with(&format!("echogate: {url}: the server responded 404 Not Found")),
        "{stderr}"
    );
    assert_eq!((output.status.code(), stderr.lines().count()), (Some(1), 1), "{stderr}");
}

#[test]
fn a_server_that_shuts_down_ends_both_cleanly() {
    let mut server = Server::start(ECHOGATE, &[]);
    let ws = server.ws("/ws");
    let clients = [&[server.url("upper")][..], &[&ws, "--binary"]].map(|arguments| {
        let mut client = connect(arguments);
        // The reply shows that the client is connected.
        let input = client.stdin.as_mut().unwrap();
        std::io::Write::write_all(input, b"x").unwrap();
        let output = client.stdout.as_mut().unwrap();
        std::io::Read::read_exact(output, &mut [0]).unwrap();
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
fn a_gateway_without_its_upstream_is_a_failure_in_words() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(ECHOGATE, &["--route", &format!("/ws/gone=tcp://{free}")]);
    let url = server.ws("/ws/gone");
    let output = run(&[&url], b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("the server responded 502 Bad Gateway"), "{stderr}");
    // A page is upgraded, so that it can read the reason in a Close frame.
    let origin = format!("http://{}", server.address("http"));
    let output = run(&[&url, "--origin", &origin, "--header", BROWSER], b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("closed by the server (1011, "), "{stderr}");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_refused_origin_is_named_in_the_error() {
    let server = Server::start(ECHOGATE, &[]);
    let url = server.ws("/ws");
    let foreign = [&*url, "--origin", "http://evil.example"];
    let output = run(&foreign, b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let reason = "origin http://evil.example is not allowed (--allow-origin)";
    let status = format!("the server responded 403 Forbidden: {reason}");
    assert!(stderr.contains(&status), "{stderr}");
    let output = run(&[&foreign[..], &["--header", BROWSER]].concat(), b"");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let close = format!("closed by the server (1008, refused by policy): {reason}");
    assert!(stderr.contains(&close), "{stderr}");
}

#[test]
fn a_stopped_server_is_a_refused_connection() {
    let server = Server::start(ECHOGATE, &[]);
    let url = server.url("upper").to_owned();
    drop(server);
    assert_fails(&run(&[&url], b""), 1, &format!("{url}: connection refused"));
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
