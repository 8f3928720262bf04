//! Dispatch of an admitted connection: the TLS handshake if the socket has TLS, then HTTP, or a
//! service or a forward on an event loop.

use std::{future::poll_fn, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use echogate_proto::recording::Opened;
use tokio::time::{Instant, sleep_until};

use super::{
    admission::{Admission, Admitted, Destination},
    datagrams::check_sender,
    snapshot::Served,
};
use crate::{
    connections::{
        counters::Refusal,
        limits::{ConnectionPermit, http::HttpPermit},
        registry::{ConnectionInfo, Kind, Peer},
    },
    context::{ListenerService, ServerContext},
    gateway::{
        Forward,
        datagram_sessions::DatagramSession,
        forward::{self, ForwardClient},
    },
    http,
    net::{
        datagram_socket::Sender,
        stream::{Stream, Transport},
        tapped::TappedClient,
        tls::AppProtocol,
    },
    runtime::drain::Drain,
    service::connection,
};

/// The first byte of a TLS handshake: the content type of the record (RFC 8446 section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// The advice for a TLS client on a port without TLS.
const TLS_HINT: &str = "use http:// or ws:// there, or give the server a certificate (--tls-cert)";

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
    let (permit, is_https) = match admitted.destination {
        Destination::Service(service, permit) => {
            return serve_service(&context, &service, stream, peer, permit);
        }
        Destination::Forward(forward, permit) => {
            return serve_forward(&context, &forward, stream, peer, destination, permit);
        }
        Destination::Http(permit, is_https) => (permit, is_https),
    };
    stream.limit_unsent();
    context.http.tracker.clone().spawn(async move {
        let since = Instant::now();
        let deadline = since + context.settings.header_timeout;
        let mut watch = context.http.drain.watch();
        let first = tokio::select! {
            // Ready also at the end of the stream, which the first read reports.
            first = stream.first_byte() => {
                permit.begin();
                first
            }
            reason = permit.revoked() => return context.counters.refused.count(reason),
            () = watch.draining() => None,
            () = sleep_until(deadline) => {
                return tracing::debug!(%peer, "http connection: no byte within --header-timeout");
            }
        };
        drop(watch);
        // Boxed, so that the future of a silent connection stays small.
        Box::pin(async move {
            let (stream, since) = match is_https {
                true => match accept_https(&context, stream, &peer, &permit, since).await {
                    Some(stream) => (stream, Instant::now()),
                    None => return,
                },
                false => {
                    if first == Some(TLS_HANDSHAKE) {
                        // hyper's 400 in plain HTTP tells a TLS client more than an alert: curl, Go
                        // and urllib3 recognise it and say so.
                        tracing::info!(%peer, "a TLS client on the plain HTTP port: {TLS_HINT}");
                    }
                    (stream, since)
                }
            };
            let site = move || current.borrow().site.clone();
            http::serve(stream, peer, destination, permit, since, site, &context).await;
        })
        .await;
    });
}

/// Runs the TLS handshake of an HTTP connection whose first byte has arrived; None if it fails.
/// `since` is when the connection was accepted.
async fn accept_https(
    context: &ServerContext,
    stream: Stream,
    peer: &Peer,
    permit: &HttpPermit,
    since: Instant,
) -> Option<Stream> {
    let within = context.settings.header_timeout.saturating_sub(since.elapsed());
    let drain = &context.http.drain;
    let mut handshake = pin!(accept_tls(context, AppProtocol::Http, stream, peer, within, drain));
    // The handshake is polled when bytes have arrived: each poll is progress.
    let handshake = poll_fn(|cx| {
        permit.touch();
        handshake.as_mut().poll(cx)
    });
    tokio::select! {
        secured = handshake => secured,
        reason = permit.revoked() => {
            context.counters.refused.count(reason);
            None
        }
    }
}

/// Serves a connection to a service, unless the limit of its client's address is reached. `permit`
/// is none for a hairpin, which the permit of its bridge's client covers.
fn serve_service(
    context: &Arc<ServerContext>,
    service: &Arc<ListenerService>,
    stream: Stream,
    peer: Peer,
    permit: Option<ConnectionPermit>,
) {
    let permit = match permit.map(|permit| permit.for_address(peer.ip())).transpose() {
        Ok(permit) => permit,
        Err(limit) => {
            context.counters.refused.count(limit.refusal());
            return tracing::info!(%peer, "refused: {limit}");
        }
    };
    if service.kind != Kind::Tls {
        return spawn_service(context, service, stream, peer, permit);
    }
    let (context, service) = (context.clone(), service.clone());
    context.services.tracker.clone().spawn(async move {
        let within = context.settings.header_timeout;
        let drain = &context.services.drain;
        let secured = accept_tls(&context, AppProtocol::Bytes, stream, &peer, within, drain).await;
        if let Some(stream) = secured {
            spawn_service(&context, &service, stream, peer, permit);
        }
    });
}

fn spawn_service(
    context: &ServerContext,
    service: &ListenerService,
    stream: Stream,
    peer: Peer,
    permit: Option<ConnectionPermit>,
) {
    let session = service.instance.open(peer.clone(), service.once);
    let target = service.target.clone();
    let info = ConnectionInfo { kind: service.kind, peer, target, gateway: None };
    // The bridge of a hairpin has the idle timeout, since only the bridge sends a Close frame.
    let idle = permit.as_ref().and(context.settings.idle_timeout);
    let is_hairpin = permit.is_none();
    let entry = context.registry.enter(info, permit);
    let group = &context.services;
    let local = || stream.local_addr().ok().map(|at| at.to_string());
    context
        .observe(&entry, service.record, is_hairpin, |opened| Opened { local: local(), ..opened });
    let stream = TappedClient::new(stream, &entry, b"");
    let connection = connection::serve(stream, session, entry, idle, &group.drain);
    context.spawn_on_loop(group, connection);
}

/// Passes a connection to the upstream of a forward, or resets the connection if a limit is
/// reached.
fn serve_forward(
    context: &Arc<ServerContext>,
    forward: &Arc<Forward>,
    mut stream: Stream,
    peer: Peer,
    destination: Option<SocketAddr>,
    permit: ConnectionPermit,
) {
    let permit = permit.for_address(peer.ip());
    let permit = match permit.and_then(|permit| permit.for_route(&forward.target.limit)) {
        Ok(permit) => permit,
        Err(limit) => {
            forward.target.refused(&context.counters, limit.refusal());
            stream.reset_on_drop();
            return tracing::info!(%peer, forward = %forward.name(), "refused: {limit}");
        }
    };
    let destination = destination.or_else(|| stream.local_addr().ok());
    let (context, forward) = (context.clone(), forward.clone());
    context.bridges.tracker.clone().spawn(async move {
        if forward.kind == Kind::Tls {
            let within = context.settings.header_timeout;
            let drain = &context.bridges.drain;
            match accept_tls(&context, AppProtocol::Bytes, stream, &peer, within, drain).await {
                Some(secured) => stream = secured,
                None => return forward.target.metrics.refused.count(Refusal::Tls),
            }
        }
        let client = ForwardClient::Stream(stream);
        forward::forward(context, forward, client, peer, destination, permit).await;
    });
}

/// Passes the datagrams of a new session to the upstream of a forward; false if a limit is reached
/// or the sender could be a loop, or the socket no longer belongs to a forward.
pub(super) fn open_session(
    admission: &Admission,
    sender: &Sender,
    session: DatagramSession,
) -> bool {
    let snapshot = admission.snapshot();
    let Some(Served::Forward(forward)) = snapshot.served(admission.socket) else { return false };
    let (context, peer) = (snapshot.context.clone(), sender.peer());
    if let Err(why) = check_sender(sender, &snapshot.own_datagram_sockets) {
        tracing::debug!(%peer, forward = %forward.name(), "a datagram is not passed on: {why}");
        return false;
    }
    match context.limits.enter(peer.ip(), Some(&forward.target.limit)) {
        Ok(permit) => {
            let (forward, client) = (forward.clone(), ForwardClient::Session(session));
            let tracker = context.bridges.tracker.clone();
            tracker.spawn(forward::forward(context, forward, client, peer, None, permit));
            true
        }
        Err(limit) => {
            forward.target.refused(&context.counters, limit.refusal());
            // At a level that is off by default, since every datagram of a flood may be refused.
            tracing::debug!(%peer, forward = %forward.name(), "refused: {limit}");
            false
        }
    }
}

/// Performs the TLS handshake within the time `within`, and not beyond the graceful stage of `drain`.
/// None if it fails, which is logged and counted.
async fn accept_tls(
    context: &ServerContext,
    protocol: AppProtocol,
    stream: Stream,
    peer: &Peer,
    within: Duration,
    drain: &Drain,
) -> Option<Stream> {
    let (Some(server_tls), Stream::Plain(socket)) = (&context.settings.tls, stream) else {
        return None;
    };
    let tls = server_tls.accept(protocol, socket, peer, within, drain).await;
    if tls.is_none() {
        context.counters.refused.count(Refusal::Tls);
    }
    tls.map(Stream::from)
}
