//! Asynchronous events: callbacks of sockets and files dispatch them to the application, whose module
//! depends on theirs.

use std::cell::Cell;

use super::socket::{SocketEvent, TapEvent};
use crate::{session::Event, time::Millis};

/// An asynchronous event.
pub(super) enum Message {
    /// An event of the socket of the connection with this id, and its time.
    Connection(u32, SocketEvent, Millis),
    /// An event of the operator's socket.
    Operator(Event),
    /// An event of the subscription to the server's events.
    Server(TapEvent),
    /// The server refused a step of the lesson.
    LessonRefused,
}

thread_local! {
    static HANDLER: Cell<Option<fn(Message)>> = const { Cell::new(None) };
}

/// Sets the handler of all messages.
pub(super) fn set_handler(handler: fn(Message)) {
    HANDLER.set(Some(handler));
}

/// Passes a message to the handler.
pub(super) fn dispatch(message: Message) {
    if let Some(handler) = HANDLER.get() {
        handler(message);
    }
}
