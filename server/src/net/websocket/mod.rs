//! The opening handshake of a WebSocket as its client (RFC 6455 section 4.1).
//!
//! - `request`: the bytes of the request
//! - `response`: the head of the response, and its validation; the first line of a rejection
//! - `error`: the errors of a failed handshake, among them a rejection by the server

mod error;
mod request;
mod response;
#[cfg(test)]
mod tests;

use echogate_proto::endpoint::HostPort;
use http::{HeaderMap, StatusCode};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout_at},
};
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

pub(crate) use self::error::{OpeningError, Rejection};

/// An opening handshake to perform.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opening<'a> {
    /// The word for the other side in errors: "server", "upstream".
    pub(crate) role: &'static str,
    /// The host and port of the URL, for the header `Host`.
    pub(crate) at: &'a HostPort,
    /// Whether the scheme is `wss`, which determines the default port.
    pub(crate) tls: bool,
    /// The request target: path and query.
    pub(crate) path: &'a str,
    /// The header fields besides those of the handshake: the offered subprotocols, and perhaps a
    /// `Host` instead of the one of the URL.
    pub(crate) headers: &'a HeaderMap,
}

/// The result of an opening handshake.
#[derive(Debug)]
pub(crate) struct Established {
    /// The selected subprotocol. A server may select none although some were offered.
    pub(crate) protocol: Option<String>,
    /// The bytes read after the response head: the first frames, or part of them.
    pub(crate) early: Vec<u8>,
}

/// The heads of an opening handshake, as far as they were sent or received.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    pub(crate) request: Vec<u8>,
    /// The last response, without interim ones.
    pub(crate) response: Vec<u8>,
}

impl Opening<'_> {
    /// Performs the handshake on `stream`. The response must have come before `deadline`; the first
    /// line of a rejection's body may take a second more.
    ///
    /// # Errors
    ///
    /// When the stream fails, the response is invalid or late, or the server rejects the handshake.
    pub(crate) async fn perform(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        deadline: Instant,
    ) -> Result<Established, OpeningError> {
        self.perform_into(stream, deadline, &mut Heads::default()).await
    }

    /// As [`Opening::perform`], with the heads in `heads` whatever the result is.
    pub(crate) async fn perform_into(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        deadline: Instant,
        heads: &mut Heads,
    ) -> Result<Established, OpeningError> {
        let key = generate_key();
        heads.request = request::encode(self, &key);
        let exchange = async {
            stream.write_all(&heads.request).await?;
            stream.flush().await?;
            response::read(stream, self.role, &mut heads.response).await
        };
        let exchanged = timeout_at(deadline, exchange).await;
        let (response, rest) = exchanged.map_err(|_| OpeningError::TimedOut)??;
        if response.status != StatusCode::SWITCHING_PROTOCOLS {
            return Err(response.into_rejection(self.role, rest, stream).await);
        }
        let protocol = response.selected_protocol(self, &key)?;
        Ok(Established { protocol, early: rest })
    }
}
