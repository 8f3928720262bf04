//! Services on datagrams: each is answered with one, from the address that it came to.
//!
//! A socket has one task and one buffer, so that no flood grows memory: what is not
//! taken in time the kernel drops, as it may. What might come back for ever is not answered
//! (`loops`).

use std::{
    collections::{HashMap, hash_map},
    io,
    net::SocketAddr,
    os::fd::AsRawFd,
    sync::Arc,
    time::{Duration, Instant},
};

use echogate_proto::live::Kind;
use nix::sys::socket::{MsgFlags, UnixAddr, recvfrom, sendto};
use thiserror::Error;
use tokio::{
    io::Interest,
    net::{UdpSocket, UnixDatagram},
    time::{interval, sleep},
};
use tokio_util::sync::CancellationToken;

use crate::{
    connections::registry::{ConnectionInfo, Peer, Registered, Registry},
    context::ListenerService,
    server::{admission::Admission, snapshot::Snapshot, sockets::bind::SocketFile},
    text::escape,
};

mod local;
mod loops;

use local::Local;
pub(crate) use loops::OwnSockets;
use loops::{Loop, MAX_RETURNS, Returns, SILENCE, Watched};

/// The largest datagram taken: more than any of UDP has, and than a Unix socket's usual
/// send buffer lets through.
const MAX_DATAGRAM: usize = 256 * 1024;

/// After so much silence a sender is gone.
const GONE: Duration = Duration::from_secs(30);

/// How often senders that are gone are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// Senders of one socket that are listed; those beyond are served as well.
const LISTED: usize = 1024;

/// How long receiving rests after an error.
const ERROR_PAUSE: Duration = Duration::from_millis(100);

/// Datagrams that are still answered when the server ends.
const LAST: usize = 1024;

/// What datagrams are received from.
#[derive(Debug)]
pub(crate) enum Datagrams {
    /// A port.
    Udp(UdpSocket),
    /// A socket in the file system, whose file is removed at the end if it is ours.
    UnixGram(UnixDatagram, Option<SocketFile>),
}

/// Who sent a datagram, and where its answer goes.
enum Sender {
    Udp(SocketAddr, Local),
    UnixGram(UnixAddr),
}

impl Sender {
    /// # Errors
    ///
    /// Datagrams from there are not answered, whatever they say.
    fn check(&self, own: &OwnSockets) -> Result<(), Dropped> {
        let is_own = match self {
            Sender::Udp(from, _) if loops::answers_anything(from.port()) => {
                return Err(Dropped::AnsweringPort);
            }
            Sender::Udp(from, _) => own.has_address(*from),
            Sender::UnixGram(from) => from.path().is_some_and(|path| own.has_path(path)),
        };
        if is_own { Err(Dropped::OwnSocket) } else { Ok(()) }
    }

    fn watched(&self, returns: &Returns) -> Watched {
        match self {
            Sender::Udp(from, _) => returns.sender(from),
            Sender::UnixGram(from) => returns.sender(from),
        }
    }

    fn peer(&self) -> Peer {
        match self {
            Sender::Udp(from, _) => Peer::Address(*from),
            Sender::UnixGram(from) => match (from.path(), from.as_abstract()) {
                (Some(path), _) => Peer::Path(path.to_string_lossy().into()),
                (None, Some(name)) => Peer::Path(format!("@{}", escape::bytes(name)).into()),
                (None, None) => Peer::Unknown,
            },
        }
    }
}

impl Datagrams {
    /// # Errors
    ///
    /// When the system does not tell where datagrams were sent to.
    pub(crate) fn udp(socket: UdpSocket) -> io::Result<Datagrams> {
        local::ask(&socket)?;
        Ok(Datagrams::Udp(socket))
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Datagrams::Udp(_) => Kind::Udp,
            Datagrams::UnixGram(..) => Kind::UnixGram,
        }
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Sender)> {
        match self {
            Datagrams::Udp(socket) => {
                let received =
                    socket.async_io(Interest::READABLE, || local::receive(socket, buffer)).await;
                received.map(|(len, from, local)| (len, Sender::Udp(from, local)))
            }
            Datagrams::UnixGram(socket, _) => {
                let receive = || Ok(recvfrom::<UnixAddr>(socket.as_raw_fd(), buffer)?);
                let (len, from) = socket.async_io(Interest::READABLE, receive).await?;
                Ok((len, Sender::UnixGram(from.unwrap_or_else(UnixAddr::new_unnamed))))
            }
        }
    }

    async fn send(&self, bytes: &[u8], to: &Sender) -> io::Result<()> {
        match (self, to) {
            (Datagrams::Udp(socket), Sender::Udp(to, local)) => {
                socket.async_io(Interest::WRITABLE, || local::send(socket, bytes, *to, local)).await
            }
            // Not waited for: that would let a client that does not read stop the others.
            (Datagrams::UnixGram(socket, _), Sender::UnixGram(to)) => {
                sendto(socket.as_raw_fd(), bytes, to, MsgFlags::MSG_DONTWAIT)?;
                Ok(())
            }
            _ => unreachable!("a sender is its socket's"),
        }
    }
}

/// Answers datagrams until `stop`, each by the service that is behind `admission` when it
/// comes.
pub(crate) async fn serve(
    socket: Arc<Datagrams>,
    admission: Admission,
    registry: Registry,
    stop: CancellationToken,
) {
    let mut buffer = vec![0; MAX_DATAGRAM];
    let senders = Senders { registry, all: HashMap::new() };
    let mut server = Server { socket: socket.clone(), admission, senders, returns: Returns::new() };
    let mut sweep = interval(SWEEP);
    loop {
        tokio::select! {
            received = socket.receive(&mut buffer) => match received {
                Ok((len, from)) => server.answer(&mut buffer, len, &from).await,
                Err(e) => {
                    tracing::debug!("cannot receive datagrams, trying again: {e}");
                    sleep(ERROR_PAUSE).await;
                }
            },
            _ = sweep.tick() => server.senders.sweep(),
            () = stop.cancelled() => break,
        }
    }
    for _ in 0..LAST {
        let received = tokio::select! {
            biased;
            received = socket.receive(&mut buffer) => received,
            () = std::future::ready(()) => break,
        };
        let Ok((len, from)) = received else { break };
        server.answer(&mut buffer, len, &from).await;
    }
    server.senders.all.into_values().for_each(|(entry, _)| entry.ended(&"the socket was closed"));
}

/// A service on one datagram socket.
struct Server {
    socket: Arc<Datagrams>,
    admission: Admission,
    senders: Senders,
    returns: Returns,
}

/// Why a datagram is not answered.
#[derive(Debug, Error)]
enum Dropped {
    #[error("it is too long")]
    TooLong,
    #[error("it comes from a socket of this server")]
    OwnSocket,
    #[error("a service on its sender's port answers whatever comes")]
    AnsweringPort,
    #[error("its sender is not answered for {SILENCE:?}, because of a loop")]
    Loop,
    #[error("the service does not answer it")]
    Service,
    #[error("{0}")]
    Send(#[from] io::Error),
}

impl Server {
    /// Answers the datagram in `buffer[..len]`, or counts it as dropped.
    async fn answer(&mut self, buffer: &mut [u8], len: usize, from: &Sender) {
        let snapshot = self.admission.snapshot();
        if let Err(why) = self.try_answer(&snapshot, buffer, len, from).await {
            snapshot.context.counters.datagram_dropped();
            tracing::debug!(peer = %from.peer(), "a datagram of {len} bytes is not answered: {why}");
        }
    }

    async fn try_answer(
        &mut self,
        snapshot: &Snapshot,
        buffer: &mut [u8],
        len: usize,
        from: &Sender,
    ) -> Result<(), Dropped> {
        if len == buffer.len() {
            return Err(Dropped::TooLong);
        }
        let Some(how) = self.admission.listener_service(snapshot) else { return Ok(()) };
        from.check(&snapshot.own_datagram_sockets)?;
        let (watched, now) = (from.watched(&self.returns), Instant::now());
        match self.returns.received(watched, &buffer[..len], now) {
            Loop::No => {}
            Loop::Silenced => return Err(Dropped::Loop),
            Loop::Found => {
                let peer = from.peer();
                tracing::warn!(%peer, "datagram loop: {MAX_RETURNS} datagrams in a row were equal \
                    to the answer just sent; the sender is not answered for {SILENCE:?}");
                return Err(Dropped::Loop);
            }
        }
        let answer = how.backend.answer(buffer, len).ok_or(Dropped::Service)?;
        let sent = self.socket.send(&buffer[..answer], from).await;
        self.senders.count(how, from, len, sent.is_ok().then_some(answer), now);
        sent?;
        self.returns.answered(watched, &buffer[..answer]);
        Ok(())
    }
}

/// Who sent something lately.
struct Senders {
    registry: Registry,
    all: HashMap<Peer, (Registered, Instant)>,
}

impl Senders {
    fn count(
        &mut self,
        how: &ListenerService,
        from: &Sender,
        received: usize,
        sent: Option<usize>,
        now: Instant,
    ) {
        let peer = from.peer();
        let full = self.all.len() >= LISTED;
        let enter = |peer: &Peer| {
            let (peer, target) = (peer.clone(), how.target.clone());
            let arrival = ConnectionInfo { kind: how.kind, peer, target, bridged: None };
            (self.registry.enter(arrival, None), now)
        };
        let (entry, last) = match self.all.entry(peer) {
            hash_map::Entry::Occupied(mut known) => {
                if known.get().0.target() != &*how.target {
                    let (entry, _) = known.insert(enter(known.key()));
                    entry.ended(&"the socket is another service's now");
                }
                known.into_mut()
            }
            hash_map::Entry::Vacant(_) if full => return,
            hash_map::Entry::Vacant(new) => {
                let entered = enter(new.key());
                new.insert(entered)
            }
        };
        *last = now;
        entry.received().add(received, 1);
        if let Some(sent) = sent {
            entry.sent().add(sent, 1);
        }
    }

    fn sweep(&mut self) {
        let gone = |_: &Peer, (_, last): &mut (Registered, Instant)| last.elapsed() >= GONE;
        for (_, (entry, _)) in self.all.extract_if(gone) {
            entry.ended(&format_args!("no datagram for {GONE:?}"));
        }
    }
}
