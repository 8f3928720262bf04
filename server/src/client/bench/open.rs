//! From an endpoint to a connection that frames or bytes can be written on as they are.

use std::io;

use super::super::{datagram::Datagrams, dial, handshake, target::Target};
use crate::net::stream::Stream;

/// A connection that has been made.
pub(super) enum Opened {
    /// A stream, and what has come on it together with the handshake's answer.
    Stream(Stream, Vec<u8>),
    Datagrams(Datagrams),
}

/// Connects.
pub(super) async fn open(target: &Target) -> io::Result<Opened> {
    match target {
        Target::Tcp(_) | Target::Tls(..) | Target::Unix(_) => {
            Ok(Opened::Stream(dial::stream(target).await?.0, Vec::new()))
        }
        Target::Udp(_) | Target::UnixGram(_) => {
            Ok(Opened::Datagrams(dial::datagrams(target).await?.0))
        }
        Target::WebSocket(upgrade) => {
            let (mut stream, _) = dial::host(&upgrade.at, upgrade.trust.as_ref()).await?;
            let agreed = handshake::open(&mut stream, upgrade).await?;
            Ok(Opened::Stream(stream, agreed.early))
        }
    }
}
