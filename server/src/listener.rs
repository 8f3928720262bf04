//! Binding, and accepting for as long as the server serves.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use echogate_proto::endpoint::HostPort;
use futures_util::FutureExt;
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream, lookup_host},
    task::{JoinSet, unconstrained},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::proxy::{self, Network};

/// Connections that the kernel may hold for us to accept. It takes the smaller of
/// this and `net.core.somaxconn`; with much less, a burst of clients is dropped.
const BACKLOG: u32 = 4096;

/// How long accepting rests when the system has run out of something.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Binds every address that `at` names.
///
/// # Errors
///
/// The first address that cannot be bound, with the reason.
pub(crate) async fn bind(at: &HostPort) -> io::Result<Vec<TcpListener>> {
    let mut listeners = Vec::new();
    for address in lookup_host((at.host.as_str(), at.port)).await? {
        listeners.push(listen(address)?);
    }
    Ok(listeners)
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    // Connections of an earlier run that linger in TIME_WAIT do not block the port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Connections that come by a proxy, which says who the client is.
#[derive(Clone, Debug)]
pub(crate) struct Proxied {
    /// Where they come from.
    pub(crate) from: Vec<Network>,
    /// How long the proxy may take to say it.
    pub(crate) within: Duration,
}

/// Accepts until `stop`, and hands each connection to `serve`, which is not to wait.
/// Each waits for what `room` gives before it is handed on, and those behind it with
/// the kernel. (What is asked for before there is a client would be held by each
/// listener that waits for one, and some might starve.)
/// No error ends it: one that belongs to a connection is passed over, and when
/// something has run out (file descriptors, memory) it is logged, waited out and
/// tried again. Clients that the kernel has accepted when `stop` comes are not left
/// to it: closing the listener would reset them.
pub(crate) async fn accept<P, F>(
    listener: TcpListener,
    room: impl Fn() -> F,
    proxied: Proxied,
    stop: CancellationToken,
    serve: impl Fn(TcpStream, SocketAddr, P) + Send + Sync + 'static,
) where
    P: Send + 'static,
    F: Future<Output = P>,
{
    let serve = Arc::new(serve);
    // Those whose proxy has not said yet who they are.
    let mut unnamed = JoinSet::new();
    let mut hand_on = |stream, peer: SocketAddr, permit| {
        while unnamed.try_join_next().is_some() {}
        if proxied.from.iter().any(|network| network.has(&peer)) {
            unnamed.spawn(name(stream, peer, permit, proxied.within, serve.clone()));
        } else {
            serve(stream, peer, permit);
        }
    };
    let mut exhausted = false;
    loop {
        let accepted = tokio::select! {
            accepted = accept_one(&listener, &room) => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                if std::mem::take(&mut exhausted) {
                    tracing::info!("accepting connections again");
                }
                hand_on(stream, peer, permit);
            }
            Err(e) if belongs_to_connection(&e) => tracing::debug!("not accepted: {e}"),
            Err(e) => {
                if !std::mem::replace(&mut exhausted, true) {
                    tracing::warn!("cannot accept connections, trying again: {e}");
                }
                sleep(EXHAUSTED_PAUSE).await;
            }
        }
    }
    for _ in 0..BACKLOG {
        match unconstrained(accept_one(&listener, &room)).now_or_never() {
            Some(Ok((stream, peer, permit))) => hand_on(stream, peer, permit),
            Some(Err(e)) if belongs_to_connection(&e) => {}
            _ => break,
        }
    }
    // What their proxies have said already has arrived.
    let named = async { while unnamed.join_next().await.is_some() {} };
    timeout(EXHAUSTED_PAUSE, named).await.ok();
}

/// Hands on a connection under the address that its proxy says.
async fn name<P>(
    mut stream: TcpStream,
    proxy: SocketAddr,
    permit: P,
    within: Duration,
    serve: Arc<impl Fn(TcpStream, SocketAddr, P)>,
) {
    match timeout(within, proxy::read_header(&mut stream)).await {
        Ok(Ok(client)) => serve(stream, client.unwrap_or(proxy), permit),
        Ok(Err(e)) => tracing::warn!(%proxy, "{e}"),
        Err(_) => tracing::warn!(%proxy, "no PROXY header within {within:?}"),
    }
}

async fn accept_one<P, F: Future<Output = P>>(
    listener: &TcpListener,
    room: &impl Fn() -> F,
) -> io::Result<(TcpStream, SocketAddr, P)> {
    let (stream, peer) = listener.accept().await?;
    let permit = room().await;
    // Small replies go out at once; that it fails on a connection already gone is
    // found out by using it.
    stream.set_nodelay(true).ok();
    Ok((stream, peer, permit))
}

/// Bytes that the kernel takes for a client beyond those that it can send at once. With
/// its own limit, 4 MiB and more, one that reads slowly would seem to stand still, and
/// a Ping would reach it minutes late.
const UNSENT: u32 = 128 * 1024;

/// Lets writing to `stream` tell how fast its peer reads.
pub(crate) fn limit_unsent(stream: &TcpStream) {
    // Where it cannot be set it is not.
    #[cfg(any(target_os = "android", target_os = "linux", target_vendor = "apple"))]
    socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT).ok();
}

/// Whether an error of accept(2) is about the connection that was to be accepted: on
/// Linux that includes network errors already pending on it.
fn belongs_to_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | ConnectionRefused
            | Interrupted
            | PermissionDenied
            | NetworkDown
            | NetworkUnreachable
            | HostUnreachable
            | TimedOut
    )
}
