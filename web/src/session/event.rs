//! The events that a session handles, and the effects that it asks for.

use echogate_proto::close::CloseCode;

use crate::{payload::Payload, stats::Volume, time::Millis};

/// An event that a session handles.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The user connects.
    Connect {
        /// A `ws://` or `wss://` URL.
        url: String,
        /// The subprotocols to offer.
        protocols: Vec<String>,
    },
    /// The user disconnects.
    Disconnect {
        /// 1000, or 3000 to 4999: the codes that browsers let pages send.
        code: CloseCode,
        /// At most 123 bytes.
        reason: String,
    },
    /// The user sends a message.
    Send(Payload),
    /// The user finishes sending and goes on receiving.
    HalfClose,
    /// The user switches reconnection on or off.
    Reconnect(bool),
    /// The user tried an endpoint that is not valid: the reason why the last connection closed is no
    /// longer shown.
    Dismiss,
    /// The timer of [`Effect::StartTimer`] has expired.
    TimerExpired,
    /// The browser rejected the URL; its error message.
    Rejected(String),
    /// The opening handshake succeeded.
    Opened {
        /// The subprotocol, empty for none.
        protocol: String,
    },
    /// The socket took the message of the oldest [`Effect::Transmit`] that has no such event yet.
    Sent {
        /// The bytes that the browser has not sent.
        buffered: usize,
    },
    /// A message was received.
    Received(Payload),
    /// Parts of a file were sent and came back, which are no messages of the transcript.
    FileMoved {
        /// The parts sent.
        sent: Volume,
        /// The messages received.
        received: Volume,
    },
    /// The number of bytes that the browser has not sent: the answer to [`Effect::PollBuffered`].
    Buffered(usize),
    /// The socket is closed.
    Ended {
        /// The status code as the browser reports it.
        code: CloseCode,
        /// The reason in the Close frame.
        reason: String,
        /// Whether the closing handshake was completed.
        clean: bool,
    },
}

/// An effect that a session asks its caller for.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Open a socket.
    Open {
        /// The URL to connect to.
        url: String,
        /// The subprotocols to offer.
        protocols: Vec<String>,
    },
    /// Hand a message to the socket.
    Transmit(Payload),
    /// Report [`Event::Buffered`] after a short while.
    PollBuffered,
    /// Close the socket.
    Close {
        /// The status code.
        code: CloseCode,
        /// The reason.
        reason: String,
    },
    /// Drop the socket.
    DropSocket,
    /// Report [`Event::TimerExpired`] after this time.
    StartTimer(Millis),
    /// The message of the event is not sent.
    Refuse(Refusal),
}

/// The reason why a message is not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The connection is not open.
    NotOpen,
    /// This side has finished sending.
    InputEnded,
    /// The queue is full.
    QueueFull,
}
