//! Connections without a message layer, on which frames or bytes are written directly.

use std::io;

use super::{
    dial::{Dialled, dial},
    target::Target,
    transport::handshake,
};
use crate::net::{connected_datagrams::ConnectedSocket, stream::Stream, websocket::Heads};

/// An open connection without a message layer.
pub(super) enum RawConnection {
    /// A stream, and the bytes that were read together with the opening handshake.
    Stream(Stream, Vec<u8>),
    Datagrams(ConnectedSocket),
}

/// Connects to `target`, and performs the opening handshake of a WebSocket.
pub(super) async fn open(target: &Target) -> io::Result<RawConnection> {
    let mut stream = match dial(target).await? {
        Dialled::Stream(stream) => stream,
        Dialled::Datagrams(socket) => return Ok(RawConnection::Datagrams(socket)),
    };
    let early = match target {
        Target::WebSocket(upgrade) => {
            handshake::open(&mut stream, upgrade, &mut Heads::default()).await?.early
        }
        _ => Vec::new(),
    };
    Ok(RawConnection::Stream(stream, early))
}
