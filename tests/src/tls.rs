//! Test certificates, and both ends of TLS.

use std::{
    fs,
    net::{Shutdown, TcpStream},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DistinguishedName, DnType, IsCa, Issuer,
    KeyPair,
};
use tempfile::TempDir;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, ConnectionCommon, RootCertStore, ServerConfig,
    ServerConnection, SideData, StreamOwned,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};

use crate::http;

/// A client's TLS stream.
pub type Client = StreamOwned<ClientConnection, TcpStream>;

/// A server's TLS stream.
pub type ServerStream = StreamOwned<ServerConnection, TcpStream>;

/// A certificate authority, and a temporary folder with its certificate (`ca.pem`) and an issued
/// one (`cert.pem`, `key.pem`).
#[derive(Debug)]
pub struct Authority {
    dir: TempDir,
    root: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key.
#[derive(Debug)]
pub struct Issued {
    cert: Certificate,
    key: KeyPair,
}

impl Authority {
    /// Creates an authority with a new key.
    #[expect(clippy::new_without_default, reason = "it makes files")]
    pub fn new() -> Authority {
        let mut params = CertificateParams::new([]).expect("no names");
        let dir = tempfile::tempdir().expect("a folder");
        // A distinct name: rustls looks up trust anchors by name.
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, text(dir.path()));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a certificate");
        let authority = Authority { dir, root, issuer: Issuer::new(params, key) };
        fs::write(authority.file("ca.pem"), authority.root.pem()).expect("room");
        authority
    }

    /// Creates an authority and installs a certificate for these host names and addresses.
    pub fn with_certificate(names: &[&str]) -> Authority {
        let authority = Authority::new();
        authority.install(&authority.issue(names));
        authority
    }

    /// The path of a file in the authority's folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The path of the authority's own certificate, as the value of a flag.
    pub fn ca(&self) -> String {
        text(&self.file("ca.pem"))
    }

    /// Issues a certificate for these host names and addresses.
    pub fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |_| {})
    }

    /// Issues a certificate that has expired.
    pub fn issue_expired(&self, names: &[&str]) -> Issued {
        self.issue_with(names, |params| params.not_after = rcgen::date_time_ymd(2020, 1, 1))
    }

    fn issue_with(&self, names: &[&str], change: impl Fn(&mut CertificateParams)) -> Issued {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(names).expect("names");
        change(&mut params);
        let cert = params.signed_by(&key, &self.issuer).expect("a certificate");
        Issued { cert, key }
    }

    /// Writes a certificate to `cert.pem` and its key to `key.pem`.
    pub fn install(&self, issued: &Issued) {
        fs::write(self.file("cert.pem"), issued.cert.pem()).expect("room");
        fs::write(self.file("key.pem"), issued.key.serialize_pem()).expect("room");
        let owner_only = fs::Permissions::from_mode(0o600);
        fs::set_permissions(self.file("key.pem"), owner_only).expect("it is ours");
    }

    /// The server's flags for `cert.pem` and `key.pem`.
    pub fn flags(&self) -> [String; 4] {
        let (cert, key) = (text(&self.file("cert.pem")), text(&self.file("key.pem")));
        ["--tls-cert".to_owned(), cert, "--tls-key".to_owned(), key]
    }

    /// The configuration of a client that trusts this authority.
    pub fn trusted(&self) -> Arc<ClientConfig> {
        ClientConfig::builder().with_root_certificates(self.roots()).with_no_client_auth().into()
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.der().clone()).expect("a certificate");
        roots
    }

    /// Connects to `address` and verifies its certificate for `127.0.0.1`.
    pub fn connect(&self, address: &str) -> Client {
        let name = ServerName::try_from("127.0.0.1").expect("a name");
        let conn = ClientConnection::new(self.trusted(), name).expect("a client");
        let mut client = StreamOwned::new(conn, http::connect(address));
        client.conn.complete_io(&mut client.sock).expect("a handshake");
        client
    }
}

impl Issued {
    /// Answers a client's handshake; returns the client's server name (SNI), too.
    pub fn accept(&self, stream: TcpStream) -> (ServerStream, Option<String>) {
        self.accept_with(stream, WebPkiClientVerifier::no_client_auth())
    }

    /// As [`Issued::accept`], but requires a client certificate of `authority`.
    pub fn accept_identified(&self, stream: TcpStream, authority: &Authority) -> ServerStream {
        let verifier = WebPkiClientVerifier::builder(authority.roots().into()).build();
        self.accept_with(stream, verifier.expect("a root")).0
    }

    fn accept_with(
        &self,
        stream: TcpStream,
        verifier: Arc<dyn ClientCertVerifier>,
    ) -> (ServerStream, Option<String>) {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).expect("a key");
        let config = ServerConfig::builder()
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![self.cert.der().clone()], key)
            .expect("a certificate and its key");
        let conn = ServerConnection::new(config.into()).expect("a server");
        let mut served = StreamOwned::new(conn, stream);
        // The client may reject the certificate.
        while served.conn.is_handshaking() {
            if served.conn.complete_io(&mut served.sock).is_err() {
                break;
            }
        }
        let name = served.conn.server_name().map(str::to_owned);
        (served, name)
    }

    /// The certificate.
    pub fn der(&self) -> &CertificateDer<'static> {
        self.cert.der()
    }

    /// The certificate in PEM.
    pub fn pem(&self) -> String {
        self.cert.pem()
    }

    /// The key in PEM.
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

/// Ends this side of the connection: `close_notify`, then a FIN.
pub fn finish<D: SideData, C>(stream: &mut StreamOwned<C, TcpStream>)
where
    C: std::ops::DerefMut<Target = ConnectionCommon<D>>,
{
    stream.conn.send_close_notify();
    while stream.conn.wants_write() {
        stream.conn.write_tls(&mut stream.sock).expect("the peer reads");
    }
    stream.sock.shutdown(Shutdown::Write).expect("a live connection");
}

fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}
