//! Dialling: from an address to a connected stream or datagram socket.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use echogate_proto::endpoint::{HostPort, UnixPath};
use tokio::{
    net::{TcpStream, UnixStream},
    time::{Instant, timeout},
};

use super::target::Target;
use crate::net::{
    connected_datagrams::{ConnectedSocket, Udp},
    happy_eyeballs::{ConnectError, ConnectOptions},
    proxy::{self, ConnectionError, Destination, ProxyFailure},
    resolve,
    stream::Stream,
    tls::client::ClientTls,
};
use crate::text::io_error::describe;

/// The time limit of a connection attempt with its name resolution, and that of a TLS handshake.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// A connected socket.
pub(super) enum Dialled {
    Stream(Stream),
    Datagrams(ConnectedSocket),
}

/// Connects to `target`, without the opening handshake of a WebSocket.
pub(super) async fn dial(target: &Target) -> io::Result<Dialled> {
    let stream = match target {
        Target::Tcp(to) => host(to, None).await?,
        Target::Tls(to, trust) => host(to, Some(trust)).await?,
        Target::WebSocket(upgrade) => host(&upgrade.to, upgrade.trust.as_ref()).await?,
        Target::Unix(path) => unix(path).await?.into(),
        Target::Udp(at, options) => {
            return Ok(Dialled::Datagrams(ConnectedSocket::Udp(udp(at, *options).await?)));
        }
        Target::UnixGram(path) => return ConnectedSocket::unix(path).map(Dialled::Datagrams),
    };
    Ok(Dialled::Stream(stream))
}

/// Connects to the first address of a host that accepts, or through the proxy.
async fn tcp(to: &Destination) -> io::Result<TcpStream> {
    let connected = proxy::connect(to, Instant::now() + DIAL_TIMEOUT).await;
    let stream = connected.map_err(|error| match error {
        ConnectionError::Direct(error) => describe_error(&to.host, error),
        ConnectionError::Proxy(error) => match error.failure {
            ProxyFailure::TimedOut => timed_out(&error.to_string()),
            _ => io::Error::other(error.to_string()),
        },
    })?;
    // Nagle's algorithm would delay typed lines.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The error of a direct connection to `at`.
fn describe_error(at: &HostPort, error: ConnectError) -> io::Error {
    match error {
        ConnectError::Unresolved(error) => error.of_host(&at.host),
        ConnectError::ResolverTimedOut => resolver_timed_out(at),
        ConnectError::TimedOut => timed_out("no answer"),
        ConnectError::Failed { tried: 0 | 1, cause } => cause,
        ConnectError::Failed { tried, cause } => {
            io::Error::new(cause.kind(), format!("{} ({tried} addresses tried)", describe(&cause)))
        }
    }
}

/// Connects to a host, over TLS if `trust` is given.
pub(super) async fn host(to: &Destination, trust: Option<&ClientTls>) -> io::Result<Stream> {
    let stream = tcp(to).await?;
    Ok(match trust {
        None => stream.into(),
        Some(trust) => in_time(trust.connect("server", stream)).await?.into(),
    })
}

/// Connects to a Unix stream socket.
pub(super) async fn unix(path: &UnixPath) -> io::Result<UnixStream> {
    in_time(UnixStream::connect(path)).await
}

/// Opens a UDP socket for the first address of a host that this machine has a route to. Where all
/// addresses are loopback ones, as for `localhost`, IPv4 is preferred: most servers that listen on
/// one loopback address listen on 127.0.0.1.
async fn udp(at: &HostPort, options: ConnectOptions) -> io::Result<Udp> {
    let resolved = timeout(DIAL_TIMEOUT, resolve::addresses(at)).await;
    let resolved = resolved.map_err(|_| resolver_timed_out(at))?;
    let addresses = resolved.map_err(|error| error.of_host(&at.host))?;
    let mut addresses = options.select(addresses)?;
    if addresses.iter().all(|address| address.ip().is_loopback()) {
        addresses.sort_by_key(SocketAddr::is_ipv6);
    }
    Udp::connect_any(&addresses, options.source).await
}

async fn in_time<T>(dialling: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(DIAL_TIMEOUT, dialling).await.unwrap_or_else(|_| Err(timed_out("no answer")))
}

fn timed_out(what: &str) -> io::Error {
    let text = format!("{what} within {} seconds", DIAL_TIMEOUT.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, text)
}

fn resolver_timed_out(at: &HostPort) -> io::Error {
    timed_out(&format!("cannot resolve the host name \"{}\": no answer", at.host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_that_does_not_answer_times_out() {
        let error = in_time(std::future::pending::<io::Result<()>>()).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer within 10 seconds");
    }
}
