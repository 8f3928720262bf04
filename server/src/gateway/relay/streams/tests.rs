//! The relay between real sockets on an event loop (sockets.rs, transfers.rs), with datagrams in the
//! runtime (messages.rs), and between streams in memory in paused time (deadlines.rs).

mod deadlines;
mod messages;
mod sockets;
mod transfers;

use std::sync::Arc;

use super::*;
use crate::{connections::registry::Entry, gateway::test_rig::enter};

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
