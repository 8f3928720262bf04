//! The relays between sides of the same kind.
//!
//! - [`messages`]: a WebSocket client and a WebSocket upstream

pub(crate) mod messages;
