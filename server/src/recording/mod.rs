//! Recordings: what passed on connections, as events and in files.
//!
//! - [`wire`]: events as a tap of a connection sees them: bytes and ends
//! - [`decode`]: from these to events with frames, as in JSON Lines

pub(crate) mod decode;
pub(crate) mod wire;
