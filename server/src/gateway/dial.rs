//! The connection to the upstream of a route or a forward. `error`: the failures of dialling.

mod error;

use std::{io, sync::Arc, time::Duration};

use axum::http::HeaderMap;
use echogate_proto::endpoint::HostPort;
use socket2::SockRef;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UnixSocket},
    time::{Instant, timeout_at},
};

pub(crate) use self::error::DialError;
use super::{
    UpstreamTarget,
    streams::UpstreamStream,
    upstream::{Connected, UpstreamEndpoint, WebSocketStream},
};
use crate::{
    config::{Settings, WebSocketSpec},
    connections::{
        counters::Counters, dial_outcome::DialOutcome, limits::descriptors::outside_reserve,
        registry::Peer,
    },
    context::ServerContext,
    gateway::in_memory::InMemoryStream,
    net::{
        connected_datagrams::{ConnectedSocket, Udp},
        datagram_upstream::ConnectedDatagrams,
        hairpin::Hairpin,
        listener::keepalive,
        proxy::{self, Destination},
        resolve,
        stream::Stream,
        tls::client::ClientTls,
        websocket::{Established, Opening},
    },
    runtime::drain::ServerClose,
    trace::Trace,
};

/// The fraction of the time between `--drain-delay` and `--drain` for which a shutdown waits for
/// upstreams that are not connected yet: the same as for the graceful phase of bridges.
const LAST_DIAL: f64 = 0.4;

/// The client for whom an upstream is dialled, and what is sent to the upstream first.
#[derive(Debug)]
pub(crate) struct DialRequest<'a> {
    pub(crate) client: Peer,
    pub(crate) trace: &'a Trace,
    /// A PROXY header or nothing: precedes even the TLS handshake.
    pub(crate) prelude: Vec<u8>,
    /// Header fields of the opening handshake with a WebSocket server, besides those of the URL.
    pub(crate) headers: HeaderMap,
}

impl UpstreamTarget {
    /// Connects to the upstream for a client ([`UpstreamEndpoint::dial`]), and counts the outcome.
    pub(crate) async fn dial(
        &self,
        mut request: DialRequest<'_>,
        context: &ServerContext,
    ) -> Result<Connected, DialError> {
        let dial = self.metrics.dial();
        let span = request.trace.dial(&self.upstream.url);
        if let UpstreamEndpoint::WebSocket(..) = self.upstream.to {
            request.trace.pass(&span, &mut request.headers);
        }
        let within = context.settings.dial_timeout;
        let dialled = tokio::select! {
            biased;
            dialled = self.upstream.to.dial(request, within, &context.counters) => dialled,
            close = shutdown_limit(context) => Err(DialError::shut_down(close)),
        };
        dial.ended(dialled.as_ref().map_or_else(|e| e.outcome, |_| DialOutcome::Connected));
        span.end(dialled.as_ref().map(drop).map_err(|e| &*e.reason));
        dialled
    }
}

/// Waits until a shutdown gives up upstreams that are not connected yet. Returns its Close.
async fn shutdown_limit(context: &ServerContext) -> ServerClose {
    let mut watch = context.bridges.drain.watch();
    let Settings { drain, drain_delay, .. } = context.settings;
    watch.draining_for(drain.saturating_sub(drain_delay).mul_f64(LAST_DIAL)).await;
    watch.close()
}

impl UpstreamEndpoint {
    /// Connects to the upstream for a client. Name resolution, connection, TLS and WebSocket
    /// handshake together may take the time `within`.
    ///
    /// # Errors
    ///
    /// When the host name cannot be resolved, the upstream refuses the connection or does not
    /// answer in time, or its certificate is not trusted ([`DialError::outcome`]).
    async fn dial(
        &self,
        request: DialRequest<'_>,
        within: Duration,
        counters: &Arc<Counters>,
    ) -> Result<Connected, DialError> {
        let limit = Limit { within, deadline: Instant::now() + within };
        let DialRequest { client, prelude, headers, .. } = request;
        let stream: Stream = match self {
            UpstreamEndpoint::Tcp(to) => limit.tcp(to, &prelude).await?.into(),
            UpstreamEndpoint::Listener(at, hairpins) => {
                let hairpin = Hairpin { has_proxy_header: !prelude.is_empty() };
                let dialling =
                    async { prepared(hairpins.connect(*at, hairpin).await?, &prelude).await };
                limit.apply(dialling).await?.into()
            }
            UpstreamEndpoint::Tls(to, trust) => limit.tls(to, trust, &prelude).await?,
            UpstreamEndpoint::Unix(path) => {
                let dialling = async {
                    let socket = outside_reserve(UnixSocket::new_stream()?)?;
                    let mut stream = socket.connect(path).await?;
                    stream.write_all(&prelude).await?;
                    Ok(stream)
                };
                limit.apply(dialling).await?.into()
            }
            UpstreamEndpoint::WebSocket(spec, to) => {
                return limit.websocket(spec, to, headers).await.map(Connected::WebSocket);
            }
            UpstreamEndpoint::Udp(at) => {
                return Ok(datagrams(ConnectedSocket::Udp(limit.udp(at).await?), counters));
            }
            UpstreamEndpoint::UnixGram(path) => {
                let socket = limit.apply(async { ConnectedSocket::unix(path) }).await?;
                return Ok(datagrams(socket, counters));
            }
            UpstreamEndpoint::Service(backend) => {
                let stream = InMemoryStream::new(backend.open(client, false));
                return Ok(Connected::Stream(UpstreamStream::InMemory(stream)));
            }
        };
        Ok(Connected::Stream(UpstreamStream::Net(stream)))
    }
}

/// The time limit of all steps of dialling together.
struct Limit {
    within: Duration,
    deadline: Instant,
}

impl Limit {
    async fn connect(&self, to: &Destination) -> Result<TcpStream, DialError> {
        let connected = proxy::connect(to, self.deadline).await;
        connected.map_err(|error| self.connection_error(to, error))
    }

    async fn tcp(&self, to: &Destination, prelude: &[u8]) -> Result<TcpStream, DialError> {
        let stream = self.connect(to).await?;
        // After an error the loss of a silent upstream is not noticed.
        SockRef::from(&stream).set_tcp_keepalive(&keepalive()).ok();
        self.apply(prepared(stream, prelude)).await
    }

    async fn tls(
        &self,
        to: &Destination,
        trust: &ClientTls,
        prelude: &[u8],
    ) -> Result<Stream, DialError> {
        let stream = self.tcp(to, prelude).await?;
        self.apply(trust.connect("upstream", stream)).await.map(Stream::from)
    }

    /// Opens a UDP socket that is connected to the first address of `at` to which there is a route.
    async fn udp(&self, at: &HostPort) -> Result<Udp, DialError> {
        let resolved = timeout_at(self.deadline, resolve::addresses(at)).await;
        let addresses = resolved.map_err(|_| self.timed_out())?;
        let addresses = addresses.map_err(|error| DialError::unresolved(&error))?;
        let connected = Udp::connect_any(&addresses, None).await;
        connected.map_err(|error| self.error(&error, addresses.len()))
    }

    /// Connects to a WebSocket server. The header fields `more` are sent beside those of its URL,
    /// which take precedence.
    async fn websocket(
        &self,
        spec: &WebSocketSpec,
        to: &Destination,
        more: HeaderMap,
    ) -> Result<WebSocketStream, DialError> {
        let mut stream = match &spec.tls {
            Some(trust) => self.tls(to, trust, b"").await?,
            None => self.tcp(to, b"").await?.into(),
        };
        stream.limit_unsent();
        let mut headers = more;
        headers.extend(spec.headers.clone());
        let opening = Opening {
            role: "upstream",
            at: &spec.at,
            tls: spec.tls.is_some(),
            path: &spec.path,
            headers: &headers,
        };
        let opened = opening.perform(&mut stream, self.deadline).await;
        let Established { protocol, early } = opened.map_err(|error| self.opening_error(error))?;
        Ok(WebSocketStream { stream, early, protocol })
    }

    /// Runs a step within the remaining time.
    async fn apply<T>(&self, step: impl Future<Output = io::Result<T>>) -> Result<T, DialError> {
        match timeout_at(self.deadline, step).await {
            Ok(done) => done.map_err(|error| self.error(&error, 1)),
            Err(_) => Err(self.timed_out()),
        }
    }
}

fn datagrams(socket: ConnectedSocket, counters: &Arc<Counters>) -> Connected {
    let datagrams = ConnectedDatagrams::new(socket, counters.clone());
    Connected::Stream(UpstreamStream::Datagrams(datagrams.into()))
}

/// Disables Nagle's algorithm and sends `prelude`.
async fn prepared(mut stream: TcpStream, prelude: &[u8]) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.write_all(prelude).await?;
    Ok(stream)
}
