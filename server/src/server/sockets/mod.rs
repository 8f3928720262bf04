//! The sockets that the settings name: newly bound, or taken over from the previous configuration
//! or the previous process.

pub(crate) mod bind;
mod description;
mod raw;
pub(crate) mod systemd;

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use self::{
    bind::{BindAddr, Socket},
    systemd::ActivatedSockets,
};
use crate::{
    config::{Bind, ListenAddr, Settings},
    connections::tap::Sides,
    service::Service,
    text::io_error,
};

/// A bound socket and its role. Clones are the same socket.
#[derive(Clone, Debug)]
pub(crate) struct BoundSocket {
    /// The identifier, unique since the start of the server.
    pub(crate) id: u64,
    pub(crate) socket: Socket,
    pub(crate) role: SocketRole,
    /// The address that the socket was bound to; none if a service manager passed the socket.
    binding: Option<BindAddr>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketRole {
    pub(crate) purpose: Purpose,
    /// Whether connections begin with a TLS handshake.
    pub(crate) tls: bool,
    /// Whether each connection ends after the answer to its first message.
    pub(crate) once: bool,
    /// The sides of a service's connections that are recorded. For HTTP and forwards, the targets
    /// of the connections have this option.
    pub(crate) record: Option<Sides>,
}

impl SocketRole {
    /// The role of a socket without TLS, `once` and recording.
    fn plain(purpose: Purpose) -> SocketRole {
        SocketRole { purpose, tls: false, once: false, record: None }
    }

    /// Whether connections are passed to an upstream.
    pub(crate) fn is_forward(self) -> bool {
        matches!(self.purpose, Purpose::Forward(_))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// HTTP, with the WebSocket routes.
    Http,
    Service(Service),
    /// The upstream of a forward, by the position of the forward in the settings.
    Forward(usize),
    /// The handover of all sockets to another process.
    Handover,
}

/// All sockets that are served, those passed by a service manager first.
#[derive(Clone, Debug, Default)]
pub(crate) struct BoundSockets(Vec<BoundSocket>);

impl BoundSocket {
    fn new(socket: Socket, role: SocketRole, binding: Option<BindAddr>) -> BoundSocket {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        BoundSocket { id: NEXT.fetch_add(1, Ordering::Relaxed), socket, role, binding }
    }

    /// Whether this socket can be used in place of one bound to `binding`. If the kernel chooses
    /// the port, any socket with the same address and purpose can.
    fn matches(&self, binding: &BindAddr, role: SocketRole) -> bool {
        self.binding.as_ref().is_some_and(|own| match binding.is_any_port() {
            true => own == binding && self.role.purpose == role.purpose,
            false => binding.is_bound_to(own, &self.socket),
        })
    }

    /// The URL of the socket.
    ///
    /// # Errors
    ///
    /// The errors of getsockname(2).
    pub(crate) fn url(&self) -> io::Result<String> {
        let at = self.socket.at()?;
        Ok(match self.role {
            SocketRole { purpose: Purpose::Http, tls: true, .. } => format!("https://{at}"),
            SocketRole { purpose: Purpose::Http, .. } if self.socket.tcp().is_some() => {
                format!("http://{at}")
            }
            SocketRole { tls, .. } => format!("{}://{at}", self.socket.kind(tls)),
        })
    }
}

impl BoundSockets {
    /// The sockets that a service manager passed.
    ///
    /// # Errors
    ///
    /// One line that says why a socket cannot be used.
    pub(crate) fn activated(activated: ActivatedSockets) -> Result<BoundSockets, String> {
        let sockets = activated
            .into_sockets()
            .map_err(|e| format!("cannot use the passed sockets: {}", io_error::describe(&e)))?;
        let bound = |(service, socket): (Option<Service>, Socket)| {
            let purpose = service.map_or(Purpose::Http, Purpose::Service);
            BoundSocket::new(socket, SocketRole::plain(purpose), None)
        };
        Ok(BoundSockets(sockets.into_iter().map(bound).collect()))
    }

    /// The URL of an HTTP socket that is bound to a specific address; a loopback address only if
    /// there is no other.
    pub(crate) fn http_url(&self) -> Option<String> {
        let http = self.iter().filter(|bound| bound.role.purpose == Purpose::Http);
        let with_address = http.filter_map(|bound| {
            let ip = bound.socket.tcp()?.ip();
            (!ip.is_unspecified()).then_some((ip.is_loopback(), bound))
        });
        let (_, bound) = with_address.min_by_key(|(is_loopback, _)| *is_loopback)?;
        bound.url().ok()
    }

    /// The sockets that `settings` name, and those passed by a service manager. Sockets that are
    /// bound already are taken over, the others are bound.
    ///
    /// # Errors
    ///
    /// One line that names the address that cannot be bound, and why.
    pub(crate) async fn reconcile(&self, settings: &Settings) -> Result<BoundSockets, String> {
        let (mut sockets, mut before): (Vec<BoundSocket>, Vec<BoundSocket>) =
            self.iter().cloned().partition(|bound| bound.binding.is_none());
        for bound in sockets.iter_mut().filter(|bound| bound.role.purpose == Purpose::Http) {
            bound.role.tls = settings.tls.is_some() && bound.socket.tcp().is_some();
        }
        let records_all = settings.record.as_ref().is_some_and(|record| record.records_all);
        for bound in &mut sockets {
            bound.role.record = records_all.then_some(Sides::Client);
        }
        let listeners = settings.listeners.iter().map(|Bind { spec, required }| {
            let role = SocketRole::plain(Purpose::Service(spec.service));
            let role = SocketRole { once: spec.once, record: spec.record, ..role };
            (spec.at.clone(), role, spec.to_string(), *required)
        });
        let forwards = settings.forwards.iter().enumerate().map(|(i, spec)| {
            (spec.at.clone(), SocketRole::plain(Purpose::Forward(i)), spec.at.to_string(), true)
        });
        let http = settings.http.iter().map(|Bind { spec, required }| {
            (spec.clone(), SocketRole::plain(Purpose::Http), spec.http_url(), *required)
        });
        let handover = settings.handover.iter().map(|path| {
            let at = path.address();
            (at.clone(), SocketRole::plain(Purpose::Handover), format!("{at} (--handover)"), true)
        });
        let all = listeners.chain(forwards).chain(http).chain(handover);
        for (at, role, what, required) in all {
            let role = SocketRole { tls: matches!(at, ListenAddr::Tls(_)), ..role };
            match take_or_bind(&at, role, &mut before, settings.backlog).await {
                Ok(bound) => sockets.extend(bound),
                Err(e) if !required && no_such_family(&e) => {
                    tracing::info!("not listening on {what}, a default address: {e}");
                }
                Err(e) => {
                    let advice = match (e.kind(), role.purpose) {
                        (io::ErrorKind::AddrInUse, Purpose::Service(_)) => {
                            " (choose another one with --listen, or end the process that uses it)"
                        }
                        (io::ErrorKind::AddrInUse, Purpose::Http | Purpose::Forward(_)) => {
                            " (choose another one, or end the process that uses it)"
                        }
                        _ => "",
                    };
                    let why = io_error::describe(&e);
                    return Err(format!("cannot listen on {what}: {why}{advice}"));
                }
            }
        }
        Ok(BoundSockets(sockets))
    }

    /// Checks that each socket that was served as one of `before` can be served in its new role.
    ///
    /// # Errors
    ///
    /// One line that names the socket.
    pub(crate) fn check_kept(&self, before: &BoundSockets) -> Result<(), String> {
        let changes = |bound: &&BoundSocket| {
            bound.socket.datagrams().is_some()
                && before.iter().any(|old| {
                    old.id == bound.id && old.role.is_forward() != bound.role.is_forward()
                })
        };
        let Some(changed) = self.iter().find(changes) else { return Ok(()) };
        let url = changed.url().map_err(|e| io_error::describe(&e))?;
        Err(format!(
            "cannot listen on {url}: a datagram socket cannot change between a service and a \
             forward in a reload: restart the server"
        ))
    }

    /// Adds a socket of another process.
    pub(crate) fn push(&mut self, socket: BoundSocket) {
        self.0.push(socket);
    }

    pub(crate) fn with(mut self, others: &BoundSockets) -> BoundSockets {
        self.0.extend(others.iter().cloned());
        self
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &BoundSocket> {
        self.0.iter()
    }

    pub(crate) fn has(&self, id: u64) -> bool {
        self.iter().any(|bound| bound.id == id)
    }

    /// Applies the listen backlog and changed file modes to the sockets that were taken over from
    /// `before`. Failures are logged.
    pub(crate) fn apply_options(&self, before: &BoundSockets, backlog: Option<u32>) {
        for bound in self.iter().filter(|bound| bound.binding.is_some()) {
            let Some(old) = before.iter().find(|old| old.id == bound.id) else { continue };
            let mode = |bound: &BoundSocket| bound.binding.as_ref().and_then(BindAddr::mode);
            let mut set = backlog.map_or(Ok(()), |backlog| bound.socket.set_backlog(backlog));
            if mode(old) != mode(bound) {
                set = set.and(bound.socket.set_mode(mode(bound)));
            }
            if let (Err(e), Ok(url)) = (set, bound.url()) {
                tracing::warn!(
                    "cannot apply the listen backlog or the file mode to {url}: {}",
                    io_error::describe(&e)
                );
            }
        }
    }
}

/// A socket for each address of `at`: taken over from `before`, or newly bound.
async fn take_or_bind(
    at: &ListenAddr,
    role: SocketRole,
    before: &mut Vec<BoundSocket>,
    backlog: u32,
) -> io::Result<Vec<BoundSocket>> {
    let mut all = Vec::new();
    for binding in BindAddr::all(at).await? {
        let found = before.iter().position(|bound| bound.matches(&binding, role));
        all.push(match found.map(|found| before.remove(found)) {
            Some(bound) => BoundSocket { role, binding: Some(binding), ..bound },
            None => BoundSocket::new(binding.bind(backlog).await?, role, Some(binding)),
        });
    }
    Ok(all)
}

/// Whether the machine lacks the address family.
fn no_such_family(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
}
