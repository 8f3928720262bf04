//! Connections without a message layer, on which frames or bytes are written directly.

use std::io;

use super::{
    dial::{Opened, dial},
    target::Target,
    transport::handshake,
};

/// Connects to `target`, and performs the opening handshake of a WebSocket.
pub(super) async fn open(target: &Target) -> io::Result<Opened> {
    let mut opened = dial(target).await?;
    if let (Opened::Stream(stream, early), Target::WebSocket(upgrade)) = (&mut opened, target) {
        *early = handshake::open(stream, upgrade).await?.early;
    }
    Ok(opened)
}
