//! Reaching hosts, for the gateway and the client alike.
//!
//! - [`resolve`]: host names to addresses
//! - [`happy_eyeballs`]: a TCP connection to one of a host's addresses

pub(crate) mod happy_eyeballs;
pub(crate) mod resolve;
