//! TLS as a server: certificate, key, handshakes.

use std::{io, path::Path, sync::Arc, time::Duration};

use tokio::time::timeout;
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};

use super::{
    AppProtocol, Tls, error_text,
    identity::{Identity, IdentityError},
    key_log::key_log,
    plain_http, provider,
};
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
    pub(crate) fn read(
        cert: &Path,
        key: &Path,
        redirects: bool,
    ) -> Result<ServerTls, IdentityError> {
        let Identity { chain, key: secret, .. } = Identity::read(cert, Some(key))?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
            .map_err(|e| Identity::describe(cert, key, &e))?;
        config.key_log = key_log();
        let with_alpn = |protocol: AppProtocol| {
            let mut config = config.clone();
            config.alpn_protocols = protocol.alpn();
            Arc::new(config)
        };
        Ok(ServerTls {
            http: with_alpn(AppProtocol::Http),
            websocket: with_alpn(AppProtocol::WebSocket),
            bytes: with_alpn(AppProtocol::Bytes),
            redirects,
        })
    }

    /// Disables session tickets: the kernel of a client that closes its socket without having read them
    /// resets the connection, although the client's end was orderly.
    pub(crate) fn without_tickets(mut self) -> ServerTls {
        for config in [&mut self.http, &mut self.websocket, &mut self.bytes] {
            Arc::make_mut(config).send_tls13_tickets = 0;
        }
        self
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
        let mut watch = drain.watch();
        let result = tokio::select! {
            result = timeout(limit, self.handshake(protocol, stream)) => {
                result.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).to_string()))
            }
            () = watch.draining_for(LAST_HANDSHAKE) => Err("the server is shutting down".to_owned()),
        };
        result.inspect_err(|why| tracing::debug!(%peer, "TLS handshake failed: {why}")).ok()
    }

    /// Runs the handshake with a client.
    ///
    /// # Errors
    ///
    /// The reason for the failure, as a phrase.
    pub(crate) async fn handshake(
        &self,
        protocol: AppProtocol,
        stream: StreamSocket,
    ) -> Result<Tls, String> {
        let handshake = async {
            if protocol != AppProtocol::Bytes && plain_http::is_request(&stream).await? {
                let status = plain_http::answer(stream, self.redirects).await?.as_u16();
                let text = format!("plain HTTP on the HTTPS port, answered with {status}");
                return Err(io::Error::other(text));
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
