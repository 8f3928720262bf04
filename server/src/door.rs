//! What a socket's clients come in by: what they find is what holds when they come.

use std::{
    future::{pending, poll_fn},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{
    generation::{Current, Generation},
    http,
    limits::{Place, http::HttpPermit},
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

/// What it comes to, and its place there. (A hairpin's is that of its bridge's client.)
#[derive(Debug)]
enum To {
    Http(Arc<HttpPermit>),
    Service(Arc<Reception>, Option<Place>),
}

impl Door {
    /// The configuration in force.
    pub(crate) fn generation(&self) -> Arc<Generation> {
        self.current.get()
    }

    /// How `generation` has clients of the service here received; none where HTTP is.
    pub(crate) fn reception<'a>(&self, generation: &'a Generation) -> Option<&'a Reception> {
        generation.reception(self.socket).map(Arc::as_ref)
    }

    /// Waits until there is room for a client that has come, if it needs any. It finds what
    /// holds now, and not what may when there is.
    pub(crate) fn admit(
        &self,
        stream: &Stream,
        peer: &Peer,
    ) -> impl Future<Output = Admitted> + use<> {
        let (current, generation) = (self.current.clone(), self.current.get());
        let ip = generation.shared.counted_by(peer);
        let how = generation.reception(self.socket).cloned();
        let hairpin = match peer {
            Peer::Address(peer) => generation.shared.hairpins.take(*peer, || stream.local_addr()),
            _ => None,
        };
        async move {
            let shared = &generation.shared;
            let to = match how {
                Some(how) if hairpin.is_some() => To::Service(how, None),
                Some(how) => To::Service(how, Some(shared.limits.room().await)),
                None => To::Http(shared.limits.http(ip)),
            };
            let may_be_proxied = hairpin.is_none_or(|hairpin| hairpin.is_introduced);
            Admitted { current, generation, to, may_be_proxied }
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

    /// Waits until the client has to leave before it is served.
    pub(crate) async fn revoked(&self) {
        match &self.to {
            To::Http(permit) => self.shared().counters.refused(permit.revoked().await),
            To::Service(..) => pending().await,
        }
    }

    /// Notes that the client has sent something.
    pub(crate) fn begin(&self) {
        if let To::Http(permit) = &self.to {
            permit.begin();
        }
    }

    /// Serves it, in a task of its own. `destination` is the address that the client connected
    /// to, where a PROXY header named it.
    pub(crate) fn serve(self, mut stream: Stream, peer: Peer, destination: Option<SocketAddr>) {
        let Admitted { current, generation, to, .. } = self;
        let shared = generation.shared.clone();
        let permit = match to {
            To::Service(how, place) => return shared.receive(&how, stream, peer, place),
            To::Http(permit) => permit,
        };
        stream.limit_unsent();
        shared.http.tracker.clone().spawn(async move {
            let since = Instant::now();
            let deadline = since + shared.settings.header_timeout;
            let mut drain = shared.http.drain.watch();
            tokio::select! {
                // Also where its end has come first: that is found by reading it.
                _ = stream.has_begun() => permit.begin(),
                reason = permit.revoked() => return shared.counters.refused(reason),
                () = drain.draining() => {}
                () = sleep_until(deadline) => {
                    return tracing::debug!(%peer, "http connection: nothing was sent");
                }
            }
            // In a box, so that a silent connection costs little.
            Box::pin(set_up(stream, peer, destination, permit, current, shared, since)).await;
        });
    }
}

/// Serves an HTTP connection on which the first byte has come. `since` is when it was waited for.
async fn set_up(
    mut stream: Stream,
    peer: Peer,
    destination: Option<SocketAddr>,
    permit: Arc<HttpPermit>,
    current: Arc<Current>,
    shared: Arc<Shared>,
    mut since: Instant,
) {
    if shared.settings.tls.is_some() {
        let within = shared.settings.header_timeout.saturating_sub(since.elapsed());
        let mut handshake = pin!(shared.secured(Inside::Http, stream, &peer, within));
        // After the first time the handshake is polled where bytes have come, or at its end.
        let handshake = poll_fn(|cx| {
            permit.touch();
            handshake.as_mut().poll(cx)
        });
        let secured = tokio::select! {
            secured = handshake => secured,
            reason = permit.revoked() => return shared.counters.refused(reason),
        };
        match secured {
            Some(secured) => (stream, since) = (secured, Instant::now()),
            None => return,
        }
    }
    if let Peer::Address(peer) = peer {
        http::serve(stream, peer, destination, permit, since, current, &shared).await;
    }
}
