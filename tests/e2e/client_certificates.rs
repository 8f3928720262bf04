//! Client certificates: of the native client, and of the gateway for its upstreams. The server is
//! `openssl s_server`, which answers each line with its characters in reverse order.

use std::{
    fs,
    process::{Command, Output, Stdio},
};

use echogate_tests::{
    http,
    program::{Program, free_port, programs, run},
    server::Server,
    tls::Authority,
    ws::RawWs,
};

use crate::ECHOGATE;

/// The files of a server and of its client.
struct Files(Authority);

impl Files {
    /// Creates `cert.pem` and `key.pem` of the server, and `client.pem`, `client.key` and `both.pem`
    /// of the client.
    fn new() -> Files {
        let authority = Authority::with_certificate(&["127.0.0.1"]);
        let client = authority.issue(&["client.example"]);
        let files = Files(authority);
        files.write("client.pem", &client.pem());
        files.write("client.key", &client.key_pem());
        files.write("both.pem", &(client.key_pem() + &client.pem()));
        files
    }

    fn path(&self, name: &str) -> String {
        self.0.file(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.0.file(name), text).unwrap();
        self.path(name)
    }

    /// Starts a server that requires a client certificate of the authority.
    fn serve(&self) -> Option<(Program, String)> {
        let [openssl] = programs(["openssl"])?;
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let mut command = Command::new(openssl);
        command.args(["s_server", "-accept", &address, "-rev", "-Verify", "1"]);
        command.args(["-verify_return_error", "-CAfile", &self.0.ca()]);
        command.args(["-cert", &self.path("cert.pem"), "-key", &self.path("key.pem")]);
        Some((Program::serve(command, port), address))
    }
}

/// Runs `echogate connect` with the message `hello` and these options.
fn connect(options: &[&str]) -> Output {
    let mut command = Command::new(ECHOGATE);
    command.args(["connect", "--message", "hello"]).args(options).stdin(Stdio::null());
    command.output().unwrap()
}

fn error(output: &Output, status: i32) -> String {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

#[test]
fn a_client_presents_its_certificate_to_openssl() {
    let files = Files::new();
    let Some((_server, address)) = files.serve() else { return };
    let (url, ca) = (format!("tls://{address}"), files.0.ca());
    let [cert, key, both] = ["client.pem", "client.key", "both.pem"].map(|name| files.path(name));
    for options in [&["--cert", &*cert, "--key", &*key][..], &["--cert", &*both]] {
        let output = connect(&[&[&*url, "--ca", &*ca], options].concat());
        assert_eq!(String::from_utf8_lossy(&output.stdout), "olleh\n", "{output:?}");
        let output = connect(&[&[&*url, "--insecure"], options].concat());
        assert_eq!(String::from_utf8_lossy(&output.stdout), "olleh\n", "{output:?}");
    }
    let missing = error(&connect(&[&url, "--ca", &ca]), 1);
    assert!(missing.contains("it requires a client certificate"), "{missing}");
    let stranger = Authority::new().issue(&["client.example"]);
    let stranger = files.write("other.pem", &(stranger.key_pem() + &stranger.pem()));
    let refused = error(&connect(&[&url, "--ca", &ca, "--cert", &stranger]), 1);
    assert!(refused.contains("it does not accept the certificate"), "{refused}");
}

#[test]
fn a_gateway_presents_its_certificate_to_openssl() {
    let files = Files::new();
    let Some((_server, address)) = files.serve() else { return };
    let ca = files.0.ca();
    let [cert, key, both] = ["client.pem", "client.key", "both.pem"].map(|name| files.path(name));
    let one = format!("/one=tls://{address}?framing=line&ca={ca}&cert={cert}&key={key}");
    let other = format!("/other=tls://{address}?framing=line&ca={ca}&cert={both}");
    let gateway = Server::start(ECHOGATE, &["--route", &one, "--route", &other]);
    for path in ["/one", "/other"] {
        let mut client = RawWs::connect(&gateway, path);
        assert_eq!(client.exchange(b"hello"), b"olleh");
        // The server has one client at a time.
        drop(client);
        gateway.wait_for_connections(<[_]>::is_empty);
    }
    let health = http::get(gateway.address("http"), "/healthz");
    assert_eq!(health.status, 200);
}

#[test]
fn an_unusable_certificate_or_key_is_refused_at_the_start_with_the_name_of_its_file() {
    let Some([openssl]) = programs(["openssl"]) else { return };
    let files = Files::new();
    let [cert, key, other] = ["client.pem", "client.key", "key.pem"].map(|name| files.path(name));
    let [encrypted, old] = ["encrypted.key", "old.key"].map(|name| files.path(name));
    let genrsa = |form: &[&str], file: &str| {
        let mut command = Command::new(&openssl);
        command.arg("genrsa").args(form).args(["-aes128", "-passout", "pass:secret"]);
        command.args(["-out", file, "2048"]);
        run(command);
    };
    genrsa(&[], &encrypted);
    genrsa(&["-traditional"], &old);
    let empty = files.write("empty.pem", "");
    let complaint = |file: &str, what: &str| format!("{file}: {what}");
    for (cert, key, expected) in [
        (&cert, Some(&other), complaint(&other, "not the private key of")),
        (
            &cert,
            Some(&encrypted),
            complaint(&encrypted, "the private key is encrypted: decrypt it"),
        ),
        (&cert, Some(&old), complaint(&old, "the private key is encrypted: decrypt it")),
        (&cert, Some(&empty), complaint(&empty, "no private key in it")),
        (&cert, None, complaint(&cert, "no private key in it")),
        (&key, Some(&key), complaint(&key, "no certificate in it")),
        (&"/nowhere.pem".to_owned(), None, complaint("/nowhere.pem", "no such file")),
    ] {
        let mut options = vec!["tls://h.invalid:1", "--cert", cert];
        let mut route = format!("/x=tls://h.invalid:1?cert={cert}");
        if let Some(key) = key {
            options.extend(["--key", key]);
            route += &format!("&key={key}");
        }
        let printed = error(&connect(&options), 2);
        assert!(printed.contains(&expected), "{printed}");
        let output = Command::new(ECHOGATE).args(["check", "--route", &route]).output().unwrap();
        let printed = error(&output, 2);
        assert!(printed.contains(&expected) && printed.contains("--route"), "{printed}");
    }
    let alone = format!("/x=tls://h.invalid:1?key={key}");
    let output = Command::new(ECHOGATE).args(["check", "--route", &alone]).output().unwrap();
    assert!(error(&output, 2).contains("key needs cert, its certificate"), "{output:?}");
    for (options, expected) in [
        (["tcp://h.invalid:1", "--cert", &cert], "--cert is valid with tls:// and wss:// only"),
        (["tls://h.invalid:1", "--key", &key], "--cert"),
    ] {
        let output = connect(&options);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(expected), "{output:?}");
    }
}
