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

use super::{AppProtocol, Tls, certificates, error_text, plain_http, provider, unreadable};
use crate::{connections::registry::Peer, runtime::drain::Drain};
use echogate_event_loop::StreamSocket;

/// The time limit, from the beginning of a shutdown, for handshakes that have begun.
const LAST_HANDSHAKE: Duration = Duration::from_secs(1);

/// The server's certificate and key, as read from their files.
#[derive(Debug)]
pub(crate) struct ServerTls {
    http: Arc<ServerConfig>,
    websocket: Arc<ServerConfig>,
    bytes: Arc<ServerConfig>,
}

impl ServerTls {
    /// Reads a certificate, followed by its intermediate certificates, and the private key.
    ///
    /// # Errors
    ///
    /// One line that names the file and says what is wrong with it.
    pub(crate) fn read(cert: &Path, key: &Path) -> Result<ServerTls, String> {
        let (chain, secret) = (certificates(cert)?, private_key(key)?);
        let config = ServerConfig::builder_with_provider(provider())
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
        let with_alpn = |protocol: AppProtocol| {
            let mut config = config.clone();
            config.alpn_protocols = protocol.alpn();
            Arc::new(config)
        };
        Ok(ServerTls {
            http: with_alpn(AppProtocol::Http),
            websocket: with_alpn(AppProtocol::WebSocket),
            bytes: with_alpn(AppProtocol::Bytes),
        })
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
        let result = tokio::select! {
            result = timeout(limit, self.handshake(protocol, stream)) => {
                result.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).to_string()))
            }
            () = shutdown_limit(drain) => Err("the server is shutting down".to_owned()),
        };
        result.inspect_err(|why| tracing::debug!(%peer, "TLS handshake failed: {why}")).ok()
    }

    /// Runs the handshake with a client.
    ///
    /// # Errors
    ///
    /// The reason for the failure, as half a sentence.
    pub(crate) async fn handshake(
        &self,
        protocol: AppProtocol,
        stream: StreamSocket,
    ) -> Result<Tls, String> {
        let handshake = async {
            if protocol != AppProtocol::Bytes && plain_http::is_request(&stream).await? {
                plain_http::reject(stream).await?;
                return Err(io::Error::other("plain HTTP on the HTTPS port, answered with 400"));
            }
            TlsAcceptor::from(self.config(protocol)).accept(stream).await
        };
        let describe =
            |e: &_| error_text::of_handshake("client", e).unwrap_or_else(|| e.to_string());
        handshake.await.map(Tls::from).map_err(|e| describe(&e))
    }

    fn config(&self, protocol: AppProtocol) -> Arc<ServerConfig> {
        match protocol {
            AppProtocol::Http => self.http.clone(),
            AppProtocol::WebSocket => self.websocket.clone(),
            AppProtocol::Bytes => self.bytes.clone(),
        }
    }
}

/// Ends [`LAST_HANDSHAKE`] after the shutdown has begun.
async fn shutdown_limit(drain: &Drain) {
    drain.watch().draining().await;
    sleep(LAST_HANDSHAKE).await;
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
