//! The connections that there are: their registry, their limits, and the counters of what was
//! refused or lost.

pub(crate) mod counters;
pub(crate) mod limits;
pub(crate) mod registry;
