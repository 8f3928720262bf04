//! `echogate gateway`, the short form of `serve`, and `echogate check`.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output},
};

use echogate_tests::{
    http,
    server::Server,
    tls::Authority,
    upstream::Upstream,
    ws::{self, RawWs, first},
};

use crate::ECHOGATE;

fn gateway(arguments: &[&str]) -> Server {
    let mut command = Command::new(ECHOGATE);
    command.arg("gateway").args(arguments);
    Server::spawn(command)
}

fn run(arguments: &[&str]) -> (String, String, i32) {
    let Output { stdout, stderr, status } =
        Command::new("timeout").args(["30", ECHOGATE]).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (text(stdout), text(stderr), status.code().unwrap())
}

#[test]
fn a_gateway_serves_websockets_where_websockifys_clients_look_and_the_page_to_others() {
    let upstream = Upstream::new();
    let address = upstream.route("", "bytes");
    let address = address.trim_start_matches("=tcp://").split('?').next().unwrap().to_owned();
    let server = gateway(&["127.0.0.1:0", &address]);
    for path in ["/", "/websockify", "/websockify?token=any", "/subdir/websockify", "/healthz/x"] {
        let mut client = RawWs::connect_with(&server, path, &["Sec-WebSocket-Protocol: binary"]);
        let mut accepted = upstream.accept();
        client.send_frame(first::BINARY, b"RFB 003.008\n");
        let mut line = [0; 12];
        std::io::Read::read_exact(&mut accepted, &mut line).unwrap();
        assert_eq!(&line, b"RFB 003.008\n");
        std::io::Write::write_all(&mut accepted, b"ok").unwrap();
        let frame = client.read();
        assert_eq!((frame.first, &*frame.payload), (first::BINARY, &b"ok"[..]));
    }
    let page = http::get(server.address("http"), "/");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("<html"), "{}", page.text());
    assert_eq!(http::get(server.address("http"), "/websockify").status, 426);
    assert_eq!(http::get(server.address("http"), "/healthz").text(), "ok\n");
    for reserved in ["/style.css", "/api", "/api/nothing"] {
        let refused = ws::handshake(&server, reserved, &[]);
        assert_eq!(refused.status, 404, "{reserved}");
    }
}

#[test]
fn with_a_custom_web_root_the_gateway_still_answers_handshakes() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.html"), "mine").unwrap();
    let folder = folder.path().display().to_string();
    let server = gateway(&["127.0.0.1:0", "service:upper", "--web-root", &folder]);
    let page = http::get(server.address("http"), "/");
    assert_eq!(page.text(), "mine");
    // A custom web root may have inline scripts, fonts and frames; the built-in page has none.
    assert_eq!(page.header("content-security-policy"), None);
    let mut client = RawWs::connect(&server, "/");
    assert_eq!(client.exchange(b"hi"), b"HI");
    let mut client = RawWs::connect(&server, "/index.html");
    assert_eq!(client.exchange(b"hi"), b"HI");
    assert_eq!(http::get(server.address("http"), "/nowhere").status, 404);
}

/// An authority, and a file with a certificate and its key.
fn self_pem() -> (Authority, String) {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let both = authority.file("self.pem");
    let parts =
        ["key.pem", "cert.pem"].map(|name| fs::read_to_string(authority.file(name)).unwrap());
    fs::write(&both, parts.concat()).unwrap();
    fs::set_permissions(&both, fs::Permissions::from_mode(0o600)).unwrap();
    let path = both.display().to_string();
    (authority, path)
}

#[test]
fn websockifys_options_have_the_same_meaning() {
    let (authority, both) = self_pem();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("vnc.html"), "mine").unwrap();
    let web = folder.path().display().to_string();
    let [cert, key] =
        ["cert.pem", "key.pem"].map(|name| authority.file(name).display().to_string());
    for (certificate, status) in [
        (&["--cert", &both, "--ssl-only"][..], 400),
        (&["--cert", &cert, "--key", &key], 308),
        (&["--tls-cert", &both], 308),
    ] {
        let arguments = [&["127.0.0.1:0", "service:upper", "--web", &web], certificate].concat();
        let server = gateway(&arguments);
        let address = server.address("http");
        assert_eq!(http::get(address, "/vnc.html").status, status, "{certificate:?}");
        let host = format!("Host: {address}");
        let mut stream = authority.connect(address);
        let page = http::exchange(&mut stream, &["GET /vnc.html HTTP/1.1", &host]);
        assert_eq!(page.text(), "mine");
        let mut client = RawWs::over(authority.connect(address), &server, "/websockify", &[]);
        assert_eq!(client.exchange(b"hi"), b"HI");
    }
}

#[test]
fn options_that_conflict_with_a_gateway_are_named() {
    let (_authority, self_pem) = self_pem();
    for (arguments, names) in [
        (&["gateway", "6080"][..], "HOST:PORT"),
        (&["gateway", "6080", "localhost"], "no port"),
        (&["gateway", "x", "localhost:1"], "x"),
        (&["gateway", "6080", "localhost:1", "--route", "/a=service:upper"], "--route"),
        (&["gateway", "6080", "localhost:1", "--http", "127.0.0.1:1"], "--http"),
        (&["gateway", "6080", "localhost:1", "--listen", "upper=tcp://h:1"], "--listen"),
        (&["gateway", "6080", "localhost:1", "--ssl-only"], "--tls-only needs --tls-cert"),
        (
            &["gateway", "http://h:6080", "localhost:1", "--cert", &self_pem, "--ssl-only"],
            "--tls-only cannot be used with http://h:6080",
        ),
        (&["gateway", "https://h:6080", "localhost:1"], "https://h:6080 needs tls-cert"),
        (&["gateway", "*:6080", "localhost:1"], "0.0.0.0"),
        (&["gateway", "+6080", "localhost:1"], "+6080"),
        (&["gateway", "6080", "*:1"], "invalid host"),
        (&["gateway", "6080", "0.0.0.0:1"], "127.0.0.1"),
        (&["gateway", "6080", "localhost:0"], "port 0"),
        (&["--drain", "1s", "gateway", "6080", "localhost:1"], "echogate gateway … --drain"),
        (&["--http=h:1", "--drain=1s", "check"], "echogate check … --http"),
        (&["--drain", "1s", "connect"], "--drain <TIME> cannot be used with connect"),
    ] {
        let (stdout, stderr, status) = run(arguments);
        assert_eq!((status, stdout.as_str(), stderr.lines().count()), (2, "", 1), "{stderr}");
        assert!(stderr.contains(names), "{stderr}");
    }
}

#[test]
fn conflicts_with_a_gateway_in_the_environment_or_a_file_are_named_there() {
    let gateway = || {
        let mut command = Command::new("timeout");
        command.args(["30", ECHOGATE, "gateway", "127.0.0.1:0", "localhost:1"]);
        command
    };
    for (name, value, toml) in [
        ("HTTP", "127.0.0.1:1", "http = [\"127.0.0.1:1\"]"),
        ("LISTEN", "upper=tcp://h:1", "[[listener]]\nservice = \"upper\"\nurl = \"tcp://h:1\""),
        ("ROUTE", "/a=service:upper", "[[route]]\npath = \"/a\"\nurl = \"service:upper\""),
    ] {
        let variable = format!("ECHOGATE_{name}");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, toml).unwrap();
        let place = format!("{}:1: ", file.path().display());
        for (output, named) in [
            (gateway().env(&variable, value).output(), &variable),
            (gateway().arg("--config").arg(file.path()).output(), &place),
        ] {
            let Output { stderr, status, .. } = output.unwrap();
            let printed = String::from_utf8(stderr).unwrap();
            assert_eq!((status.code(), printed.lines().count()), (Some(2), 1), "{printed}");
            assert!(
                printed.contains(named) && printed.contains("cannot be used with gateway"),
                "{printed}"
            );
        }
    }
}

#[test]
fn check_says_what_would_listen_and_lead_where_and_starts_nothing() {
    let (stdout, stderr, status) = run(&["check"]);
    assert_eq!((status, stderr.as_str()), (0, ""));
    for line in [
        "listen     upper  tcp://127.0.0.1:7007",
        "listen     upper  tcp://[::1]:7007",
        "listen     http   http://127.0.0.1:8080",
        "route      /ws -> tcp://127.0.0.1:7007 (message)",
        "route      /ws/echo -> service:echo (message)",
    ] {
        assert!(stdout.lines().any(|printed| printed == line), "{line}: {stdout}");
    }
    let (stdout, stderr, status) = run(&["check", "--listen", "frob=tcp://127.0.0.1:0"]);
    assert_eq!((status, stdout.as_str()), (2, ""));
    assert!(stderr.contains("frob"), "{stderr}");
}

#[test]
fn check_tells_plain_from_tls_addresses() {
    let authority = Authority::with_certificate(&["localhost"]);
    let flags = authority.flags();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    for (http, url, expected) in [
        (&["--http", "8080"][..], "wss://localhost:8080/ws", "accepted"),
        (&["--http", "8080"], "ws://localhost:8080/ws", "use wss://"),
        (&["--http", "8443", "--http", "http://[::1]:8080"], "ws://localhost:8080/ws", "accepted"),
    ] {
        let scheme = if url.starts_with("wss") { "https" } else { "http" };
        let origin = format!("{scheme}://localhost:8080");
        let arguments = [&["check", "--url", url, "--origin", &origin], http, &flags].concat();
        let (stdout, stderr, _) = run(&arguments);
        assert!(
            [&*stdout, &*stderr].concat().contains(expected),
            "{http:?} {url}: {stdout}{stderr}"
        );
    }
}

#[test]
fn check_reports_where_a_connection_leads_or_why_it_is_refused() {
    let settings = ["--route", "/vnc=tcp://vnc.lan:5900?max=3", "--allow-host", "gate.example"];
    for (url, origin, verdict) in [
        ("ws://localhost:8080/vnc", None, Ok("/vnc -> tcp://vnc.lan:5900 (bytes) max=3")),
        ("ws://localhost:8080/vnc?x=y", Some("http://localhost:8080"), Ok("/vnc")),
        ("wss://gate.example/vnc", Some("https://gate.example"), Ok("/vnc")),
        ("ws://gate.example/vnc", Some("http://gate.example"), Ok("/vnc")),
        ("ws://localhost:8080/vnc", Some("http://evil.example"), Err("--allow-origin")),
        ("ws://gate.example:443/vnc", Some("https://gate.example"), Ok("/vnc")),
        ("ws://localhost:8080/vnc", Some("ftp://localhost:8080"), Err("--allow-origin")),
        ("ws://evil.example/vnc", Some("http://evil.example"), Err("--allow-host")),
        ("ws://localhost:8080/ws", None, Err("no such route: /ws")),
        ("tcp://localhost:8080", None, Err("ws://")),
        (
            "ws://localhost:9999/vnc",
            None,
            Err("no listener on port 9999: HTTP is on http://127.0.0.1:8080, "),
        ),
    ] {
        let origin = origin.map(|origin| ["--origin", origin]);
        let mut arguments = vec!["check", "--url", url];
        arguments.extend(origin.iter().flatten());
        arguments.extend(settings);
        let (stdout, stderr, status) = run(&arguments);
        match verdict {
            Ok(words) => {
                let last = stdout.lines().last().unwrap();
                assert!(last.starts_with("accepted") && last.contains(words), "{stdout}");
                assert_eq!((stderr.as_str(), status), ("", 0));
            }
            Err(words) => {
                assert!(stderr.contains(words) && stderr.lines().count() == 1, "{stderr}");
                assert_eq!(status, 1);
            }
        }
    }
}
