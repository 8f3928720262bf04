//! TLS as a server: certificate, key, handshakes.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, InconsistentKeys, ServerConfig,
        pki_types::{PrivateKeyDer, pem, pem::PemObject},
    },
};

use super::{
    AppProtocol, Tls, certificates, error_text, key_log::key_log, plain_http, provider, unreadable,
};
use crate::{connections::registry::Peer, runtime::drain::Drain};
use echogate_event_loop::StreamSocket;

/// The time limit, from the beginning of a shutdown, for handshakes that have begun.
const LAST_HANDSHAKE: Duration = Duration::from_secs(1);

/// The server's certificate and key, as read from their files.
#[derive(Debug)]
pub(crate) struct ServerTls {
    http: Arc<ServerConfig>,
    bytes: Arc<ServerConfig>,
    /// Plain HTTP requests on an HTTPS port are redirected where possible, not refused.
    redirects: bool,
}

impl ServerTls {
    /// Reads a certificate, followed by its intermediate certificates, and the private key, which
    /// may be in the same file. With `redirects`, browsers that use plain HTTP are redirected.
    ///
    /// # Errors
    ///
    /// One line that names the file and says what is wrong with it.
    pub(crate) fn read(cert: &Path, key: &Path, redirects: bool) -> Result<ServerTls, String> {
        let (chain, secret) = (certificates(cert)?, private_key(key)?);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
            .map_err(|e| match e {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    format!("{}: not the private key of {}", key.display(), cert.display())
                }
                rustls::Error::InvalidCertificate(e) => {
                    format!("{}: not a certificate: {e}", cert.display())
                }
                e => format!("{}: {e}", key.display()),
            })?;
        config.key_log = key_log();
        let mut http = config.clone();
        http.alpn_protocols = AppProtocol::Http.alpn();
        Ok(ServerTls { http: http.into(), bytes: config.into(), redirects })
    }

    /// Runs the handshake with a client, which may take `limit`. None if it fails; the reason is
    /// logged.
    pub(crate) async fn accept(
        &self,
        protocol: AppProtocol,
        stream: StreamSocket,
        peer: &Peer,
        limit: Duration,
        drain: &Drain,
    ) -> Option<Tls> {
        let handshake = async {
            if protocol == AppProtocol::Http && plain_http::is_request(&stream).await? {
                let status = plain_http::answer(stream, self.redirects).await?.as_u16();
                let text = format!("plain HTTP on the HTTPS port, answered with {status}");
                return Err(io::Error::other(text));
            }
            TlsAcceptor::from(self.config(protocol)).accept(stream).await
        };
        let result = tokio::select! {
            result = timeout(limit, handshake) => {
                result.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
            () = shutdown_limit(drain) => Err(io::Error::other("the server is shutting down")),
        };
        result
            .inspect_err(|e| {
                let why = error_text::of_handshake("client", e).unwrap_or_else(|| e.to_string());
                tracing::debug!(%peer, "TLS handshake failed: {why}");
            })
            .ok()
            .map(Tls::from)
    }

    fn config(&self, protocol: AppProtocol) -> Arc<ServerConfig> {
        match protocol {
            AppProtocol::Http | AppProtocol::WebSocket => self.http.clone(),
            AppProtocol::Bytes => self.bytes.clone(),
        }
    }
}

/// Ends [`LAST_HANDSHAKE`] after the shutdown has begun.
async fn shutdown_limit(drain: &Drain) {
    drain.watch().draining().await;
    sleep(LAST_HANDSHAKE).await;
}

/// Whether a file holds a private key, as websockify's `self.pem` does beside the certificate.
pub(crate) fn has_private_key(file: &Path) -> bool {
    PrivateKeyDer::from_pem_file(file).is_ok()
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(file).map_err(|e| match e {
        pem::Error::NoItemsFound => {
            let kinds = "PKCS#8, PKCS#1 or SEC1 in PEM, not encrypted";
            format!("{}: no private key in it (expected {kinds})", file.display())
        }
        e => unreadable(file, e),
    })
}
