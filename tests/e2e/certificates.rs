//! Self-signed certificates that are trusted, and the error messages of failed TLS handshakes.

use std::{
    fs,
    io::Write,
    net::TcpStream,
    process::{Command, Output, Stdio},
    sync::Arc,
    thread::JoinHandle,
};

use echogate_tests::{
    http,
    server::Server,
    tls::{Authority, finish},
    upstream::Upstream,
    ws,
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use tempfile::TempDir;
use tokio_rustls::rustls::{
    RootCertStore, ServerConfig, ServerConnection, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::WebPkiClientVerifier,
};

use crate::ECHOGATE;

/// Runs `echogate connect` with `hello` as its input.
fn connect(arguments: &[&str]) -> Output {
    let mut command = Command::new(ECHOGATE);
    command.args(["connect", "--message", "hello"]).args(arguments).stdin(Stdio::null());
    command.output().unwrap()
}

fn error_line(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
}

/// The paths of a certificate and its key such as `openssl req -x509` makes them: self-signed and
/// marked as an authority.
fn self_signed(dir: &TempDir, file: &str, name: &str) -> (String, String) {
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let path = |kind| dir.path().join(format!("{file}.{kind}")).display().to_string();
    let (cert_file, key_file) = (path("pem"), path("key"));
    fs::write(&cert_file, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&key_file, key.serialize_pem()).unwrap();
    (cert_file, key_file)
}

#[test]
fn a_certificate_signed_by_itself_is_good_where_it_is_named_and_nowhere_else() {
    let dir = tempfile::tempdir().unwrap();
    let (cert, key) = self_signed(&dir, "mine", "127.0.0.1");
    let (other, _) = self_signed(&dir, "other", "127.0.0.1");
    let tls = ["--tls-cert", &cert, "--tls-key", &key];
    let server =
        Server::start(ECHOGATE, &[&tls[..], &["--listen", "echo=tls://127.0.0.1:0"]].concat());
    let echo = server.url("echo");
    let wss = format!("wss://{}/ws/echo", server.address("http"));
    for url in [echo, &wss] {
        let output = connect(&[url, "--ca", &cert]);
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), "hello", "{output:?}");
        let refused = error_line(&connect(&[url]));
        assert!(
            refused.contains("is not trusted: it")
                && refused.contains("(trust it with --ca FILE, "),
            "{refused}"
        );
        let refused = error_line(&connect(&[url, "--ca", &other]));
        assert!(refused.contains("the server's certificate is not trusted"), "{refused}");
        let refused = error_line(&connect(&[url, "--ca", &cert, "--server-name", "other.example"]));
        assert!(refused.contains("certificate is not for other.example"), "{refused}");
    }
    let route = format!("/r={echo}?ca={cert}");
    let gateway = Server::start(ECHOGATE, &["--route", &route]);
    assert_eq!(ws::handshake(&gateway, "/r", &[]).status, 101);
}

/// Starts a TLS server for one client, with a certificate of `authority`.
fn serve(
    authority: &Authority,
    config: impl FnOnce(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) -> ServerConfig,
) -> (String, JoinHandle<()>) {
    let issued = authority.issue(&["127.0.0.1"]);
    let key = PrivateKeyDer::from_pem_slice(issued.key_pem().as_bytes()).unwrap();
    let config = Arc::new(config(vec![issued.der().clone()], key));
    let upstream = Upstream::new();
    let address = upstream.address();
    let serving = upstream.serve(move |stream: TcpStream| {
        let conn = ServerConnection::new(config).unwrap();
        let mut served = StreamOwned::new(conn, stream);
        while served.conn.is_handshaking() {
            if served.conn.complete_io(&mut served.sock).is_err() {
                // The alert is sent; a reset would overtake it.
                std::io::copy(&mut served.sock, &mut std::io::sink()).ok();
                return;
            }
        }
        finish(&mut served);
    });
    (address, serving)
}

#[test]
fn a_required_client_certificate_is_named_in_the_error() {
    let authority = Authority::new();
    let (address, serving) = serve(&authority, |certs, key| {
        let mut roots = RootCertStore::empty();
        roots.add(certs[0].clone()).unwrap();
        let required = WebPkiClientVerifier::builder(roots.into()).build().unwrap();
        let builder = ServerConfig::builder().with_client_cert_verifier(required);
        builder.with_single_cert(certs, key).unwrap()
    });
    let printed = error_line(&connect(&[&format!("tls://{address}"), "--ca", &authority.ca()]));
    let expected = "it requires a client certificate (certificate_required)";
    assert!(printed.ends_with(expected), "{printed}");
    serving.join().unwrap();
}

#[test]
fn a_missing_common_application_protocol_is_named_in_the_error() {
    let authority = Authority::new();
    let (address, serving) = serve(&authority, |certs, key| {
        let builder = ServerConfig::builder().with_no_client_auth();
        let mut config = builder.with_single_cert(certs, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    });
    let printed = error_line(&connect(&[&format!("wss://{address}/"), "--ca", &authority.ca()]));
    assert!(printed.contains("none of the application protocols offered (ALPN)"), "{printed}");
    serving.join().unwrap();
}

#[test]
fn a_server_that_echoes_the_handshake_does_not_speak_tls() {
    let server = Server::start(ECHOGATE, &["--listen", "echo=tcp://127.0.0.1:0"]);
    for service in ["upper", "echo"] {
        let printed = error_line(&connect(&[&format!("tls://{}", server.address(service))]));
        assert!(printed.contains("the server does not speak TLS"), "{printed}");
    }
    let route = format!("/r=tls://{}", server.address("echo"));
    let gateway = Server::start(ECHOGATE, &["--route", &route]);
    let response = ws::handshake(&gateway, "/r", &[]);
    let expected = "the upstream does not speak TLS: it echoed the ClientHello";
    assert_eq!((response.status, response.text().trim_end()), (502, expected));
}

#[test]
fn a_client_that_does_not_speak_tls_is_logged_in_words() {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let mut command = Command::new(ECHOGATE);
    command.env("ECHOGATE_LOG", "debug").args(["--http", "127.0.0.1:0"]).args(authority.flags());
    let server = Server::spawn(command);
    let mut client = http::connect(server.address("http"));
    // The bytes are neither TLS nor HTTP; only HTTP gets a response.
    client.write_all(b"\x17hello, anybody there?\r\n").unwrap();
    server.wait_for_log(&["TLS handshake failed: the client does not speak TLS"]);
}
