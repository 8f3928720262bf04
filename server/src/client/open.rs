//! Connections without a message layer, on which frames or bytes are written directly.

use std::io;

use super::{dial, target::Target, transport::handshake};
use crate::net::{connected_datagrams::ConnectedSocket, stream::Stream};

/// An open connection.
pub(super) enum Opened {
    /// A stream, and the bytes that were read together with the handshake response.
    Stream(Stream, Vec<u8>),
    Datagrams(ConnectedSocket),
}

/// Connects to `target`.
pub(super) async fn open(target: &Target) -> io::Result<Opened> {
    match target {
        Target::Tcp(_) | Target::Tls(..) | Target::Unix(_) => {
            Ok(Opened::Stream(dial::stream(target).await?, Vec::new()))
        }
        Target::Udp(..) | Target::UnixGram(_) => {
            Ok(Opened::Datagrams(dial::datagrams(target).await?))
        }
        Target::WebSocket(upgrade) => {
            let mut stream = dial::host(&upgrade.to, upgrade.trust.as_ref()).await?;
            let agreed = handshake::open(&mut stream, upgrade).await?;
            Ok(Opened::Stream(stream, agreed.early))
        }
    }
}
