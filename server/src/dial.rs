//! Reaching a route's upstream, and saying why not.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::http::StatusCode;
use echogate_proto::{
    close::CloseCode,
    endpoint::{HostPort, UnixPath},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpStream, UnixStream, lookup_host},
    time::timeout,
};

use crate::{
    hairpin::{Hairpin, Hairpins},
    memory::Memory,
    registry::Peer,
    service::Backend,
    stream::Stream,
    tls::trust::{Distrust, Trust},
};

/// Where a route leads, once the listeners are bound.
#[derive(Clone, Debug)]
pub enum Target {
    /// Over TCP.
    Tcp(HostPort),
    /// Over TCP, to a listener of this server.
    Listener(SocketAddr, Hairpins),
    /// By TLS over TCP.
    Tls(HostPort, Arc<Trust>),
    /// To a stream socket in the file system.
    Unix(UnixPath),
    /// To a built-in service, in memory.
    Service(Backend),
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Tcp(at) => write!(f, "tcp://{at}"),
            Target::Listener(at, _) => write!(f, "tcp://{at}"),
            Target::Tls(at, _) => write!(f, "tls://{at}"),
            Target::Unix(path) => write!(f, "unix://{path}"),
            Target::Service(backend) => write!(f, "service:{}", backend.service()),
        }
    }
}

/// Why an upstream was not reached.
#[derive(Debug)]
pub struct DialError {
    /// What a plain client is answered.
    pub status: StatusCode,
    /// What a page is told in a Close.
    pub code: CloseCode,
    /// Why, in words.
    pub reason: String,
}

impl Target {
    /// Reaches the upstream for a client, over all its addresses within `within`, and
    /// sends it `preface` before anything else, TLS included.
    ///
    /// # Errors
    ///
    /// Why not, told apart: refused, unresolvable, not trusted, timed out, out of
    /// resources.
    pub async fn dial(
        &self,
        client: Peer,
        within: Duration,
        preface: &[u8],
    ) -> Result<Stream, DialError> {
        match self {
            Target::Tcp(at) => in_time(within, dial_tcp(at, preface)).await.map(Stream::from),
            Target::Listener(at, hairpins) => {
                let hairpin = Hairpin { is_introduced: !preface.is_empty() };
                let dialling =
                    async { prepared(hairpins.connect(*at, hairpin).await?, preface).await };
                in_time(within, dialling).await.map(Stream::from)
            }
            Target::Tls(at, trust) => {
                let dialling =
                    async { trust.connect("upstream", dial_tcp(at, preface).await?).await };
                in_time(within, dialling).await.map(Stream::from)
            }
            Target::Unix(path) => {
                let dialling = async {
                    let mut stream = UnixStream::connect(path).await?;
                    stream.write_all(preface).await?;
                    Ok(stream)
                };
                in_time(within, dialling).await.map(Stream::from)
            }
            Target::Service(backend) => {
                Ok(Stream::Memory(Memory::new(backend.meet(client, false))))
            }
        }
    }
}

async fn in_time<T>(
    within: Duration,
    dialling: impl Future<Output = io::Result<T>>,
) -> Result<T, DialError> {
    match timeout(within, dialling).await {
        Ok(dialled) => dialled.map_err(|e| DialError::of(&e)),
        Err(_) => Err(DialError::timed_out()),
    }
}

async fn dial_tcp(at: &HostPort, preface: &[u8]) -> io::Result<TcpStream> {
    let addresses = lookup_host((at.host.as_str(), at.port))
        .await
        .map_err(|e| io::Error::other(Unresolvable(e)))?;
    let mut last = io::Error::other(Unresolvable(io::ErrorKind::NotFound.into()));
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => return prepared(stream, preface).await,
            Err(e) => last = e,
        }
    }
    Err(last)
}

async fn prepared(mut stream: TcpStream, preface: &[u8]) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.write_all(preface).await?;
    Ok(stream)
}

/// A host name without an address.
#[derive(Debug)]
struct Unresolvable(io::Error);

impl fmt::Display for Unresolvable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the upstream's host name cannot be resolved: {}", self.0)
    }
}

impl std::error::Error for Unresolvable {}

impl DialError {
    fn of(error: &io::Error) -> DialError {
        let reason = match error.kind() {
            io::ErrorKind::ConnectionRefused => "the upstream refused the connection".to_owned(),
            io::ErrorKind::TimedOut => return DialError::timed_out(),
            io::ErrorKind::Other
                if error
                    .get_ref()
                    .is_some_and(|e| e.is::<Unresolvable>() || e.is::<Distrust>()) =>
            {
                error.to_string()
            }
            _ => format!("the upstream cannot be reached: {error}"),
        };
        DialError { status: StatusCode::BAD_GATEWAY, code: CloseCode::INTERNAL_ERROR, reason }
    }

    fn timed_out() -> DialError {
        DialError {
            status: StatusCode::GATEWAY_TIMEOUT,
            code: CloseCode::INTERNAL_ERROR,
            reason: "the upstream did not answer in time".to_owned(),
        }
    }
}
