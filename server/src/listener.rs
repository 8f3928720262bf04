//! Accepting connections for as long as the server serves.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use futures_util::FutureExt;
use socket2::SockRef;
use tokio::{
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::Semaphore,
    task::yield_now,
    time::{Instant, sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    bind::SocketFile,
    counters::Refusal,
    door::{Admitted, Door},
    proxy,
    registry::Peer,
    stream::Stream,
};

/// How long accepting rests when the system has run out of something.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// Clients of a listener that wait for room, besides those that wait with the kernel. (A
/// bridge behind more than so many, who all came while its client got the last place, waits
/// with them.)
const LINE: usize = 128;

/// How long a proxy may still take to say who a client is when the server ends.
const LAST_HEADER: Duration = Duration::from_millis(100);

/// Connections that are still accepted, and answered, when the listener ends: those that
/// the kernel has accepted by then, as far as that many. None is waited for.
const LAST: usize = 4096;

/// How long accepting those may take in all, at whatever rate further ones come.
const LAST_ACCEPTS: Duration = Duration::from_millis(250);

/// How many of those are accepted before other tasks have a turn.
const LAST_AT_ONCE: usize = 64;

/// How long after a shortage of file descriptors or memory was logged the next is not: it
/// may come and go with each connection.
const SHORTAGE_INTERVAL: Duration = Duration::from_secs(10);

/// What connections are accepted from.
#[derive(Debug)]
pub(crate) enum Listener {
    /// A port.
    Tcp(TcpListener),
    /// A socket in the file system, whose file is removed at the end if it is ours.
    Unix(UnixListener, Option<SocketFile>),
}

impl Listener {
    /// The next connection, and who it is from.
    async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(of_tcp(stream, peer))
            }
            Listener::Unix(listener, _) => Ok(of_unix(listener.accept().await?.0)),
        }
    }

    /// A connection that the kernel has accepted, if there is one, also where the runtime
    /// has not heard of it yet.
    fn accept_now(&self) -> io::Result<Option<(Stream, Peer)>> {
        let socket = match self {
            Listener::Tcp(listener) => SockRef::from(listener),
            Listener::Unix(listener, _) => SockRef::from(listener),
        };
        let (stream, address) = match socket.accept() {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            accepted => accepted?,
        };
        stream.set_nonblocking(true)?;
        Ok(Some(match address.as_socket() {
            Some(peer) => of_tcp(TcpStream::from_std(stream.into())?, peer),
            None => of_unix(UnixStream::from_std(stream.into())?),
        }))
    }
}

fn of_tcp(stream: TcpStream, peer: SocketAddr) -> (Stream, Peer) {
    // Small replies go out at once, and a peer that vanished is found out by the kernel;
    // that this fails on a connection already gone is found out by using it.
    stream.set_nodelay(true).ok();
    SockRef::from(&stream).set_tcp_keepalive(&keepalive()).ok();
    (Stream::from(stream), Peer::Address(peer))
}

fn of_unix(stream: UnixStream) -> (Stream, Peer) {
    let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
    (Stream::from(stream), process.map_or(Peer::Unknown, Peer::Process))
}

/// A peer that says nothing for a minute is asked, by TCP itself, whether it is there;
/// after three questions without an answer the connection has failed.
fn keepalive() -> socket2::TcpKeepalive {
    socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(3)
}

/// Accepts until `stop`, and lets each connection in by `door`, in tasks of their own.
/// Who finds no room waits for it, and beyond [`LINE`] of them those behind with the
/// kernel: among them may be who needs no room, as bridges of clients that have theirs. (A
/// place that is asked for before there is a client would be held by each listener that
/// waits for one, and some might starve.)
/// No error ends it: one that belongs to a connection is passed over, and when
/// something has run out (file descriptors, memory) it is logged, waited out and
/// tried again. Clients that the kernel has accepted when `stop` comes are not left
/// to it: closing the listener would reset them. Those that come while these are accepted
/// may be, within [`LAST_ACCEPTS`]. Those whom there is no room for yet, or whose proxy has
/// not said who they are, are in `tasks`.
pub(crate) async fn accept(
    listener: Arc<Listener>,
    door: Door,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    let mut exhausted = false;
    let mut warned: Option<Instant> = None;
    let line = Arc::new(Semaphore::new(LINE));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                if std::mem::take(&mut exhausted) {
                    tracing::info!("accepting connections again");
                }
                let mut admitted = Box::pin(door.admit(&stream, &peer));
                if let Some(admitted) = (&mut admitted).now_or_never() {
                    hand_on(stream, peer, admitted, &tasks);
                    continue;
                }
                let in_line = tokio::select! {
                    in_line = line.clone().acquire_owned() => in_line.ok(),
                    () = stop.cancelled() => None,
                };
                let let_in = let_in(stream, peer, admitted, door.ending(), tasks.clone());
                tasks.spawn(async move {
                    let_in.await;
                    drop(in_line);
                });
            }
            Err(e) if belongs_to_connection(&e) => tracing::debug!("not accepted: {e}"),
            Err(e) => {
                if !exhausted && warned.is_none_or(|at| at.elapsed() > SHORTAGE_INTERVAL) {
                    (exhausted, warned) = (true, Some(Instant::now()));
                    tracing::warn!("cannot accept connections, trying again: {e}");
                }
                tokio::select! {
                    () = sleep(EXHAUSTED_PAUSE) => {}
                    () = stop.cancelled() => break,
                }
            }
        }
    }
    let start = Instant::now();
    for accepted in 1..=LAST {
        match listener.accept_now() {
            Ok(Some((stream, peer))) => {
                let admitted = door.admit(&stream, &peer);
                tasks.spawn(let_in(stream, peer, admitted, door.ending(), tasks.clone()));
            }
            Err(e) if belongs_to_connection(&e) => {}
            Ok(None) => break,
            Err(e) => {
                tracing::warn!("cannot accept the last connections: {e}");
                break;
            }
        }
        if start.elapsed() > LAST_ACCEPTS {
            break;
        }
        if accepted % LAST_AT_ONCE == 0 {
            yield_now().await;
        }
    }
}

/// Lets in a connection whose listener is gone, as soon as there is room; when the server
/// ends, only if there is.
async fn let_in(
    stream: Stream,
    peer: Peer,
    admitted: impl Future<Output = Admitted>,
    ending: CancellationToken,
    tasks: TaskTracker,
) {
    tokio::select! {
        biased;
        admitted = admitted => hand_on(stream, peer, admitted, &tasks),
        () = ending.cancelled() => {}
    }
}

fn hand_on(stream: Stream, peer: Peer, admitted: Admitted, tasks: &TaskTracker) {
    if let Peer::Address(proxy) = peer
        && let Some(within) = admitted.proxied(&proxy)
    {
        tasks.spawn(name(stream, proxy, admitted, within));
    } else {
        admitted.serve(stream, peer, None);
    }
}

/// Serves a connection under the address that its proxy says.
async fn name(mut stream: Stream, proxy: SocketAddr, admitted: Admitted, within: Duration) {
    let ending = admitted.shared().ending.clone();
    let header = async {
        if !stream.has_begun().await {
            return None;
        }
        admitted.begin();
        Some(proxy::read_header(&mut stream).await)
    };
    let said = tokio::select! {
        said = timeout(within, header) => said,
        () = admitted.revoked() => return,
        // What it has said by then has arrived.
        () = async { ending.cancelled().await; sleep(LAST_HEADER).await } => return,
    };
    match said {
        Ok(Some(Ok(named))) => {
            let source = named.map_or(proxy, |ends| ends.source);
            admitted.serve(stream, Peer::Address(source), named.map(|ends| ends.destination));
        }
        // A health check of the proxy.
        Ok(None) => tracing::debug!(%proxy, "the connection ended before its PROXY header"),
        Ok(Some(Err(e))) => {
            admitted.shared().counters.refused(Refusal::ProxyHeader);
            match e.kind() {
                io::ErrorKind::UnexpectedEof => {
                    tracing::warn!(%proxy, "the connection ended within its PROXY header");
                }
                _ => tracing::warn!(%proxy, "{e}"),
            }
        }
        Err(_) => {
            admitted.shared().counters.refused(Refusal::ProxyHeader);
            tracing::warn!(%proxy, "no PROXY header within {within:?}");
        }
    }
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
