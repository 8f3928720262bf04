//! Which certificates of others are good.

use std::{error::Error, fmt, io, path::Path, sync::Arc};

use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    rustls::{
        self, CertificateError, ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName},
    },
};

use super::{Inside, Tls, certificates, insecure, provider};

/// How the certificate of a server is verified.
#[derive(Clone, Debug)]
pub struct Trust {
    /// What the certificate has to be for.
    name: ServerName<'static>,
    /// Why there are no roots to verify it by, if there are none.
    config: Result<Arc<ClientConfig>, String>,
}

impl Trust {
    /// The certificate has to be for `name`, and one of the roots in the file `ca` has
    /// to vouch for it, or without that one of the system's.
    ///
    /// # Errors
    ///
    /// One line that names what is wrong: with the name, or with the file.
    pub fn new(name: &str, ca: Option<&Path>, inside: Inside) -> Result<Trust, String> {
        let parsed = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("\"{name}\" is no name that a certificate could be for"))?;
        let roots = match ca {
            Some(file) => Ok(roots_of(file)?),
            None => system_roots(),
        };
        let config = match roots {
            Ok(roots) => Ok(Arc::new(config(roots, inside).map_err(|e| e.to_string())?)),
            Err(none) => Err(none),
        };
        Ok(Trust { name: parsed, config })
    }

    /// Any certificate is taken; `name` is only sent (`--insecure`).
    ///
    /// # Errors
    ///
    /// One line that names what is wrong with the name.
    pub fn none(name: &str, inside: Inside) -> Result<Trust, String> {
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| format!("\"{name}\" is no name that a certificate could be for"))?;
        let config = insecure::config(inside).map_err(|e| e.to_string())?;
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

        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Some(format!("the {who} ended the connection during the TLS handshake"));
        }
        Some(match error.get_ref()?.downcast_ref()? {
            rustls::Error::InvalidCertificate(why) => {
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
                    why if why.to_string().contains("CaUsedAsEndEntity") => {
                        "is not trusted: it is an authority's (CA:TRUE), no server's".to_owned()
                    }
                    why => format!("is not trusted: {why}"),
                };
                format!("the {who}'s certificate {what}")
            }
            rustls::Error::InvalidMessage(_) => format!("the {who} does not speak TLS"),
            rustls::Error::AlertReceived(alert) => {
                format!("the {who} refused the TLS handshake: {alert:?}")
            }
            e => format!("the TLS handshake with the {who} failed: {e}"),
        })
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

fn config(roots: RootCertStore, inside: Inside) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = inside.alpn();
    Ok(config)
}

fn roots_of(file: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for cert in certificates(file)? {
        roots.add(cert).map_err(|e| format!("{}: not a certificate: {e}", file.display()))?;
    }
    Ok(roots)
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
