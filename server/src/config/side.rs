//! The sides of routes and forwards.

/// The kind of data that a side of a route or a forward carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SideKind {
    /// A stream of bytes.
    Stream,
    /// WebSocket messages.
    WebSocket,
    /// Datagrams.
    Datagrams,
}
