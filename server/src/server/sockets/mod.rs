//! The sockets that the settings name: bound, or taken over from the settings before.

pub(crate) mod bind;
pub(crate) mod systemd;

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use self::{
    bind::{Binding, Socket},
    systemd::Inherited,
};
use crate::{
    config::{At, Bind, Settings},
    service::Service,
    text::io_error,
};

/// A socket, and what it is for. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    /// Unique among all sockets since the start.
    pub(crate) id: u64,
    pub(crate) socket: Socket,
    pub(crate) offer: Offer,
    /// What it was bound to; none if that was not by us.
    binding: Option<Binding>,
}

/// What is offered on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Offer {
    /// A service; none is HTTP.
    pub(crate) service: Option<Service>,
    /// It is spoken within TLS.
    pub(crate) tls: bool,
    /// One message is answered on each connection.
    pub(crate) once: bool,
}

/// All sockets that are served: first those that were bound for us.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sockets(Vec<Held>);

impl Held {
    fn new(socket: Socket, offer: Offer, binding: Option<Binding>) -> Held {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Held { id: NEXT.fetch_add(1, Ordering::Relaxed), socket, offer, binding }
    }

    /// Whether it is the socket that `binding` would get. Where any port will do it is,
    /// if it does the same work there.
    fn meets(&self, binding: &Binding, offer: Offer) -> bool {
        self.binding.as_ref().is_some_and(|own| match binding.is_any_port() {
            true => own == binding && self.offer.service == offer.service,
            false => binding.is_met_by(own, &self.socket),
        })
    }

    /// Where it is, as a URL.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn url(&self) -> io::Result<String> {
        let at = self.socket.at()?;
        Ok(match self.offer {
            Offer { service: Some(_), tls, .. } => format!("{}://{at}", self.socket.kind(tls)),
            Offer { tls: false, .. } => format!("http://{at}"),
            Offer { tls: true, .. } => format!("https://{at}"),
        })
    }
}

impl Sockets {
    /// Those that were bound for us.
    ///
    /// # Errors
    ///
    /// One line that says why they cannot be used.
    pub(crate) fn inherited(inherited: Inherited) -> Result<Sockets, String> {
        let sockets = inherited
            .into_sockets()
            .map_err(|e| format!("cannot use the inherited sockets: {}", io_error::describe(&e)))?;
        let held =
            |(service, socket)| Held::new(socket, Offer { service, tls: false, once: false }, None);
        Ok(Sockets(sockets.into_iter().map(held).collect()))
    }

    /// The sockets that `settings` name, and those that were bound for us: the same as
    /// here where they are here, the others bound.
    ///
    /// # Errors
    ///
    /// One line that names what cannot be bound, and why.
    pub(crate) async fn renewed(&self, settings: &Settings) -> Result<Sockets, String> {
        let tls = settings.tls.is_some();
        let (mut renewed, mut before): (Vec<Held>, Vec<Held>) =
            self.iter().cloned().partition(|held| held.binding.is_none());
        for held in renewed.iter_mut().filter(|held| held.offer.service.is_none()) {
            held.offer.tls = tls;
        }
        let listeners = settings.listeners.iter().map(|Bind { spec, required }| {
            let within = matches!(spec.at, At::Tls(_));
            let offer = Offer { service: Some(spec.service), tls: within, once: spec.once };
            (spec.at.clone(), offer, spec.to_string(), *required)
        });
        let http = settings.http.iter().map(|Bind { spec, required }| {
            let offer = Offer { service: None, tls, once: false };
            let what = format!("{}://{spec}", settings.http_scheme());
            (At::Tcp(spec.clone()), offer, what, *required)
        });
        for (at, offer, what, required) in listeners.chain(http) {
            match take_or_bind(&at, offer, &mut before, settings.backlog).await {
                Ok(held) => renewed.extend(held),
                Err(e) if !required && no_such_family(&e) => {
                    tracing::info!("{what}: left out: {e}");
                }
                Err(e) => {
                    return Err(format!("cannot listen on {what}: {}", io_error::describe(&e)));
                }
            }
        }
        Ok(Sockets(renewed))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.0.iter()
    }

    pub(crate) fn has(&self, id: u64) -> bool {
        self.iter().any(|held| held.id == id)
    }

    /// Sets what can be set on those that were in `before` already, where it is something
    /// else now. What fails is logged.
    pub(crate) fn adapt(&self, before: &Sockets, backlog: Option<u32>) {
        for held in self.iter().filter(|held| held.binding.is_some()) {
            let Some(old) = before.iter().find(|old| old.id == held.id) else { continue };
            let mode = |held: &Held| held.binding.as_ref().and_then(Binding::mode);
            let mut set = backlog.map_or(Ok(()), |backlog| held.socket.set_backlog(backlog));
            if mode(old) != mode(held) {
                set = set.and(held.socket.set_mode(mode(held)));
            }
            if let (Err(e), Ok(url)) = (set, held.url()) {
                tracing::warn!("{url} stays in part as it was: {}", io_error::describe(&e));
            }
        }
    }
}

/// A socket for each address of `at`: taken from `before`, or bound.
async fn take_or_bind(
    at: &At,
    offer: Offer,
    before: &mut Vec<Held>,
    backlog: u32,
) -> io::Result<Vec<Held>> {
    let mut all = Vec::new();
    for binding in Binding::all(at).await? {
        let found = before.iter().position(|held| held.meets(&binding, offer));
        all.push(match found.map(|found| before.remove(found)) {
            Some(held) => Held { offer, binding: Some(binding), ..held },
            None => Held::new(binding.bind(backlog).await?, offer, Some(binding)),
        });
    }
    Ok(all)
}

/// Whether this machine lacks what a default wanted: IPv6.
fn no_such_family(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
}
