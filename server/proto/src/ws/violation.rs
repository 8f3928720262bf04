//! What a client can do wrong, and the Close that answers it.

use thiserror::Error;

use crate::close::CloseCode;

/// A breach of RFC 6455, or of a limit, by the peer. Its text is the reason in the
/// Close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// Section 5.2: no extension was negotiated that would give them a meaning.
    #[error("reserved bits are set in a frame's head")]
    ReservedBits,
    /// Section 5.2: opcodes 3 to 7 and 11 to 15.
    #[error("reserved opcode {0}")]
    ReservedOpcode(u8),
    /// Section 5.1: a client masks every frame.
    #[error("a frame is not masked")]
    Unmasked,
    /// Section 5.5: control frames are not fragmented.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// Section 5.5: a control frame's payload has at most 125 bytes.
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    /// Section 5.2: a length is written in as few bytes as it can be, below 2^63.
    #[error("a frame's length is badly encoded")]
    BadLength,
    /// Section 5.4: a continuation without a message to continue.
    #[error("a continuation frame, but no message to continue")]
    NothingToContinue,
    /// Section 5.4: a message begins inside another.
    #[error("a new message before the end of the last one")]
    MessageInMessage,
    /// Section 8.1: text is UTF-8.
    #[error("a text message is not valid UTF-8")]
    InvalidUtf8,
    /// Section 5.5.1: a Close body has a code of two bytes, or is empty.
    #[error("a Close frame with half a code")]
    ShortClose,
    /// Section 7.4: a code that is never sent.
    #[error("close code {0} may not be sent")]
    BadCloseCode(u16),
    /// Section 5.5.1: the reason is UTF-8.
    #[error("a close reason is not valid UTF-8")]
    InvalidReason,
    /// The limit on a message, in bytes.
    #[error("a message is larger than {0} bytes")]
    TooBig(u64),
}

impl Violation {
    /// The code of the Close frame that answers it.
    pub fn close_code(self) -> CloseCode {
        match self {
            Violation::InvalidUtf8 | Violation::InvalidReason => CloseCode::INVALID_PAYLOAD,
            Violation::TooBig(_) => CloseCode::TOO_BIG,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}
