//! The parts that all relays with a WebSocket side share.
//!
//! - [`gather`]: one vectored write of copied and borrowed bytes
//! - [`ping_timer`]: Pings to a silent peer; [`pongs`]: the answers to its own
//! - [`latency`]: the latency of an exchange, in three legs
//! - [`undecoded`]: bytes that are kept until they are decoded

pub(in crate::gateway) mod gather;
pub(in crate::gateway) mod latency;
pub(in crate::gateway) mod ping_timer;
pub(in crate::gateway) mod pongs;
pub(in crate::gateway) mod undecoded;
