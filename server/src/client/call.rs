//! One call: from a target to a connection, and what is made of it there.

use std::{future::Future, time::Duration};

use super::{
    datagram, dial, handshake,
    link::{Inbound, Outbound, Stop},
    stream::{StreamInbound, StreamOutbound},
    target::{HALF_CLOSE, Target, Upgrade},
    websocket::{self, Goodbye},
};

/// What is done with a connection.
pub(super) trait Conversation {
    /// Uses a connection until one side is done, and says in words how the peer was.
    /// `from` is our own address, as it stands behind the peer's.
    async fn hold(
        &mut self,
        outbound: impl Outbound,
        inbound: impl Inbound,
        from: &str,
    ) -> Result<String, Stop>;

    /// Waits for something else, unless the conversation is stopped before.
    async fn meanwhile<T>(
        &mut self,
        waiting: impl Future<Output = Result<T, Stop>>,
    ) -> Result<T, Stop> {
        waiting.await
    }
}

/// Connects and holds `conversation`. Where there is no end of the peer's that could be
/// waited for, replies that do not come are waited for as long as `patience`.
pub(super) async fn call(
    target: &Target,
    patience: Duration,
    conversation: &mut impl Conversation,
) -> Result<String, Stop> {
    match target {
        Target::Tcp(_) | Target::Tls(..) | Target::Unix(_) => {
            let dialling = async { dial::stream(target).await.map_err(Stop::Connection) };
            let (stream, from) = conversation.meanwhile(dialling).await?;
            let (reader, writer) = tokio::io::split(stream);
            let (outbound, inbound) = (StreamOutbound(writer), StreamInbound::new(reader));
            conversation.hold(outbound, inbound, &from).await
        }
        Target::Udp(_) | Target::UnixGram(_) => {
            let dialling = async { dial::datagrams(target).await.map_err(Stop::Connection) };
            let (socket, from) = conversation.meanwhile(dialling).await?;
            let (outbound, inbound) = datagram::halves(socket, patience);
            conversation.hold(outbound, inbound, &from).await
        }
        Target::WebSocket(upgrade) => call_websocket(upgrade, patience, conversation).await,
    }
}

async fn call_websocket(
    upgrade: &Upgrade,
    patience: Duration,
    conversation: &mut impl Conversation,
) -> Result<String, Stop> {
    let dialling =
        async { dial::host(&upgrade.at, upgrade.trust.as_ref()).await.map_err(Stop::Connection) };
    let (mut stream, from) = conversation.meanwhile(dialling).await?;
    let opening = async { Ok(handshake::open(&mut stream, upgrade).await) };
    let (socket, protocol) = match conversation.meanwhile(opening).await? {
        Ok(opened) => opened,
        Err(error) => {
            return Err(Stop::Connection(handshake::refusal(error, &mut stream).await));
        }
    };
    let goodbye = match protocol {
        Some(protocol) if protocol == HALF_CLOSE => Goodbye::HalfClose,
        Some(protocol) if upgrade.half_close => {
            let words = format!("the server has chosen {protocol:?}, not half-close");
            return Err(Stop::Connection(std::io::Error::other(words)));
        }
        _ => Goodbye::Close(patience),
    };
    let (outbound, inbound) = websocket::halves(socket, goodbye);
    conversation.hold(outbound, inbound, &format!(" (from {from})")).await
}
