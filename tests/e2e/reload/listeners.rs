//! Sockets that are added, removed, kept, or used for another service.

use std::{
    fs,
    io::Write,
    net::{SocketAddr, TcpStream, UdpSocket},
    os::unix::{
        fs::{MetadataExt, PermissionsExt},
        net::UnixStream,
    },
    process::Command,
    time::Duration,
};

use echogate_tests::{
    http::{self, connect},
    program::programs,
    server::{Server, WAIT_TIMEOUT},
    tcp::{read_exactly, read_to_end, round_trip, wait_until_refused},
    tls::Authority,
    upstream::Upstream,
    ws::{self, RawWs, first},
};
use serde_json::Value;

use super::{Reloaded, free_address, http_and, listener, route};
use crate::shutdown::keep_coming;

#[test]
fn a_listener_that_is_added_serves_and_one_that_is_removed_is_closed() {
    let (old, new) = (free_address(), free_address());
    let (old_url, new_url) = (format!("tcp://{old}"), format!("tcp://{new}"));
    let reloaded = Reloaded::new(&http_and(&listener("upper", &old_url)));
    assert!(TcpStream::connect(&new).is_err());
    let mut client = connect(&old);
    assert_eq!(round_trip(&mut client, b"one"), b"ONE");

    reloaded.accept(&http_and(&listener("echo", &new_url)));
    assert!(TcpStream::connect(&old).is_err(), "it is closed by the time that the log says so");
    assert_eq!(round_trip(&mut connect(&new), b"two"), b"two");
    assert_eq!(round_trip(&mut client, b"one"), b"ONE", "its connections live on");
    assert_eq!(reloaded.listener_url("echo"), new);
    // A closed address can be bound again.
    reloaded.accept(&http_and(&listener("upper", &old_url)));
    assert_eq!(round_trip(&mut connect(&old), b"three"), b"THREE");
    assert_eq!(round_trip(&mut client, b"one"), b"ONE");
}

#[test]
fn a_kept_listener_is_the_same_socket_with_its_port_and_its_backlog() {
    let kept = listener("upper", "tcp://127.0.0.1:0");
    let reloaded = Reloaded::new(&http_and(&kept));
    let (upper, page) =
        (reloaded.server.address("upper").to_owned(), reloaded.server.address("http").to_owned());
    // The clients connect while the server is stopped, and wait in the backlog at the signal.
    reloaded.server.signal("STOP");
    let mut waiting: Vec<_> = (0..50).map(|_| connect(&upper)).collect();
    let mut asking: Vec<_> = (0..20).map(|_| connect(&page)).collect();
    reloaded.write(&http_and(&[listener("time", "tcp://127.0.0.1:0"), kept.clone()].concat()));
    reloaded.server.signal("HUP");
    reloaded.server.signal("CONT");
    for client in &mut waiting {
        assert_eq!(round_trip(client, b"waited"), b"WAITED");
    }
    for client in &mut asking {
        let head = ["GET /healthz HTTP/1.1", &format!("Host: {page}")];
        assert_eq!(http::exchange(client, &head).status, 200);
    }
    reloaded.server.wait_for_log(&["SIGHUP: configuration reloaded"]);
    assert_eq!(reloaded.listener_url("upper"), upper);
    assert_eq!(round_trip(&mut connect(&upper), b"more"), b"MORE");
    // The URL with the assigned port names the same socket.
    reloaded.accept(&http_and(&listener("upper", &format!("tcp://{upper}"))));
    assert_eq!(round_trip(&mut waiting[0], b"more"), b"MORE");
    assert_eq!(reloaded.listener_url("upper"), upper);
}

#[test]
fn a_kept_listener_gets_its_new_backlog() {
    let settings = |backlog: u32| {
        http_and(&format!("backlog = {backlog}\n{}", listener("upper", "tcp://127.0.0.1:0")))
    };
    let reloaded = Reloaded::new(&settings(4096));
    let upper: SocketAddr = reloaded.server.address("upper").parse().unwrap();
    // While the server is stopped, the kernel queues the backlog and one more; others retry.
    let held = |enough: usize, patience| {
        reloaded.server.signal("STOP");
        let clients: Vec<_> =
            (0..enough).map_while(|_| TcpStream::connect_timeout(&upper, patience).ok()).collect();
        reloaded.server.signal("CONT");
        clients.len()
    };
    reloaded.accept(&settings(3));
    assert!(held(40, Duration::from_millis(300)) < 40);
    reloaded.accept(&settings(100));
    assert_eq!(held(40, WAIT_TIMEOUT), 40);
}

#[test]
fn clients_that_wait_at_a_removed_listener_are_served() {
    let reloaded = Reloaded::new(&http_and(&listener("upper", "tcp://127.0.0.1:0")));
    let upper = reloaded.server.address("upper").to_owned();
    reloaded.server.signal("STOP");
    let mut waiting: Vec<_> = (0..50).map(|_| connect(&upper)).collect();
    reloaded.write(&http_and(&route("/ws", "service:upper")));
    reloaded.server.signal("HUP");
    reloaded.server.signal("CONT");
    reloaded.server.wait_for_log(&["SIGHUP: configuration reloaded"]);
    wait_until_refused(&upper);
    for client in &mut waiting {
        assert_eq!(round_trip(client, b"waited"), b"WAITED");
    }
}

#[test]
fn http_can_move_and_its_connections_stay() {
    let (old, new) = (free_address(), free_address());
    let ws = route("/ws", "service:upper");
    let reloaded = Reloaded::new(&format!("http = [\"{old}\"]\n{ws}"));
    let mut client = RawWs::connect(&reloaded.server, "/ws");
    let mut idle = connect(&old);
    let get = ["GET /api/endpoints HTTP/1.1", &format!("Host: {old}")];
    assert!(!http::exchange(&mut idle, &get).text().contains("/other"));
    reloaded.accept(&format!("http = [\"{new}\"]\n{ws}{}", route("/other", "service:echo")));
    assert!(TcpStream::connect(&old).is_err());
    assert_eq!(http::get(&new, "/readyz").status, 200);
    assert!(super::replies_in_upper_case(&mut client));
    // The next request of a connection is answered under the new configuration.
    assert!(http::exchange(&mut idle, &get).text().contains("/other"));
}

#[test]
fn a_kept_socket_can_change_its_service() {
    let (one, two) = (free_address(), free_address());
    let (one_url, two_url) = (format!("tcp://{one}"), format!("tcp://{two}"));
    let http = "127.0.0.1:0";
    let settings = |upper: &str, echo: &str| {
        format!("http = [\"{http}\"]\n{}{}", listener("upper", upper), listener("echo", echo))
    };
    let reloaded = Reloaded::new(&settings(&one_url, &two_url));
    let mut before = connect(&one);
    assert_eq!(round_trip(&mut before, b"one"), b"ONE");
    reloaded.accept(&settings(&two_url, &one_url));
    assert_eq!(round_trip(&mut connect(&one), b"one"), b"one");
    assert_eq!(round_trip(&mut connect(&two), b"two"), b"TWO");
    assert_eq!(round_trip(&mut before, b"one"), b"ONE", "who came before keeps what it came for");
    // `?once`, and HTTP in place of a service.
    let once = listener("upper", &format!("{two_url}?once"));
    reloaded.accept(&format!("http = [\"{http}\", \"{one}\"]\n{once}"));
    assert_eq!(http::get(&one, "/healthz").status, 200);
    let mut client = connect(&two);
    client.write_all(b"once").unwrap();
    assert_eq!(read_to_end(&mut client), b"ONCE");
    assert_eq!(round_trip(&mut before, b"one"), b"ONE");
}

#[test]
fn tls_can_be_switched_on_and_off() {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let echo = free_address();
    let plain = http_and(&listener("echo", &format!("tcp://{echo}")));
    let flag = |name: &str| {
        format!("tls-{name} = \"{}\"", authority.file(&format!("{name}.pem")).display())
    };
    let tls = listener("echo", &format!("tls://{echo}"));
    let secure = http_and(&format!("{}\n{}\n{tls}", flag("cert"), flag("key")));
    let reloaded = Reloaded::new(&plain);
    let page = reloaded.server.address("http").to_owned();
    let head = ["GET /api/endpoints HTTP/1.1", &format!("Host: {page}")];
    let mut before = connect(&page);
    assert_eq!(http::exchange(&mut before, &head).status, 200);

    reloaded.accept(&secure);
    let mut client = authority.connect(&page);
    assert!(http::exchange(&mut client, &head).text().contains(&format!("tls://{echo}")));
    let mut within = authority.connect(&echo);
    assert_eq!(round_trip(&mut within, b"hello"), b"hello");
    assert_eq!(http::exchange(&mut before, &head).status, 200, "it began without");

    reloaded.accept(&plain);
    assert_eq!(round_trip(&mut connect(&echo), b"hello"), b"hello");
    assert_eq!(round_trip(&mut within, b"hello"), b"hello");
    assert_eq!(http::exchange(&mut client, &head).status, 200, "it began with it");
    assert_eq!(http::get(&page, "/healthz").status, 200);
}

#[test]
fn a_socket_file_stays_with_its_listener_and_goes_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let unix = |name: &str, mode: &str| {
        listener("upper", &format!("unix://{}?mode={mode}", path(name).display()))
    };
    let gram = listener("upper", &format!("unixgram://{}", path("gram").display()));
    let reloaded = Reloaded::new(&http_and(&(unix("kept", "600") + &unix("gone", "600") + &gram)));
    let inode = |name: &str| fs::metadata(path(name)).unwrap().ino();
    let (kept, gone) = (inode("kept"), path("gone"));
    assert!(gone.exists() && path("gram").exists());
    let mut client = UnixStream::connect(&gone).unwrap();
    assert_eq!(round_trip(&mut client, b"hello"), b"HELLO");
    reloaded.accept(&http_and(&(unix("kept", "660") + &unix("new", "660"))));
    assert!(!gone.exists() && !path("gram").exists());
    assert_eq!(inode("kept"), kept, "the same file");
    let mode = fs::metadata(path("kept")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660, "of another mode");
    for name in ["kept", "new"] {
        let mut client = UnixStream::connect(path(name)).unwrap();
        assert_eq!(round_trip(&mut client, b"hello"), b"HELLO");
    }
    assert_eq!(round_trip(&mut client, b"hello"), b"HELLO");
}

/// Sends a datagram and returns the reply.
fn exchange(socket: &UdpSocket, to: &str, bytes: &[u8]) -> Vec<u8> {
    socket.send_to(bytes, to).unwrap();
    let mut buffer = [0; 100];
    let (len, _) = socket.recv_from(&mut buffer).unwrap();
    buffer[..len].to_vec()
}

#[test]
fn datagrams_are_answered_under_the_configuration_at_their_arrival() {
    let time = listener("time", "udp://127.0.0.1:0");
    let zone = |name: &str, more: &str| http_and(&format!("timezone = \"{name}\"\n{more}"));
    let reloaded = Reloaded::new(&zone("UTC", &time));
    let at = reloaded.server.address("time").to_owned();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    assert_eq!(exchange(&socket, &at, b"0"), b"1970-01-01 00:00:00");
    reloaded.accept(&zone("Europe/Berlin", &time));
    assert_eq!(reloaded.listener_url("time"), at);
    assert_eq!(exchange(&socket, &at, b"0"), b"1970-01-01 01:00:00");
    reloaded.accept(&zone("UTC", &listener("echo", &format!("udp://{at}"))));
    assert_eq!(exchange(&socket, &at, b"hello"), b"hello");
    // The sender is listed under the new service.
    let listed = |live: &[Value]| live.len() == 1 && live[0]["target"] == "echo";
    reloaded.server.wait_for_connections(listed);
    reloaded.accept(&http_and(&route("/ws", "service:upper")));
    UdpSocket::bind(&at).expect("it is closed");
    reloaded.server.wait_for_connections(<[_]>::is_empty);
}

#[test]
fn connections_of_a_removed_listener_are_drained_with_the_others() {
    let upstream = Upstream::new();
    let before = http_and(&(listener("upper", "tcp://127.0.0.1:0") + &upstream_route(&upstream)));
    let mut reloaded = Reloaded::new(&before);
    let mut tcp = connect(reloaded.server.address("upper"));
    assert_eq!(round_trip(&mut tcp, b"hello"), b"HELLO");
    let mut client = RawWs::connect(&reloaded.server, "/x");
    let mut stream = upstream.accept();
    client.send_frame(first::TEXT, b"one");
    assert_eq!(read_exactly(&mut stream, 3), b"one");
    reloaded.accept(&http_and(&route("/ws", "service:upper")));

    reloaded.server.signal("STOP");
    tcp.write_all(b"just in time").unwrap();
    reloaded.server.signal("TERM");
    reloaded.server.signal("CONT");
    reloaded.server.wait_for_log(&["shutting down"]);
    stream.write_all(b"ONE").unwrap();
    assert_eq!(client.read().payload, b"ONE", "a reply that was pending");
    assert_eq!(client.read().close().0, Some(1001));
    client.send(&ws::close(1001, ""));
    assert_eq!(read_to_end(&mut tcp), b"JUST IN TIME");
    drop((tcp, stream));
    assert_eq!(reloaded.server.wait().code(), Some(0));
    let log = reloaded.server.log();
    assert!(!log.iter().any(|line| line.contains("did not end within")), "{log:#?}");
}

fn upstream_route(upstream: &Upstream) -> String {
    route("/x", &format!("tcp://{}?framing=message", upstream.address()))
}

#[test]
fn the_default_routes_follow_a_moved_listener() {
    let (old, new) = (free_address(), free_address());
    let reloaded = Reloaded::new(&http_and(&listener("upper", &format!("tcp://{old}"))));
    let mut before = RawWs::connect(&reloaded.server, "/ws");
    let leads_to = |address: &str| {
        let endpoints = reloaded.endpoints();
        assert_eq!(endpoints["routes"][0]["upstream"], format!("tcp://{address}"));
    };
    leads_to(&old);
    reloaded.accept(&http_and(&listener("upper", &format!("tcp://{new}"))));
    leads_to(&new);
    assert!(super::replies_in_upper_case(&mut RawWs::connect(&reloaded.server, "/ws")));
    assert!(super::replies_in_upper_case(&mut before));
}

/// A script that passes a socket on like a service manager.
const ACTIVATE: &str = r#"
import fcntl, os, socket, sys
tcp = socket.create_server(("127.0.0.1", 0))
os.dup2(fcntl.fcntl(tcp, fcntl.F_DUPFD, 10), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="upper")
os.execv(sys.argv[1], sys.argv[1:])
"#;

#[test]
fn a_socket_of_the_service_manager_stays() {
    let Some([python]) = programs(["python3"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("echogate.toml");
    fs::write(&file, http_and("")).unwrap();
    let mut command = Command::new(python);
    command.args(["-c", ACTIVATE, crate::ECHOGATE, "serve", "--config"]).arg(&file);
    let reloaded = Reloaded { server: Server::spawn(command), dir };
    let upper = reloaded.server.address("upper").to_owned();
    let mut before = connect(&upper);
    reloaded.accept(&http_and(&listener("echo", "tcp://127.0.0.1:0")));
    assert_eq!(reloaded.listener_url("upper"), upper);
    assert_eq!(round_trip(&mut before, b"before"), b"BEFORE");
    assert_eq!(round_trip(&mut connect(&upper), b"after"), b"AFTER");
    assert_eq!(round_trip(&mut connect(&reloaded.listener_url("echo")), b"new"), b"new");
    reloaded.accept(&http_and(""));
    assert_eq!(round_trip(&mut connect(&upper), b"after"), b"AFTER");
}

#[test]
fn a_listener_with_a_stream_of_new_clients_can_be_removed() {
    let gone = free_address();
    let mut reloaded =
        Reloaded::new(&(http_and("drain = \"2s\"") + &listener("upper", &format!("tcp://{gone}"))));
    let clients = keep_coming(&gone);
    reloaded.accept(&http_and("drain = \"2s\""));
    clients.into_iter().for_each(|client| client.join().unwrap());
    assert_eq!(reloaded.server.terminate(), Some(0));
}
