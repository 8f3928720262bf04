//! TLS as a client: verification of servers, handshakes.

use std::{error::Error, fmt, io, path::Path, sync::Arc};

use echogate_proto::reason::{self, fill};
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
    AppProtocol, Tls, certificates, error_text,
    identity::Identity,
    key_log::key_log,
    provider,
    verifier::{self, Verifier},
};

/// The TLS settings of a client for one server.
#[derive(Clone, Debug)]
pub(crate) struct ClientTls {
    /// The name that the certificate must be for.
    name: ServerName<'static>,
    /// The configuration, or the error of every handshake if the system has no roots.
    config: Result<Arc<ClientConfig>, String>,
    /// The certificates of the CA file, if there is one.
    authorities: Arc<Vec<CertificateDer<'static>>>,
}

impl ClientTls {
    /// Requires a certificate for `name` that one of the certificates in the file `ca` has issued
    /// or that is one of them; without a file, one that a root of the system has issued. Presents
    /// the certificate `identity` to servers that ask for one.
    ///
    /// # Errors
    ///
    /// One line that says what is wrong with the name or a file.
    pub(crate) fn new(
        name: &str,
        ca: Option<&Path>,
        identity: Option<Identity>,
        protocol: AppProtocol,
    ) -> Result<ClientTls, String> {
        let name = parse_name(name)?;
        let authorities = ca.map_or_else(|| Ok(Vec::new()), certificates);
        let authorities = authorities.map_err(|why| format!("CA file {why}"))?;
        let config = match ca {
            Some(file) => Ok(builder_with_ca(file, &authorities)?),
            None => system_roots().map(|roots| builder().with_root_certificates(roots)),
        };
        let config = match config {
            Ok(config) => Ok(finish(config, identity, protocol)?),
            Err(why) => Err(why),
        };
        Ok(ClientTls { name, config, authorities: authorities.into() })
    }

    /// Accepts any certificate (`--insecure`); `name` is only sent.
    ///
    /// # Errors
    ///
    /// One line that says what is wrong with the name or the certificate to present.
    pub(crate) fn insecure(
        name: &str,
        identity: Option<Identity>,
        protocol: AppProtocol,
    ) -> Result<ClientTls, String> {
        let name = parse_name(name)?;
        let config = builder_with_verifier(Verifier::insecure());
        let config = Ok(finish(config, identity, protocol)?);
        Ok(ClientTls { name, config, authorities: Arc::default() })
    }

    /// Whether another client verifies by the same certificates: those of a CA file, or those of the
    /// system.
    pub(crate) fn has_authorities_of(&self, other: &ClientTls) -> bool {
        self.authorities == other.authorities
    }

    /// The configuration, for a client that runs the handshake itself.
    ///
    /// # Errors
    ///
    /// The system has no root certificates.
    pub(crate) fn config(&self) -> Result<ClientConfig, String> {
        self.config.as_deref().cloned().map_err(Clone::clone)
    }

    /// Runs the handshake with the server at the other end of `stream`, which errors call `role`
    /// ("server", "upstream").
    ///
    /// # Errors
    ///
    /// The stream's errors; a [`TlsError`] if TLS itself fails.
    pub(crate) async fn connect(&self, role: &str, stream: TcpStream) -> io::Result<Tls> {
        let config = self.config.clone().map_err(|e| io::Error::other(TlsError(e)))?;
        let connected = TlsConnector::from(config).connect(self.name.clone(), stream.into()).await;
        connected.map(Tls::from).map_err(|e| match self.describe(role, &e) {
            Some(text) => io::Error::other(TlsError(text)),
            None => e,
        })
    }

    /// Describes a TLS error; None for an error of the stream.
    fn describe(&self, role: &str, error: &io::Error) -> Option<String> {
        use CertificateError::*;

        let cause = error.get_ref().and_then(|e| e.downcast_ref());
        let Some(rustls::Error::InvalidCertificate(why)) = cause else {
            return error_text::of_handshake(role, error);
        };
        let of = |template| fill(template, &[&format!("the {role}")]);
        Some(match why {
            NotValidForName | NotValidForNameContext { .. } => {
                let parts = [&*format!("the {role}"), &self.name.to_str()];
                fill(reason::CERTIFICATE_NAME, &parts)
            }
            Expired | ExpiredContext { .. } => of(reason::CERTIFICATE_EXPIRED),
            NotValidYet | NotValidYetContext { .. } => of(reason::CERTIFICATE_EARLY),
            // A CA certificate with the issuer's name but another key.
            BadSignature | UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
                of(reason::CERTIFICATE_SIGNATURE)
            }
            UnknownIssuer => of(reason::CERTIFICATE_ISSUER) + advice(role),
            why if verifier::is_authority(why) => {
                of(reason::CERTIFICATE_SELF_SIGNED) + advice(role)
            }
            why => fill(reason::CERTIFICATE_OTHER, &[&*format!("the {role}"), &why.to_string()]),
        })
    }
}

/// Advice on how to trust the certificate of a server. There is none for an upstream, whose failures are
/// reported to clients: a client cannot configure the trust.
fn advice(role: &str) -> &'static str {
    if role == "server" { " (trust it with --ca FILE, or use --insecure)" } else { "" }
}

/// A failed TLS handshake, with its description as a phrase.
#[derive(Debug)]
pub(crate) struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for TlsError {}

fn parse_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned())
        .map_err(|_| format!("\"{name}\" is not a name that a certificate can be for"))
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVerifier> {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for TLS 1.2 and 1.3")
}

fn builder_with_verifier(verifier: Verifier) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    builder().dangerous().with_custom_certificate_verifier(Arc::new(verifier))
}

fn builder_with_ca(
    file: &Path,
    certificates: &[CertificateDer<'static>],
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, String> {
    let invalid = |e: &dyn fmt::Display| format!("{}: not a certificate: {e}", file.display());
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(|e| invalid(&e))?;
    }
    let verifier = Verifier::with_ca(roots, certificates.to_vec()).map_err(|e| invalid(&e))?;
    Ok(builder_with_verifier(verifier))
}

fn finish(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    identity: Option<Identity>,
    protocol: AppProtocol,
) -> Result<Arc<ClientConfig>, String> {
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { chain, key, cert_file, key_file }) => builder
            .with_client_auth_cert(chain, key)
            .map_err(|e| Identity::describe(&cert_file, &key_file, &e).to_string())?,
    };
    config.alpn_protocols = protocol.alpn();
    config.key_log = key_log();
    Ok(config.into())
}

/// The root certificates of the system; an error if there are none.
fn system_roots() -> Result<RootCertStore, String> {
    let found: Vec<CertificateDer<'_>> = rustls_native_certs::load_native_certs().certs;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found);
    if roots.is_empty() {
        return Err("this system has no root certificates to verify TLS with, and no CA file was \
                    given"
            .to_owned());
    }
    Ok(roots)
}
