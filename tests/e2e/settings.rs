//! Flags, environment, configuration file, defaults, and their errors.

use std::{
    fs::Permissions,
    io::Write,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
};

use echogate_tests::{
    http,
    program::Program,
    pty::Terminal,
    server::Server,
    tls::Authority,
    ws::{RawWs, handshake},
};
use tempfile::NamedTempFile;

use crate::ECHOGATE;

/// A program without the settings of this process's environment.
fn without_settings(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ECHOGATE_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn echogate() -> Command {
    without_settings(ECHOGATE)
}

/// The output of a command that ends by itself; one that serves instead is ended, with status 124.
fn run(arguments: &[&str]) -> Output {
    without_settings("timeout").args(["30", ECHOGATE]).args(arguments).output().unwrap()
}

/// The error line of a failure with this exit status.
#[track_caller]
fn failure(output: &Output, status: i32) -> String {
    let printed = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(printed.lines().count(), 1, "one line: {printed:?}");
    assert!(output.stdout.is_empty(), "nothing on stdout: {output:?}");
    assert!(printed.starts_with("echogate: "), "{printed}");
    assert_eq!(output.status.code(), Some(status), "{printed}");
    printed
}

/// The error line of settings that are refused.
#[track_caller]
fn refusal(output: &Output) -> String {
    failure(output, 2)
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// Free ports in place of the default ones.
const FREE: [&str; 4] = ["--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"];

#[test]
fn a_wrong_flag_is_named_with_status_2() {
    for (arguments, names) in [
        (&["--frob"][..], &["--frob"][..]),
        (&["frob"], &["frob"]),
        (&["serve", "frob"], &["frob"]),
        (&["--http"], &["--http"]),
        (&["--http", "::1:8080"], &["--http", "brackets"]),
        (&["--listen", "upper"], &["--listen", "SERVICE=URL"]),
        (&["--listen", "lower=tcp://127.0.0.1:0"], &["--listen", "lower", "upper"]),
        (&["--listen", "upper=127.0.0.1"], &["--listen", "127.0.0.1", "no scheme"]),
        (&["--listen", "upper=ws://127.0.0.1:7"], &["--listen", "ws://127.0.0.1:7", "tcp://"]),
        (&["--route", "/x"], &["--route", "PATH=URL"]),
        (&["--route", "/{x}=tcp://h:1"], &["--route", "/{x}"]),
        (&["--route", "/healthz=tcp://h:1"], &["--route", "/healthz"]),
        (&["--route", "/x=service:lower"], &["--route", "lower"]),
        (&["--route", "/x=udp://h:0"], &["--route", "udp://h:0", "port 0"]),
        (&["--route", "/x=tcp://h:1", "--route", "/x=tcp://h:2"], &["--route", "/x", "twice"]),
        (&["--drain", "10x"], &["--drain", "10s"]),
        (&["--max-message", "1kB"], &["--max-message", "1kB", "KiB"]),
        (&["--max-connections", "4294967296"], &["--max-connections"]),
        (&["--config", "/nowhere/at/all.toml"], &["--config: /nowhere/at/all.toml: no such file"]),
        (&["--tls-cert", "/no", "--tls-key", "/no"], &["--tls-cert: /no: no such file"]),
    ] {
        let line = refusal(&run(arguments));
        for name in names {
            assert!(line.contains(name), "{arguments:?}: no {name:?} in {line}");
        }
    }
}

/// A valid listener and a valid route.
const TABLES: &str = "[[listener]]\nservice = \"upper\"\nurl = \"tcp://h:1\"\n\
                      [[route]]\npath = \"/x\"\nurl = \"tcp://h:1\"\n";

#[test]
fn an_error_in_a_file_is_named_with_its_line() {
    for (text, line, names) in [
        ("drain = \"1s\"\nfrob = 1\n", 2, &["frob"][..]),
        ("\n\ndrain = -10\n", 3, &["drain: ", "10s"]),
        ("drain = true\n", 1, &["drain: ", "found boolean"]),
        ("drain = \"\"\n", 1, &["drain: "]),
        ("drain = \"1s\"\nhttp = []\n", 2, &["http: ", "empty"]),
        ("listener = []\n", 1, &["listener: ", "empty"]),
        ("route = []\n", 1, &["route: ", "empty"]),
        ("http = [\n\"127.0.0.1:0\",\n\"::1:0\"]\n", 3, &["http: ", "brackets"]),
        ("allow-host = [\n\"a\",\n\"a b\"]\n", 3, &["allow-host: ", "white space"]),
        ("\nweb-root = \"/nowhere/at/all\"\n", 2, &["web-root: ", "not a directory"]),
        (
            "listener = [{ service = \"a\\u001b[1m\\tb\", url = \"tcp://h:1\" }]\n",
            1,
            &["\\x1b[1m\\tb"],
        ),
        ("\ntls-cert = \"x.pem\"\n", 2, &["tls-cert: x.pem: no such file"]),
        ("\ntls-key = \"x.pem\"\n", 2, &["tls-key needs tls-cert"]),
        ("tls-key = \"y\"\ntls-cert = \"x\"\n", 2, &["tls-cert: x: no such file"]),
        (
            &format!("{TABLES}[[route]]\nurl = \"tcp://h:1\"\npath = \"/x\"\n"),
            7,
            &["route: ", "/x", "twice"],
        ),
        (
            &format!("{TABLES}[[listener]]\nservice = \"echo\"\nurl = \"tcp://h:1\"\n"),
            7,
            &["listener", "same address"],
        ),
        ("http = [\"h:1\",\n\"h:1\"]\n", 2, &["http", "same address"]),
        ("[[listener]]\nservice = \"upper\"\n", 1, &["url"]),
        ("[[listener]]\nservice = \"upper\"\nurl = \"tcp://h\"\n", 3, &["no port"]),
        ("[[listener]]\nservice = \"upper\"\nurl = \"tcp://h:1\"\nfrob = 2\n", 4, &["frob"]),
        ("[[route]]\npath = \"ws\"\nurl = \"tcp://h:1\"\n", 2, &["\"ws\""]),
        (&format!("{TABLES}[[route]]\nurl = \"tcp://h:1\"\n"), 7, &["path is missing"]),
        (&format!("{TABLES}[[route]]\n\nframing = \"line\"\n"), 9, &["framing"]),
        (
            &format!("{TABLES}[[route]]\nurl = \"tcp://h:1?framing=word\"\npath = \"/y\"\n"),
            8,
            &["word"],
        ),
        (
            &format!("{TABLES}[[listener]]\nurl = \"tcp://h:1?foo\"\nservice = \"echo\"\n"),
            8,
            &["foo"],
        ),
        (&format!("{TABLES}[[listener]]\nurl = \"tcp://h:1\"\nservice = \"nope\"\n"), 9, &["nope"]),
        (&format!("{TABLES}[[listener]]\nservice = \"chat\"\nurl = \"udp://h:1\"\n"), 9, &["chat"]),
        ("drain = \"1s\"\ndrain = \"2s\"\n", 2, &["duplicate"]),
        ("drain = \n", 1, &[]),
    ] {
        let file = file(text);
        let name = file.path().to_str().unwrap();
        let printed = refusal(&run(&["--config", name]));
        assert!(printed.contains(&format!("{name}:{line}: ")), "{text:?} line {line}: {printed}");
        for name in names {
            assert!(printed.contains(name), "{text:?}: no {name:?} in {printed}");
        }
    }
}

#[test]
fn an_address_in_use_is_named_with_status_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let upper = format!("upper=tcp://{address}");
    let line = failure(&run(&["--http", "127.0.0.1:0", "--listen", &upper]), 1);
    assert!(line.contains(&upper) && line.contains("in use"), "{line}");

    let http = address.to_string();
    let line = failure(&run(&["--http", &http, "--listen", "upper=tcp://127.0.0.1:0"]), 1);
    assert!(line.contains(&http) && line.contains("in use"), "{line}");
}

#[test]
fn an_address_that_is_not_ours_is_named_with_status_1() {
    let line =
        failure(&run(&["--http", "127.0.0.1:0", "--listen", "upper=tcp://192.0.2.1:7007"]), 1);
    assert!(line.contains("192.0.2.1:7007"), "{line}");
    assert!(!line.contains("os error"), "{line}");
}

#[test]
fn help_and_version_are_answers_and_no_errors() {
    for arguments in [&["--help"][..], &["-h"], &["--version"], &["serve", "--help"], &["help"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        assert!(printed.starts_with("echogate ") || printed.contains("Usage:"), "{printed}");
    }
}

#[test]
fn help_into_a_closed_pipe_is_no_failure() {
    let status = Command::new("sh")
        .args(["-c", "\"$0\" --help | true; \"$0\" --help >&-", ECHOGATE])
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
}

#[test]
fn port_0_is_printed_as_the_port_that_was_bound() {
    let server = Server::start(ECHOGATE, &[]);
    for what in ["upper", "http"] {
        let port: u16 = server.address(what).rsplit_once(':').unwrap().1.parse().unwrap();
        assert_ne!(port, 0);
        http::connect(server.address(what));
    }
    assert!(server.url("upper").starts_with("tcp://127.0.0.1:"));
    assert!(server.url("http").starts_with("http://127.0.0.1:"));
}

#[test]
fn a_server_serves_with_its_stdout_closed() {
    // The ports must be known in advance, as they are not printed.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" >&-", ECHOGATE]);
    command.args(["--http", &port.to_string(), "--listen", "upper=tcp://127.0.0.1:0"]);
    let _server = Program::serve(command, port.port());
    assert_eq!(http::get(&port.to_string(), "/healthz").status, 200);
}

/// Starts a server with this command, and with the free ports of `FREE` unless it names others.
fn start(command: &mut Command, free: bool) -> Server {
    let mut whole = echogate();
    whole.args(command.get_args()).args(if free { &FREE[..] } else { &[] });
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            whole.env(name, value);
        }
    }
    Server::spawn(whole)
}

/// Whether the route `/limit` exists and accepts a message of `len` bytes.
fn takes(server: &Server, len: usize) -> bool {
    let mut client = RawWs::connect(server, "/ws");
    client.send_frame(echogate_tests::ws::first::BINARY, &vec![b'x'; len]);
    client.read().payload == vec![b'X'; len]
}

#[test]
fn a_flag_comes_before_the_environment_and_that_before_the_file() {
    let file = file("max-message = 10\n");
    let config = ["--config", file.path().to_str().unwrap()];

    let server = start(echogate().args(FREE), false);
    assert!(takes(&server, 1000), "the default");

    let server = start(echogate().args(config), true);
    assert!(takes(&server, 10) && !takes(&server, 11), "the file");

    let server = start(echogate().args(config).env("ECHOGATE_MAX_MESSAGE", "20"), true);
    assert!(takes(&server, 20) && !takes(&server, 21), "the environment");

    let server = start(
        echogate().args(config).args(["--max-message", "30"]).env("ECHOGATE_MAX_MESSAGE", "20"),
        true,
    );
    assert!(takes(&server, 30) && !takes(&server, 31), "the flag");
}

#[test]
fn everything_can_be_given_in_the_environment() {
    let file = file("max-message = 10\n");
    let server = start(
        echogate()
            .env("ECHOGATE_CONFIG", file.path())
            .env("ECHOGATE_HTTP", "127.0.0.1:0,127.0.0.1:0")
            .env("ECHOGATE_LISTEN", "upper=tcp://127.0.0.1:0,echo=tcp://127.0.0.1:0")
            .env("ECHOGATE_ROUTE", "/ws=service:upper,/other=service:echo")
            .env("ECHOGATE_DRAIN", "1s")
            .env("ECHOGATE_MAX_CONNECTIONS", "100"),
        false,
    );
    assert!(takes(&server, 10) && !takes(&server, 11));
    http::connect(server.address("echo"));
    RawWs::connect(&server, "/other");
}

#[test]
fn a_wrong_value_in_the_environment_is_named() {
    let output = echogate().env("ECHOGATE_DRAIN", "soon").output().unwrap();
    let line = refusal(&output);
    assert!(line.contains("soon") && line.contains("ECHOGATE_DRAIN"), "{line}");
    assert!(!line.contains("--"), "{line}");
}

#[test]
fn how_much_is_logged_is_a_level_or_an_error() {
    for (wrong, expected) in [
        ("info=x=y", "unknown module \"info\""),
        ("verbose", "unknown level \"verbose\": expected off, error, warn, info, debug or trace"),
        ("all", "unknown level \"all\""),
        ("infos", "did you mean \"info\"?"),
        ("echogate=verbose", "unknown level \"verbose\""),
        ("echogate::htpp=debug", "did you mean \"echogate::http\"?"),
    ] {
        for command in ["serve", "check"] {
            let output = echogate().arg(command).env("ECHOGATE_LOG", wrong).output().unwrap();
            let printed = refusal(&output);
            assert!(printed.starts_with("echogate: ECHOGATE_LOG: "), "{printed}");
            assert!(printed.contains(expected), "{printed}");
        }
    }
    for level in ["warning", "Debug ", "", " , info,", "echogate::server = warn"] {
        let server = start(echogate().env("ECHOGATE_LOG", level), true);
        handshake(&server, "/none", &[]);
        server.signal("TERM");
        if level != "warning" {
            server.wait_for_log(&["shutting down within --drain; a second SIGTERM or SIGINT"]);
        }
    }
    // At the level `warn` the start of a connection is not logged.
    let server = start(echogate().env("ECHOGATE_LOG", "warn,echogate::gateway=info"), true);
    assert!(takes(&server, 10));
    handshake(&server, "/none", &[]);
    server.wait_for_log(&["refused: no such route: /none"]);
    // The limit of this machine on file descriptors may be worth a line.
    let is_expected = |line: &String| line.contains("refused") || line.contains("descriptors");
    assert!(server.log().iter().all(is_expected), "{:?}", server.log());
}

#[test]
fn everything_can_be_given_in_a_file() {
    let file = file(
        r#"
        http = ["127.0.0.1:0"]
        drain = "500ms"
        max-message = 10
        max-connections = 100
        allow-origin = ["https://friend.example"]
        allow-host = ["gate.example"]

        [[listener]]
        service = "upper"
        url = "tcp://127.0.0.1:0"

        [[route]]
        path = "/ws"
        url = "service:upper"

        [[route]]
        path = "/other"
        url = "service:echo?framing=bytes"
        "#,
    );
    let server = start(echogate().args(["--config", file.path().to_str().unwrap()]), false);
    assert!(takes(&server, 10) && !takes(&server, 11));
    http::connect(server.address("upper"));
    let mut page = RawWs::connect_with(&server, "/other", &["Origin: https://friend.example"]);
    page.send_frame(echogate_tests::ws::first::TEXT, b"a");
    assert_eq!(page.read().payload, b"a");
}

#[test]
fn with_routes_alone_no_service_port_is_opened() {
    let mut command = echogate();
    command.args(["--http", "127.0.0.1:0", "--route", "/x=service:upper"]);
    let mut server = start(&mut command, false);
    assert!(
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| server.url("upper").len()))
            .is_err()
    );
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn a_listener_is_given_as_often_as_wanted() {
    let server = Server::start(
        ECHOGATE,
        &["--listen", "upper=tcp://127.0.0.1:0", "--listen", "echo=tcp://localhost:0"],
    );
    assert!(server.address("echo").contains(':'));
    let _client = RawWs::connect(&server, "/ws/echo");
    server.wait_for_connections(|all| all.iter().any(|c| c["target"] == "echo"));
}

/// A setting: its flag, valid values, and invalid values with parts of their errors.
type Setting = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)]);

/// All settings whose values can be checked alone. The addresses are parsed, and not bound.
const SETTINGS: [Setting; 38] = [
    (
        "http",
        &["127.0.0.1:0", "[::1]:80", "localhost:1", "my_host-1.example.:65535", "80", ":80"],
        &[
            ("127.0.0.1", "no port"),
            ("*:80", "0.0.0.0"),
            ("a*:80", "patterns"),
            ("a..b:80", "host name"),
            ("999.0.0.1:80", "IPv4"),
            ("h:65536", "65536"),
            ("h:-1", "-1"),
            ("http://h", "no port"),
            ("http://h:80/path", "--base-path"),
            ("https://h:80", "needs tls-cert and tls-key"),
            ("ws://h:80", "unix:///PATH"),
            ("65536", "bad port"),
            ("unix://x.sock", "absolute"),
            ("unix:///x.sock?mode=444", "write permission"),
            ("unix:///x.sock?once", "unknown option"),
        ],
    ),
    (
        "base-path",
        &["/", "/tools/echogate", "/tools/", "/a.b/~c_-"],
        &[
            ("tools", "expected /"),
            ("/a b", "expected /"),
            ("/%61", "expected /"),
            ("/a/../b", "resolve"),
            ("/a//b", "empty segment"),
            ("//", "empty segment"),
            ("/api/", "reserved"),
            ("/healthz", "reserved"),
            ("/style.css", "reserved"),
            ("/ws", "the route /ws cannot be requested below /ws"),
        ],
    ),
    (
        "listen",
        &[
            "upper=tcp://127.0.0.1:0",
            "time=udp://[::]:0",
            "echo=unix:///x.sock?mode=0660",
            "upper=tcp://127.0.0.1:0?once",
            "time=unix:///run/x.sock?mode=0660&once=true",
            "operator=unix:///run/x.sock?mode=600",
            "time=udp://127.0.0.1:0",
            "echo=unixgram:///run/x.sock?mode=666",
        ],
        &[
            ("chat=tls://127.0.0.1:0", "needs tls-cert"),
            ("upper=tcp://127.0.0.1:0?mode=600", "unknown option \"mode\""),
            ("upper=udp://127.0.0.1:0?once", "unknown option \"once\""),
            ("upper=tcp://127.0.0.1:0?once=yes", "once=\"yes\""),
            ("upper=unix:///run/x.sock?mode=888", "mode=\"888\""),
            ("upper=unix:///run/x.sock?mode=1777", "mode=\"1777\""),
            ("chat=udp://127.0.0.1:0", "chat needs a stream socket"),
            ("operator=unixgram:///run/x.sock", "operator needs a stream socket"),
            ("operator=tcp://127.0.0.1:0?once", "once cannot be used with the service operator"),
            ("upper=unix://relative", "absolute path"),
            ("upper=service:echo", "a socket to listen on is tcp://"),
            ("upper=tcp://*:7", "0.0.0.0"),
            ("upper=udp://*:7", "0.0.0.0"),
            ("upper=tls://h:7", "tls-cert"),
            ("upper=tcp://a..b:7", "host name"),
            ("uper=tcp://h:7", "upper"),
            ("echo=unix:///x.sock?mode=0", "mode=\"0\""),
            ("echo=unix:///x.sock?mode=444", "write permission"),
            ("echo=unix:///x.sock?mode=+660", "octal"),
            ("echo=unix:///x.sock?mode=", "octal"),
            ("echo=unix:///x.sock?mode=660&mode=600", "twice"),
        ],
    ),
    (
        "route",
        &[
            "/=tcp://h:1",
            "/*=tcp://h:1",
            "/a.b/~c_-/=tcp://[::1]:1?max=1",
            "/healthz/x=service:upper",
            "/x=tcp://h:1?framing=line&max=5&protocol=mqtt&proxy=v2",
            "/x=unix:///run/x.sock?proxy=v1",
            "/x=service:upper?max=1",
            "/x=tcp://h:1?framing=line&newline=crlf&invalid=replace",
            "/x=tcp://h:1?framing=text&chunk=32768&invalid=binary",
            "/x=tcp://h:1?chunk=125",
            "/x=tcp://h:1?framing=length",
            "/x=tcp://h:1?framing=length&prefix=2",
            "/x=tcp://h:1?framing=line&protocol=text.ircv3.net",
            "/x=udp://h:1?max=5",
        ],
        &[
            ("/x=tcp://h:1?frame=line", "unknown option \"frame\""),
            ("/x=tcp://h:1?ca=/x.pem", "unknown option \"ca\""),
            ("/x=tcp://h:1?framing=lines", "unknown framing \"lines\""),
            ("/x=tcp://h:1?chunk=124", "chunk=\"124\": expected a number of bytes, 125 to 65536"),
            ("/x=tcp://h:1?chunk=65537", "chunk=\"65537\""),
            ("/x=tcp://h:1?chunk=32k", "chunk=\"32k\""),
            ("/x=tcp://h:1?framing=line&chunk=4096", "chunk needs framing=bytes or text"),
            ("/x=service:upper?chunk=4096", "and the framing here is message"),
            (
                "/x=tcp://h:1?framing=length&prefix=3",
                "prefix=\"3\": expected the bytes of a length",
            ),
            ("/x=tcp://h:1?prefix=4", "prefix needs framing=length, and the framing here is bytes"),
            ("/x=tcp://h:1?framing=length&chunk=4096", "chunk needs framing=bytes or text"),
            ("/x=tcp://h:1?framing=length&protocol=half-close", "does not fit framing=length"),
            ("/x=tcp://h:1?framing=datagrams", "unknown framing \"datagrams\""),
            ("/x=tcp://h:1?invalid=replace", "invalid needs framing=text or line"),
            ("/x=tcp://h:1?framing=line&invalid=drop", "invalid=\"drop\": expected close"),
            ("/x=tcp://h:1?framing=text&newline=crlf", "newline needs framing=line, and"),
            ("/x=tcp://h:1?framing=line&newline=cr", "newline=\"cr\": expected lf or crlf"),
            ("/x=tcp://h:1?framing=line&protocol=binary.ircv3.net", "does not fit framing=line"),
            ("/x=tcp://h:1?protocol=text.ircv3.net", "does not fit framing=bytes"),
            ("/x=tcp://h:1?max=many", "max=\"many\""),
            ("/x=tcp://h:1?protocol=base64", "protocol=base64 is not supported"),
            ("/x=tcp://h:1?protocol=a@b", "protocol=\"a@b\""),
            ("/x=tcp://h:1?proxy=v3", "proxy=\"v3\""),
            ("/x=service:upper?proxy=v1", "unknown option \"proxy\""),
            ("/x=ftp://h:1", "unknown scheme \"ftp\""),
            ("x=tcp://h:1", "expected /"),
            ("/x?y=tcp://h:1", "expected /"),
            ("/x/*=tcp://h:1", "expected /"),
            ("/x#y=tcp://h:1", "expected /"),
            ("/x%20=tcp://h:1", "expected /"),
            ("/x y=tcp://h:1", "expected /"),
            ("/a/../b=tcp://h:1", "resolve"),
            ("/.=tcp://h:1", "resolve"),
            ("/metrics=tcp://h:1", "reserved"),
            ("/api=tcp://h:1", "reserved"),
            ("/api/anything=tcp://h:1", "reserved"),
            ("/style.css=tcp://h:1", "reserved"),
            ("/x=tcp://h:0", "port 0"),
            ("/x=tls://h:0", "port 0"),
            ("/x=tcp://*:1", "invalid host"),
            ("/x=tcp://0.0.0.0:1", "127.0.0.1"),
            ("/x=tcp://[::]:1", "[::1]"),
            ("/x=tcp://[::ffff:0.0.0.0]:1", "[::1]"),
            ("/x=tcp://[fe80::1]:1", "interface"),
            ("/x=tcp://224.0.0.1:1", "multicast"),
            ("/x=tcp://[ff02::1]:1", "multicast"),
            ("/x=tcp://255.255.255.255:1", "multicast"),
            ("/x=tcp://h:1?max=0", "from 1 to"),
            ("/x=tcp://h:1?max=+1", "max=\"+1\""),
            ("/x=tcp://h:1?max=4294967296", "max=\"4294967296\""),
            ("/x=tcp://h:1?max=1&max=2", "twice"),
            ("/x=tls://h:1?ca=", "no value"),
            ("/x=tls://h:1?server-name", "no value"),
            ("/x=tcp://h:1?ca=/x.pem", "unknown option"),
            ("/x=unix:///x.sock?mode=660", "unknown option"),
        ],
    ),
    (
        "allow-origin",
        &["https://friend.example", "*", "null", "file://", "https://friend.example:443"],
        &[
            ("friend.example/", "SCHEME://HOST"),
            ("https://friend.example/path", "no path"),
            ("wss://friend.example", "http or https"),
            ("file:///page.html", "file://"),
            ("https://*.example", "patterns"),
        ],
    ),
    (
        "allow-host",
        &["gate.example", "127.0.0.1", "::1", "[::1]", "GATE.example.", "gate_1.example"],
        &[
            ("gate.example:8080", "without a port"),
            ("https://gate.example", "without a scheme"),
            ("*.example", "patterns"),
            ("gate.example/path", "without a path"),
            ("a b", "white space"),
        ],
    ),
    (
        "proxy-protocol-from",
        &["10.0.0.0/8", "::1", "::/0", "::ffff:10.0.0.0/104"],
        &[
            ("10.0.0.0/33", "not a network"),
            ("10.0.0.1/8", "10.0.0.0/8"),
            ("proxy.example", "not a network"),
        ],
    ),
    (
        "forwarded-from",
        &["10.0.0.1", "10.0.0.1/32", "2001:db8::/32"],
        &[
            ("2001:db8::1/32", "2001:db8::/32"),
            ("10.0.0.0/-1", "not a network"),
            ("*", "not a network"),
            ("unix", "no effect"),
        ],
    ),
    (
        "proxy",
        &[],
        &[
            ("http://proxy.example", "has no effect: every upstream is on this machine"),
            ("https://proxy.example", "TLS to a proxy"),
            ("socks4://proxy.example", "socks5h://"),
            ("http://proxy.example:x", "the address of the proxy"),
        ],
    ),
    (
        "no-proxy",
        &["*", "a.example, .b.example,10.0.0.0/8"],
        &[("a.example:80", "expected a host name"), ("10.0.0.0/40", "expected a host name")],
    ),
    (
        "forward",
        &[
            "5433=wss://h/db#max=2",
            "[::1]:1=tcp://h:1",
            "unix:///run/x?mode=660=udp://h:1?framing=length",
        ],
        &[
            ("5433=ftp://h:1", "unknown scheme"),
            ("5433=udp://h:1", "datagrams in a byte stream need framing=length"),
            ("x=tcp://h:1", "no port"),
        ],
    ),
    (
        "web-root",
        &["/"],
        &[("/nowhere/at/all", "not a directory"), ("/dev/null", "not a directory")],
    ),
    ("tls-cert", &[], &[("/nowhere/cert.pem", "no such file"), ("/dev/null", "its private key")]),
    ("tls-key", &[], &[("/nowhere/key.pem", "its certificate")]),
    ("operator-token-file", &[], &[("/nowhere/token", "no such file")]),
    (
        "backlog",
        &["1", "4096"],
        &[("0", "from 1 to"), ("-1", "-1"), ("4294967296", "to 4294967295")],
    ),
    (
        "timezone",
        &["Asia/Shanghai", "UTC"],
        &[("Asia/Atlantis", "not a time zone"), ("+8", "not a time zone")],
    ),
    ("log-format", &["text", "json"], &[("xml", "text or json"), ("JSON", "text or json")]),
    (
        "drain",
        &["1s", "0s", "500ms", "1", "1.5s", "0.2", "5000000000ms"],
        &[
            ("-1s", "10s"),
            ("1.s", "10s"),
            ("1d", "10s"),
            ("s", "10s"),
            ("18446744073709551615h", "too long"),
            ("99999999999999999999s", "too long"),
        ],
    ),
    (
        "drain-delay",
        &["0s", "9s", "500ms"],
        &[("-1s", "10s"), ("10s", "less than --drain (10s)"), ("1d", "10s")],
    ),
    ("drain-code", &["1001", "1012"], &[("1000", "1001 (going away) or 1012"), ("x", "1012")]),
    (
        "cluster",
        &[
            "nats://h",
            "nats://u:p%40@h:4222,[::1]:4223?name=blue-1",
            "nats://token@h",
            "tls://localhost/",
        ],
        &[
            ("h:4222", "expected nats://"),
            ("http://h", "http:// is not supported"),
            ("nats://", "no host"),
            ("nats://h:0", "port 0"),
            ("nats://h,", "no host"),
            ("nats://h?name=a.b", "letters, digits"),
            ("nats://h?name=", "letters, digits"),
            ("nats://h?nam=a", "expected name or ca"),
            ("nats://h?ca=/x.pem", "tls://"),
            ("tls://h?ca=/nowhere/at/all.pem", "/nowhere/at/all.pem"),
            ("nats://u:p@h,v:q@i", "are given once"),
        ],
    ),
    (
        "handover",
        &["/run/echogate/handover.sock", "handover.sock"],
        &[("unix:///run/handover.sock", "not a URL"), ("/", "absolute path")],
    ),
    (
        "max-message",
        &["1", "16M", "16MiB", "16m", "1G", "64K", "64KiB"],
        &[
            ("0", "16M"),
            ("0K", "16M"),
            ("-1", "16M"),
            ("1.5M", "16M"),
            ("16MB", "16M"),
            ("M", "16M"),
            ("17179869184G", "16M"),
        ],
    ),
    ("max-connections", &["10"], &[("0", "from 1 to"), ("+1", "+1"), ("many", "many")]),
    ("max-per-address", &["10"], &[("0", "from 1 to"), ("1k", "1k")]),
    (
        "header-timeout",
        &["1s"],
        &[
            ("0s", "longer than 0s"),
            ("0ms", "longer than 0s"),
            ("0", "longer than 0s"),
            ("+1", "10s"),
        ],
    ),
    ("write-timeout", &["1s"], &[("0s", "longer than 0s")]),
    ("keep-alive-timeout", &["1m"], &[("0s", "longer than 0s")]),
    ("dial-timeout", &["1s"], &[("0h", "longer than 0s"), ("soon", "10s")]),
    ("idle-timeout", &["0s", "0", "1h"], &[("-1", "10s"), ("never", "10s")]),
    ("ping-interval", &["500ms"], &[("0s", "longer than 0s"), ("1 m", "10s")]),
    ("record", &["."], &[("/missing", "no such directory"), ("/etc/passwd", "not a directory")]),
    // The others have no effect without a directory.
    ("record-format", &[], &[("pcap", "pcapng, jsonl or har"), ("har", "(--record DIR)")]),
    ("record-rotate-size", &[], &[("0", "at least 1 byte"), ("1M", "(--record DIR)")]),
    ("record-rotate-time", &[], &[("0s", "longer than 0s"), ("1h", "(--record DIR)")]),
    ("record-limit", &[], &[("1T", "at least 1 byte"), ("1G", "(--record DIR)")]),
    ("ping-timeout", &["1m"], &[("0m", "longer than 0s"), ("1M", "10s")]),
];

/// The same setting in a file: its text, and its key as errors name it.
fn in_a_file(name: &str, value: &str) -> (String, String) {
    let is_list = ["http", "allow-origin", "allow-host", "proxy-protocol-from", "forwarded-from"];
    let table = |table: &str, key: &str| {
        let (name, url) = value.split_once("=").unwrap_or(("", ""));
        (format!("[[{table}]]\n{key} = {name:?}\nurl = {url:?}\n"), table.to_owned())
    };
    match name {
        "listen" => table("listener", "service"),
        // The first `=` separates key and value, except after a query.
        "forward" => {
            let (listen, url) = value.rsplit_once("=udp:").map_or_else(
                || value.split_once('=').unwrap_or(("", "")),
                |(listen, _)| (listen, &value[listen.len() + 1..]),
            );
            (format!("[[forward]]\nlisten = {listen:?}\nurl = {url:?}\n"), "forward".to_owned())
        }
        "route" => match value.split_once("?y=") {
            Some((path, url)) => {
                (format!("[[route]]\npath = \"{path}?y\"\nurl = {url:?}\n"), "route".to_owned())
            }
            None => table("route", "path"),
        },
        name if is_list.contains(&name) => (format!("{name} = [{value:?}]\n"), name.to_owned()),
        name => (format!("{name} = {value:?}\n"), name.to_owned()),
    }
}

fn variable(name: &str) -> String {
    format!("ECHOGATE_{}", name.to_ascii_uppercase().replace('-', "_"))
}

#[test]
fn flags_environment_and_file_take_and_refuse_the_same_and_name_themselves() {
    for (name, right, wrong) in SETTINGS {
        let right = right.iter().map(|value| (value, None));
        for (value, reason) in right.chain(wrong.iter().map(|(value, why)| (value, Some(*why)))) {
            let (toml, key) = in_a_file(name, value);
            let file = file(&toml);
            let path = file.path().to_str().unwrap();
            let flag = format!("--{name}={value}");
            for (command, names) in [
                (echogate().args(["check", &flag]), &[&*format!("--{name}")][..]),
                (echogate().arg("check").env(variable(name), value), &[&*variable(name)]),
                (echogate().args(["check", "--config", path]), &[&*format!("{path}:"), &*key]),
            ] {
                let output = command.output().unwrap();
                let Some(reason) = reason else {
                    assert!(output.status.success(), "{command:?} {toml}: {output:?}");
                    continue;
                };
                let line = refusal(&output);
                for words in names.iter().chain([&reason]) {
                    assert!(line.contains(words), "{command:?} {toml}: no {words:?} in {line}");
                }
                if !names[0].starts_with("--") {
                    assert!(!line.contains(&format!("--{name}")), "{command:?} {toml}: {line}");
                }
            }
        }
    }
}

#[test]
fn every_setting_is_judged_above() {
    let help = String::from_utf8(run(&["check", "--help"]).stdout).unwrap();
    let words: Vec<&str> = help.split_whitespace().collect();
    let pairs = words.windows(2).filter(|pair| pair[0] == "[env:");
    let variables: Vec<&str> = pairs.map(|pair| pair[1].trim_end_matches(']')).collect();
    for (name, ..) in SETTINGS {
        assert!(variables.contains(&&*variable(name)), "{name}: {variables:?}");
    }
    let others = [
        "ECHOGATE_CONFIG",
        "ECHOGATE_NO_API",
        "ECHOGATE_NO_TAP",
        "ECHOGATE_NO_CONTROL",
        "ECHOGATE_TLS_ONLY",
    ];
    assert_eq!(variables.len(), SETTINGS.len() + others.len(), "{variables:?}");
    assert!(others.iter().all(|other| variables.contains(other)), "{variables:?}");
}

#[test]
fn a_switch_is_true_or_false_in_the_environment_and_in_a_file() {
    for (value, is_right) in [("true", true), ("false", true), ("", true), ("yes", false)] {
        let output = echogate().arg("check").env("ECHOGATE_NO_API", value).output().unwrap();
        if is_right {
            assert!(output.status.success(), "{value}: {output:?}");
        } else {
            let line = refusal(&output);
            assert!(line.contains("ECHOGATE_NO_API: \"yes\": expected true or false"), "{line}");
        }
    }
    let file = file("no-api = \"yes\"\n");
    let path = file.path().to_str().unwrap();
    let line = refusal(&run(&["check", "--config", path]));
    assert!(line.contains(&format!("{path}:1: no-api: ")), "{line}");
}

#[test]
fn an_empty_variable_is_not_given_and_an_empty_flag_or_key_is_wrong() {
    let mut all = echogate();
    for name in SETTINGS.iter().map(|(name, ..)| name).chain(&["config"]) {
        all.env(variable(name), "");
        let line = refusal(&run(&["check", &format!("--{name}=")]));
        assert!(line.contains(&format!("--{name}")), "{line}");
        if *name == "config" {
            continue;
        }
        let (toml, key) = in_a_file(name, "");
        let file = file(&toml);
        let path = file.path().to_str().unwrap();
        let line = refusal(&run(&["check", "--config", path]));
        let named = line.contains(&format!("{path}:")) && line.contains(&format!(": {key}: "));
        assert!(named, "{toml}: {line}");
    }
    let with = all.arg("check").output().unwrap();
    assert_eq!(with, echogate().arg("check").output().unwrap());
    assert!(with.status.success(), "{with:?}");
    // An empty variable does not hide the file's setting.
    let file = file("http = [\"127.0.0.1:9\"]\n");
    let output = all.arg("--config").arg(file.path()).output().unwrap();
    assert!(String::from_utf8(output.stdout).unwrap().contains("http://127.0.0.1:9\n"));
}

#[test]
fn lists_of_the_environment_have_commas_and_perhaps_spaces() {
    let mut command = echogate();
    command
        .env("ECHOGATE_HTTP", " 127.0.0.1:1, [::1]:1 ,")
        .env("ECHOGATE_LISTEN", "upper=tcp://127.0.0.1:2 , echo=udp://127.0.0.1:2")
        .env("ECHOGATE_ROUTE", "/a=service:upper,\n/b=service:echo")
        .env("ECHOGATE_ALLOW_HOST", "a.example, b.example")
        .env("ECHOGATE_DRAIN", " 1s ")
        .args(["check", "--url", "ws://b.example/b"]);
    let output = command.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    for line in [
        "listen     upper  tcp://127.0.0.1:2",
        "listen     echo   udp://127.0.0.1:2",
        "listen     http   http://127.0.0.1:1",
        "listen     http   http://[::1]:1",
        "accepted   /b -> service:echo (message)",
    ] {
        assert!(
            printed.lines().any(|printed| printed == line),
            "{line}: {printed} {:?}",
            output.stderr
        );
    }
    assert!(printed.contains("route      /a -> service:upper (message)"), "{printed}");
}

#[test]
fn a_flag_is_one_element_of_a_list_whatever_commas_it_has() {
    for (arguments, words) in [
        (&["--route", "/x=tcp://h:1?protocol=a,b"][..], "protocol=\"a,b\""),
        (&["--http", "127.0.0.1:1,127.0.0.1:2"], "'127.0.0.1:1,127.0.0.1:2'"),
    ] {
        let line = refusal(&run(&[&["check"], arguments].concat()));
        assert!(line.contains(words), "{line}");
    }
    let output = run(&["check", "--listen", "upper=unix:///run/a,b.sock"]);
    let printed = String::from_utf8(output.stdout).unwrap();
    // In the output the comma may be percent-encoded.
    let is_whole =
        |printed: &str| printed.contains("/run/a,b.sock") || printed.contains("/run/a%2Cb.sock");
    assert!(is_whole(&printed), "{printed} {:?}", output.stderr);
}

#[test]
fn the_environment_is_of_the_commands_that_serve() {
    let mut command = echogate();
    let output = command.env("ECHOGATE_HTTP", "nonsense").args(["help", "connect"]).output();
    assert!(output.unwrap().status.success());
    let mut command = echogate();
    command.env("ECHOGATE_HTTP", "nonsense").args(["connect", "tcp://127.0.0.1:1"]);
    let line = failure(&command.output().unwrap(), 1);
    assert!(line.contains("refused"), "{line}");
}

#[test]
fn a_misspelt_variable_is_named_unless_it_is_empty() {
    let output = echogate().arg("check").env("ECHOGATE_HTPP", "127.0.0.1:1").output().unwrap();
    let line = refusal(&output);
    assert!(line.contains("ECHOGATE_HTPP is not a setting; did you mean ECHOGATE_HTTP?"), "{line}");
    for (name, value) in [("ECHOGATE_HTPP", ""), ("ECHOGATE_PORT", "tcp://10.0.0.1:8080")] {
        let output = echogate().arg("check").env(name, value).output().unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
    }
}

#[test]
fn a_console_without_chat_has_no_effect() {
    let arguments = ["serve", "--console", "--http=127.0.0.1:0", "--route=/x=service:upper"];
    let terminal = Terminal::start(ECHOGATE, &arguments);
    let (status, printed) = terminal.wait();
    assert!(
        printed.contains("--console has no effect: no listener, route or forward"),
        "{printed}"
    );
    assert_eq!(status.code(), Some(2), "{printed}");
}

#[test]
fn two_sockets_cannot_have_one_address() {
    for (arguments, words) in [
        (&["--http", "127.0.0.1:1", "--http", "127.0.0.1:1"][..], &["--http"][..]),
        (&["--http", "[::1]:1", "--http", "[0::1]:1"], &["--http"]),
        (
            &["--http", "127.0.0.1:1", "--http", "0.0.0.0:1"],
            &["--http", "overlap: 0.0.0.0:1 includes 127.0.0.1:1"],
        ),
        (&["--http", "[::]:1", "--listen", "upper=tcp://[::1]:1"], &["--http", "--listen"]),
        (
            &["--listen", "upper=udp://0.0.0.0:1", "--listen", "time=udp://127.0.0.1:1"],
            &["time=udp://127.0.0.1:1", "overlap: 0.0.0.0:1 includes 127.0.0.1:1"],
        ),
        (&["--http", "h:1", "--listen", "upper=tcp://H:1"], &["--http", "--listen"]),
        (&["--listen", "upper=tcp://h:1", "--listen", "upper=tcp://h:1"], &["--listen"]),
        (&["--listen", "upper=unix:///x", "--listen", "time=unixgram:///x"], &["--listen"]),
        (&["--http", "127.0.0.1:7007"], &["--http", "upper=tcp://127.0.0.1:7007", "default"]),
        (&["--listen", "upper=tcp://[::1]:8080"], &["--listen", "http://[::1]:8080 (default)"]),
    ] {
        let line = refusal(&run(&[&["check"], arguments].concat()));
        assert!(line.contains(" have the same address") || line.contains(" overlap: "), "{line}");
        for words in words {
            assert!(line.contains(words), "{arguments:?}: no {words:?} in {line}");
        }
    }
    for arguments in [
        &["--http", "127.0.0.1:0", "--http", "127.0.0.1:0"][..],
        &["--listen", "upper=tcp://h:1", "--listen", "upper=udp://h:1"],
        &["--listen", "upper=tcp://127.0.0.1:1", "--listen", "upper=tcp://127.0.0.2:1"],
        &["--http", "0.0.0.0:1", "--http", "[::1]:1"],
    ] {
        let output = run(&[&["check"], arguments].concat());
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

#[test]
fn settings_of_a_service_that_is_not_served_are_refused() {
    let route = ["--route", "/x=service:upper"];
    for (setting, service, others) in [
        (["--timezone", "UTC"], "service time", &["--listen", "time=udp://127.0.0.1:0"][..]),
        (["--timezone", "UTC"], "service time", &["--route", "/y=service:time"]),
    ] {
        let arguments = [&["check"], &setting[..], &route].concat();
        let line = refusal(&run(&arguments));
        assert!(line.contains(setting[0]) && line.contains(service), "{line}");
        let output = run(&[&arguments, others].concat());
        assert!(output.status.success(), "{setting:?} {others:?}: {output:?}");
        let output = run(&[&["check"], &setting[..]].concat());
        assert!(output.status.success(), "{setting:?} with the defaults: {output:?}");
    }
}

#[test]
fn a_server_without_chat_takes_a_token_for_its_api() {
    let token = file("0123456789abcdef\n");
    let token = token.path().to_str().unwrap();
    let arguments = ["check", "--route", "/x=service:upper", "--operator-token-file", token];
    let output = run(&arguments);
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_file_may_have_numbers_as_numbers_or_as_text() {
    for text in ["max-message = 10", "max-message = \"10\"", "max-message = 0x0A"] {
        let file = file(text);
        let server = start(echogate().args(["--config", file.path().to_str().unwrap()]), true);
        assert!(takes(&server, 10) && !takes(&server, 11), "{text}");
    }
    let server = start(echogate().args(["--max-message", "1K"]), true);
    assert!(takes(&server, 1024) && !takes(&server, 1025));
}

#[test]
fn an_operators_token_is_read_from_its_file_or_refused() {
    for (text, complaint) in [
        ("0123456789abcdef\n", None),
        ("short\n", Some("not a token")),
        ("", Some("not a token")),
        ("0123456789 abcdef", Some("not a token")),
    ] {
        let file = file(text);
        let path = file.path().to_str().unwrap();
        let output = echogate().args(["check", "--operator-token-file", path]).output().unwrap();
        match complaint {
            None => assert!(output.status.success(), "{output:?}"),
            Some(words) => {
                let line = refusal(&output);
                assert!(line.contains(path) && line.contains(words), "{line}");
            }
        }
    }
    let line = refusal(&run(&["check", "--operator-token-file", "/nowhere/token"]));
    assert_eq!(
        line.trim(),
        "echogate: --operator-token-file: /nowhere/token: no such file or directory"
    );
}

#[test]
fn files_of_secrets_that_others_can_read_or_change_are_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "correct-horse-battery-staple").unwrap();
    let authority = Authority::with_certificate(&["localhost"]);
    let (cert, key) = (authority.file("cert.pem"), authority.file("key.pem"));
    let secrets = [&token, &key];
    for (mode, who) in [
        (0o600, None),
        (0o640, None),
        (0o644, Some("every user can read this secret (mode 0644)")),
        (0o660, Some("its group can change this secret (mode 0660)")),
        (0o666, Some("every user can change this secret (mode 0666)")),
    ] {
        for secret in secrets {
            std::fs::set_permissions(secret, Permissions::from_mode(mode)).unwrap();
        }
        let mut check = echogate();
        check.arg("check").arg("--operator-token-file").arg(&token);
        let output = check.arg("--tls-cert").arg(&cert).arg("--tls-key").arg(&key).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let printed = String::from_utf8(output.stderr).unwrap();
        let warnings: Vec<_> = printed.lines().collect();
        let Some(who) = who else {
            assert_eq!(warnings, [""; 0], "{mode:o}");
            continue;
        };
        assert_eq!(warnings.len(), 2, "{printed}");
        for secret in secrets {
            let named = |line: &&&str| line.contains(secret.to_str().unwrap());
            let line = warnings.iter().find(named).unwrap();
            assert!(line.contains(" WARN ") && line.contains(who), "{line}");
        }
    }
    // At the start, too, with the last mode.
    let mut serve = echogate();
    serve.arg("serve").arg("--operator-token-file").arg(&token).args(FREE);
    Server::spawn(serve).wait_for_log(&["WARN", "every user can change this secret"]);
}
