//! The connection to the upstream of a route or a forward, and the failures of dialling.

use std::{fmt, io, sync::Arc, time::Duration};

use axum::http::{HeaderMap, StatusCode, header};
use echogate_proto::{close::CloseCode, endpoint::HostPort};
use socket2::SockRef;
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UnixStream},
    time::{Instant, timeout_at},
};

use super::{
    Target,
    streams::UpstreamStream,
    upstream::{Connected, Upstream, WebSocketStream},
};
use crate::text::io_error::describe;
use crate::{
    config::WebSocketSpec,
    connections::{counters::Counters, dial_outcome::DialOutcome, registry::Peer},
    context::ServerContext,
    gateway::in_memory::InMemoryStream,
    net::{
        connected_datagrams::{ConnectedSocket, Udp},
        datagram_upstream::ConnectedDatagrams,
        hairpin::Hairpin,
        happy_eyeballs::ConnectError,
        listener::keepalive,
        proxy::{self, ConnectionError, Destination, ProxyError, ProxyFailure},
        resolve,
        stream::Stream,
        tls::client::{ClientTls, TlsError},
        websocket::{Opened, Opening, OpeningError, Rejection},
    },
    trace::Trace,
};

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

/// The failure to connect to an upstream.
#[derive(Debug)]
pub(crate) struct DialError {
    /// The status of the response, for programs.
    pub(crate) status: StatusCode,
    /// The status code of the Close frame, for pages, which cannot read the response.
    pub(crate) code: CloseCode,
    /// The reason, for the response or the Close frame.
    pub(crate) reason: String,
    /// Header fields of the response, from that of a WebSocket server.
    pub(crate) headers: HeaderMap,
    /// The kind of the failure.
    pub(crate) outcome: DialOutcome,
}

impl Target {
    /// Connects to the upstream for a client ([`Upstream::dial`]), and counts the outcome.
    pub(crate) async fn dial(
        &self,
        mut request: DialRequest<'_>,
        context: &ServerContext,
    ) -> Result<Connected, DialError> {
        let dial = self.metrics.dial();
        let span = request.trace.dial(&self.upstream);
        if let Upstream::WebSocket(..) = self.upstream {
            request.trace.pass(&span, &mut request.headers);
        }
        let within = context.settings.dial_timeout;
        let dialled = self.upstream.dial(request, within, &context.counters).await;
        dial.ended(dialled.as_ref().map_or_else(|e| e.outcome, |_| DialOutcome::Connected));
        span.end(dialled.as_ref().map(drop).map_err(|e| &*e.reason));
        dialled
    }
}

impl Upstream {
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
            Upstream::Tcp(to) => limit.tcp(to, &prelude).await?.into(),
            Upstream::Listener(at, hairpins) => {
                let hairpin = Hairpin { has_proxy_header: !prelude.is_empty() };
                let dialling =
                    async { prepared(hairpins.connect(*at, hairpin).await?, &prelude).await };
                limit.apply(dialling).await?.into()
            }
            Upstream::Tls(to, trust) => limit.tls(to, trust, &prelude).await?,
            Upstream::Unix(path) => {
                let dialling = async {
                    let mut stream = UnixStream::connect(path).await?;
                    stream.write_all(&prelude).await?;
                    Ok(stream)
                };
                limit.apply(dialling).await?.into()
            }
            Upstream::WebSocket(spec, to) => {
                return limit.websocket(spec, to, headers).await.map(Connected::WebSocket);
            }
            Upstream::Udp(at) => {
                return Ok(datagrams(ConnectedSocket::Udp(limit.udp(at).await?), counters));
            }
            Upstream::UnixGram(path) => {
                let socket = limit.apply(async { ConnectedSocket::unix(path) }).await?;
                return Ok(datagrams(socket, counters));
            }
            Upstream::Service(backend) => {
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
        use ConnectError::{Failed, ResolverTimedOut, TimedOut, Unresolved};
        use ConnectionError::{Direct, Proxy};

        let connected = proxy::connect(to, self.deadline).await;
        connected.map_err(|error| match error {
            Direct(Unresolved(cause)) => DialError::unresolved(&cause),
            Direct(ResolverTimedOut) => {
                let cause = format!("no answer within {:?} (--dial-timeout)", self.within);
                DialError { status: StatusCode::GATEWAY_TIMEOUT, ..DialError::unresolved(&cause) }
            }
            Direct(TimedOut) => self.timed_out(),
            Direct(Failed { tried, cause }) => self.error(&cause, tried),
            Proxy(error) => self.proxy_error(to, &error),
        })
    }

    /// The description of a failure at a proxy. The proxy's address is logged, and not sent to the
    /// client.
    fn proxy_error(&self, to: &Destination, error: &ProxyError) -> DialError {
        tracing::warn!("cannot connect to the upstream {to}: {error}");
        match &error.failure {
            ProxyFailure::TimedOut => self.timed_out(),
            failure => {
                let reason = format!("the proxy cannot connect to the upstream: {failure}");
                DialError::new(StatusCode::BAD_GATEWAY, DialOutcome::Proxy, reason)
            }
        }
    }

    async fn tcp(&self, to: &Destination, prelude: &[u8]) -> Result<TcpStream, DialError> {
        let stream = self.connect(to).await?;
        // An error leaves a silent upstream that is gone unnoticed.
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
        let mut last = io::Error::other("the host name has no address");
        for address in &addresses {
            match Udp::connect(*address, None).await {
                Ok(socket) => return Ok(socket),
                Err(error) => last = error,
            }
        }
        Err(self.error(&last, addresses.len()))
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
        let Opened { protocol, early } = opened.map_err(|error| self.opening_error(error))?;
        Ok(WebSocketStream { stream, early, protocol })
    }

    fn opening_error(&self, error: OpeningError) -> DialError {
        match error {
            OpeningError::Stream(error) => self.error(&error, 1),
            OpeningError::TimedOut => self.timed_out(),
            OpeningError::Rejected(rejection) => DialError::rejected(&rejection),
            error => {
                let reason = error.to_string();
                DialError::new(StatusCode::BAD_GATEWAY, DialOutcome::Handshake, reason)
            }
        }
    }

    /// Runs a step within the remaining time.
    async fn apply<T>(&self, step: impl Future<Output = io::Result<T>>) -> Result<T, DialError> {
        match timeout_at(self.deadline, step).await {
            Ok(done) => done.map_err(|error| self.error(&error, 1)),
            Err(_) => Err(self.timed_out()),
        }
    }

    /// The description of `error`, after `tried` addresses of the upstream were tried.
    fn error(&self, error: &io::Error, tried: usize) -> DialError {
        let is_tls_error = error.get_ref().and_then(|e| e.downcast_ref::<TlsError>()).is_some();
        let mut reason = match error.kind() {
            io::ErrorKind::TimedOut => return self.timed_out(),
            io::ErrorKind::ConnectionRefused => "the upstream refused the connection".to_owned(),
            _ if is_tls_error => error.to_string(),
            // connect(2) fails with EAGAIN for Unix sockets only.
            io::ErrorKind::WouldBlock => "the upstream's listen backlog is full".to_owned(),
            _ => format!("the upstream cannot be reached: {}", describe(error)),
        };
        if tried > 1 {
            reason += &format!(" ({tried} addresses tried)");
        }
        let outcome = match error.kind() {
            io::ErrorKind::ConnectionRefused => DialOutcome::Refused,
            _ if is_tls_error => DialOutcome::Tls,
            _ => DialOutcome::Unreachable,
        };
        DialError::new(StatusCode::BAD_GATEWAY, outcome, reason)
    }

    fn timed_out(&self) -> DialError {
        let reason =
            format!("the upstream did not answer within {:?} (--dial-timeout)", self.within);
        DialError::new(StatusCode::GATEWAY_TIMEOUT, DialOutcome::TimedOut, reason)
    }
}

impl DialError {
    fn new(status: StatusCode, outcome: DialOutcome, reason: String) -> DialError {
        let headers = HeaderMap::new();
        DialError { status, code: CloseCode::INTERNAL_ERROR, reason, outcome, headers }
    }

    /// The error for a response other than 101: its status and what belongs to the status are
    /// passed on, except those that say nothing of the client's request.
    fn rejected(rejection: &Rejection) -> DialError {
        let status = match rejection.status {
            status if status.is_client_error() || status.is_server_error() => status,
            _ => StatusCode::BAD_GATEWAY,
        };
        let code = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                CloseCode::TRY_AGAIN_LATER
            }
            status if status.is_client_error() => CloseCode::POLICY,
            _ => CloseCode::INTERNAL_ERROR,
        };
        let mut headers = HeaderMap::new();
        for name in [header::WWW_AUTHENTICATE, header::RETRY_AFTER] {
            for value in rejection.headers.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        let reason = rejection.to_string();
        DialError { status, code, reason, outcome: DialOutcome::Rejected, headers }
    }

    fn unresolved(cause: &impl fmt::Display) -> DialError {
        let reason = format!("the upstream's host name cannot be resolved: {cause}");
        DialError::new(StatusCode::BAD_GATEWAY, DialOutcome::Unresolved, reason)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_differ_in_status_reason_and_counter() {
        let limit = Limit { within: Duration::from_secs(10), deadline: Instant::now() };
        let described = |error: io::Error, tried| {
            let DialError { status, outcome, reason, .. } = limit.error(&error, tried);
            (status.as_u16(), outcome, reason)
        };
        let kind = |kind: io::ErrorKind| described(kind.into(), 1);
        assert_eq!(
            described(io::ErrorKind::ConnectionRefused.into(), 2),
            (
                502,
                DialOutcome::Refused,
                "the upstream refused the connection (2 addresses tried)".to_owned()
            )
        );
        let silent = "the upstream did not answer within 10s (--dial-timeout)".to_owned();
        assert_eq!(kind(io::ErrorKind::TimedOut), (504, DialOutcome::TimedOut, silent));
        assert_eq!(
            kind(io::ErrorKind::NetworkUnreachable),
            (
                502,
                DialOutcome::Unreachable,
                "the upstream cannot be reached: network unreachable".to_owned()
            )
        );
        let full = "the upstream's listen backlog is full".to_owned();
        assert_eq!(kind(io::ErrorKind::WouldBlock), (502, DialOutcome::Unreachable, full));
        let unresolved = DialError::unresolved(&"no such name");
        assert_eq!(
            (unresolved.status.as_u16(), unresolved.outcome, &*unresolved.reason),
            (
                502,
                DialOutcome::Unresolved,
                "the upstream's host name cannot be resolved: no such name"
            )
        );
    }
}
