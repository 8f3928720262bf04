//! The connections that there are: their registry, their limits, the counters of what was refused
//! or lost, the metrics of routes and forwards ([`target`]), their observers ([`tap`]), and those
//! of other replicas ([`replicas`]).

pub(crate) mod counters;
pub(crate) mod dial_outcome;
pub(crate) mod limits;
pub(crate) mod registry;
pub(crate) mod replicas;
pub(crate) mod tap;
pub(crate) mod target;
