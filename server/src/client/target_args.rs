//! The target of a connection and the options of its handshakes, on the command line.

use std::path::PathBuf;

use echogate_proto::endpoint::Endpoint;

use super::{
    address_args::AddressArgs,
    target_endpoint::{TargetEndpoint, parse_port},
};
use crate::net::{
    proxy::{Proxy, no_proxy::NoProxy},
    request_header::RequestHeader,
};

/// The target of a connection and the options of the handshakes, as `connect` and `bench` take
/// them.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct TargetArgs {
    /// The endpoint to connect to: tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT,
    /// unix:///PATH, unixgram:///PATH, ws://[USER:PASSWORD@]HOST[:PORT][/PATH] or wss://...
    /// In a PATH, %XX stands for any byte. Also HOST PORT, HOST:PORT, and PORT on this machine, all
    /// over TCP; and http:// and https:// as ws:// and wss://
    #[arg(value_name = "URL", default_value = "tcp://127.0.0.1:7007")]
    endpoint: TargetEndpoint,

    /// The port, if the first argument is a host
    #[arg(value_name = "PORT", value_parser = parse_port)]
    port: Option<u16>,

    /// Add a header to the WebSocket request (repeatable)
    #[arg(long, short = 'H', value_name = "NAME:VALUE")]
    pub(super) header: Vec<RequestHeader>,

    /// Send an Origin header with the WebSocket request, as browsers do
    #[arg(long, value_name = "ORIGIN")]
    pub(super) origin: Option<String>,

    /// Offer a WebSocket subprotocol (repeatable, in order of preference)
    #[arg(long, visible_alias = "subprotocol", value_name = "NAME")]
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

    /// Present the certificate in this PEM file to servers that ask for one (TLS). Intermediate
    /// certificates, and optionally the private key, follow it in the file
    #[arg(long, value_name = "FILE")]
    pub(super) cert: Option<PathBuf>,

    /// The private key of the certificate, in PEM format, not encrypted [default: in the file of
    /// --cert]
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(super) key: Option<PathBuf>,

    #[command(flatten)]
    pub(super) address: AddressArgs,

    /// Connect through this proxy: http://[USER:PASSWORD@]HOST[:PORT] (CONNECT), socks5h://... or
    /// socks5://... (resolves host names itself) [default: from the environment, https_proxy for
    /// wss and tls, http_proxy for ws, all_proxy for all; never for loopback addresses]
    #[arg(long, value_name = "URL", help_heading = "Proxy")]
    pub(super) proxy: Option<Proxy>,

    /// Connect to these hosts directly: names with all names below them, addresses, networks
    /// (10.0.0.0/8), or * for all, separated by commas [default: no_proxy in the environment]
    #[arg(long, value_name = "LIST", help_heading = "Proxy")]
    pub(super) no_proxy: Option<NoProxy>,
}

/// The kind of endpoint for which an option is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValidFor {
    WebSocket,
    Tls,
    /// TCP connections, with TLS or not.
    Tcp,
}

impl TargetArgs {
    /// The given options, without those for addresses, and the endpoints for which each is valid.
    pub(super) fn given(&self) -> impl Iterator<Item = (ValidFor, &'static str)> {
        let given = [
            (ValidFor::WebSocket, "--header", !self.header.is_empty()),
            (ValidFor::WebSocket, "--origin", self.origin.is_some()),
            (ValidFor::WebSocket, "--protocol", !self.protocol.is_empty()),
            (ValidFor::Tls, "--ca", self.ca.is_some()),
            (ValidFor::Tls, "--insecure", self.insecure),
            (ValidFor::Tls, "--server-name", self.server_name.is_some()),
            (ValidFor::Tls, "--cert", self.cert.is_some()),
            (ValidFor::Tcp, "--proxy", self.proxy.is_some()),
            (ValidFor::Tcp, "--no-proxy", self.no_proxy.is_some()),
        ];
        given.into_iter().filter(|(.., given)| *given).map(|(valid_for, flag, _)| (valid_for, flag))
    }

    /// The endpoint to connect to.
    pub(super) fn endpoint(&self) -> Result<Endpoint, String> {
        self.endpoint.with_port(self.port)
    }
}
