//! The server's certificate and key.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        self, InconsistentKeys, ServerConfig,
        pki_types::{PrivateKeyDer, pem, pem::PemObject},
    },
};

use super::{Inside, Tls, certificates, plain_http, provider, unreadable, words};
use crate::{connections::registry::Peer, runtime::drain::Drain};
use echogate_event_loop::StreamSocket;

/// How long a handshake under way may still take when the server ends.
const LAST_HANDSHAKE: Duration = Duration::from_secs(1);

/// The server's certificate and key, as they were in their files.
#[derive(Debug)]
pub(crate) struct Identity {
    http: Arc<ServerConfig>,
    bytes: Arc<ServerConfig>,
}

impl Identity {
    /// Reads a certificate, with those that lead to its root behind it, and its key.
    ///
    /// # Errors
    ///
    /// One line that names the file and what is wrong with it.
    pub(crate) fn read(cert: &Path, key: &Path) -> Result<Identity, String> {
        let (chain, secret) = (certificates(cert)?, private_key(key)?);
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
            .map_err(|e| match e {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    format!("{}: not the key of {}", key.display(), cert.display())
                }
                rustls::Error::InvalidCertificate(e) => {
                    format!("{}: not a certificate: {e}", cert.display())
                }
                e => format!("{}: {e}", key.display()),
            })?;
        let mut http = config.clone();
        http.alpn_protocols = Inside::Http.alpn();
        Ok(Identity { http: http.into(), bytes: config.into() })
    }

    /// Agrees on TLS with a client, `within` so much time; none, and a line in the log,
    /// if the client does not.
    pub(crate) async fn accept(
        &self,
        inside: Inside,
        stream: StreamSocket,
        peer: &Peer,
        within: Duration,
        drain: &Drain,
    ) -> Option<Tls> {
        let handshake = async {
            if inside == Inside::Http && plain_http::comes_on(&stream).await? {
                plain_http::refuse(stream).await?;
                return Err(io::Error::other("plain HTTP on the HTTPS port, answered with 400"));
            }
            TlsAcceptor::from(self.config(inside)).accept(stream).await
        };
        let agreed = tokio::select! {
            agreed = timeout(within, handshake) => {
                agreed.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            }
            () = last_call(drain) => Err(io::Error::other("the server shuts down")),
        };
        agreed
            .inspect_err(|e| {
                let why = words::of_handshake("client", e).unwrap_or_else(|| e.to_string());
                tracing::debug!(%peer, "no TLS with this client: {why}");
            })
            .ok()
            .map(Tls::from)
    }

    fn config(&self, inside: Inside) -> Arc<ServerConfig> {
        match inside {
            Inside::Http | Inside::WebSocket => self.http.clone(),
            Inside::Bytes => self.bytes.clone(),
        }
    }
}

/// Ready when the server ends and handshakes have had their time.
async fn last_call(drain: &Drain) {
    drain.watch().draining().await;
    sleep(LAST_HANDSHAKE).await;
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    PrivateKeyDer::from_pem_file(file).map_err(|e| match e {
        pem::Error::NoItemsFound => {
            let kinds = "PKCS#8, PKCS#1 or SEC1, not encrypted";
            format!("{}: no private key in it ({kinds})", file.display())
        }
        e => unreadable(file, e),
    })
}
