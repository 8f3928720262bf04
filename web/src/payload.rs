//! The payload of a WebSocket message.

use std::sync::Arc;

use echogate_proto::recording;

/// The payload of one message. A clone shares the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A text message.
    Text(Arc<str>),
    /// A binary message.
    Binary(Arc<[u8]>),
}

impl Payload {
    /// The bytes on the wire.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Payload::Text(text) => text.as_bytes(),
            Payload::Binary(bytes) => bytes,
        }
    }

    /// The number of bytes on the wire.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether the message is empty, which is legal.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message's type: `text` or `binary`.
    pub fn kind(&self) -> &'static str {
        match self {
            Payload::Text(_) => "text",
            Payload::Binary(_) => "binary",
        }
    }

    /// The message as text: that of a text message, and bytes that are text as recordings define it.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Payload::Text(text) => Some(text),
            Payload::Binary(bytes) => recording::Payload::text(bytes),
        }
    }
}

impl From<&str> for Payload {
    fn from(text: &str) -> Self {
        Payload::Text(text.into())
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Payload::Binary(bytes.into())
    }
}
