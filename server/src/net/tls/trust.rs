//! Which certificates of others are good.

use std::{error::Error, fmt, io, path::Path, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, CertificateError, ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier,
        client::WantsClientCert,
        pki_types::{CertificateDer, ServerName},
    },
};

use super::{
    Inside, Tls, certificates, provider,
    verifier::{self, AnyCertificate, Named},
    words,
};

/// How the certificate of a server is verified.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    /// What the certificate has to be for.
    name: ServerName<'static>,
    /// Why there are no roots to verify it by, if there are none.
    config: Result<Arc<ClientConfig>, String>,
}

impl Trust {
    /// The certificate has to be for `name`, and issued by one of the certificates in the
    /// file `ca`, or be one of them itself; without a file it has to be issued by one of the
    /// system's roots.
    ///
    /// # Errors
    ///
    /// One line that names what is wrong: with the name, or with the file.
    pub(crate) fn new(name: &str, ca: Option<&Path>, inside: Inside) -> Result<Trust, String> {
        let parsed = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("\"{name}\" is no name that a certificate could be for"))?;
        let config = match ca {
            Some(file) => Ok(named(file)?),
            None => system_roots().map(|roots| config().with_root_certificates(roots)),
        };
        let config = config.map(|config| {
            let mut config = config.with_no_client_auth();
            config.alpn_protocols = inside.alpn();
            config.into()
        });
        Ok(Trust { name: parsed, config })
    }

    /// Any certificate is taken; `name` is only sent (`--insecure`).
    ///
    /// # Errors
    ///
    /// One line that names what is wrong with the name.
    pub(crate) fn none(name: &str, inside: Inside) -> Result<Trust, String> {
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("\"{name}\" is no name that a certificate could be for"))?;
        let verifier = Arc::new(AnyCertificate::new());
        let config = config().dangerous().with_custom_certificate_verifier(verifier);
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = inside.alpn();
        Ok(Trust { name, config: Ok(config.into()) })
    }

    /// Agrees on TLS with the server at the other end of `stream`, which errors call
    /// `who`.
    ///
    /// # Errors
    ///
    /// The stream's, and a [`Distrust`].
    pub(crate) async fn connect(&self, who: &str, stream: TcpStream) -> io::Result<Tls> {
        let config = self.config.clone().map_err(|none| io::Error::other(Distrust(none)))?;
        let connected = TlsConnector::from(config).connect(self.name.clone(), stream.into()).await;
        connected.map(Tls::from).map_err(|e| match self.failure(who, &e) {
            Some(words) => io::Error::other(Distrust(words)),
            None => e,
        })
    }

    /// What failed about TLS, if it is that.
    fn failure(&self, who: &str, error: &io::Error) -> Option<String> {
        use CertificateError::*;

        let cause = error.get_ref().and_then(|e| e.downcast_ref());
        let Some(rustls::Error::InvalidCertificate(why)) = cause else {
            return words::of_handshake(who, error);
        };
        let what = match why {
            NotValidForName | NotValidForNameContext { .. } => {
                format!("is not for {}", self.name.to_str())
            }
            Expired | ExpiredContext { .. } => "has expired".to_owned(),
            NotValidYet | NotValidYetContext { .. } => "is not valid yet".to_owned(),
            // An authority of the issuer's name, with a key that this cannot be by.
            BadSignature | UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                "is not trusted: its issuer has not signed it".to_owned()
            }
            UnknownIssuer => "is not trusted: its issuer is unknown".to_owned(),
            why if verifier::is_authority(why) => {
                "is not trusted: it is an authority's (CA:TRUE), and not the one that was named"
                    .to_owned()
            }
            why => format!("is not trusted: {why}"),
        };
        Some(format!("the {who}'s certificate {what}"))
    }
}

/// Why TLS was not agreed on, in words.
#[derive(Debug)]
pub(crate) struct Distrust(String);

impl fmt::Display for Distrust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Distrust {}

/// The configuration of a client, up to how it verifies a server's certificate.
fn config() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for TLS 1.2 and 1.3")
}

/// The same, with the verification by the certificates in a file.
fn named(file: &Path) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let wrong = |e: &dyn fmt::Display| format!("{}: not a certificate: {e}", file.display());
    let certificates = certificates(file)?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone()).map_err(|e| wrong(&e))?;
    }
    let verifier = Named::new(roots, certificates).map_err(|e| wrong(&e))?;
    Ok(config().dangerous().with_custom_certificate_verifier(Arc::new(verifier)))
}

/// The roots that this system trusts, or that it has none.
fn system_roots() -> Result<RootCertStore, String> {
    let found: Vec<CertificateDer<'_>> = rustls_native_certs::load_native_certs().certs;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found);
    if roots.is_empty() {
        return Err("this system has no root certificates to verify TLS by, and no others were \
                    given"
            .to_owned());
    }
    Ok(roots)
}
