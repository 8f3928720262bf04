//! Relays between a client and an upstream of the same kind.
//!
//! - [`streams`]: bytes for bytes, datagram for datagram

#[cfg_attr(not(test), expect(dead_code, reason = "no setting leads to it yet"))]
pub(crate) mod streams;
