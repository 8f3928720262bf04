//! From an address to a connected stream.

use std::{future::Future, io, net::SocketAddr, time::Duration};

use echogate_proto::endpoint::HostPort;
use tokio::{
    net::{TcpStream, UnixStream, lookup_host},
    time::timeout,
};

use super::escape::words;
use crate::{stream::Stream, tls::trust::Trust};

/// How long one address may take to answer before it counts as silent.
const DIAL_TIME: Duration = Duration::from_secs(10);

/// Connects to a host: to each of its addresses in turn until one answers.
/// If none does, the last one's error is the answer.
pub(super) async fn tcp(at: &HostPort) -> io::Result<TcpStream> {
    let addresses = lookup_host((at.host.as_str(), at.port)).await.map_err(|error| {
        // Its own words come behind "failed to lookup address information: ".
        let text = error.to_string();
        let cause = words(&io::Error::other(text.rsplit(": ").next().unwrap_or_default()));
        io::Error::new(error.kind(), format!("cannot resolve the host's name: {cause}"))
    })?;
    let mut last = io::Error::other("the host's name has no address");
    for address in addresses {
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
        None => Stream::Tcp(stream),
        Some(trust) => Stream::Tls(in_time(trust.connect("server", stream)).await?.into()),
    };
    Ok((stream, from))
}

/// Connects to a stream socket in the file system.
pub(super) async fn unix(path: &str) -> io::Result<UnixStream> {
    in_time(UnixStream::connect(path)).await
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
