//! What one WebSocket message carries.

use std::sync::Arc;

/// The payload of one message. Cheap to clone: the bytes are shared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// A text message.
    Text(Arc<str>),
    /// A binary message.
    Binary(Arc<[u8]>),
}

impl Payload {
    /// The bytes that travel.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Payload::Text(text) => text.as_bytes(),
            Payload::Binary(bytes) => bytes,
        }
    }

    /// How many bytes travel.
    pub fn len(&self) -> usize {
        self.bytes().len()
    }

    /// Whether it carries no bytes: a legal message all the same.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message's type, in a word.
    pub fn kind(&self) -> &'static str {
        match self {
            Payload::Text(_) => "text",
            Payload::Binary(_) => "binary",
        }
    }

    /// Whether both are of the same type and length, as a request and its reply are where the
    /// service keeps lengths.
    pub fn is_like(&self, other: &Payload) -> bool {
        self.kind() == other.kind() && self.len() == other.len()
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
