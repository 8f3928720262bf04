//! The connection to a route's upstream, and the failures of dialling.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::http::StatusCode;
use echogate_proto::{close::CloseCode, endpoint::UnixPath};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UnixStream},
    time::{Instant, timeout_at},
};

use super::streams::UpstreamStream;
use crate::text::io_error::describe;
use crate::{
    connections::{counters::Refusal, registry::Peer},
    gateway::in_memory::InMemoryStream,
    net::{
        hairpin::{Hairpin, Hairpins},
        happy_eyeballs::ConnectError,
        proxy::{self, ConnectionError, Destination, Proxy, ProxyError, ProxyFailure},
        stream::Stream,
        tls::client::{ClientTls, TlsError},
    },
    service::backend::ServiceInstance,
};

/// The upstream of a route, resolved after the listeners are bound.
#[derive(Clone, Debug)]
pub(crate) enum Upstream {
    /// A TCP server.
    Tcp(Destination),
    /// A TCP listener of this process.
    Listener(SocketAddr, Hairpins),
    /// A TLS server.
    Tls(Destination, Arc<ClientTls>),
    /// A Unix stream socket.
    Unix(UnixPath),
    /// A built-in service, in memory.
    Service(ServiceInstance),
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Upstream::Tcp(at) => write!(f, "tcp://{at}"),
            Upstream::Listener(at, _) => write!(f, "tcp://{at}"),
            Upstream::Tls(at, _) => write!(f, "tls://{at}"),
            Upstream::Unix(path) => write!(f, "unix://{path}"),
            Upstream::Service(backend) => write!(f, "service:{}", backend.service()),
        }
    }
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
    /// The counter of `/metrics` that the failure belongs to.
    pub(crate) refusal: Refusal,
}

impl Upstream {
    /// The proxy through which the upstream is connected to.
    pub(crate) fn proxy(&self) -> Option<&Proxy> {
        match self {
            Upstream::Tcp(to) | Upstream::Tls(to, _) => to.proxy.as_ref(),
            Upstream::Listener(..) | Upstream::Unix(_) | Upstream::Service(_) => None,
        }
    }

    /// Connects to the upstream for a client. Name resolution, connection and TLS handshake together
    /// may take the time `within`. `prelude`, a PROXY header or nothing, is sent first, before the
    /// TLS handshake.
    ///
    /// # Errors
    ///
    /// When the host name cannot be resolved, the upstream refuses the connection or does not
    /// answer in time, or its certificate is not trusted ([`DialError::refusal`]).
    pub(crate) async fn dial(
        &self,
        client: Peer,
        within: Duration,
        prelude: &[u8],
    ) -> Result<UpstreamStream, DialError> {
        let limit = Limit { within, deadline: Instant::now() + within };
        let stream: Stream = match self {
            Upstream::Tcp(at) => {
                let stream = limit.connect(at).await?;
                limit.apply(prepared(stream, prelude)).await?.into()
            }
            Upstream::Listener(at, hairpins) => {
                let hairpin = Hairpin { has_proxy_header: !prelude.is_empty() };
                let dialling =
                    async { prepared(hairpins.connect(*at, hairpin).await?, prelude).await };
                limit.apply(dialling).await?.into()
            }
            Upstream::Tls(at, trust) => {
                let stream = limit.connect(at).await?;
                let handshake =
                    async { trust.connect("upstream", prepared(stream, prelude).await?).await };
                limit.apply(handshake).await?.into()
            }
            Upstream::Unix(path) => {
                let dialling = async {
                    let mut stream = UnixStream::connect(path).await?;
                    stream.write_all(prelude).await?;
                    Ok(stream)
                };
                limit.apply(dialling).await?.into()
            }
            Upstream::Service(backend) => {
                return Ok(UpstreamStream::InMemory(InMemoryStream::new(
                    backend.open(client, false),
                )));
            }
        };
        Ok(UpstreamStream::Net(stream))
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
                DialError::new(StatusCode::BAD_GATEWAY, Refusal::UpstreamFailed, reason)
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
        let refusal = match error.kind() {
            io::ErrorKind::ConnectionRefused => Refusal::UpstreamRefused,
            _ => Refusal::UpstreamFailed,
        };
        DialError::new(StatusCode::BAD_GATEWAY, refusal, reason)
    }

    fn timed_out(&self) -> DialError {
        let reason =
            format!("the upstream did not answer within {:?} (--dial-timeout)", self.within);
        DialError::new(StatusCode::GATEWAY_TIMEOUT, Refusal::UpstreamTimeout, reason)
    }
}

impl DialError {
    fn new(status: StatusCode, refusal: Refusal, reason: String) -> DialError {
        DialError { status, code: CloseCode::INTERNAL_ERROR, reason, refusal }
    }

    fn unresolved(cause: &impl fmt::Display) -> DialError {
        let reason = format!("the upstream's host name cannot be resolved: {cause}");
        DialError::new(StatusCode::BAD_GATEWAY, Refusal::UpstreamUnresolved, reason)
    }
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
            let DialError { status, refusal, reason, .. } = limit.error(&error, tried);
            (status.as_u16(), refusal, reason)
        };
        let kind = |kind: io::ErrorKind| described(kind.into(), 1);
        assert_eq!(
            described(io::ErrorKind::ConnectionRefused.into(), 2),
            (
                502,
                Refusal::UpstreamRefused,
                "the upstream refused the connection (2 addresses tried)".to_owned()
            )
        );
        let silent = "the upstream did not answer within 10s (--dial-timeout)".to_owned();
        assert_eq!(kind(io::ErrorKind::TimedOut), (504, Refusal::UpstreamTimeout, silent));
        assert_eq!(
            kind(io::ErrorKind::NetworkUnreachable),
            (
                502,
                Refusal::UpstreamFailed,
                "the upstream cannot be reached: network unreachable".to_owned()
            )
        );
        let full = "the upstream's listen backlog is full".to_owned();
        assert_eq!(kind(io::ErrorKind::WouldBlock), (502, Refusal::UpstreamFailed, full));
        let unresolved = DialError::unresolved(&"no such name");
        assert_eq!(
            (unresolved.status.as_u16(), unresolved.refusal, &*unresolved.reason),
            (
                502,
                Refusal::UpstreamUnresolved,
                "the upstream's host name cannot be resolved: no such name"
            )
        );
    }
}
