//! Every socket family: the same exchanges give the same bytes on each. The service `time`, `?once`
//! and activated sockets.

use std::{
    collections::HashMap,
    fs,
    io::{Read, Write},
    net::{SocketAddr, UdpSocket},
    os::{
        linux::net::SocketAddrExt,
        unix::{
            fs::{FileTypeExt, PermissionsExt},
            net::{SocketAddr as UnixAddr, UnixDatagram, UnixListener, UnixStream},
        },
    },
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use echogate_tests::{
    http::connect,
    program::programs,
    server::{Server, WAIT_TIMEOUT, wait_until},
    tcp::{noise, read_exactly, round_trip},
    tls::Authority,
};

use serde_json::Value;

use crate::ECHOGATE;

/// A function that sends a request and returns the reply, whose length is known.
type Exchange = Box<dyn FnMut(&[u8], usize) -> Vec<u8>>;

/// The stream families and the datagram families.
const STREAMS: [&str; 5] = ["tcp4", "tcp6", "dual", "tls", "unix"];
const DATAGRAMS: [&str; 4] = ["udp4", "udp6", "udp-any", "unixgram"];

/// A server with one service on every family.
struct Families {
    authority: Authority,
    dir: tempfile::TempDir,
    server: Server,
    urls: HashMap<&'static str, String>,
}

impl Families {
    fn of(service: &str) -> Families {
        let authority = Authority::with_certificate(&["127.0.0.1"]);
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let endpoints = [
            ("tcp4", "tcp://127.0.0.1:0".to_owned()),
            ("tcp6", "tcp://[::1]:0".to_owned()),
            ("dual", "tcp://[::]:0".to_owned()),
            ("tls", "tls://127.0.0.1:0".to_owned()),
            ("unix", format!("unix://{}", path("stream"))),
            ("udp4", "udp://127.0.0.1:0".to_owned()),
            ("udp6", "udp://[::1]:0".to_owned()),
            ("udp-any", "udp://0.0.0.0:0".to_owned()),
            ("unixgram", format!("unixgram://{}", path("datagram"))),
        ];
        let mut command = Command::new(ECHOGATE);
        command.args(["--http", "127.0.0.1:0", "--timezone", "UTC"]).args(authority.flags());
        for (_, url) in &endpoints {
            command.args(["--listen", &format!("{service}={url}")]);
        }
        let server = Server::spawn(command);
        let urls = endpoints.iter().map(|(name, _)| *name).zip(server.urls(service)).collect();
        Families { authority, dir, server, urls }
    }

    /// The `HOST:PORT` or the path of a family's listener.
    fn at(&self, family: &str) -> &str {
        self.urls[family].split_once("://").unwrap().1
    }

    fn connect(&self, family: &str) -> Exchange {
        let at = self.at(family).to_owned();
        let port = || at.rsplit_once(':').unwrap().1.to_owned();
        match family {
            "tcp4" | "tcp6" => Box::new(by_stream(connect(&at))),
            "dual" => Box::new(by_stream(connect(&format!("127.0.0.1:{}", port())))),
            "tls" => Box::new(by_stream(self.authority.connect(&at))),
            "unix" => {
                let stream = UnixStream::connect(at).unwrap();
                stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
                Box::new(by_stream(stream))
            }
            "udp4" => Box::new(by_udp("127.0.0.1:0", &at)),
            "udp6" => Box::new(by_udp("[::1]:0", &at)),
            // A datagram to any address of the machine is answered from that address.
            "udp-any" => Box::new(by_udp("0.0.0.0:0", &format!("127.1.2.3:{}", port()))),
            "unixgram" => Box::new(by_unixgram(&at)),
            other => panic!("{other}"),
        }
    }
}

fn by_stream(mut stream: impl Read + Write) -> impl FnMut(&[u8], usize) -> Vec<u8> {
    move |bytes, len| {
        stream.write_all(bytes).unwrap();
        stream.flush().unwrap();
        read_exactly(&mut stream, len)
    }
}

fn by_udp(from: &str, to: &str) -> impl FnMut(&[u8], usize) -> Vec<u8> + use<> {
    let socket = UdpSocket::bind(from).unwrap();
    socket.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    let to: SocketAddr = to.parse().unwrap();
    move |bytes, _| {
        socket.send_to(bytes, to).unwrap();
        let mut buffer = vec![0; 70_000];
        let (len, from) = socket.recv_from(&mut buffer).unwrap();
        assert_eq!(from, to, "the answer comes from where it was asked for");
        buffer.truncate(len);
        buffer
    }
}

fn by_unixgram(to: &str) -> impl FnMut(&[u8], usize) -> Vec<u8> + use<> {
    // An abstract address that the kernel chooses.
    let name = format!("echogate-{}-{to}", std::process::id());
    let socket = UnixDatagram::bind_addr(&UnixAddr::from_abstract_name(name).unwrap()).unwrap();
    socket.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    socket.connect(to).unwrap();
    move |bytes, _| {
        socket.send(bytes).unwrap();
        let mut buffer = vec![0; 70_000];
        let len = socket.recv(&mut buffer).unwrap();
        buffer.truncate(len);
        buffer
    }
}

fn has_ipv6() -> bool {
    let has = UdpSocket::bind("[::1]:0").is_ok();
    if !has {
        eprintln!("skipped: no IPv6 on this machine");
    }
    has
}

#[test]
fn upper_and_echo_give_the_same_bytes_on_every_family() {
    if !has_ipv6() {
        return;
    }
    let all: Vec<u8> = (0..=255).collect();
    let large = noise(60_000);
    let script: [&[u8]; 6] =
        [b"hello", "hello, 世界 ß".as_bytes(), &all, b"\n", &large, b"one more"];
    for (service, answer) in [
        ("upper", <[u8]>::to_ascii_uppercase as fn(&[u8]) -> Vec<u8>),
        ("echo", <[u8]>::to_vec as fn(&[u8]) -> Vec<u8>),
    ] {
        let families = Families::of(service);
        for family in STREAMS.into_iter().chain(DATAGRAMS) {
            let mut exchange = families.connect(family);
            for bytes in script {
                let answered = exchange(bytes, bytes.len());
                assert!(answered == answer(bytes), "{service} {family}: {} bytes", bytes.len());
            }
        }
    }
}

#[test]
fn time_gives_the_same_answers_on_every_family() {
    if !has_ipv6() {
        return;
    }
    let families = Families::of("time");
    for family in STREAMS.into_iter().chain(DATAGRAMS) {
        let mut exchange = families.connect(family);
        for (request, answer) in [
            // Requests without newlines come first: a newline switches the connection to lines.
            ("-1", "1969-12-31 23:59:59"),
            ("nan", "error: not a Unix time: \"nan\""),
            ("1532345678\n", "2018-07-23 11:34:38\n"),
            ("1532345678.25\r\n", "2018-07-23 11:34:38\n"),
            ("noon\n", "error: not a Unix time: \"noon\"\n"),
            ("1e400\n", "error: not a Unix time: \"1e400\"\n"),
            ("99999999999\n", "5138-11-16 09:46:39\n"),
            ("999999999999\n", "error: out of range: \"999999999999\"\n"),
            ("0\n", "1970-01-01 00:00:00\n"),
        ] {
            let answered = exchange(request.as_bytes(), answer.len());
            assert_eq!(String::from_utf8_lossy(&answered), answer, "{family}: {request:?}");
        }
    }
}

#[test]
fn each_datagram_gets_one_reply_at_any_size() {
    if !has_ipv6() {
        return;
    }
    let families = Families::of("upper");
    for family in DATAGRAMS {
        let mut exchange = families.connect(family);
        // The largest payload over IPv4 is 65,507 bytes; an empty datagram counts, too.
        for len in [0, 1, 1500, 9000, 65_000, 65_507] {
            let bytes = noise(len);
            assert!(exchange(&bytes, len) == bytes.to_ascii_uppercase(), "{family}: {len} bytes");
        }
    }
}

#[test]
fn a_unix_peer_that_sends_and_never_reads_keeps_no_other_from_its_replies() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let [service, forward] = ["service", "forward"].map(path);
    let upstream = Server::start(ECHOGATE, &["--listen", "upper=udp://127.0.0.1:0"]);
    let server = Server::start(
        ECHOGATE,
        &[
            "--listen",
            &format!("upper=unixgram://{service}"),
            "--forward",
            &format!("unixgram://{forward}={}", upstream.urls("upper").nth(1).unwrap()),
        ],
    );
    for (to, name) in [(&service, "deaf"), (&forward, "deaf-too")] {
        let deaf = UnixDatagram::bind(path(name)).unwrap();
        let dropped = server.metric("echogate_datagrams_dropped_total");
        let mut exchange = by_unixgram(to);
        for number in 0..60 {
            deaf.send_to(&[b'x'; 40_000], to).unwrap();
            assert_eq!(exchange(b"HERE", 4), b"HERE", "{number}");
        }
        let large = vec![b'X'; 60_000];
        assert!(exchange(&large, large.len()) == large);
        server.wait_for_metric("echogate_datagrams_dropped_total", |now| now > dropped);
        // The peer is answered again when it has read.
        deaf.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        deaf.set_nonblocking(true).unwrap();
        while deaf.recv(&mut [0; 1]).is_ok() {}
        deaf.set_nonblocking(false).unwrap();
        deaf.send_to(b"HELLO", to).unwrap();
        let mut reply = [0; 5];
        assert_eq!(deaf.recv(&mut reply).unwrap(), 5);
        assert_eq!(&reply, b"HELLO");
    }
}

#[test]
fn a_flood_of_datagrams_takes_no_memory_and_others_are_still_answered() {
    let families = Families::of("upper");
    let before = families.server.peak();
    let to: SocketAddr = families.at("udp4").parse().unwrap();
    // From more senders than the list holds, none of which reads.
    for _ in 0..1500 {
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..20 {
            sender.send_to(&[b'x'; 1400], to).unwrap();
        }
    }
    let deaf = UnixDatagram::unbound().unwrap();
    deaf.set_nonblocking(true).unwrap();
    for _ in 0..1000 {
        // A sender without an address gets no reply.
        deaf.send_to(b"x", families.at("unixgram")).ok();
    }
    let mut exchange = families.connect("unixgram");
    assert_eq!(exchange(b"still here", 10), b"STILL HERE");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    // The kernel may drop datagrams of a flood.
    wait_until("never answered", || {
        socket.send_to(b"here too", to).unwrap();
        socket.recv(&mut [0; 100]).is_ok_and(|len| len == 8)
    });
    let grown = families.server.peak_growth(before);
    assert!(grown < 4 << 10, "{grown} KiB");
}

#[test]
fn clients_are_listed_by_their_kind_with_what_is_known_of_them() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let (stream, datagram) = (path("stream"), path("datagram"));
    let server = Server::start(
        ECHOGATE,
        &[
            &["--listen", &format!("upper=unix://{stream}")][..],
            &["--listen", &format!("upper=unixgram://{datagram}")],
            &["--listen", "upper=udp://127.0.0.1:0"],
        ]
        .concat(),
    );
    let udp = server.urls("upper").find_map(|url| url.strip_prefix("udp://").map(str::to_owned));
    by_udp("127.0.0.1:0", &udp.unwrap())(b"seven b", 7);
    by_unixgram(&datagram)(b"four", 4);
    let mut client = UnixStream::connect(&stream).unwrap();
    round_trip(&mut client, b"me");
    let entered = |connection: &Value| connection["bytes_sent"] != 0;
    let mut all = server.wait_for_connections(|all| all.iter().filter(|c| entered(c)).count() == 3);
    // A datagram is counted after its reply is sent, which may be after other replies.
    all.sort_by_key(|connection| connection["kind"].to_string());
    for (connection, (kind, bytes, messages)) in
        all.iter().zip([("udp", 7, 1), ("unix", 2, 0), ("unixgram", 4, 1)])
    {
        assert_eq!(connection["kind"], kind);
        for way in ["received", "sent"] {
            assert_eq!(connection[format!("bytes_{way}")], bytes, "{kind}");
            assert_eq!(connection[format!("messages_{way}")], messages, "{kind}");
        }
    }
    assert!(all[0]["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{all:?}");
    assert_eq!(all[1]["peer"], format!("process {}", std::process::id()));
    assert!(all[2]["peer"].as_str().unwrap().starts_with("@echogate-"), "{all:?}");
}

#[test]
fn a_socket_file_is_there_while_the_server_is_and_no_longer() {
    let mut families = Families::of("upper");
    let files = ["stream", "datagram"].map(|name| families.dir.path().join(name));
    for file in &files {
        assert!(fs::symlink_metadata(file).unwrap().file_type().is_socket());
    }
    assert_eq!(families.server.terminate(), Some(0));
    assert!(!files.iter().any(|file| file.exists()));
}

/// The command of a server with `upper` on this socket file only.
fn upper_on(path: &Path, mode: &str) -> Command {
    let listen = format!("upper=unix://{}{mode}", path.display());
    let mut command = Command::new(ECHOGATE);
    command.args(["--http", "127.0.0.1:0", "--listen", &listen]);
    command
}

/// The error of a server that cannot use this socket file.
fn refusal(path: &Path) -> String {
    let output = upper_on(path, "").output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(printed.contains(path.to_str().unwrap()), "{printed}");
    printed
}

#[test]
fn a_stale_socket_file_is_replaced_and_nothing_else_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists(), "no server uses it any more");
    drop(Server::spawn(upper_on(&path, "")));

    let path = dir.path().join("alive");
    let _alive = UnixListener::bind(&path).unwrap();
    let printed = refusal(&path);
    assert!(printed.contains("in use"), "{printed}");

    let path = dir.path().join("file");
    fs::write(&path, "precious").unwrap();
    let printed = refusal(&path);
    assert!(printed.contains("not a socket"), "{printed}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_socket_file_whose_server_is_stuck_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("stuck");
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None).unwrap();
    socket.bind(&socket2::SockAddr::unix(&path).unwrap()).unwrap();
    socket.listen(0).unwrap();
    // The listen backlog is full: the next connection would wait.
    let _first = UnixStream::connect(&path).unwrap();
    let printed = refusal(&path);
    assert!(printed.contains("in use"), "{printed}");
}

#[test]
fn two_time_services_do_not_answer_each_other_for_ever() {
    let server = Server::start(ECHOGATE, &["--listen", "time=udp://127.0.0.1:0"]);
    let mut exchange = by_udp("127.0.0.1:0", server.address("time"));
    assert!(exchange(b"noon", 0).starts_with(b"error: "));
    // The reply to the last datagram is after any replies to the others.
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    socket.send_to(b"error: not a Unix time: \"noon\"", server.address("time")).unwrap();
    socket.send_to(b"ERROR: NOT A UNIX TIME: \"NOON\"", server.address("time")).unwrap();
    socket.send_to(b"0", server.address("time")).unwrap();
    let mut buffer = [0; 100];
    let len = socket.recv(&mut buffer).unwrap();
    assert!(buffer[..len].ends_with(b":00"), "{:?}", buffer[..len].escape_ascii());
}

/// A script that starts the server with activated sockets, in which datagrams from each other and
/// from themselves wait, as if with forged senders.
const SELF_ADDRESSED: &str = r#"
import fcntl, os, socket, sys
one, any = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
one.bind(("127.0.0.1", 0))
any.bind(("0.0.0.0", 0))
unix = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
unix.bind(sys.argv[2])
for sender in one, any:
    for receiver in one, any:
        sender.sendto(b"round and round", ("127.0.0.1", receiver.getsockname()[1]))
unix.sendto(b"round and round", sys.argv[2])
for target, made in enumerate([fcntl.fcntl(s, fcntl.F_DUPFD, 10) for s in (one, any, unix)], 3):
    os.dup2(made, target)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="3", LISTEN_FDNAMES="echo:echo:echo")
os.execv(sys.argv[1], [sys.argv[1], "--http", "127.0.0.1:0"])
"#;

#[test]
fn sockets_of_this_server_do_not_answer_each_other() {
    let Some([python]) = programs(["python3"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket").display().to_string();
    let mut command = Command::new(python);
    command.args(["-c", SELF_ADDRESSED, ECHOGATE, &path]);
    let server = Server::spawn(command);
    let at = |url: String| url.split_once("://").unwrap().1.replace("0.0.0.0", "127.0.0.1");
    let all: Vec<String> = server.urls("echo").map(at).collect();
    // Each of these is after the datagrams of the sockets.
    assert_eq!(by_udp("127.0.0.1:0", &all[0])(b"first", 5), b"first");
    assert_eq!(by_udp("127.0.0.1:0", &all[1])(b"second", 6), b"second");
    assert_eq!(by_unixgram(&all[2])(b"third", 5), b"third");
    let clients = server.wait_for_connections(|clients| {
        clients.iter().filter(|client| client["bytes_sent"] != 0).count() >= 3
    });
    assert_eq!(clients.len(), 3, "{clients:?}");
    assert!(clients.iter().all(|client| client["messages_sent"] == 1), "{clients:?}");
}

#[test]
fn a_loop_with_another_echo_ends_and_others_are_answered_meanwhile() {
    let server = Server::start(ECHOGATE, &["--listen", "echo=udp://127.0.0.1:0"]);
    let echo = UdpSocket::bind("127.0.0.1:0").unwrap();
    echo.connect(server.address("echo")).unwrap();
    echo.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let (start, mut answers) = (Instant::now(), 0);
    let is_found = || server.log().iter().any(|line| line.contains("datagram loop"));
    let mut buffer = [0; 100];
    // A datagram with a forged sender starts the loop. The datagram is sent again while no reply
    // comes, because a datagram may be lost.
    while !is_found() {
        assert!(start.elapsed() < WAIT_TIMEOUT, "still answered after {answers} times");
        echo.send(b"round and round").unwrap();
        while let Ok(len) = echo.recv(&mut buffer) {
            echo.send(&buffer[..len]).unwrap();
            answers += 1;
        }
    }
    assert!((9_000..=20_000).contains(&answers), "{answers}");
    echo.set_nonblocking(true).unwrap();
    echo.send(b"again").unwrap();
    let mut exchange = by_udp("127.0.0.1:0", server.address("echo"));
    assert_eq!(exchange(b"another client", 14), b"another client");
    let answered = echo.recv(&mut buffer);
    assert!(answered.is_err_and(|e| e.kind() == std::io::ErrorKind::WouldBlock));
}

#[test]
fn a_socket_files_mode_is_as_asked() {
    let dir = tempfile::tempdir().unwrap();
    for mode in ["600", "666", "0640"] {
        let path = dir.path().join(mode);
        let _server = Server::spawn(upper_on(&path, &format!("?mode={mode}")));
        let found = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(found, u32::from_str_radix(mode, 8).unwrap());
    }
}

#[test]
fn once_answers_one_message_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let unix = format!("echo=unix://{}?once", dir.path().join("once").display());
    let server = Server::start(
        ECHOGATE,
        &["--listen", &unix, "--listen", "time=tcp://127.0.0.1:0?once", "--timezone", "UTC"],
    );
    // A request with a newline is answered at once, one without after a pause.
    for (sent, expected) in [("0\n", "1970-01-01 00:00:00\n"), ("0", "1970-01-01 00:00:00")] {
        let mut client = connect(server.address("time"));
        client.write_all(sent.as_bytes()).unwrap();
        let mut all = String::new();
        client.read_to_string(&mut all).unwrap();
        assert_eq!(all, expected);
    }
    for sent in ["a line\n", "no line", "two\nlines\n"] {
        let mut client = UnixStream::connect(server.address("echo")).unwrap();
        client.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        client.write_all(sent.as_bytes()).unwrap();
        let mut all = String::new();
        client.read_to_string(&mut all).unwrap();
        assert_eq!(all, sent);
    }
    server.wait_for_log(&["kind=unix", "the only message was answered (?once)"]);
}

#[test]
fn time_answers_a_client_that_sends_no_newline_when_it_pauses() {
    let server =
        Server::start(ECHOGATE, &["--listen", "time=tcp://127.0.0.1:0", "--timezone", "UTC"]);
    let mut client = connect(server.address("time"));
    for _ in 0..3 {
        client.write_all(b"1532345678.123456").unwrap();
        assert_eq!(read_exactly(&mut client, 19), b"2018-07-23 11:34:38");
    }
    // A megabyte without a newline is one error, and the connection continues.
    client.write_all(&vec![b'7'; 1 << 20]).unwrap();
    client.write_all(b"\n0\n").unwrap();
    let expected =
        format!("error: not a Unix time: \"{}…\"\n1970-01-01 00:00:00\n", "7".repeat(64));
    assert_eq!(String::from_utf8(read_exactly(&mut client, expected.len())).unwrap(), expected);
    // Input without a newline is answered at the end of the input, too.
    client.write_all(b"60").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "1970-01-01 00:01:00");
}

#[test]
fn a_line_of_a_client_that_sends_lines_may_come_in_halves() {
    let server = Server::start(
        ECHOGATE,
        &["--listen", "time=tcp://127.0.0.1:0", "--timezone", "UTC", "--drain", "2s"],
    );
    let mut client = connect(server.address("time"));
    client.write_all(b"0\n15323").unwrap();
    assert_eq!(read_exactly(&mut client, 20), b"1970-01-01 00:00:00\n");
    // Longer than the pause that ends a request without a newline, such as TCP's minimum
    // retransmission timeout.
    std::thread::sleep(Duration::from_millis(250));
    client.write_all(b"45678\n15323").unwrap();
    assert_eq!(read_exactly(&mut client, 20), b"2018-07-23 11:34:38\n");
    // The server's end does not turn the incomplete line into a request either.
    server.signal("TERM");
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
}

/// A Python script that starts the server, its argument, with activated sockets, like a service
/// manager.
const ACTIVATE: &str = r#"
import fcntl, os, socket, sys
tcp = socket.create_server(("127.0.0.1", 0))
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind(("127.0.0.1", 0))
http = socket.create_server(("127.0.0.1", 0))
unix = socket.socket(socket.AF_UNIX)
unix.bind(sys.argv[3])
unix.listen()
made = [fcntl.fcntl(s, fcntl.F_DUPFD, 10) for s in (tcp, udp, http, unix)]
for target, made in enumerate(made, 3):
    os.dup2(made, target)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="4", LISTEN_FDNAMES=sys.argv[2])
os.execv(sys.argv[1], [sys.argv[1]])
"#;

/// The server with a TCP port, a UDP port, a TCP port, and the Unix socket `path`.
fn activated(python: &Path, names: &str, path: &Path) -> Command {
    fs::remove_file(path).ok();
    let mut command = Command::new(python);
    command.args(["-c", ACTIVATE, ECHOGATE, names]).arg(path);
    command
}

#[test]
fn sockets_of_a_service_manager_are_served_by_their_names() {
    let Some([python]) = programs(["python3"]) else { return };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("passed.sock");
    let server = Server::spawn(activated(&python, "upper:time:http:http", &path));
    let mut client = connect(server.address("upper"));
    assert_eq!(round_trip(&mut client, b"activated"), b"ACTIVATED");
    let mut exchange = by_udp("127.0.0.1:0", server.address("time"));
    assert!(exchange(b"x", 0).starts_with(b"error: "));
    assert_eq!(echogate_tests::http::get(server.address("http"), "/healthz").status, 200);
    let mut stream = UnixStream::connect(&path).unwrap();
    let request = ["GET /healthz HTTP/1.1", "Host: localhost"];
    assert_eq!(echogate_tests::http::exchange(&mut stream, &request).status, 200);
    let all =
        server.urls("upper").count() + server.urls("time").count() + server.urls("chat").count();
    assert_eq!(all, 2, "the defaults are left out");

    let output = activated(&python, "upper:unknown:http:http", &path).output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{printed}");
    assert!(printed.contains("passed socket 2 (\"unknown\")"), "{printed}");
    let output = activated(&python, "upper:http:echo:http", &path).output().unwrap();
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(printed.contains("passed socket 2 (\"http\")"), "{printed}");
}
