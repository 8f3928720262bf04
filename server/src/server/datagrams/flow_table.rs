//! The flow table of a datagram socket: its recent senders, listed as connections.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Display,
    time::{Duration, Instant},
};

use crate::{
    connections::registry::{ConnectionInfo, Peer, Registry, RegistryGuard},
    context::ListenerService,
};

/// The silence after which a flow has ended.
const FLOW_TIMEOUT: Duration = Duration::from_secs(30);

/// Flows of one socket that are listed at most; the senders of others are answered as well.
const MAX_FLOWS: usize = 1024;

/// Recent senders, each with its registry entry and the time of its last datagram.
pub(super) struct FlowTable {
    registry: Registry,
    flows: HashMap<Peer, (RegistryGuard, Instant)>,
}

impl FlowTable {
    pub(super) fn new(registry: Registry) -> FlowTable {
        FlowTable { registry, flows: HashMap::new() }
    }

    /// Counts a datagram of `received` bytes, and its answer if that was sent.
    pub(super) fn count(
        &mut self,
        service: &ListenerService,
        peer: &Peer,
        received: usize,
        sent: Option<usize>,
        now: Instant,
    ) {
        let is_full = self.flows.len() >= MAX_FLOWS;
        let begin = || {
            let (peer, target) = (peer.clone(), service.target.clone());
            let info = ConnectionInfo { kind: service.kind, peer, target, gateway: None };
            (self.registry.enter(info, None), now)
        };
        let (entry, last) = match self.flows.entry(peer.clone()) {
            Entry::Occupied(mut flow) => {
                if flow.get().0.target() != &*service.target {
                    let (entry, _) = flow.insert(begin());
                    entry.ended(&"the socket belongs to another service since a reload");
                }
                flow.into_mut()
            }
            Entry::Vacant(_) if is_full => return,
            Entry::Vacant(new) => new.insert(begin()),
        };
        *last = now;
        entry.received().add(received, 1);
        if let Some(sent) = sent {
            entry.sent().add(sent, 1);
        }
    }

    /// Removes flows that have ended.
    pub(super) fn sweep(&mut self) {
        let has_ended =
            |_: &Peer, (_, last): &mut (RegistryGuard, Instant)| last.elapsed() >= FLOW_TIMEOUT;
        for (_, (entry, _)) in self.flows.extract_if(has_ended) {
            entry.ended(&format_args!("no datagram for {FLOW_TIMEOUT:?}"));
        }
    }

    /// Removes all flows.
    pub(super) fn end_all(self, why: &dyn Display) {
        self.flows.into_values().for_each(|(entry, _)| entry.ended(why));
    }
}
