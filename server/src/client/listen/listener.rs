//! The endpoint of `echogate listen`, and the clients that have connected.

use std::{io, rc::Rc};

use echogate_proto::endpoint::{Address, HostPort};

use super::{
    acceptor::{Acceptor, Arrived, client_name, host_port},
    datagrams,
    websocket::{self, Rules},
};
use crate::{
    client::transport::{Connection, PeerRole, TransportOptions},
    config::{ListenAddr, SocketPath},
    net::{
        stream::Stream,
        tls::{AppProtocol, server::ServerTls},
    },
};

/// The settings of a listener.
#[derive(Debug)]
pub(super) struct ListenerSettings {
    /// The endpoint on the command line.
    pub(super) address: Address,
    pub(super) at: ListenAddr,
    pub(super) tls: Option<ServerTls>,
    /// The WebSocket clients that are accepted; `None` for other endpoints.
    pub(super) rules: Option<Rules>,
    pub(super) options: TransportOptions,
}

/// A listening endpoint.
pub(super) struct Listener {
    settings: Rc<ListenerSettings>,
    acceptor: Acceptor<'static, Connection>,
}

impl Listener {
    /// Binds all addresses of the endpoint.
    pub(super) async fn bind(settings: ListenerSettings) -> io::Result<Listener> {
        let acceptor = Acceptor::bind(&settings.at).await?;
        Ok(Listener { settings: settings.into(), acceptor })
    }

    /// Waits for the next client: its name for notices, and its connection or the reason why its
    /// handshakes failed.
    ///
    /// # Errors
    ///
    /// The listening socket fails.
    pub(super) async fn next(&mut self) -> io::Result<(String, Result<Connection, String>)> {
        let Listener { settings, acceptor } = self;
        let open = |stream| handshakes(settings.clone(), stream);
        let (peer, connection) = match acceptor.next(true, open).await? {
            Arrived::Client(peer, connection) => (peer, connection),
            Arrived::Datagrams(socket) => {
                let (peer, socket) = datagrams::connect(socket).await?;
                let options = &settings.options;
                (peer, Ok(Connection::of_datagrams(socket, PeerRole::Client, options)))
            }
        };
        let client = client_name(&peer);
        let connection = connection.map(|it| Connection { peer: Some(client.clone()), ..it });
        Ok((client, connection))
    }

    /// The endpoint, with the port that the system has chosen for port 0.
    pub(super) fn url(&self) -> Address {
        self.acceptor.bound(&self.settings.address)
    }

    /// A hint for the user: the endpoint, and the command for the other side.
    pub(super) fn hint(&self, keep_open: bool) -> String {
        let url = self.url();
        let mut target = url.clone();
        if let Some(at) = host_port(&mut target)
            && matches!(&*at.host, "0.0.0.0" | "::")
        {
            "HOST".clone_into(&mut at.host);
        }
        let target = match target {
            Address::Tcp(HostPort { host, port }) => format!("{host} {port}"),
            other => other.to_string(),
        };
        let clients = if keep_open { "clients, one after the other" } else { "one client" };
        let is_binary = self.settings.rules.as_ref().is_some_and(|rules| rules.binary);
        let flags = if is_binary { "--half-close --binary " } else { "" };
        format!("listening on {url} for {clients}; connect with: echogate connect {flags}{target}")
    }
}

/// The address to listen on, and the path of WebSocket clients; `None` for other endpoints.
pub(in crate::client) fn listen_address(
    address: &Address,
) -> Result<(ListenAddr, Option<String>), String> {
    let path = |path: &_| SocketPath { path: Clone::clone(path), mode: None };
    Ok(match address {
        Address::Tcp(at) | Address::Tls(at) => (ListenAddr::Tcp(at.clone()), None),
        Address::Unix(at) => (ListenAddr::Unix(path(at)), None),
        Address::Udp(at) => (ListenAddr::Udp(at.clone()), None),
        Address::UnixGram(at) => (ListenAddr::UnixGram(path(at)), None),
        Address::Ws(at, path) | Address::Wss(at, path) => {
            (ListenAddr::Tcp(at.clone()), Some(path.clone()))
        }
        Address::Service(_) => {
            return Err(
                "a service: URL is valid only as the upstream of a route or forward".to_owned()
            );
        }
    })
}

/// Performs the TLS handshake with a client, where the endpoint has TLS.
pub(in crate::client) async fn tls_handshake(
    tls: Option<&ServerTls>,
    is_websocket: bool,
    stream: Stream,
) -> Result<Stream, String> {
    let app = if is_websocket { AppProtocol::WebSocket } else { AppProtocol::Bytes };
    match (tls, stream) {
        (Some(tls), Stream::Plain(socket)) => Ok(tls.handshake(app, socket).await?.into()),
        (_, stream) => Ok(stream),
    }
}

/// Performs the handshakes with a client that the settings require: TLS, WebSocket.
async fn handshakes(settings: Rc<ListenerSettings>, stream: Stream) -> Result<Connection, String> {
    let ListenerSettings { tls, rules, options, .. } = &*settings;
    let stream = tls_handshake(tls.as_ref(), rules.is_some(), stream).await?;
    let Some(rules) = rules else {
        return Ok(Connection::of_stream(stream, PeerRole::Client, options));
    };
    let stream = options.traced(stream, PeerRole::Client);
    Ok(websocket::accept(stream, tls.is_some(), rules).await?.connection(rules).await)
}
