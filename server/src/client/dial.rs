//! Dialling: from an address to a connected stream or datagram socket.

use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::net as unix,
    time::Duration,
};

use echogate_proto::endpoint::{HostPort, UnixPath};
use tokio::{
    net::{TcpStream, UdpSocket, UnixDatagram, UnixStream},
    time::{Instant, timeout},
};

use super::{
    datagram_socket::{DatagramSocket, Udp},
    target::Target,
};
use crate::net::{
    happy_eyeballs::{ConnectError, ConnectOptions, of_source},
    proxy::{self, ConnectionError, Destination, ProxyFailure},
    resolve,
    socket_file::SocketFile,
    stream::Stream,
    tls::client::ClientTls,
};
use crate::text::io_error::describe;

/// The time limit of a connection attempt, name resolution included. The TLS handshake has the
/// same limit of its own.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// Connects to a byte stream target.
pub(super) async fn stream(target: &Target) -> io::Result<Stream> {
    match target {
        Target::Tcp(to) => host(to, None).await,
        Target::Tls(to, trust) => host(to, Some(trust)).await,
        Target::Unix(path) => Ok(unix(path).await?.into()),
        Target::Udp(..) | Target::UnixGram(_) | Target::WebSocket(_) => {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

/// Opens a socket for a datagram target.
pub(super) async fn datagrams(target: &Target) -> io::Result<DatagramSocket> {
    match target {
        Target::Udp(at, options) => Ok(DatagramSocket::Udp(Udp::new(udp(at, *options).await?))),
        Target::UnixGram(path) => unixgram(path),
        Target::Tcp(_) | Target::Tls(..) | Target::Unix(_) | Target::WebSocket(_) => {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
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
    // Typed lines must be sent without delay.
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
async fn unix(path: &UnixPath) -> io::Result<UnixStream> {
    in_time(UnixStream::connect(path)).await
}

/// Opens a UDP socket for the first address of a host that this machine has a route to. Connecting
/// a UDP socket sends nothing, so it does not show whether a server listens there. Where all
/// addresses are loopback ones, as for `localhost`, IPv4 is preferred: most servers that listen on
/// one loopback address listen on 127.0.0.1.
async fn udp(at: &HostPort, options: ConnectOptions) -> io::Result<UdpSocket> {
    let resolved = timeout(DIAL_TIMEOUT, resolve::addresses(at)).await;
    let resolved = resolved.map_err(|_| resolver_timed_out(at))?;
    let addresses = resolved.map_err(|error| error.of_host(&at.host))?;
    let mut addresses = options.select(addresses)?;
    if addresses.iter().all(|address| address.ip().is_loopback()) {
        addresses.sort_by_key(SocketAddr::is_ipv6);
    }
    let mut result = Err(io::Error::other("the host name has no address"));
    for address in addresses {
        result = connect_udp(address, options.source).await;
        match &result {
            Ok(_) => tracing::debug!("datagrams go to {address}"),
            Err(error) => tracing::debug!("{address}: {}", describe(error)),
        }
        if result.is_ok() {
            break;
        }
    }
    result
}

async fn connect_udp(address: SocketAddr, source: Option<SocketAddr>) -> io::Result<UdpSocket> {
    let unspecified = match address {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let socket = match source {
        Some(source) => UdpSocket::bind(source).await.map_err(|error| of_source(source, &error))?,
        None => UdpSocket::bind((unspecified, 0)).await?,
    };
    socket.connect(address).await?;
    Ok(socket)
}

/// Opens a datagram socket that is connected to `path`, with a local address for the replies.
fn unixgram(path: &UnixPath) -> io::Result<DatagramSocket> {
    let name = RandomState::new().hash_one(path);
    let (socket, file) = bind_unixgram(&format!("echogate-{name:016x}"))?;
    socket.connect(path)?;
    socket.set_nonblocking(true)?;
    Ok(DatagramSocket::Unix { socket: UnixDatagram::from_std(socket)?, _file: file })
}

/// Binds a socket in Linux's abstract namespace, where no file has to be removed or protected.
#[cfg(target_os = "linux")]
fn bind_unixgram(name: &str) -> io::Result<(unix::UnixDatagram, Option<SocketFile>)> {
    use std::os::linux::net::SocketAddrExt;

    let address = unix::SocketAddr::from_abstract_name(name)?;
    Ok((unix::UnixDatagram::bind_addr(&address)?, None))
}

/// Binds a socket in the directory for temporary files.
#[cfg(not(target_os = "linux"))]
fn bind_unixgram(name: &str) -> io::Result<(unix::UnixDatagram, Option<SocketFile>)> {
    let path = std::env::temp_dir().join(name);
    let socket = unix::UnixDatagram::bind(&path)?;
    let file = SocketFile::of(&path)?;
    Ok((socket, Some(file)))
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

    #[tokio::test]
    async fn udp_to_localhost_prefers_ipv4() {
        let at = HostPort { host: "localhost".to_owned(), port: 9 };
        let socket = udp(&at, ConnectOptions::default()).await.unwrap();
        assert_eq!(socket.peer_addr().unwrap(), SocketAddr::from(([127, 0, 0, 1], 9)));
    }
}
