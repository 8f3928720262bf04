//! Flags, environment, file, defaults, and what is wrong with them.

use std::{
    fs::Permissions,
    io::Write,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
};

use echogate_tests::{
    http,
    server::Server,
    tls::Authority,
    ws::{RawWs, handshake},
};
use tempfile::NamedTempFile;

use crate::ECHOGATE;

/// A command without settings from this process's own environment.
fn echogate() -> Command {
    let mut command = Command::new(ECHOGATE);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ECHOGATE_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// What a command says that ends by itself; one that serves instead is ended, with
/// status 124.
fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new("timeout");
    command.args(["30", ECHOGATE]).args(arguments).stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ECHOGATE_")) {
        command.env_remove(name);
    }
    command.output().unwrap()
}

/// The one line that a failure says, and its status.
fn failure(output: &Output) -> (String, i32) {
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(said.lines().count(), 1, "one line: {said:?}");
    assert!(output.stdout.is_empty(), "nothing on stdout: {output:?}");
    assert!(said.starts_with("echogate: "), "{said}");
    (said, output.status.code().expect("no signal"))
}

fn file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// Free ports in place of the defaults, for tests of something else.
const FREE: [&str; 4] = ["--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"];

#[test]
fn a_wrong_flag_is_named_with_status_2() {
    for (arguments, names) in [
        (&["--frob"][..], &["--frob"][..]),
        (&["frob"], &["frob"]),
        (&["serve", "frob"], &["frob"]),
        (&["--http"], &["--http"]),
        (&["--http", "127.0.0.1"], &["--http", "no port"]),
        (&["--http", "::1:8080"], &["--http", "brackets"]),
        (&["--http", "127.0.0.1:65536"], &["--http", "65536"]),
        (&["--listen", "upper"], &["--listen", "SERVICE=URL"]),
        (&["--listen", "lower=tcp://127.0.0.1:0"], &["--listen", "lower", "upper"]),
        (&["--listen", "upper=127.0.0.1:7"], &["--listen", "127.0.0.1:7", "no scheme"]),
        (&["--listen", "upper=http://127.0.0.1:7"], &["--listen", "http"]),
        (&["--listen", "upper=ws://127.0.0.1:7"], &["--listen", "ws://127.0.0.1:7", "tcp://"]),
        (&["--listen", "upper=tcp://127.0.0.1:0?a=b"], &["--listen", "\"a\""]),
        (&["--route", "/x"], &["--route", "PATH=URL"]),
        (&["--route", "x=tcp://h:1"], &["--route", "\"x\""]),
        (&["--route", "/{x}=tcp://h:1"], &["--route", "/{x}"]),
        (&["--route", "/healthz=tcp://h:1"], &["--route", "/healthz"]),
        (&["--route", "/x=tcp://h:0"], &["--route", "port 0"]),
        (&["--route", "/x=tcp://h:1?framing=word"], &["--route", "word", "line"]),
        (&["--route", "/x=tcp://h:1?frame=line"], &["--route", "frame", "framing"]),
        (&["--route", "/x=service:lower"], &["--route", "lower"]),
        (&["--route", "/x=udp://h:1"], &["--route", "udp://h:1"]),
        (&["--route", "/x=tcp://h:1", "--route", "/x=tcp://h:2"], &["/x", "twice"]),
        (&["--drain", "10"], &["--drain", "10s"]),
        (&["--drain", "soon"], &["--drain", "soon"]),
        (&["--drain", "99999999999999999999s"], &["--drain"]),
        (&["--max-message", "-1"], &["-1"]),
        (&["--max-message", "1k"], &["--max-message", "1k"]),
        (&["--max-connections", "0"], &["max-connections 0"]),
        (&["--max-connections", "4294967296"], &["--max-connections"]),
        (&["--web-root", "/nowhere/at/all"], &["web-root", "/nowhere/at/all"]),
        (&["--config", "/nowhere/at/all.toml"], &["/nowhere/at/all.toml"]),
    ] {
        let (line, status) = failure(&run(arguments));
        assert_eq!(status, 2, "{arguments:?}: {line}");
        for name in names {
            assert!(line.contains(name), "{arguments:?}: no {name:?} in {line}");
        }
    }
}

/// A listener and a route, with which nothing is wrong.
const TABLES: &str = "[[listener]]\nservice = \"upper\"\nurl = \"tcp://h:1\"\n\
                      [[route]]\npath = \"/x\"\nurl = \"tcp://h:1\"\n";

#[test]
fn an_error_in_a_file_is_named_with_its_line() {
    for (text, line, names) in [
        ("drain = \"1s\"\nfrob = 1\n", 2, &["frob"][..]),
        ("\n\ndrain = 10\n", 3, &["string"]),
        ("drain = \"10\"\n", 1, &["10s"]),
        ("http = [\"127.0.0.1\"]\n", 1, &["no port"]),
        ("max-message = -1\n", 1, &["-1"]),
        ("[[listener]]\nservice = \"upper\"\n", 1, &["url"]),
        ("[[listener]]\nservice = \"upper\"\nurl = \"tcp://h\"\n", 3, &["no port"]),
        ("[[listener]]\nservice = \"upper\"\nurl = \"tcp://h:1\"\nfrob = 2\n", 4, &["frob"]),
        ("[[route]]\npath = \"ws\"\nurl = \"tcp://h:1\"\n", 2, &["\"ws\""]),
        (&format!("{TABLES}[[route]]\nurl = \"tcp://h:1\"\n"), 8, &["path"]),
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
        let (said, status) = failure(&run(&["--config", name]));
        assert_eq!(status, 2, "{text:?}: {said}");
        assert!(said.contains(&format!("{name}:{line}: ")), "{text:?} line {line}: {said}");
        for name in names {
            assert!(said.contains(name), "{text:?}: no {name:?} in {said}");
        }
    }
}

#[test]
fn an_address_in_use_is_named_with_status_1() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let upper = format!("upper=tcp://{address}");
    let (line, status) = failure(&run(&["--http", "127.0.0.1:0", "--listen", &upper]));
    assert_eq!(status, 1, "{line}");
    assert!(line.contains(&upper) && line.contains("in use"), "{line}");

    let http = address.to_string();
    let (line, status) = failure(&run(&["--http", &http, "--listen", "upper=tcp://127.0.0.1:0"]));
    assert_eq!(status, 1, "{line}");
    assert!(line.contains(&http) && line.contains("in use"), "{line}");
}

#[test]
fn an_address_that_is_not_ours_is_named_with_status_1() {
    let (line, status) =
        failure(&run(&["--http", "127.0.0.1:0", "--listen", "upper=tcp://192.0.2.1:7007"]));
    assert_eq!(status, 1, "{line}");
    assert!(line.contains("192.0.2.1:7007"), "{line}");
    assert!(!line.contains("os error"), "{line}");
}

#[test]
fn help_and_version_are_answers_and_no_errors() {
    for arguments in [&["--help"][..], &["-h"], &["--version"], &["serve", "--help"], &["help"]] {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{arguments:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with("echogate ") || said.contains("Usage:"), "{said}");
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
    // Its ports must be known without being printed.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" >&-", ECHOGATE]);
    command.args(["--http", &port.to_string(), "--listen", "upper=tcp://127.0.0.1:0"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let start = std::time::Instant::now();
    let answer = loop {
        if TcpStream::connect(port).is_ok() {
            break http::get(&port.to_string(), "/healthz").status;
        }
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        assert!(start.elapsed() < echogate_tests::server::PATIENCE, "it never listens");
        std::thread::yield_now();
    };
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(answer, 200);
}

/// A server by this command, with the free ports of `FREE` unless told not to.
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

/// Whether the route `/limit` is there and takes a message of `len` bytes.
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
    let (line, status) = failure(&output);
    assert_eq!(status, 2);
    assert!(line.contains("soon") && line.contains("--drain"), "{line}");
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
            let (said, status) = failure(&output);
            assert!(said.starts_with("echogate: ECHOGATE_LOG: ") && status == 2, "{said}");
            assert!(said.contains(expected), "{said}");
        }
    }
    for level in ["warning", "Debug ", "", " , info,", "echogate::serve = warn"] {
        let server = start(echogate().env("ECHOGATE_LOG", level), true);
        let mut stream = TcpStream::connect(server.address("http")).unwrap();
        handshake(&mut stream, &server, "/none", &[]);
        server.signal("TERM");
        if level != "warning" {
            server.wait_for_log(&["ending; a second signal ends at once"]);
        }
    }
    // At the level of warnings the start of a connection is nothing to be told.
    let server = start(echogate().env("ECHOGATE_LOG", "warn,echogate::http=info"), true);
    assert!(takes(&server, 10));
    let mut stream = TcpStream::connect(server.address("http")).unwrap();
    handshake(&mut stream, &server, "/none", &[]);
    server.wait_for_log(&["refused: no such route: /none"]);
    assert!(server.log().iter().all(|line| line.contains("refused")), "{:?}", server.log());
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
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
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

/// Each setting with a value that is right and one that is wrong, as a flag has them, and
/// whether it is a list.
const SETTINGS: [(&str, &str, &str, bool); 28] = [
    ("http", "127.0.0.1:0", "127.0.0.1", true),
    ("allow-origin", "https://friend.example", "friend.example/", true),
    ("allow-origin", "*", "https://friend.example/path", true),
    ("allow-origin", "null", "wss://friend.example", true),
    ("allow-origin", "file://", "file:///page.html", true),
    ("allow-origin", "https://friend.example:443", "https://*.example", true),
    ("allow-host", "gate.example", "gate.example:8080", true),
    ("allow-host", "127.0.0.1", "https://gate.example", true),
    ("allow-host", "::1", "*.example", true),
    ("allow-host", "[::1]", "gate.example/path", true),
    ("allow-host", "GATE.example.", " gate.example", true),
    ("allow-host", "gate_1.example", "", true),
    ("proxy-protocol-from", "10.0.0.0/8", "10.0.0.0/33", true),
    ("forwarded-from", "::1", "proxy.example", true),
    ("web-root", "/", "", false),
    ("backlog", "16", "0", false),
    ("timezone", "Asia/Shanghai", "Asia/Atlantis", false),
    ("drain", "1s", "1", false),
    ("max-message", "10", "-1", false),
    ("max-connections", "10", "0", false),
    ("max-per-address", "10", "0", false),
    ("header-timeout", "1s", "0s", false),
    ("write-timeout", "1s", "0s", false),
    ("keep-alive-timeout", "1m", "0s", false),
    ("dial-timeout", "1s", "0s", false),
    ("idle-timeout", "0s", "soon", false),
    ("ping-interval", "500ms", "0s", false),
    ("ping-timeout", "1m", "1 m", false),
];

#[test]
fn flags_environment_and_file_take_and_refuse_the_same() {
    for (name, right, wrong, is_list) in SETTINGS {
        for (value, expected) in [(right, 0), (wrong, 2)] {
            if value.is_empty() {
                continue;
            }
            let toml = match value.parse::<i64>() {
                Ok(number) if name.starts_with("max") || name == "backlog" => {
                    format!("{name} = {number}")
                }
                _ if is_list => format!("{name} = [\"{value}\"]"),
                _ => format!("{name} = \"{value}\""),
            };
            let file = file(&toml);
            let path = file.path().to_str().unwrap();
            let variable = format!("ECHOGATE_{}", name.to_ascii_uppercase().replace('-', "_"));
            let flag = format!("--{name}={value}");
            for command in [
                echogate().args(["check", &flag]),
                echogate().args(["check"]).env(variable, value),
                echogate().args(["check", "--config", path]),
            ] {
                let output = command.output().unwrap();
                if expected == 0 {
                    assert!(output.status.success(), "{command:?} {toml}: {output:?}");
                } else {
                    let (line, status) = failure(&output);
                    assert_eq!(status, expected, "{command:?} {toml}: {line}");
                    let named = line.contains(name) || line.contains(value);
                    assert!(named, "{command:?} {toml}: {line}");
                }
            }
        }
    }
}

#[test]
fn a_listener_takes_its_options_and_no_others() {
    for (spec, complaint) in [
        ("upper=tcp://127.0.0.1:0?once", None),
        ("time=unix:///run/x.sock?mode=0660&once=true", None),
        ("chat=tls://127.0.0.1:0", Some("needs tls-cert")),
        ("operator=unix:///run/x.sock?mode=600", None),
        ("time=udp://127.0.0.1:0", None),
        ("echo=unixgram:///run/x.sock?mode=666", None),
        ("upper=tcp://127.0.0.1:0?mode=600", Some("unknown option \"mode\"")),
        ("upper=udp://127.0.0.1:0?once", Some("unknown option \"once\"")),
        ("upper=tcp://127.0.0.1:0?once=yes", Some("once=\"yes\"")),
        ("upper=unix:///run/x.sock?mode=888", Some("mode=\"888\"")),
        ("upper=unix:///run/x.sock?mode=1777", Some("mode=\"1777\"")),
        ("chat=udp://127.0.0.1:0", Some("chat needs connections")),
        ("operator=unixgram:///run/x.sock", Some("operator needs connections")),
        ("operator=tcp://127.0.0.1:0?once", Some("more than one thing")),
        ("upper=unix://relative", Some("absolute path")),
        ("upper=service:echo", Some("a listener takes")),
    ] {
        let output = echogate().args(["check", "--listen", spec]).output().unwrap();
        match complaint {
            None => assert!(output.status.success(), "{spec}: {output:?}"),
            Some(words) => {
                let (line, status) = failure(&output);
                assert_eq!(status, 2, "{line}");
                assert!(line.contains(words), "{line}");
            }
        }
    }
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
                let (line, status) = failure(&output);
                assert_eq!(status, 2, "{line}");
                assert!(line.contains(path) && line.contains(words), "{line}");
            }
        }
    }
    let (line, status) = failure(&run(&["check", "--operator-token-file", "/nowhere/token"]));
    assert_eq!((status, line.trim()), (2, "echogate: /nowhere/token: no such file"));
}

#[test]
fn a_route_takes_its_options_and_no_others() {
    for (url, complaint) in [
        ("tcp://h:1?framing=line&max=5&protocol=mqtt&proxy=v2", None),
        ("unix:///run/x.sock?proxy=v1", None),
        ("service:upper?max=1", None),
        ("tcp://h:1?frame=line", Some("unknown option \"frame\"")),
        ("tcp://h:1?framing=lines", Some("unknown framing \"lines\"")),
        ("tcp://h:1?framing=line&newline=crlf&invalid=replace", None),
        ("tcp://h:1?framing=text&chunk=32768&invalid=binary", None),
        ("tcp://h:1?chunk=125", None),
        ("tcp://h:1?chunk=124", Some("chunk=\"124\": expected a number of bytes, 125 to 65536")),
        ("tcp://h:1?chunk=65537", Some("chunk=\"65537\"")),
        ("tcp://h:1?chunk=32k", Some("chunk=\"32k\"")),
        ("tcp://h:1?framing=line&chunk=4096", Some("chunk needs framing=bytes or text")),
        ("service:upper?chunk=4096", Some("and the framing here is message")),
        ("tcp://h:1?invalid=replace", Some("invalid needs framing=text or line")),
        ("tcp://h:1?framing=line&invalid=drop", Some("invalid=\"drop\": expected close")),
        ("tcp://h:1?framing=text&newline=crlf", Some("newline needs framing=line, and")),
        ("tcp://h:1?framing=line&newline=cr", Some("newline=\"cr\": expected lf or crlf")),
        ("tcp://h:1?framing=line&protocol=text.ircv3.net", None),
        ("tcp://h:1?framing=line&protocol=binary.ircv3.net", Some("does not fit framing=line")),
        ("tcp://h:1?protocol=text.ircv3.net", Some("does not fit framing=bytes")),
        ("tcp://h:1?max=0", Some("max=\"0\"")),
        ("tcp://h:1?max=many", Some("max=\"many\"")),
        ("tcp://h:1?protocol=base64", Some("base64")),
        ("tcp://h:1?protocol=a@b", Some("protocol=\"a@b\"")),
        ("tcp://h:1?proxy=v3", Some("proxy=\"v3\"")),
        ("service:upper?proxy=v1", Some("proxy")),
        ("udp://h:1", Some("udp")),
    ] {
        let output = echogate().args(["check", &format!("--route=/x={url}")]).output().unwrap();
        match complaint {
            None => assert!(output.status.success(), "{url}: {output:?}"),
            Some(words) => {
                let (line, status) = failure(&output);
                assert_eq!(status, 2, "{line}");
                assert!(line.contains(words), "{line}");
            }
        }
    }
}

#[test]
fn files_of_secrets_that_others_can_read_or_change_are_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    std::fs::write(&token, "correct-horse-battery-staple").unwrap();
    let authority = Authority::new();
    authority.install(&authority.issue(&["localhost"]));
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
        let said = String::from_utf8(output.stderr).unwrap();
        let warnings: Vec<_> = said.lines().collect();
        let Some(who) = who else {
            assert_eq!(warnings, [""; 0], "{mode:o}");
            continue;
        };
        assert_eq!(warnings.len(), 2, "{said}");
        for secret in secrets {
            let named = |line: &&&str| line.contains(secret.to_str().unwrap());
            let line = warnings.iter().find(named).unwrap();
            assert!(line.contains(" WARN ") && line.contains(who), "{line}");
        }
    }
    // At the start, too, where the last mode still is.
    let mut serve = echogate();
    serve.arg("serve").arg("--operator-token-file").arg(&token).args(FREE);
    Server::spawn(serve).wait_for_log(&["WARN", "every user can change this secret"]);
}
