//! One call: from a target to a connection, and what is made of it there.

use std::{future::Future, io};

use super::{
    datagram, dial, handshake,
    link::{Inbound, Outbound, Stop},
    replies::{SILENCE, Wait},
    stream::{StreamInbound, StreamOutbound},
    target::{HALF_CLOSE, Target, Upgrade},
    websocket::{self, Form},
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

/// Connects and holds `conversation`. Where a peer cannot say that it is sent too much, replies
/// are waited for as `wait` has it.
pub(super) async fn call(
    target: &Target,
    wait: Wait,
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
            let silence = match wait {
                Wait::For(time) => time,
                Wait::Default | Wait::Forever => SILENCE,
            };
            let (outbound, inbound) = datagram::halves(socket, silence);
            conversation.hold(outbound, inbound, &from).await
        }
        Target::WebSocket(upgrade) => call_websocket(upgrade, conversation).await,
    }
}

async fn call_websocket(
    upgrade: &Upgrade,
    conversation: &mut impl Conversation,
) -> Result<String, Stop> {
    let opening = async {
        let (mut stream, from) = dial::host(&upgrade.at, upgrade.trust.as_ref()).await?;
        let agreed = handshake::open(&mut stream, upgrade).await?;
        Ok((stream, agreed, from))
    };
    let opening = async { opening.await.map_err(Stop::Connection) };
    let (stream, agreed, from) = conversation.meanwhile(opening).await?;
    let half_close = agreed.protocol.as_deref() == Some(HALF_CLOSE);
    if let Some(protocol) = agreed.protocol.filter(|_| upgrade.half_close && !half_close) {
        let words = format!("the server has chosen {protocol:?}, not half-close");
        return Err(Stop::Connection(io::Error::other(words)));
    }
    let form = Form { half_close, binary: upgrade.binary };
    let (outbound, inbound) = websocket::halves(stream, agreed.early, form).await;
    conversation.hold(outbound, inbound, &format!(" (from {from})")).await
}
