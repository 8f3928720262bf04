//! The relay between real sockets on an event loop (sockets.rs, transfers.rs), with datagrams in the
//! runtime (messages.rs), and between streams in memory in paused time (deadlines.rs).

mod deadlines;
mod messages;
mod sockets;
mod transfers;

use std::sync::Arc;

use super::*;
use crate::connections::registry::{ConnectionInfo, Entry, Kind, Peer, Registry};

/// An entry in a registry of its own, and its guard.
fn enter() -> (Arc<Entry>, RegistryGuard) {
    let target = "tcp://test".into();
    let info = ConnectionInfo { kind: Kind::Tcp, peer: Peer::Unknown, target, gateway: None };
    let guard = Registry::default().enter(info, None);
    (guard.clone(), guard)
}

#[test]
fn a_relay_is_small() {
    use crate::net::{
        stream::Stream,
        tapped::{TappedClient, TappedUpstream},
    };
    // Together with its tracking a task fits into an allocation of 256 bytes.
    let size = size_of::<Relay<TappedClient<Stream>, TappedUpstream<Stream>>>();
    assert!(size <= 256 - 2 * size_of::<usize>(), "{size}");
}
