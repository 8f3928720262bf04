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
    net::{TcpStream, UnixDatagram, UnixStream, lookup_host},
    time::timeout,
};

use super::{
    datagram::{Datagrams, OwnFile},
    escape::words,
    target::Target,
    udp::Udp,
};
use crate::{stream::Stream, tls::trust::Trust};

/// How long one address may take to answer before it counts as silent.
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

/// Connects to a host: to each of its addresses in turn until one answers.
/// If none does, the last one's error is the answer.
async fn tcp(at: &HostPort) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the host's name has no address");
    for address in addresses(at).await? {
        match in_time(TcpStream::connect(address)).await {
            Ok(stream) => {
                // What is sent is meant to go at once, a typed line above all.
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
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
async fn addresses(at: &HostPort) -> io::Result<impl Iterator<Item = SocketAddr>> {
    lookup_host((at.host.as_str(), at.port)).await.map_err(|error| {
        // Its own words come behind "failed to lookup address information: ".
        let text = error.to_string();
        let cause = words(&io::Error::other(text.rsplit(": ").next().unwrap_or_default()));
        io::Error::new(error.kind(), format!("cannot resolve the host's name: {cause}"))
    })
}

async fn in_time<T>(dialling: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(DIAL_TIME, dialling).await.unwrap_or_else(|_| {
        let silence = format!("no answer within {} seconds", DIAL_TIME.as_secs());
        Err(io::Error::new(io::ErrorKind::TimedOut, silence))
    })
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
