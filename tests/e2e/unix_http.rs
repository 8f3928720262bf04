//! HTTP on Unix sockets: the page, the API and routes, clients and proxies.

use std::{
    fs,
    io::{Read, Write},
    os::unix::{
        fs::{FileTypeExt, MetadataExt},
        net::UnixStream,
    },
    path::{Path, PathBuf},
    process::Command,
};

use echogate_tests::{
    http::{self, Response, exchange},
    program::programs,
    server::{Server, WAIT_TIMEOUT},
    tcp::read_exactly,
    tls::Authority,
    upstream::Upstream,
    ws::{self, BROWSER, RawWs},
};

use crate::ECHOGATE;

/// A server with HTTP on a TCP port and on a Unix socket.
struct UnixHttp {
    server: Server,
    dir: tempfile::TempDir,
}

impl UnixHttp {
    fn start(arguments: &[&str]) -> UnixHttp {
        let dir = tempfile::tempdir().unwrap();
        let http = format!("unix://{}?mode=660", dir.path().join("http.sock").display());
        let arguments = [&["--http", &http, "--route", "/ws=service:upper"], arguments].concat();
        UnixHttp { server: Server::start(ECHOGATE, &arguments), dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("http.sock")
    }

    fn connect(&self) -> UnixStream {
        connect(&self.path())
    }

    fn get(&self, path: &str, host: &str) -> Response {
        let lines = [&*format!("GET {path} HTTP/1.1"), &format!("Host: {host}")];
        exchange(&mut self.connect(), &lines)
    }

    /// The peer of the only connection.
    fn peer(&self) -> String {
        let live = self.server.wait_for_connections(|all| all.len() == 1);
        live[0]["peer"].as_str().unwrap_or("none").to_owned()
    }
}

fn connect(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    stream
}

#[test]
fn a_unix_socket_has_the_page_the_api_and_the_routes() {
    let unix = UnixHttp::start(&["--max-per-address", "1"]);
    let urls: Vec<_> = unix.server.urls("http").collect();
    assert_eq!(urls[1], format!("unix://{}", unix.path().display()));
    let file = fs::symlink_metadata(unix.path()).unwrap();
    assert!(file.file_type().is_socket() && file.mode() & 0o777 == 0o660, "{:o}", file.mode());
    let page = unix.get("/", "localhost");
    assert!(page.status == 200 && page.text().contains("<html"), "{page:?}");
    assert_eq!(unix.get("/api/endpoints", "localhost").status, 200);
    assert_eq!(unix.get("/healthz", "anything.example").status, 200);
    let refused = unix.get("/", "evil.example");
    assert_eq!(refused.status, 403);
    assert!(refused.text().contains("--allow-host"), "{}", refused.text());
    // The limit on connections of one address is of no concern here.
    let mut clients: Vec<_> =
        (0..3).map(|_| RawWs::over(unix.connect(), &unix.server, "/ws", &[])).collect();
    for client in &mut clients {
        assert_eq!(client.exchange(b"hello"), b"HELLO");
    }
    let live = unix.server.wait_for_connections(|all| all.len() == 3);
    let own = format!("process {}", std::process::id());
    assert!(live.iter().all(|connection| connection["peer"] == own), "{live:?}");
    let events = (0..3).map(|_| {
        let mut stream = unix.connect();
        stream.write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        (Response::read(&mut stream).unwrap().status, stream)
    });
    let events: Vec<_> = events.collect();
    assert!(events.iter().all(|(status, _)| *status == 200), "{events:?}");
}

#[test]
fn a_page_over_a_unix_socket_is_compared_with_the_host_and_others_are_refused() {
    let unix = UnixHttp::start(&[]);
    let host = unix.server.address("http");
    for (origin, code) in [(format!("http://{host}"), None), ("http://evil".to_owned(), Some(1008))]
    {
        let lines = [&*format!("Origin: {origin}"), BROWSER];
        let mut page = RawWs::over(unix.connect(), &unix.server, "/ws", &lines);
        match code {
            Some(_) => assert_eq!(page.read_close().0, code),
            None => {
                assert_eq!(page.exchange(b"hello"), b"HELLO");
            }
        }
    }
}

#[test]
fn a_proxy_on_a_unix_socket_names_its_client_if_it_is_trusted() {
    const HEADERS: [&str; 3] = [
        "X-Forwarded-For: 198.51.100.66, 203.0.113.9",
        "X-Forwarded-Host: gate.example",
        "X-Forwarded-Proto: https",
    ];
    let own = format!("process {}", std::process::id());
    let trusted = ["--forwarded-from", "unix", "--allow-host", "gate.example"];
    for (arguments, expected, line) in [
        (&trusted[..], "203.0.113.9:0", "PROXY TCP4 203.0.113.9 0.0.0.0 0 0\r\n"),
        (&["--forwarded-from", "0.0.0.0/0"], &own, "PROXY UNKNOWN\r\n"),
        (&[], &own, "PROXY UNKNOWN\r\n"),
    ] {
        let upstream = Upstream::new();
        let route = format!("{}&proxy=v1", upstream.route("/x", "bytes"));
        let unix = UnixHttp::start(&[arguments, &["--route", &route]].concat());
        let client = RawWs::over(unix.connect(), &unix.server, "/x", &HEADERS);
        let mut accepted = upstream.accept();
        assert_eq!(read_exactly(&mut accepted, line.len()), line.as_bytes());
        assert_eq!(unix.peer(), expected, "{arguments:?}");
        drop((client, accepted));
        let page = [&HEADERS[..], &["Origin: https://gate.example", BROWSER]].concat();
        let mut client = RawWs::over(unix.connect(), &unix.server, "/ws", &page);
        if arguments == trusted {
            assert_eq!(client.exchange(b"hello"), b"HELLO");
        } else {
            assert_eq!(client.read_close().0, Some(1008));
        }
    }
}

#[test]
fn the_limit_of_an_address_counts_the_client_that_a_proxy_on_a_unix_socket_names() {
    let unix = UnixHttp::start(&["--forwarded-from", "unix", "--max-per-address", "1"]);
    let handshake = |client: &str| {
        let mut stream = unix.connect();
        let header = format!("X-Forwarded-For: {client}");
        let response = ws::handshake_over(&mut stream, &unix.server, "/ws", &[&header]);
        (response.status, stream)
    };
    let (status, _first) = handshake("203.0.113.9");
    assert_eq!(status, 101);
    assert_eq!(handshake("203.0.113.9").0, 503);
    assert_eq!(handshake("203.0.113.10").0, 101);
}

#[test]
fn a_slow_client_of_a_unix_socket_is_answered_and_a_silent_one_is_closed() {
    let unix = UnixHttp::start(&["--header-timeout", "300ms"]);
    let mut silent = unix.connect();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0, "closed");
    let unix = UnixHttp::start(&[]);
    let mut slow = unix.connect();
    for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" {
        slow.write_all(&[*byte]).unwrap();
    }
    assert_eq!(Response::read(&mut slow).unwrap().status, 200);
}

#[test]
fn a_reload_keeps_a_unix_socket_and_the_end_removes_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let (path, file) = (dir.path().join("http.sock"), dir.path().join("echogate.toml"));
    let settings = |mode: &str| {
        let http = format!("http = [\"127.0.0.1:0\", \"unix://{}?mode={mode}\"]", path.display());
        fs::write(&file, format!("{http}\n[[route]]\npath = \"/ws\"\nurl = \"service:upper\"\n"))
            .unwrap();
    };
    settings("600");
    let mut command = Command::new(ECHOGATE);
    command.arg("--config").arg(&file);
    let mut server = Server::spawn(command);
    let mut client = RawWs::over(connect(&path), &server, "/ws", &[]);
    let before = fs::symlink_metadata(&path).unwrap();
    settings("660");
    server.signal("HUP");
    server.wait_for_log(&["configuration reloaded"]);
    let after = fs::symlink_metadata(&path).unwrap();
    assert_eq!(before.ino(), after.ino());
    assert_eq!((before.mode() & 0o777, after.mode() & 0o777), (0o600, 0o660));
    assert_eq!(client.exchange(b"still here"), b"STILL HERE");
    server.signal("TERM");
    assert_eq!(client.read_close().0, Some(1001));
    assert!(server.wait().success());
    assert!(!path.exists(), "the file is removed");
}

#[test]
fn the_scheme_of_an_address_decides_between_http_and_https() {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("http.sock");
    let mut command = Command::new(ECHOGATE);
    command.args(["serve", "--listen", "upper=tcp://127.0.0.1:0"]).args(authority.flags());
    for http in ["127.0.0.1:0", "http://127.0.0.2:0/", "HTTPS://127.0.0.3:0"] {
        command.args(["--http", http]);
    }
    command.args(["--http", &format!("unix://{}", path.display())]);
    let server = Server::spawn(command);
    let urls: Vec<_> = server.urls("http").collect();
    let [secure, plain, also_secure, unix] = &urls[..] else { panic!("{urls:?}") };
    let at = |url: &str| url.split_once("://").unwrap().1.to_owned();
    assert!(secure.starts_with("https://127.0.0.1:"), "{secure}");
    assert!(also_secure.starts_with("https://127.0.0.3:"), "{also_secure}");
    assert_eq!(http::get(&at(plain), "/healthz").status, 200);
    for url in [secure, also_secure] {
        let mut client = authority.connect(&at(url));
        let host = format!("Host: {}", at(url));
        assert_eq!(exchange(&mut client, &["GET /healthz HTTP/1.1", &host]).status, 200);
    }
    let mut stream = connect(Path::new(&at(unix)));
    assert_eq!(exchange(&mut stream, &["GET /healthz HTTP/1.1", "Host: localhost"]).status, 200);
    assert_eq!(server.printed("page       "), Some(format!("{secure}/")));
}

#[test]
fn curl_is_answered_on_a_unix_socket() {
    let Some([curl]) = programs(["curl"]) else { return };
    let unix = UnixHttp::start(&[]);
    let mut command = Command::new(curl);
    command.args(["--silent", "--fail", "--unix-socket"]).arg(unix.path());
    let output = command.arg("http://localhost/api/endpoints").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let endpoints: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(endpoints["routes"][0]["path"], "/ws");
}
