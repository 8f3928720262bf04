//! An accepted connection on its way to its dispatch: it waits for its permit, and for its PROXY header.

use std::{io, net::SocketAddr, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    connections::{counters::Refusal, registry::Peer},
    net::{proxy_protocol, stream::Stream},
    server::{admission::Admitted, dispatch},
};

/// The time that a proxy still has for its PROXY header when the shutdown begins.
const FINAL_HEADER_TIMEOUT: Duration = Duration::from_millis(100);

/// Dispatches a connection as soon as it has its permit. At the shutdown, a connection without a
/// free permit is dropped.
pub(super) async fn wait_for_permit(
    stream: Stream,
    peer: Peer,
    admitted: impl Future<Output = Admitted>,
    shutting_down: CancellationToken,
    tasks: TaskTracker,
) {
    tokio::select! {
        biased;
        admitted = admitted => read_proxy_header_and_dispatch(stream, peer, admitted, &tasks),
        () = shutting_down.cancelled() => {}
    }
}

pub(super) fn read_proxy_header_and_dispatch(
    stream: Stream,
    peer: Peer,
    admitted: Admitted,
    tasks: &TaskTracker,
) {
    if let Peer::Address(proxy) = peer
        && let Some(within) = admitted.proxy_header_timeout(&proxy)
    {
        tasks.spawn(read_proxy_header(stream, proxy, admitted, within));
    } else {
        dispatch::serve(admitted, stream, peer, None);
    }
}

/// Dispatches a connection under the addresses that its PROXY header names.
async fn read_proxy_header(
    mut stream: Stream,
    proxy: SocketAddr,
    admitted: Admitted,
    within: Duration,
) {
    let shutting_down = admitted.context().shutting_down.clone();
    let header = async {
        stream.first_byte().await?;
        admitted.begin();
        Some(proxy_protocol::read_header(&mut stream).await)
    };
    let header = tokio::select! {
        header = timeout(within, header) => header,
        () = admitted.revoked() => return,
        // The bytes that the proxy sent before the shutdown have arrived by then.
        () = async { shutting_down.cancelled().await; sleep(FINAL_HEADER_TIMEOUT).await } => return,
    };
    match header {
        Ok(Some(Ok(named))) => {
            let source = named.map_or(proxy, |addresses| addresses.source);
            let destination = named.map(|addresses| addresses.destination);
            dispatch::serve(admitted, stream, Peer::Address(source), destination);
        }
        // A health check of the proxy.
        Ok(None) => tracing::debug!(%proxy, "the connection ended before its PROXY header"),
        Ok(Some(Err(e))) => {
            admitted.refused(Refusal::ProxyHeader);
            match e.kind() {
                io::ErrorKind::UnexpectedEof => {
                    tracing::warn!(%proxy, "the connection ended within its PROXY header");
                }
                _ => tracing::warn!(%proxy, "{e}"),
            }
        }
        Err(_) => {
            admitted.refused(Refusal::ProxyHeader);
            tracing::warn!(%proxy, "no PROXY header within {within:?} (--header-timeout)");
        }
    }
}
