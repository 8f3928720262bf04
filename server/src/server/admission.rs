//! Admission of an accepted connection: a permit where one is needed, and the configuration
//! snapshot that is current when it is accepted. The connection keeps both.

use std::{future::pending, net::SocketAddr, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::snapshot::{CurrentSnapshot, Served, Snapshot};
use crate::{
    connections::{
        counters::Refusal,
        limits::{ConnectionPermit, http::HttpPermit},
        registry::Peer,
    },
    context::{ListenerService, ServerContext},
    gateway::Forward,
    net::stream::Stream,
};

/// Admits the connections of one socket.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    pub(super) socket: u64,
    pub(super) current: Arc<CurrentSnapshot>,
}

/// An admitted connection, without its stream.
#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) current: Arc<CurrentSnapshot>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) destination: Destination,
    /// Whether a trusted proxy may send a PROXY header in front of the data. On a hairpin only its
    /// bridge does, if the route says so.
    may_have_proxy_header: bool,
}

/// The destination of an admitted connection, with its permit.
#[derive(Debug)]
pub(super) enum Destination {
    /// HTTP; HTTPS if the flag is set.
    Http(Arc<HttpPermit>, bool),
    /// A built-in service. A hairpin has no permit: that of the bridge's client covers both.
    Service(Arc<ListenerService>, Option<ConnectionPermit>),
    Forward(Arc<Forward>, ConnectionPermit),
}

impl Admission {
    pub(super) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.borrow().clone()
    }

    /// Waits for a permit, if the connection needs one. The connection is served under the
    /// configuration in force at the call, even if the wait outlasts a reload.
    pub(super) fn admit(
        &self,
        stream: &Stream,
        peer: &Peer,
    ) -> impl Future<Output = Admitted> + use<> {
        let (current, snapshot) = (self.current.clone(), self.snapshot());
        let counted_by = snapshot.context.counted_by(peer);
        let served = snapshot.served(self.socket).cloned();
        let is_in_reserve = stream.is_in_reserve();
        let hairpin = match peer {
            Peer::Address(peer) => snapshot.context.hairpins.take(*peer, || stream.local_addr()),
            _ => None,
        };
        async move {
            let limits = &snapshot.context.limits;
            let destination = match served {
                Some(Served::Service(service)) if hairpin.is_some() => {
                    Destination::Service(service, None)
                }
                Some(Served::Service(service)) => {
                    Destination::Service(service, Some(limits.acquire().await))
                }
                Some(Served::Forward(forward)) => {
                    Destination::Forward(forward, limits.acquire().await)
                }
                Some(Served::Http { is_https }) => {
                    Destination::Http(limits.http(counted_by, is_in_reserve), is_https)
                }
                None => Destination::Http(limits.http(counted_by, is_in_reserve), false),
            };
            let may_have_proxy_header = hairpin.is_none_or(|hairpin| hairpin.has_proxy_header);
            Admitted { current, snapshot, destination, may_have_proxy_header }
        }
    }

    /// Whether connections of the socket may use the reserve of descriptors: those of HTTP.
    pub(super) fn may_use_reserve(&self) -> bool {
        matches!(self.snapshot().served(self.socket), None | Some(Served::Http { .. }))
    }

    /// The token that is cancelled when the server begins to shut down.
    pub(super) fn shutting_down(&self) -> CancellationToken {
        self.snapshot().context.shutting_down.clone()
    }
}

impl Admitted {
    pub(super) fn context(&self) -> &Arc<ServerContext> {
        &self.snapshot.context
    }

    /// The time in which a PROXY header must arrive, if `peer` is a trusted proxy.
    pub(super) fn proxy_header_timeout(&self, peer: &SocketAddr) -> Option<Duration> {
        let settings = &self.context().settings;
        let is_proxy = self.may_have_proxy_header
            && settings.proxy_protocol_from.iter().any(|network| network.contains(peer));
        is_proxy.then_some(settings.header_timeout)
    }

    /// Records that the first byte of the client has arrived.
    pub(super) fn begin(&self) {
        if let Destination::Http(permit, _) = &self.destination {
            permit.begin();
        }
    }

    /// Counts the client as refused, for the server and for the forward that the client connected
    /// to.
    pub(super) fn refused(&self, why: Refusal) {
        let counters = &self.context().counters;
        match &self.destination {
            Destination::Forward(forward, _) => forward.target.refused(counters, why),
            Destination::Service(..) | Destination::Http(..) => counters.refused.count(why),
        }
    }

    /// Waits until the permit is taken away before the connection is dispatched.
    pub(super) async fn revoked(&self) {
        match &self.destination {
            Destination::Http(permit, _) => {
                self.context().counters.refused.count(permit.revoked().await);
            }
            Destination::Service(..) | Destination::Forward(..) => pending().await,
        }
    }
}
