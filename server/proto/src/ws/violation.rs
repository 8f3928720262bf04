//! Violations of RFC 6455, and the close code that answers each.

use thiserror::Error;

use crate::close::CloseCode;

/// A violation of RFC 6455, or of a limit, by the peer. Its text is the reason in the Close
/// frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// Section 5.2: no extension was negotiated that defines these bits.
    #[error("reserved bits are set in a frame's head")]
    ReservedBits,
    /// Section 5.2: opcodes 3 to 7 and 11 to 15.
    #[error("reserved opcode {0}")]
    ReservedOpcode(u8),
    /// Section 5.1: a client must mask every frame.
    #[error("a frame is not masked")]
    Unmasked,
    /// Section 5.1: a server must not mask any frame.
    #[error("a frame is masked")]
    Masked,
    /// Section 5.5: a control frame must not be fragmented.
    #[error("a control frame is fragmented")]
    FragmentedControl,
    /// Section 5.5: a control frame's payload has at most 125 bytes.
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    /// Section 5.2: a length must use the shortest encoding, and be below 2^63.
    #[error("a frame's length is badly encoded")]
    BadLength,
    /// Section 5.4: a continuation frame outside a fragmented message.
    #[error("a continuation frame, but no message to continue")]
    NothingToContinue,
    /// Section 5.4: a new message inside a fragmented one.
    #[error("a new message before the end of the last one")]
    MessageInMessage,
    /// Section 8.1: a text message must be valid UTF-8.
    #[error("a text message is not valid UTF-8")]
    InvalidUtf8,
    /// Section 5.5.1: a Close body is empty or begins with a code of two bytes.
    #[error("a Close frame with half a code")]
    ShortClose,
    /// Section 7.4: a code that must not be sent.
    #[error("close code {0} may not be sent")]
    BadCloseCode(u16),
    /// Section 5.5.1: the reason must be valid UTF-8.
    #[error("a close reason is not valid UTF-8")]
    InvalidReason,
    /// A message beyond the limit, in bytes.
    #[error("a message is larger than {0} bytes")]
    TooBig(u64),
}

impl Violation {
    /// The code of the Close frame that answers this violation.
    pub fn close_code(self) -> CloseCode {
        match self {
            Violation::InvalidUtf8 | Violation::InvalidReason => CloseCode::INVALID_PAYLOAD,
            Violation::TooBig(_) => CloseCode::TOO_BIG,
            _ => CloseCode::PROTOCOL_ERROR,
        }
    }
}
