//! Accepting connections for as long as the server serves.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{
    net::{TcpListener, UnixListener},
    task::{JoinSet, unconstrained},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    bind::SocketFile,
    proxy::{self, Network},
    registry::Peer,
    stream::Stream,
};

/// How long accepting rests when the system has run out of something.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Connections that are still accepted, and answered, when the server ends: those that
/// the kernel has accepted by then, as far as that many.
const LAST: usize = 4096;

/// What connections are accepted from.
#[derive(Debug)]
pub(crate) enum Listener {
    /// A port.
    Tcp(TcpListener),
    /// A socket in the file system, whose file is removed at the end if it is ours.
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "it is there to be dropped")] Option<SocketFile>,
    ),
}

impl Listener {
    /// The next connection, and who it is from.
    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                // Small replies go out at once, and a peer that vanished is found out
                // by the kernel; that this fails on a connection already gone is found
                // out by using it.
                stream.set_nodelay(true).ok();
                socket2::SockRef::from(&stream).set_tcp_keepalive(&keepalive()).ok();
                Ok((Stream::Tcp(stream), Peer::Address(peer)))
            }
            Listener::Unix(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
                Ok((Stream::Unix(stream), process.map_or(Peer::Unknown, Peer::Process)))
            }
        }
    }
}

/// A peer that says nothing for a minute is asked, by TCP itself, whether it is there;
/// after three questions without an answer the connection has failed.
fn keepalive() -> socket2::TcpKeepalive {
    socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(3)
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
    listener: Listener,
    room: impl Fn() -> F,
    proxied: Proxied,
    stop: CancellationToken,
    serve: impl Fn(Stream, Peer, P) + Send + Sync + 'static,
) where
    P: Send + 'static,
    F: Future<Output = P>,
{
    let serve = Arc::new(serve);
    // Those whose proxy has not said yet who they are.
    let mut unnamed = JoinSet::new();
    let mut hand_on = |stream, peer, permit| {
        while unnamed.try_join_next().is_some() {}
        match peer {
            Peer::Address(peer) if proxied.from.iter().any(|network| network.has(&peer)) => {
                unnamed.spawn(name(stream, peer, permit, proxied.within, serve.clone()));
            }
            peer => serve(stream, peer, permit),
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
    for _ in 0..LAST {
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
    mut stream: Stream,
    proxy: SocketAddr,
    permit: P,
    within: Duration,
    serve: Arc<impl Fn(Stream, Peer, P)>,
) {
    match timeout(within, proxy::read_header(&mut stream)).await {
        Ok(Ok(client)) => serve(stream, Peer::Address(client.unwrap_or(proxy)), permit),
        Ok(Err(e)) => tracing::warn!(%proxy, "{e}"),
        Err(_) => tracing::warn!(%proxy, "no PROXY header within {within:?}"),
    }
}

async fn accept_one<P, F: Future<Output = P>>(
    listener: &Listener,
    room: &impl Fn() -> F,
) -> io::Result<(Stream, Peer, P)> {
    let (stream, peer) = listener.accept().await?;
    Ok((stream, peer, room().await))
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
