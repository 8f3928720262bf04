//! What happens to a session, and what it wants done.

use echogate_proto::close::CloseCode;

use crate::{payload::Payload, time::Millis};

/// What happens to a session.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// Somebody wants a connection.
    Connect {
        /// Where to: a `ws://` or `wss://` URL.
        url: String,
        /// The subprotocols to offer.
        protocols: Vec<String>,
    },
    /// Somebody wants it closed, with a code that a page may send.
    Disconnect {
        /// 1000, or one from 3000 to 4999.
        code: CloseCode,
        /// At most 123 bytes.
        reason: String,
    },
    /// Somebody wants a message sent.
    Send(Payload),
    /// Somebody has nothing more to send, but goes on reading.
    HalfClose,
    /// Somebody wants that a lost connection is made again, or does not want it any more.
    Reconnect(bool),
    /// The wait that [`Effect::Wake`] asked for is over.
    Woken,
    /// The browser would not even try; its words.
    Rejected(String),
    /// The connection is open, with this subprotocol.
    Opened {
        /// Empty for none.
        protocol: String,
    },
    /// A message came in.
    Received(Payload),
    /// So many bytes lie unsent in the browser: the answer to [`Effect::AskBuffered`].
    Buffered(usize),
    /// The connection is over.
    Ended {
        /// As the browser reports it.
        code: CloseCode,
        /// The reason in the Close frame.
        reason: String,
        /// Whether the Close handshake was completed.
        clean: bool,
    },
}

/// What a session wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Open a socket.
    Open {
        /// Where to.
        url: String,
        /// The subprotocols to offer.
        protocols: Vec<String>,
    },
    /// Hand a message to the socket.
    Transmit(Payload),
    /// Say how much lies unsent in the browser, in a little while.
    AskBuffered,
    /// Close the socket.
    Close {
        /// With this code.
        code: CloseCode,
        /// And this reason.
        reason: String,
    },
    /// The socket is over: let go of it.
    Release,
    /// Say [`Event::Woken`] after this long.
    Wake(Millis),
    /// The message just asked for is not sent.
    Refuse(Refusal),
}

/// Why a message is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no open connection.
    NotOpen,
    /// This side has said that it sends nothing more.
    InputEnded,
    /// Too much waits to be sent already.
    QueueFull,
}
