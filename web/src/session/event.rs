//! What happens to a session, and what it wants done.

use std::fmt;

use echogate_proto::close::CloseCode;

use crate::payload::Payload;

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
    /// Somebody wants it closed.
    Disconnect,
    /// Somebody wants a message sent.
    Send(Payload),
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
    /// Close the socket with code 1000.
    Close,
    /// The socket is over: let go of it.
    Release,
    /// The message just asked for is not sent.
    Refuse(Refusal),
}

/// Why a message is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There is no open connection.
    NotOpen,
    /// Too much waits to be sent already.
    QueueFull,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::NotOpen => "Not connected: nothing was sent.",
            Refusal::QueueFull => {
                "Not sent: too much is waiting already, the server does not keep up."
            }
        })
    }
}
