//! TLS, by rustls.
//!
//! - [`Tls`]: a connection, as client or as server
//! - [`server`]: certificate, key and handshakes of this server
//! - `plain_http`: the answer to a plain HTTP request on an HTTPS port
//! - `key_log`: `SSLKEYLOGFILE`
//! - [`client`]: handshakes with other servers
//! - [`identity`]: a certificate and its key, of this server or of a client
//! - `verifier`: verification of a server's certificate by `ca=FILE`, or none (`--insecure`)
//! - `error_text`: the wording of TLS errors; `certificate`: the names in a certificate

mod certificate;
pub(crate) mod client;
mod error_text;
pub(crate) mod identity;
mod key_log;
mod plain_http;
pub(crate) mod server;
mod verifier;

pub(crate) use self::key_log::take_warning;

use std::{
    io::{self, IoSlice},
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

use self::certificate::CertificateNames;
use crate::text::escape;

/// The application protocol of a TLS connection, which determines the ALPN offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AppProtocol {
    /// HTTP/2 or HTTP/1.1.
    Http,
    /// HTTP/1.1, to be upgraded to WebSocket.
    WebSocket,
    /// A byte stream: nothing is offered.
    Bytes,
}

impl AppProtocol {
    fn alpn(self) -> Vec<Vec<u8>> {
        match self {
            AppProtocol::Http => vec![H2.to_vec(), HTTP_1_1.to_vec()],
            AppProtocol::WebSocket => vec![HTTP_1_1.to_vec()],
            AppProtocol::Bytes => Vec::new(),
        }
    }
}

/// A TLS connection. Written bytes may be buffered until the next flush. A TCP end of stream
/// without close_notify is an error of kind `UnexpectedEof`.
#[derive(Debug)]
pub(crate) struct Tls(TlsStream<StreamSocket>);

impl<S: Into<TlsStream<StreamSocket>>> From<S> for Tls {
    fn from(stream: S) -> Tls {
        let tls = Tls(stream.into());
        tls.log();
        tls
    }
}

/// The ALPN names (RFC 7301) of HTTP/2 and HTTP/1.1.
const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

impl Tls {
    pub(crate) fn is_http2(&self) -> bool {
        self.0.get_ref().1.alpn_protocol() == Some(H2)
    }

    /// Logs the negotiated parameters, and the certificate of the peer.
    fn log(&self) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let (_, session) = self.0.get_ref();
        let version = session.protocol_version().and_then(|version| version.as_str());
        let suite = session.negotiated_cipher_suite();
        let suite = suite.and_then(|suite| suite.suite().as_str()).unwrap_or("unknown");
        let alpn = session.alpn_protocol().map(escape::bytes);
        let alpn = alpn.map_or_else(String::new, |alpn| format!(", ALPN {alpn}"));
        let version = version.unwrap_or("unknown version").replace("TLSv1_", "TLS 1.");
        tracing::debug!("{version}, cipher suite {suite}{alpn}");
        if let Some(peer) = session.peer_certificates().and_then(<[_]>::first) {
            match CertificateNames::of(peer) {
                Some(names) => tracing::debug!("certificate of the peer: {names}"),
                None => tracing::debug!("certificate of the peer: not readable"),
            }
        }
    }

    pub(crate) fn socket(&self) -> &StreamSocket {
        self.0.get_ref().0
    }

    pub(crate) fn socket_mut(&mut self) -> &mut StreamSocket {
        self.0.get_mut().0
    }
}

impl AsyncRead for Tls {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, buf).map_err(error_text::of_connection)
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

    /// Ends the sending direction: close_notify, then the TCP half-close. The peer may go on
    /// sending.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Reads a PEM file that holds at least one certificate.
fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    match all {
        Ok(all) if all.is_empty() => Err(format!("{}: no certificate in it", file.display())),
        all => all.map_err(|e| unreadable(file, e)),
    }
}

/// The error for a PEM file that cannot be read.
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
