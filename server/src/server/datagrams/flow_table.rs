//! The flow table of a datagram socket: its recent senders, listed as connections.

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt::Display,
    io::IoSlice,
    time::{Duration, Instant},
};

use echogate_proto::{
    reason::{self, fill},
    recording::{Side, TapPoint},
};

use crate::{
    connections::{
        registry::{ConnectionInfo, Peer, Registry, RegistryGuard},
        tap::Passed,
    },
    context::{ListenerService, ServerContext},
};

/// The silence after which a flow has ended.
const FLOW_TIMEOUT: Duration = Duration::from_secs(30);

/// The maximum number of listed flows of one socket. Senders of further flows are answered as well.
const MAX_FLOWS: usize = 1024;

/// Recent senders.
pub(super) struct FlowTable {
    registry: Registry,
    flows: HashMap<Peer, Flow>,
}

/// A recent sender: its registry entry and the time of its last datagram.
pub(super) struct Flow {
    entry: RegistryGuard,
    last: Instant,
}

impl FlowTable {
    pub(super) fn new(registry: Registry) -> FlowTable {
        FlowTable { registry, flows: HashMap::new() }
    }

    /// The flow of a sender, if it is listed with this service. Ends the flow of another service.
    pub(super) fn get(&mut self, service: &ListenerService, peer: &Peer) -> Option<&mut Flow> {
        let Entry::Occupied(flow) = self.flows.entry(peer.clone()) else { return None };
        if flow.get().entry.target() != &*service.target.name {
            flow.remove().entry.ended(&reason::SOCKET_REASSIGNED);
            return None;
        }
        Some(flow.into_mut())
    }

    /// Lists a sender, unless there are [`MAX_FLOWS`] already.
    pub(super) fn begin(
        &mut self,
        context: &ServerContext,
        service: &ListenerService,
        peer: Peer,
        now: Instant,
    ) -> Option<&mut Flow> {
        if self.flows.len() >= MAX_FLOWS {
            return None;
        }
        let target = service.target.clone();
        let info = ConnectionInfo { kind: service.kind, peer: peer.clone(), target, gateway: None };
        let entry = self.registry.enter(info, None);
        context.observe(&entry, service.record, false, |opened| opened);
        Some(self.flows.entry(peer).insert_entry(Flow { entry, last: now }).into_mut())
    }

    /// Removes flows that have ended.
    pub(super) fn sweep(&mut self) {
        let has_ended = |_: &Peer, flow: &mut Flow| flow.last.elapsed() >= FLOW_TIMEOUT;
        for (_, flow) in self.flows.extract_if(has_ended) {
            flow.entry.ended(&fill(reason::NO_DATAGRAM, &[&format_args!("{FLOW_TIMEOUT:?}")]));
        }
    }

    /// Removes all flows.
    pub(super) fn end_all(self, why: &dyn Display) {
        self.flows.into_values().for_each(|flow| flow.entry.ended(why));
    }
}

impl Flow {
    /// Whether the flow has observers.
    pub(super) fn is_tapped(&self) -> bool {
        self.entry.is_tapped(Side::Client)
    }

    /// Reports a received or a sent datagram to the observers.
    pub(super) fn passed(&self, point: TapPoint, datagram: &[u8]) {
        let (parts, len) = (&[IoSlice::new(datagram)], datagram.len());
        self.entry.passed(&Passed { point, parts, len, is_datagram: true });
    }

    /// Counts a datagram of `received` bytes, and its answer if that was sent.
    pub(super) fn count(&mut self, received: usize, sent: Option<usize>, now: Instant) {
        self.last = now;
        self.entry.received().add(received, 1);
        if let Some(sent) = sent {
            self.entry.sent().add(sent, 1);
        }
    }
}
