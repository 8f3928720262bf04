//! Dispatch of an admitted connection: TLS where there is some, then HTTP, or a service on an
//! event loop.

use std::{net::SocketAddr, sync::Arc};

use super::admission::{Admitted, Destination};
use crate::{
    connections::{
        counters::Refusal,
        limits::Place,
        registry::{ConnectionInfo, Kind, Peer},
    },
    context::{ListenerService, ServerContext},
    http,
    net::{stream::Stream, tls::Inside},
    service::connection,
};

/// Serves an admitted connection in a task of its own. `destination` is the address that the
/// client connected to, where a PROXY header named it.
pub(super) fn serve(
    admitted: Admitted,
    stream: Stream,
    peer: Peer,
    destination: Option<SocketAddr>,
) {
    let context = admitted.context().clone();
    let current = admitted.current;
    let permit = match admitted.destination {
        Destination::Service(service, permit) => {
            return serve_service(&context, &service, stream, peer, permit);
        }
        Destination::Http(permit) => permit,
    };
    stream.limit_unsent();
    context.http.tracker.clone().spawn(async move {
        let stream = match context.settings.tls {
            None => Some(stream),
            Some(_) => tokio::select! {
                stream = accept_tls(&context, Inside::Http, stream, &peer) => stream,
                reason = permit.revoked() => return context.counters.refused(reason),
            },
        };
        if let (Some(stream), Peer::Address(peer)) = (stream, peer) {
            let site = move || current.borrow().site.clone();
            http::serve(stream, peer, destination, permit, site, &context).await;
        }
    });
}

/// Serves a connection to a service, unless its client's address has as many connections as it
/// may. `permit` is none for a hairpin, which the permit of its bridge's client covers.
fn serve_service(
    context: &Arc<ServerContext>,
    service: &Arc<ListenerService>,
    stream: Stream,
    peer: Peer,
    permit: Option<Place>,
) {
    let permit = match permit.map(|permit| permit.of(peer.ip())).transpose() {
        Ok(permit) => permit,
        Err(limit) => {
            context.counters.refused(limit.refusal());
            return tracing::info!(%peer, "refused: {limit}");
        }
    };
    if service.kind != Kind::Tls {
        return spawn_service(context, service, stream, peer, permit);
    }
    let (context, service) = (context.clone(), service.clone());
    context.services.tracker.clone().spawn(async move {
        if let Some(stream) = accept_tls(&context, Inside::Bytes, stream, &peer).await {
            spawn_service(&context, &service, stream, peer, permit);
        }
    });
}

fn spawn_service(
    context: &ServerContext,
    service: &ListenerService,
    stream: Stream,
    peer: Peer,
    permit: Option<Place>,
) {
    let exchange = service.backend.meet(peer.clone(), service.once);
    let target = service.target.clone();
    let info = ConnectionInfo { kind: service.kind, peer, target, gateway: None };
    // A hairpin has the idle timeout of its bridge, which ends it by the right Close.
    let idle = permit.as_ref().and(context.settings.idle_timeout);
    let entry = context.registry.enter(info, permit);
    let group = &context.services;
    let connection = connection::serve(stream, exchange, entry, idle, &group.drain);
    context.spawn_on_loop(group, connection);
}

/// Shakes hands in TLS within `--header-timeout`. None if that fails, which is logged and
/// counted.
async fn accept_tls(
    context: &ServerContext,
    inside: Inside,
    stream: Stream,
    peer: &Peer,
) -> Option<Stream> {
    let (Some(identity), Stream::Plain(socket)) = (&context.settings.tls, stream) else {
        return None;
    };
    let drain = match inside {
        Inside::Http | Inside::WebSocket => &context.http.drain,
        Inside::Bytes => &context.services.drain,
    };
    let within = context.settings.header_timeout;
    let tls = identity.accept(inside, socket, peer, within, drain).await;
    if tls.is_none() {
        context.counters.refused(Refusal::Tls);
    }
    tls.map(Stream::from)
}
