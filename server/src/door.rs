//! What a socket's clients come in by: what they find is what holds when they come.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::{
    generation::{Current, Generation},
    http,
    limits::Place,
    registry::Peer,
    shared::{Reception, Shared},
    stream::Stream,
    tls::Inside,
};

/// The way in at one socket.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    pub(crate) socket: u64,
    pub(crate) current: Arc<Current>,
}

/// A client that may come in.
#[derive(Debug)]
pub(crate) struct Admitted {
    current: Arc<Current>,
    generation: Arc<Generation>,
    to: To,
    /// Proxies say at their connections' beginning who the client is.
    may_be_proxied: bool,
}

/// What it comes to, and its place there. (A bridge's has its client's.)
#[derive(Debug)]
enum To {
    Http(OwnedSemaphorePermit),
    Service(Arc<Reception>, Option<Place>),
}

impl Door {
    /// How clients of the service here are received; none where HTTP is.
    pub(crate) fn reception(&self) -> Option<Arc<Reception>> {
        self.current.get().reception(self.socket).cloned()
    }

    /// Lets in a client that has come, if there is room or it needs none.
    pub(crate) fn admit_at_once(&self, stream: &Stream, peer: &Peer) -> Option<Admitted> {
        let (current, generation) = (self.current.clone(), self.current.get());
        let shared = &generation.shared;
        let leg = match peer {
            Peer::Address(peer) => shared.legs.take(*peer, || stream.local_addr()),
            _ => None,
        };
        let may_be_proxied = leg.is_none_or(|leg| leg.is_introduced);
        let to = match generation.reception(self.socket).cloned() {
            Some(how) if leg.is_some() => To::Service(how, None),
            Some(how) => To::Service(how, Some(shared.limits.room_at_once()?)),
            None => To::Http(shared.http_permits.clone().try_acquire_owned().ok()?),
        };
        Some(Admitted { current, generation, to, may_be_proxied })
    }

    /// Waits until there is room for a client that has come. It finds what holds now,
    /// and not what may when there is.
    pub(crate) fn admit(&self) -> impl Future<Output = Admitted> + use<> {
        let (current, generation) = (self.current.clone(), self.current.get());
        let how = generation.reception(self.socket).cloned();
        async move {
            let to = match how {
                Some(how) => To::Service(how, Some(generation.shared.limits.room().await)),
                None => {
                    let permits = generation.shared.http_permits.clone();
                    To::Http(permits.acquire_owned().await.expect("it is never closed"))
                }
            };
            Admitted { current, generation, to, may_be_proxied: true }
        }
    }

    /// Tells when the server has begun to end.
    pub(crate) fn ending(&self) -> CancellationToken {
        self.current.get().shared.ending.clone()
    }
}

impl Admitted {
    /// What it shares with others.
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.generation.shared
    }

    /// Whether a client from there comes by a proxy, which says who it is, and how long
    /// the proxy may take for that.
    pub(crate) fn proxied(&self, peer: &SocketAddr) -> Option<Duration> {
        let settings = &self.shared().settings;
        let proxied = self.may_be_proxied
            && settings.proxy_protocol_from.iter().any(|network| network.has(peer));
        proxied.then_some(settings.header_timeout)
    }

    /// Serves it, in a task of its own.
    pub(crate) fn serve(self, stream: Stream, peer: Peer) {
        let Admitted { current, generation, to, .. } = self;
        let shared = generation.shared.clone();
        let permit = match to {
            To::Service(how, place) => return shared.receive(&how, stream, peer, place),
            To::Http(permit) => permit,
        };
        stream.limit_unsent();
        shared.http.tracker.clone().spawn(async move {
            let stream = match shared.settings.tls {
                None => Some(stream),
                Some(_) => shared.secured(Inside::Http, stream, &peer).await,
            };
            if let (Some(stream), Peer::Address(peer)) = (stream, peer) {
                http::serve(stream, peer, permit, current, &shared).await;
            }
        });
    }
}
