//! From an address to a connected stream, or a socket for datagrams.

use std::{
    future::Future,
    hash::{BuildHasher, RandomState},
    io,
    net::SocketAddr,
    os::unix::net as unix,
    time::Duration,
};

use echogate_proto::endpoint::{HostPort, UnixPath};
use tokio::{
    net::{TcpStream, UnixDatagram, UnixStream},
    time::{Instant, timeout},
};

use super::{
    datagram::{Datagrams, OwnFile},
    escape::words,
    target::Target,
    udp::Udp,
};
use crate::net::{
    happy_eyeballs::{self, ConnectError},
    resolve,
    stream::Stream,
    tls::trust::Trust,
};

/// How long a connection may take, the look-up of the host's name included, and then as
/// long again for the TLS handshake.
const DIAL_TIME: Duration = Duration::from_secs(10);

/// Connects to a target that is a stream of bytes; also gives our own address, as it
/// stands behind the peer's.
pub(super) async fn stream(target: &Target) -> io::Result<(Stream, String)> {
    let stream = match target {
        Target::Tcp(at) => Stream::from(tcp(at).await?),
        Target::Tls(at, trust) => host(at, Some(trust)).await?.0,
        Target::Unix(path) => Stream::from(unix(path).await?),
        Target::Udp(_) | Target::UnixGram(_) | Target::WebSocket(_) => {
            return Err(io::ErrorKind::Unsupported.into());
        }
    };
    let from = stream.local_addr().map_or_else(|_| String::new(), |from| format!(" (from {from})"));
    Ok((stream, from))
}

/// A socket for a target that takes datagrams; also our own address, as above.
pub(super) async fn datagrams(target: &Target) -> io::Result<(Datagrams, String)> {
    match target {
        Target::Udp(at) => {
            let socket = Udp::new(addresses(at).await?)?;
            let from = socket.local_addr();
            let from = from.map_or_else(String::new, |from| format!(" (from {from})"));
            Ok((Datagrams::Udp(socket), from))
        }
        Target::UnixGram(path) => Ok((unixgram(path)?, String::new())),
        Target::Tcp(_) | Target::Tls(..) | Target::Unix(_) | Target::WebSocket(_) => {
            Err(io::ErrorKind::Unsupported.into())
        }
    }
}

/// Connects to the first of a host's addresses that accepts.
async fn tcp(at: &HostPort) -> io::Result<TcpStream> {
    let connected = happy_eyeballs::connect(at, Instant::now() + DIAL_TIME).await;
    let stream = connected.map_err(|error| match error {
        ConnectError::Unresolved(error) => error.of_host(&at.host),
        ConnectError::ResolverTimedOut => resolver_silent(at),
        ConnectError::TimedOut => silent("no answer"),
        ConnectError::Failed { tried: 0 | 1, cause } => cause,
        ConnectError::Failed { tried, cause } => {
            io::Error::new(cause.kind(), format!("{} ({tried} addresses tried)", words(&cause)))
        }
    })?;
    // What is sent is meant to go at once, a typed line above all.
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects to a host, by TLS if it is said how that is verified; also gives our own
/// address.
pub(super) async fn host(at: &HostPort, trust: Option<&Trust>) -> io::Result<(Stream, SocketAddr)> {
    let stream = tcp(at).await?;
    let from = stream.local_addr()?;
    let stream = match trust {
        None => Stream::from(stream),
        Some(trust) => in_time(trust.connect("server", stream)).await?.into(),
    };
    Ok((stream, from))
}

/// Connects to a stream socket in the file system.
async fn unix(path: &UnixPath) -> io::Result<UnixStream> {
    in_time(UnixStream::connect(path)).await
}

/// A socket that sends to a datagram socket in the file system and hears it alone, with
/// an address of its own that replies can go to.
fn unixgram(path: &UnixPath) -> io::Result<Datagrams> {
    let name = RandomState::new().hash_one(path);
    let (socket, file) = bind_unixgram(&format!("echogate-{name:016x}"))?;
    socket.connect(path)?;
    socket.set_nonblocking(true)?;
    Ok(Datagrams::Unix { socket: UnixDatagram::from_std(socket)?, _file: file })
}

/// In Linux's abstract namespace: nothing to be removed, nor to be protected from others.
#[cfg(target_os = "linux")]
fn bind_unixgram(name: &str) -> io::Result<(unix::UnixDatagram, Option<OwnFile>)> {
    use std::os::linux::net::SocketAddrExt;

    let address = unix::SocketAddr::from_abstract_name(name)?;
    Ok((unix::UnixDatagram::bind_addr(&address)?, None))
}

#[cfg(not(target_os = "linux"))]
fn bind_unixgram(name: &str) -> io::Result<(unix::UnixDatagram, Option<OwnFile>)> {
    let path = std::env::temp_dir().join(name);
    let socket = unix::UnixDatagram::bind(&path)?;
    Ok((socket, Some(OwnFile(path))))
}

/// The host's addresses, in the order in which they are to be tried.
async fn addresses(at: &HostPort) -> io::Result<Vec<SocketAddr>> {
    match timeout(DIAL_TIME, resolve::addresses(at)).await {
        Ok(addresses) => addresses.map_err(|error| error.of_host(&at.host)),
        Err(_) => Err(resolver_silent(at)),
    }
}

async fn in_time<T>(dialling: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(DIAL_TIME, dialling).await.unwrap_or_else(|_| Err(silent("no answer")))
}

/// The error for the peer's silence, which `what` says.
fn silent(what: &str) -> io::Error {
    let silence = format!("{what} within {} seconds", DIAL_TIME.as_secs());
    io::Error::new(io::ErrorKind::TimedOut, silence)
}

fn resolver_silent(at: &HostPort) -> io::Error {
    silent(&format!("cannot resolve the host name \"{}\": no answer", at.host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_host_that_does_not_answer_is_given_up() {
        let error = in_time(std::future::pending::<io::Result<()>>()).await.unwrap_err();
        assert_eq!(error.to_string(), "no answer within 10 seconds");
    }
}
