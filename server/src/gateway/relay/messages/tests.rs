//! The relay between two pipes in memory, in paused time: time advances as soon as nothing else can
//! happen, so that hours pass at once and every moment is exact.

mod close;
mod differential;
mod drain;
mod losses;
mod messages;
mod timeouts;
mod violations;

use std::{sync::Arc, time::Duration};

use echogate_proto::framing::Framing;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::*;
use crate::gateway::{
    bridge,
    test_rig::{FarEnd, HOUR, close_payload, enter, far_end, first::*, frame},
};

/// A relay, with the far ends of its two connections.
struct Rig {
    client: FarEnd,
    upstream: FarEnd,
    relay: JoinHandle<End>,
    drain: Drain,
    start: Instant,
}

fn config() -> BridgeConfig {
    bridge::tests::config(Framing::Message)
}

/// Pipes that hold `room` bytes each way.
fn rig_with(config: BridgeConfig, room: usize, read_ahead: [Vec<u8>; 2]) -> Rig {
    let (client_pipe, client) = far_end(room, Role::Client);
    let (upstream_pipe, upstream) = far_end(room, Role::Server);
    let drain = Drain::new();
    let relay = tokio::spawn({
        let drain = drain.clone();
        async move {
            let ahead = ReadAhead { client: &read_ahead[0], upstream: &read_ahead[1] };
            run(client_pipe, upstream_pipe, ahead, config.into(), enter(), &drain).await
        }
    });
    Rig { client, upstream, relay, drain, start: Instant::now() }
}

fn rig() -> Rig {
    rig_with(config(), 4096, [vec![], vec![]])
}

impl Rig {
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The end of the relay: close code and reason.
    async fn end(self) -> (u16, String) {
        let end = timeout(HOUR, self.relay).await.expect("it ends").expect("it does not panic");
        (end.code.0, end.why.into_owned())
    }
}

#[test]
fn a_relay_is_small() {
    use crate::net::{
        stream::Stream,
        tapped::{TappedClient, TappedUpstream},
    };
    // Together with its tracking a task fits into an allocation of 512 bytes.
    let size = size_of::<MessageRelay<TappedClient<Stream>, TappedUpstream<Stream>>>();
    assert!(size <= 512 - 2 * size_of::<usize>(), "{size}");
}
