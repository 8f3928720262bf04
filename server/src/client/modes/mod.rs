//! The modes of `echogate connect`.
//!
//! - `pipe`: bytes from the standard input, bytes to the standard output
//! - `messages`: messages from a prompt, the lines of the input or a clock

pub(super) mod messages;
pub(super) mod pipe;

use self::{messages::Messages, pipe::Pipe};

/// The use of the connection.
#[derive(Debug)]
pub(super) enum Mode {
    Pipe(Pipe),
    Messages(Box<Messages>),
}
