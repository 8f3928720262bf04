//! What a socket's clients come in by: what they find is what holds when they come.

use std::{future::pending, net::SocketAddr, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use crate::{
    connections::{
        limits::{Place, http::HttpPermit},
        registry::Peer,
    },
    context::{ListenerService, ServerContext},
    http,
    net::{stream::Stream, tls::Inside},
    server::snapshot::{Current, Snapshot},
};

/// The way in at one socket.
#[derive(Clone, Debug)]
pub(crate) struct Admission {
    pub(crate) socket: u64,
    pub(crate) current: Arc<Current>,
}

/// A client that may come in.
#[derive(Debug)]
pub(crate) struct Admitted {
    current: Arc<Current>,
    snapshot: Arc<Snapshot>,
    to: To,
    /// Proxies say at their connections' beginning who the client is.
    may_be_proxied: bool,
}

/// What it comes to, and its place there. (A hairpin's is that of its bridge's client.)
#[derive(Debug)]
enum To {
    Http(Arc<HttpPermit>),
    Service(Arc<ListenerService>, Option<Place>),
}

impl Admission {
    /// The configuration in force.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.current.get()
    }

    /// How `snapshot` has clients of the service here received; none where HTTP is.
    pub(crate) fn listener_service<'a>(
        &self,
        snapshot: &'a Snapshot,
    ) -> Option<&'a ListenerService> {
        snapshot.listener_service(self.socket).map(Arc::as_ref)
    }

    /// Waits until there is room for a client that has come, if it needs any. It finds what
    /// holds now, and not what may when there is.
    pub(crate) fn admit(
        &self,
        stream: &Stream,
        peer: &Peer,
    ) -> impl Future<Output = Admitted> + use<> {
        let (current, snapshot) = (self.current.clone(), self.current.get());
        let ip = snapshot.context.counted_by(peer);
        let how = snapshot.listener_service(self.socket).cloned();
        let hairpin = match peer {
            Peer::Address(peer) => snapshot.context.hairpins.take(*peer, || stream.local_addr()),
            _ => None,
        };
        async move {
            let context = &snapshot.context;
            let to = match how {
                Some(how) if hairpin.is_some() => To::Service(how, None),
                Some(how) => To::Service(how, Some(context.limits.room().await)),
                None => To::Http(context.limits.http(ip).await),
            };
            let may_be_proxied = hairpin.is_none_or(|hairpin| hairpin.is_introduced);
            Admitted { current, snapshot, to, may_be_proxied }
        }
    }

    /// Tells when the server has begun to end.
    pub(crate) fn ending(&self) -> CancellationToken {
        self.current.get().context.ending.clone()
    }
}

impl Admitted {
    /// What it shares with others.
    pub(crate) fn context(&self) -> &Arc<ServerContext> {
        &self.snapshot.context
    }

    /// Whether a client from there comes by a proxy, which says who it is, and how long
    /// the proxy may take for that.
    pub(crate) fn proxied(&self, peer: &SocketAddr) -> Option<Duration> {
        let settings = &self.context().settings;
        let proxied = self.may_be_proxied
            && settings.proxy_protocol_from.iter().any(|network| network.has(peer));
        proxied.then_some(settings.header_timeout)
    }

    /// Waits until the client has to leave before it is served.
    pub(crate) async fn revoked(&self) {
        match &self.to {
            To::Http(permit) => self.context().counters.refused(permit.revoked().await),
            To::Service(..) => pending().await,
        }
    }

    /// Serves it, in a task of its own. `destination` is the address that the client connected
    /// to, where a PROXY header named it.
    pub(crate) fn serve(self, stream: Stream, peer: Peer, destination: Option<SocketAddr>) {
        let Admitted { current, snapshot, to, .. } = self;
        let context = snapshot.context.clone();
        let permit = match to {
            To::Service(how, place) => return context.receive(&how, stream, peer, place),
            To::Http(permit) => permit,
        };
        stream.limit_unsent();
        context.http.tracker.clone().spawn(async move {
            let stream = match context.settings.tls {
                None => Some(stream),
                Some(_) => tokio::select! {
                    stream = context.secured(Inside::Http, stream, &peer) => stream,
                    reason = permit.revoked() => return context.counters.refused(reason),
                },
            };
            if let (Some(stream), Peer::Address(peer)) = (stream, peer) {
                http::serve(stream, peer, destination, permit, current, &context).await;
            }
        });
    }
}
