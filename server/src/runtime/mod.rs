//! Building blocks of the tasks of connections: shutdown stages and timers, idle timeouts, the
//! delivery of last bytes, buffers, the end of the reception on a socket, delays between attempts.

pub(crate) mod backoff;
pub(crate) mod buffer_pool;
pub(crate) mod delivery;
pub(crate) mod drain;
pub(crate) mod idle_timeout;
pub(crate) mod loop_lag;
pub(crate) mod reception;
pub(crate) mod write_buffer;
