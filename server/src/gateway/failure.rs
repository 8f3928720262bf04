//! The description of a failed connection.

use std::io;

/// The failure `error` of the connection of `peer` ("the upstream"), as a reason in a Close and for
/// the log.
pub(in crate::gateway) fn describe(peer: &str, error: &io::Error) -> String {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, TimedOut, UnexpectedEof};
    match error.kind() {
        ConnectionReset | BrokenPipe => reset(peer),
        TimedOut => format!("{peer} timed out"),
        // TLS without close_notify: the stream may be truncated.
        UnexpectedEof => format!("{peer} was {error}"),
        _ => format!("{peer} failed: {error}"),
    }
}

/// The description of a reset by `peer`.
pub(in crate::gateway) fn reset(peer: &str) -> String {
    format!("{peer} reset the connection")
}
