//! The target of a connection and the options of its handshakes, on the command line.

use std::{
    io::{self, Write},
    path::PathBuf,
    str::FromStr,
};

use echogate_proto::endpoint::{Address, Endpoint};
use http::{HeaderName, HeaderValue, header};

use crate::net::tls;

/// The target of a connection and the options of the handshakes, as `connect` and `bench` take
/// them.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct TargetArgs {
    /// The endpoint to connect to: tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT,
    /// unix:///PATH, unixgram:///PATH, ws://[USER:PASSWORD@]HOST[:PORT][/PATH] or wss://...
    /// In a PATH, %XX stands for any byte
    #[arg(value_name = "URL", default_value = "tcp://127.0.0.1:7007")]
    pub(super) url: Endpoint,

    /// Add a header to the WebSocket request (repeatable)
    #[arg(long, value_name = "NAME:VALUE")]
    pub(super) header: Vec<Header>,

    /// Send an Origin header with the WebSocket request, as browsers do
    #[arg(long, value_name = "ORIGIN")]
    pub(super) origin: Option<String>,

    /// Offer a WebSocket subprotocol (repeatable, in order of preference)
    #[arg(long, value_name = "NAME")]
    pub(super) protocol: Vec<String>,

    /// Trust the root certificates in this PEM file instead of those of the system (TLS)
    #[arg(long, value_name = "FILE")]
    pub(super) ca: Option<PathBuf>,

    /// Do not verify the server's certificate (TLS): anyone who answers can read and change the
    /// data
    #[arg(long, short = 'k', conflicts_with = "ca")]
    pub(super) insecure: bool,

    /// The server name to send and to verify the certificate against (TLS) [default: the host of
    /// the URL]
    #[arg(long, value_name = "NAME")]
    pub(super) server_name: Option<String>,
}

impl TargetArgs {
    /// The URL for errors and reports: without credentials.
    pub(super) fn url(&self) -> Endpoint {
        Endpoint { credentials: None, ..self.url.clone() }
    }

    /// Warns of settings that make the connection unsafe.
    pub(super) fn warn(&self) {
        let insecure = "the server's certificate is not verified (--insecure)";
        let insecure = self.insecure.then(|| insecure.to_owned());
        for warning in insecure.into_iter().chain(tls::take_warning()) {
            writeln!(io::stderr(), "echogate: warning: {warning}").ok();
        }
    }

    /// Whether the transport preserves message boundaries.
    pub(super) fn has_messages(&self) -> bool {
        use Address::{Udp, UnixGram, Ws, Wss};
        matches!(self.url.address, Udp(_) | UnixGram(_) | Ws(..) | Wss(..))
    }
}

/// A header field that the user adds to the WebSocket request.
#[derive(Clone, Debug)]
pub(super) struct Header(pub(super) HeaderName, pub(super) HeaderValue);

impl FromStr for Header {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').ok_or("expected NAME:VALUE")?;
        let name = HeaderName::from_str(name).map_err(|_| "not the name of a header field")?;
        let value =
            HeaderValue::from_str(value.trim()).map_err(|_| "not the value of a header field")?;
        let own = [
            header::CONNECTION,
            header::UPGRADE,
            header::SEC_WEBSOCKET_KEY,
            header::SEC_WEBSOCKET_VERSION,
            header::SEC_WEBSOCKET_EXTENSIONS,
        ];
        match name {
            header::SEC_WEBSOCKET_PROTOCOL => Err("use --protocol".to_owned()),
            name if own.contains(&name) => {
                Err("this header is set by the WebSocket handshake".to_owned())
            }
            name => Ok(Header(name, value)),
        }
    }
}
