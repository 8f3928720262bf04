//! Live connections: their registry, their limits, the counters of refusals and losses, the metrics
//! of routes and forwards ([`target`]), the observers of connections ([`tap`]), and the connections
//! of other replicas ([`replicas`]).

pub(crate) mod counters;
pub(crate) mod dial_outcome;
pub(crate) mod limits;
pub(crate) mod registry;
pub(crate) mod replicas;
pub(crate) mod tap;
pub(crate) mod target;
