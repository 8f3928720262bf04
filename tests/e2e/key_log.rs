//! `SSLKEYLOGFILE`: the secrets of TLS connections in a file. `RUST_LOG`.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::{Command, Output, Stdio},
};

use echogate_tests::{
    http::{self, exchange},
    server::Server,
    tcp::read_to_end,
    tls::Authority,
    ws::{self, RawWs},
};

use crate::ECHOGATE;

fn server(file: &Path, arguments: &[String]) -> Server {
    let mut command = Command::new(ECHOGATE);
    command.args(["serve", "--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"]);
    command.args(arguments).env("SSLKEYLOGFILE", file);
    Server::spawn(command)
}

/// The number of lines in the file of secrets that begin with `label`.
fn count(file: &Path, label: &str) -> usize {
    fs::read_to_string(file).unwrap().lines().filter(|line| line.starts_with(label)).count()
}

/// The warnings about the file of secrets in a log.
fn warnings(log: &[String]) -> usize {
    log.iter().filter(|line| line.contains("SSLKEYLOGFILE")).count()
}

#[test]
fn a_server_writes_the_secrets_of_its_clients_for_its_owner_alone_and_warns_once() {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let file = authority.file("keys.log");
    let server = server(&file, &authority.flags());
    let warning = server.wait_for_log(&["WARN", "SSLKEYLOGFILE", file.to_str().unwrap()]);
    assert!(warning.contains("secrets of TLS connections are written"), "{warning}");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    for connections in 1..=2 {
        let host = format!("Host: {}", server.address("http"));
        let mut client = authority.connect(server.address("http"));
        assert_eq!(exchange(&mut client, &["GET /healthz HTTP/1.1", &host]).status, 200);
        assert_eq!(count(&file, "SERVER_TRAFFIC_SECRET_0 "), connections);
    }
    server.signal("HUP");
    server.wait_for_log(&["configuration reloaded"]);
    assert_eq!(warnings(&server.log()), 1);
}

#[test]
fn an_upstream_and_the_native_client_append_their_secrets_to_a_file_that_exists() {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let mut arguments = authority.flags().to_vec();
    arguments.extend(["--listen", "echo=tls://127.0.0.1:0"].map(str::to_owned));
    let tls = Server::start(ECHOGATE, &arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let file = authority.file("keys.log");
    fs::write(&file, "# mine\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let route = format!("/x={}?ca={}&framing=message", tls.url("echo"), authority.ca());
    let server = server(&file, &["--route".to_owned(), route]);
    server.wait_for_log(&["WARN", "SSLKEYLOGFILE"]);
    let mut client = RawWs::connect(&server, "/x");
    assert_eq!(client.exchange(b"hello"), b"hello");
    assert_eq!(count(&file, "CLIENT_TRAFFIC_SECRET_0 "), 1);

    let output = connect(&["--ca", &authority.ca(), tls.url("echo")], &file);
    assert_eq!(output.stdout, b"hello");
    let printed = String::from_utf8(output.stderr).unwrap();
    assert!(printed.starts_with("echogate: warning: SSLKEYLOGFILE: "), "{printed}");
    assert_eq!(printed.lines().count(), 1, "{printed}");
    assert_eq!(count(&file, "CLIENT_TRAFFIC_SECRET_0 "), 2);
    assert_eq!(count(&file, "# mine"), 1);
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o640);
}

#[test]
fn clients_that_listen_or_request_the_api_warn_of_the_file_of_secrets() {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let [_, cert, _, key] = authority.flags();
    let file = authority.file("keys.log");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let (listen, tap) = (format!("tls://{address}"), "https://127.0.0.1:1".to_owned());
    for arguments in [
        &["listen", &listen, "--cert", &cert, "--key", &key][..],
        &["tap", &tap, "1", "--ca", &authority.ca()],
    ] {
        let mut command = Command::new(ECHOGATE);
        let output = command.args(arguments).env("SSLKEYLOGFILE", &file).output().unwrap();
        let printed = String::from_utf8(output.stderr).unwrap();
        assert!(printed.starts_with("echogate: warning: SSLKEYLOGFILE: "), "{printed}");
        assert_eq!((output.status.code(), printed.lines().count()), (Some(1), 2), "{printed}");
    }
}

/// The output of `echogate connect` for the input `hello`.
fn connect(arguments: &[&str], file: &Path) -> Output {
    let mut command = Command::new(ECHOGATE);
    command.arg("connect").args(arguments).env("SSLKEYLOGFILE", file);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut client = command.spawn().unwrap();
    client.stdin.take().unwrap().write_all(b"hello").unwrap();
    client.wait_with_output().unwrap()
}

#[test]
fn a_file_of_secrets_that_cannot_be_written_is_named_and_stops_nothing() {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let server = server(Path::new("/nowhere/keys.log"), &authority.flags());
    let parts = ["WARN", "SSLKEYLOGFILE", "not written", "/nowhere/keys.log", "no such file"];
    server.wait_for_log(&parts);
    let mut client = authority.connect(server.address("http"));
    let host = format!("Host: {}", server.address("http"));
    assert_eq!(exchange(&mut client, &["GET /healthz HTTP/1.1", &host]).status, 200);
}

#[test]
fn without_tls_there_is_no_file_of_secrets() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.log");
    let server = server(&file, &[]);
    assert_eq!(http::get(server.address("http"), "/healthz").status, 200);
    let output = connect(&[server.url("upper")], &file);
    assert_eq!((&*output.stdout, &*output.stderr), (&b"HELLO"[..], &b""[..]));
    assert!(!file.exists());
    assert_eq!(warnings(&server.log()), 0);
}

#[test]
fn rust_log_counts_where_echogate_log_is_not_set() {
    let start = |variables: &[(&str, &str)]| {
        let mut command = Command::new(ECHOGATE);
        command.args(["serve", "--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"]);
        command.env_remove("ECHOGATE_LOG").envs(variables.iter().copied());
        Server::spawn(command)
    };
    for (variables, is_logged) in [
        (&[("RUST_LOG", "hyper=trace,debug")][..], true),
        (&[("RUST_LOG", "debug"), ("ECHOGATE_LOG", "")], true),
        (&[("RUST_LOG", "debug"), ("ECHOGATE_LOG", "info")], false),
        (&[("RUST_LOG", "another_program=debug")], false),
    ] {
        let server = start(variables);
        // A malformed request is logged at level debug, a refused handshake at level info.
        let mut stream = http::connect(server.address("http"));
        stream.write_all(b"nonsense\r\n\r\n").unwrap();
        assert!(read_to_end(&mut stream).starts_with(b"HTTP/1.1 400 "));
        if is_logged {
            server.wait_for_log(&["DEBUG", "http connection"]);
        }
        let lines = ["Origin: http://evil.example"];
        ws::handshake(&server, "/ws", &lines);
        server.wait_for_log(&["INFO", "refused: origin"]);
        let has_debug = server.log().iter().any(|line| line.contains("DEBUG"));
        assert_eq!(has_debug, is_logged, "{variables:?}");
    }
}
