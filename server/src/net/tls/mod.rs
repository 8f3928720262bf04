//! TLS, by rustls.
//!
//! - [`Tls`]: a connection, either end of it
//! - [`identity`]: the server's certificate and key
//! - `plain_http`: the answer to HTTP without TLS on the HTTPS port
//! - [`trust`]: which certificates of others are good
//! - `verifier`: how a server's certificate is verified by those that the user has named, or
//!   not at all
//! - `words`: what failed, in words

pub(crate) mod identity;
mod plain_http;
pub(crate) mod trust;
mod verifier;
mod words;

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_rustls::{
    TlsStream,
    rustls::{
        crypto::{CryptoProvider, ring},
        pki_types::{CertificateDer, pem, pem::PemObject},
    },
};

use echogate_event_loop::StreamSocket;

/// What is spoken inside of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Inside {
    /// HTTP, in either version.
    Http,
    /// HTTP/1.1, to become WebSocket.
    WebSocket,
    /// Something that has no name there.
    Bytes,
}

impl Inside {
    fn alpn(self) -> Vec<Vec<u8>> {
        match self {
            Inside::Http => vec![H2.to_vec(), HTTP_1_1.to_vec()],
            Inside::WebSocket => vec![HTTP_1_1.to_vec()],
            Inside::Bytes => Vec::new(),
        }
    }
}

/// A TLS connection. What is written goes out with the next flush at the latest; an end
/// of TCP alone is no end, but an error of kind `UnexpectedEof`.
#[derive(Debug)]
pub(crate) struct Tls(TlsStream<StreamSocket>);

impl<S: Into<TlsStream<StreamSocket>>> From<S> for Tls {
    fn from(stream: S) -> Tls {
        Tls(stream.into())
    }
}

/// HTTP/2 and HTTP/1.1, as they are called in the handshake (ALPN, RFC 7301).
const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

impl Tls {
    /// Whether HTTP/2 was agreed on.
    pub(crate) fn is_http2(&self) -> bool {
        self.0.get_ref().1.alpn_protocol() == Some(H2)
    }

    /// The socket below.
    pub(crate) fn socket(&self) -> &StreamSocket {
        self.0.get_ref().0
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf).map_err(words::of_connection)
    }
}

impl AsyncWrite for Tls {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    /// Ends our side: TLS's own end (close_notify), then TCP's. The peer may go on.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// The certificates in a PEM file, one at least.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    match all {
        Ok(all) if all.is_empty() => Err(format!("{}: no certificate in it", file.display())),
        all => all.map_err(|e| unreadable(file, e)),
    }
}

/// What is wrong with a PEM file.
fn unreadable(file: &Path, error: pem::Error) -> String {
    let what = match error {
        pem::Error::Io(e) => crate::text::io_error::describe(&e),
        pem::Error::MissingSectionEnd { end_marker } => {
            format!("not PEM: a section without \"{}\"", end_marker.escape_ascii())
        }
        pem::Error::IllegalSectionStart { line } => {
            format!("not PEM: the line \"{}\"", line.escape_ascii())
        }
        pem::Error::Base64Decode(_) => "not PEM: bad base64".to_owned(),
        e => format!("not PEM: {e}"),
    };
    format!("{}: {what}", file.display())
}
