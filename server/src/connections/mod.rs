//! The connections that there are: their registry, their limits, the counters of what was refused
//! or lost, and their observers ([`tap`]).

pub(crate) mod counters;
pub(crate) mod limits;
pub(crate) mod registry;
pub(crate) mod tap;
