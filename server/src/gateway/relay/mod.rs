//! Relays between a client and an upstream of the same kind.
//!
//! - [`messages`]: WebSocket messages, message for message
//! - [`streams`]: bytes for bytes, datagram for datagram

pub(crate) mod messages;
pub(crate) mod streams;
