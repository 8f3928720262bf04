//! Backpressure, limits on connections, timeouts, memory and file descriptors.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
};

use echogate_tests::{
    http::{self, connect},
    program::signal,
    server::Server,
    tcp::{
        connect_with_small_buffer, enlarge_receive_buffer, noise, read_exactly, read_to_end,
        round_trip, write_until_blocked,
    },
    upstream::{Unresponsive, Upstream},
    ws::{self, BROWSER, RawWs, first, handshake},
};

use crate::{ECHOGATE, raise_own_limit, server, with_upstream};

/// The limit on the server's memory for one client, in KiB, with the buffers that a thread keeps
/// for all clients.
const BOUND: u64 = 6 << 10;

/// A client that does not read, whose socket takes little.
fn slow_client(server: &Server, path: &str) -> RawWs {
    RawWs::over(connect_with_small_buffer(server.address("http")), server, path, &[])
}

/// Writes until the server reads no more, with little memory; returns the number of bytes that it
/// has taken.
fn flood_until_held_back(server: &Server, to: &mut TcpStream, flood: &[u8], what: &str) -> usize {
    let before = server.peak();
    let sent = write_until_blocked(to, flood);
    assert!(sent < flood.len(), "{what}: it is held back");
    let grown = server.peak_growth(before);
    assert!(grown < BOUND, "{what}: {grown} KiB for an end that does not read");
    sent
}

#[test]
fn a_client_that_floods_and_does_not_read_is_held_back_and_then_gets_everything() {
    let server = server();
    let mut client = slow_client(&server, "/ws");
    let message = noise(100_000);
    let frame = ws::frame(first::BINARY, &message);
    let flood = frame.repeat(1_500);
    let sent = flood_until_held_back(&server, &mut client.stream, &flood, "/ws");

    enlarge_receive_buffer(&client.stream);
    let whole = sent.div_ceil(frame.len());
    let mut writer = client.stream.try_clone().unwrap();
    let rest = [&flood[sent..whole * frame.len()], &ws::close(1000, "")].concat();
    let writing = thread::spawn(move || writer.write_all(&rest).unwrap());
    let expected = message.to_ascii_uppercase();
    let mut last = None;
    for i in 0..whole {
        let frame = client.read_message();
        if frame.first == first::CLOSE {
            last = Some((i, frame));
            break;
        }
        assert!(frame.payload == expected, "message {i} of {whole}");
    }
    assert!(last.is_none(), "{last:?} of {whole}");
    assert_eq!(client.read_close().0, Some(1000));
    writing.join().unwrap();
}

#[test]
fn tiny_messages_that_are_never_read_are_held_back() {
    let server = server();
    let mut client = slow_client(&server, "/ws");
    let frames = [ws::frame(first::TEXT, b""), ws::frame(first::BINARY, b"x")].concat();
    let flood = frames.repeat((48 << 20) / frames.len());
    flood_until_held_back(&server, &mut client.stream, &flood, "/ws");
}

#[test]
fn pings_that_are_never_read_do_not_pile_up() {
    let server = server();
    let before = server.peak();
    let mut client = slow_client(&server, "/ws");
    let pings = ws::frame(first::PING, &[7; 125]).repeat(1_000);
    for _ in 0..80 {
        // The server may stop reading, or skip Pongs, but may not queue all of them.
        if write_until_blocked(&mut client.stream, &pings) < pings.len() {
            break;
        }
    }
    let grown = server.peak_growth(before);
    assert!(grown < BOUND, "{grown} KiB of pings");
}

#[test]
fn an_upstream_that_floods_a_client_that_does_not_read_is_held_back() {
    for framing in ["bytes", "text", "line"] {
        let (server, upstream) = with_upstream(framing, &[]);
        let _client = slow_client(&server, "/x");
        let mut stream = upstream.accept();
        // Short lines: each becomes a frame.
        let flood = b"ab\n".repeat(16 << 20);
        flood_until_held_back(&server, &mut stream, &flood, framing);
    }
}

#[test]
fn a_client_is_held_back_by_an_upstream_that_does_not_read() {
    let (server, upstream) = with_upstream("bytes", &[]);
    let mut client = RawWs::connect(&server, "/x");
    let mut stream = upstream.accept();
    let frame = ws::frame(first::BINARY, &noise(1 << 20));
    let flood = frame.repeat(80);
    let sent = flood_until_held_back(&server, &mut client.stream, &flood, "bytes");

    let whole = sent.div_ceil(frame.len());
    let mut writer = client.stream.try_clone().unwrap();
    let rest = flood[sent..whole * frame.len()].to_vec();
    let writing = thread::spawn(move || writer.write_all(&rest).unwrap());
    let got = read_exactly(&mut stream, whole << 20);
    assert!(got.chunks(1 << 20).all(|chunk| chunk == noise(1 << 20)));
    writing.join().unwrap();
}

#[test]
fn each_connection_that_stalls_costs_a_bounded_amount_and_no_more() {
    const EACH: u64 = 300 << 20;
    const PAIRS: u64 = 4;
    let (server, upstream) = with_upstream("bytes", &[]);
    // The first pair includes the buffers that a thread keeps.
    let mut pairs = Vec::new();
    let mut before = 0;
    for i in 0..=PAIRS {
        let mut client = slow_client(&server, "/x");
        let mut accepted = upstream.accept();
        // 300 MiB in each direction, from the client in messages within the limit.
        let frame = ws::frame(first::BINARY, &vec![b'x'; 1 << 20]);
        let up = offer(&mut client.stream, &frame, EACH);
        let down = offer(&mut accepted, &frame, EACH);
        assert!(up < EACH && down < EACH, "both are held back");
        pairs.push((client, accepted));
        if i == 0 {
            before = server.memory("VmRSS");
        }
    }
    let grown = server.memory("VmRSS").saturating_sub(before) / PAIRS;
    assert!(grown < 1 << 10, "{grown} KiB for each connection that stalls both ways");
}

/// Writes `bytes` repeatedly, up to `up_to` bytes or until a write blocks; returns the number of
/// written bytes.
fn offer(stream: &mut TcpStream, bytes: &[u8], up_to: u64) -> u64 {
    let mut taken = 0;
    while taken < up_to {
        let written = write_until_blocked(stream, bytes);
        taken += written as u64;
        if written < bytes.len() {
            break;
        }
    }
    taken
}

/// A server with a limit of `files` open files.
fn with_files(files: u32, arguments: &[&str]) -> Server {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -n {files} && exec \"$0\" \"$@\""), ECHOGATE]);
    command.args(["--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"]);
    command.args(arguments);
    Server::spawn(command)
}

#[test]
fn running_out_of_file_descriptors_delays_clients_and_loses_none() {
    let server = with_files(64, &[]);
    // A client of the default /ws, its bridge and the listener of the bridge: three each.
    let needs = "needs up to 61024 file descriptors";
    server.wait_for_log(&[needs, "this process is 64: raise it"]);
    let mut first = connect(server.address("upper"));
    assert_eq!(round_trip(&mut first, b"a"), b"A");

    // The kernel completes connections that the server cannot accept.
    let mut crowd: Vec<_> = (0..100).map(|_| connect(server.address("upper"))).collect();
    server.wait_for_log(&["cannot accept connections"]);
    for _ in 0..10 {
        assert_eq!(round_trip(&mut first, b"still served"), b"STILL SERVED");
    }

    // The reserve answers HTTP, and carries no connection that would keep a descriptor of it.
    let at = server.address("http");
    for _ in 0..20 {
        assert_eq!(http::get(at, "/healthz").status, 200);
        assert_eq!(http::get(at, "/readyz").status, 200);
    }
    for path in ["/ws", "/ws/echo"] {
        let refused = handshake(&server, path, &[]);
        assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
        assert_eq!(
            refused.text(),
            "all 64 file descriptors of the server are in use (ulimit -n)\n"
        );
    }
    assert_eq!(http::get(at, "/api/events").status, 503);
    assert_eq!(server.metric("echogate_refused_total{reason=\"descriptors\"}"), 3);

    // The last client waits until others have ended.
    let mut last = crowd.pop().unwrap();
    last.write_all(b"at last").unwrap();
    last.set_nonblocking(true).unwrap();
    let early = last.read(&mut [0; 7]).map_err(|e| e.kind());
    assert_eq!(early, Err(ErrorKind::WouldBlock), "it is not served yet");
    last.set_nonblocking(false).unwrap();
    drop(crowd);
    assert_eq!(read_exactly(&mut last, 7), b"AT LAST");
    server.wait_for_log(&["accepting connections again on 127.0.0.1:"]);

    let warnings = server.log().iter().filter(|line| line.contains("cannot accept")).count();
    assert!(warnings < 10, "{warnings} warnings: it is logged when it begins, not at each try");
    assert_eq!(http::get(server.address("http"), "/healthz").status, 200);
}

#[test]
fn clients_that_wait_for_a_descriptor_at_the_shutdown_are_served_as_others_end() {
    let mut server = with_files(64, &[]);
    let crowd: Vec<_> = (0..100).map(|_| connect(server.address("upper"))).collect();
    server.wait_for_log(&["cannot accept connections"]);
    let mut last = connect(server.address("upper"));
    last.write_all(b"at last").unwrap();
    server.signal("TERM");
    assert_eq!(read_to_end(&mut last), b"AT LAST");
    drop(crowd);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn running_out_of_file_descriptors_fails_a_handshake_but_not_the_server() {
    let server = with_files(64, &[]);
    let mut clients = Vec::new();
    let refused = loop {
        assert!(clients.len() < 64, "never out of files");
        let mut stream = connect(server.address("http"));
        let response = ws::handshake_over(&mut stream, &server, "/ws", &[]);
        match response.status {
            101 => clients.push(RawWs { stream }),
            _ => break response,
        }
    };
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    // The bridge whose hairpin waits to be accepted is served once others have ended.
    drop(clients.split_off(clients.len() / 2));
    for client in &mut clients {
        assert_eq!(client.exchange(b"in"), b"IN");
    }
    server.wait_for_connections(|all| all.len() == 2 * clients.len());
    let mut new = RawWs::connect(&server, "/ws");
    assert_eq!(new.exchange(b"new"), b"NEW");
}

#[test]
fn idle_http_connections_do_not_take_all_file_descriptors() {
    let server = with_files(64, &[]);
    let at = server.address("http");
    let request = format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\n\r\n");
    let mut idle = Vec::new();
    for _ in 0..200 {
        let mut stream = connect(at);
        stream.write_all(request.as_bytes()).unwrap();
        assert_eq!(http::Response::read(&mut stream).unwrap().status, 200);
        idle.push(stream);
    }
    let mut client = connect(server.address("upper"));
    assert_eq!(round_trip(&mut client, b"served"), b"SERVED");
}

#[test]
fn listeners_that_wait_for_a_descriptor_leave_the_reserve_to_http() {
    let services = ["echo", "time", "chat", "operator"];
    let more = services.map(|service| format!("--listen={service}=tcp://127.0.0.1:0"));
    let server = with_files(64, &more.each_ref().map(String::as_str));
    let (at, upper) = (server.address("http"), server.address("upper"));
    let crowd: Vec<_> = (0..64).map(|_| connect(upper)).collect();
    server.wait_for_log(&["cannot accept connections"]);
    let one_each = services.map(|service| connect(server.address(service)));
    let silent: Vec<_> = (0..10).map(|_| connect(at)).collect();
    for _ in 0..20 {
        assert_eq!(http::get(at, "/healthz").status, 200);
    }
    drop((crowd, silent));
    let mut new = connect(upper);
    assert_eq!(round_trip(&mut new, b"served"), b"SERVED");
    drop(one_each);
}

#[test]
fn an_http_connection_of_the_reserve_is_upgraded_once_a_descriptor_is_free() {
    let server = with_files(64, &[]);
    let (at, upper) = (server.address("http"), server.address("upper"));
    let crowd: Vec<_> = (0..64).map(|_| connect(upper)).collect();
    server.wait_for_log(&["cannot accept connections"]);
    let mut stream = connect(at);
    let health = format!("GET /healthz HTTP/1.1\r\nHost: {at}\r\n\r\n");
    stream.write_all(health.as_bytes()).unwrap();
    assert_eq!(http::Response::read(&mut stream).unwrap().status, 200);
    drop(crowd);
    server.wait_for_connections(<[_]>::is_empty);
    assert_eq!(RawWs::over(stream, &server, "/ws", &[]).exchange(b"in"), b"IN");
}

#[test]
fn connections_beyond_the_limit_wait_for_a_permit() {
    let server = Server::start(ECHOGATE, &["--max-connections", "4"]);
    let mut clients: Vec<_> = (0..8).map(|_| connect(server.address("upper"))).collect();
    for client in &mut clients {
        client.write_all(b"x").unwrap();
    }
    // All are served, in any order, when earlier clients have ended.
    for mut client in clients {
        assert_eq!(read_exactly(&mut client, 1), b"X");
    }
}

#[test]
fn a_limit_of_one_connection_starves_no_listener() {
    let server = Server::start(ECHOGATE, &["--max-connections", "1"]);
    for what in ["upper", "upper", "http", "http", "upper", "upper"] {
        if what == "http" {
            assert_eq!(http::get(server.address("http"), "/healthz").status, 200);
        } else {
            let mut client = connect(server.address("upper"));
            assert_eq!(round_trip(&mut client, b"x"), b"X");
        }
    }
}

#[test]
fn each_limit_is_an_http_status_for_clients_and_a_close_reason_for_pages() {
    for (arguments, path, reason) in [
        (&["--max-connections", "1"][..], "/ws", "the server is full (--max-connections 1)"),
        (
            &["--max-per-address", "1"],
            "/ws",
            "too many connections from 127.0.0.1 (--max-per-address 1)",
        ),
        (
            &["--route", "/few=service:upper?max=1", "--route", "/many=service:upper"],
            "/few",
            "the route or forward is full (max=1)",
        ),
    ] {
        let routes = ["--route", "/ws=service:upper"];
        let server = Server::start(ECHOGATE, &[arguments, &routes].concat());
        let mut first = RawWs::connect(&server, path);
        let response = handshake(&server, path, &[]);
        assert_eq!(response.status, 503, "{response:?}");
        assert_eq!(response.text(), format!("{reason}\n"));
        assert!(response.header("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()));
        let origin = format!("Origin: http://{}", server.address("http"));
        let mut page = RawWs::connect_with(&server, path, &[&origin, BROWSER]);
        assert_eq!(page.read_close(), (Some(1013), reason.to_owned()));
        // The page is served nevertheless.
        assert_eq!(http::get(server.address("http"), "/").status, 200);
        if path == "/few" {
            RawWs::connect(&server, "/many");
        }
        // Established connections are not disturbed, and a released permit is used again.
        assert_eq!(first.exchange(b"in"), b"IN");
        first.end(1000, "");
        server.wait_for_connections(|all| all.iter().all(|one| one["target"] != path));
        RawWs::connect(&server, path);
    }
}

#[test]
fn a_client_whose_upstream_is_a_listener_here_takes_one_permit() {
    let at = TcpListener::bind("127.77.0.1:0").unwrap().local_addr().unwrap();
    let listener = format!("upper=tcp://{at}");
    let route = format!("/ws=tcp://{at}?framing=message");
    for limit in ["--max-connections", "--max-per-address"] {
        for route in [&[][..], &["--listen", &listener, "--route", &route]] {
            let server = Server::start(ECHOGATE, &[&[limit, "3"], route].concat());
            let mut clients = [(); 3].map(|()| RawWs::connect(&server, "/ws"));
            assert_eq!(handshake(&server, "/ws", &[]).status, 503, "{limit} {route:?}");
            for client in &mut clients {
                assert_eq!(client.exchange(b"in"), b"IN", "{limit} {route:?}");
            }
            assert_eq!(server.connections().len(), 6, "{limit} {route:?}");
        }
    }
}

#[test]
fn an_address_with_too_many_tcp_connections_gets_no_more() {
    let server = Server::start(ECHOGATE, &["--max-per-address", "2"]);
    let mut clients: Vec<_> = (0..2).map(|_| connect(server.address("upper"))).collect();
    for client in &mut clients {
        assert_eq!(round_trip(client, b"x"), b"X");
    }
    let mut third = connect(server.address("upper"));
    assert_eq!(third.read(&mut [0; 1]).unwrap_or(0), 0, "it is ended");
    server.wait_for_log(&["refused", "--max-per-address"]);
    drop(clients);
    server.wait_for_connections(<[_]>::is_empty);
    let mut fourth = connect(server.address("upper"));
    assert_eq!(round_trip(&mut fourth, b"x"), b"X");
}

#[test]
fn an_idle_connection_is_ended_after_the_idle_timeout() {
    let arguments = ["--idle-timeout", "2s", "--route", "/ws=service:upper"];
    let server = Server::start(ECHOGATE, &arguments);
    let mut tcp = connect(server.address("upper"));
    let mut ws = RawWs::connect(&server, "/ws");
    let mut busy = connect(server.address("upper"));
    for _ in 0..60 {
        assert_eq!(round_trip(&mut busy, b"x"), b"X");
        thread::sleep(std::time::Duration::from_millis(50));
    }
    let (code, reason) = ws.read_close();
    assert_eq!(code, Some(1001));
    assert!(reason.contains("--idle-timeout"), "{reason}");
    assert_eq!(tcp.read(&mut [0; 1]).unwrap(), 0, "an orderly end");
    assert_eq!(busy.read(&mut [0; 1]).unwrap(), 0, "when it has become idle too");
}

#[test]
fn a_head_that_takes_too_long_is_given_up() {
    let server = Server::start(ECHOGATE, &["--header-timeout", "200ms"]);
    for bytes in [&b""[..], b"GET /ws HTTP/1.1\r\nHost: localhost\r\n"] {
        let mut client = connect(server.address("http"));
        client.write_all(bytes).unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).ok();
        let refused = answer.is_empty() || answer.starts_with(b"HTTP/1.1 408");
        assert!(refused, "{}", answer.escape_ascii());
    }
}

#[test]
fn an_upstream_that_does_not_accept_is_504() {
    let upstream = Unresponsive::new();
    let route = format!("/slow=tcp://{}", upstream.address());
    let server = Server::start(ECHOGATE, &["--dial-timeout", "300ms", "--route", &route]);
    let response = handshake(&server, "/slow", &[]);
    assert_eq!(response.status, 504, "{response:?}");
    assert_eq!(response.text(), "the upstream did not answer within 300ms (--dial-timeout)\n");
}

#[test]
fn a_slow_client_is_kept_and_a_stalled_one_is_dropped() {
    let upstream = Upstream::new();
    let route = upstream.route("/flood", "bytes");
    let arguments = ["--ping-interval", "2s", "--ping-timeout", "2s", "--route", &route];
    let server = Server::start(ECHOGATE, &arguments);
    let flood = thread::spawn(move || {
        for _ in 0..2 {
            let mut stream = upstream.accept();
            thread::spawn(move || while stream.write_all(&[b'x'; 65_536]).is_ok() {});
        }
    });
    let mut slow = RawWs::connect(&server, "/flood").stream;
    let mut standing = RawWs::connect(&server, "/flood").stream;
    flood.join().unwrap();
    // 8 KB every 50 ms: a socket buffer of the default size would last for 20 s without any progress
    // that the server can see.
    let mut buffer = [0; 8_000];
    for _ in 0..200 {
        slow.read_exact(&mut buffer).unwrap();
        thread::sleep(std::time::Duration::from_millis(50));
    }
    server.wait_for_log(&["the client did not answer a Ping"]);
    let live = server.connections();
    assert_eq!(live.len(), 1, "{live:?}");
    assert_eq!(live[0]["peer"], slow.local_addr().unwrap().to_string());
    let mut rest = Vec::new();
    standing.read_to_end(&mut rest).ok();
}

#[test]
fn a_client_whose_process_is_stopped_is_found_and_one_that_only_waits_is_kept() {
    let arguments =
        ["--ping-interval", "300ms", "--ping-timeout", "3s", "--route", "/ws=service:upper"];
    let server = Server::start(ECHOGATE, &arguments);
    let start = || {
        let mut command = Command::new(ECHOGATE);
        command.args(["connect", &server.ws("/ws")]).stdin(Stdio::piped()).stdout(Stdio::null());
        command.stderr(Stdio::null()).spawn().unwrap()
    };
    let mut waiting = start();
    let mut stopped = start();
    server.wait_for_connections(|all| all.len() == 2);
    signal(stopped.id(), "STOP");
    server.wait_for_log(&["the client did not answer a Ping"]);
    // The kernel still acknowledges for the stopped process: only a missing Pong shows the stop.
    server.wait_for_connections(|all| all.len() == 1);
    // The client that waits is kept for longer than a Ping and its time limit.
    server.wait_for_connections(|all| all.len() == 1 && all[0]["age"].as_f64() > Some(4.5));
    for child in [&mut waiting, &mut stopped] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// Asserts that each of `count` idle connections takes less than so many KiB.
fn assert_each_takes_less(limit: f64, server: &Server, before: u64, count: usize) {
    let grown = server.memory("VmRSS").saturating_sub(before);
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    let each = grown as f64 / count as f64;
    eprintln!("{count} idle connections: {grown} KiB, {each:.2} KiB each");
    assert!(each < limit, "{each} KiB for each idle connection");
}

#[test]
fn idle_connections_are_cheap() {
    const WANTED: usize = 5_000;
    let server = server();
    // This process has the clients' ends; the server raises its own limit.
    let have = raise_own_limit();
    let count = WANTED.min(have.saturating_sub(500));
    let before = server.memory("VmRSS");
    let mut clients: Vec<TcpStream> = Vec::with_capacity(count);
    for i in 0..count {
        let mut client = TcpStream::connect(server.address("upper")).unwrap();
        client.write_all(b"a").unwrap();
        clients.push(client);
        if i % 100 == 99 {
            for client in &mut clients[i - 99..] {
                assert_eq!(read_exactly(client, 1), b"A");
            }
        }
    }
    assert_each_takes_less(8.0, &server, before, count);
    let mut last = clients.pop().unwrap();
    assert_eq!(round_trip(&mut last, b"and still served"), b"AND STILL SERVED");
}

#[test]
fn idle_websocket_connections_are_cheap() {
    let server = server();
    let count = 1_000.min(raise_own_limit().saturating_sub(500));
    let before = server.memory("VmRSS");
    let mut clients: Vec<_> = (0..count).map(|_| RawWs::connect(&server, "/ws")).collect();
    for client in &mut clients {
        assert_eq!(client.exchange(b"a"), b"A");
    }
    assert_each_takes_less(16.0, &server, before, count);
}
