//! The description of a failed connection, and of what was lost.

use std::{borrow::Cow, fmt::Display, io};

use echogate_proto::reason::{self, fill};

/// The failure `error` of the connection of `peer` ("the upstream"), as a reason in a Close and for
/// the log.
pub(in crate::gateway) fn describe(peer: &str, error: &io::Error) -> String {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, UnexpectedEof};
    match error.kind() {
        ConnectionReset | BrokenPipe => reset(peer),
        TimedOut => fill(reason::PEER_TIMED_OUT, &[peer]),
        // TLS without close_notify: the stream may be truncated.
        UnexpectedEof => fill(reason::PEER_WAS, &[&peer as &dyn Display, error]),
        _ => fill(reason::PEER_FAILED, &[&peer as &dyn Display, error]),
    }
}

/// The reason `why` of an end, followed by the numbers of bytes that were not delivered to these
/// peers.
pub(in crate::gateway) fn with_losses(
    why: Cow<'static, str>,
    losses: [(u64, &str); 2],
) -> Cow<'static, str> {
    let losses = losses.into_iter().filter(|(lost, _)| *lost > 0);
    losses.fold(why, |why, (lost, peer)| {
        fill(reason::LOST_FOR, &[&why as &dyn Display, &peer, &lost]).into()
    })
}

/// The description of a reset by `peer`.
pub(in crate::gateway) fn reset(peer: &str) -> String {
    fill(reason::PEER_RESET, &[peer])
}
