//! Violations of RFC 6455, and the close code that answers each.

use thiserror::Error;

use crate::{
    close::CloseCode,
    reason::{self, fill},
};

/// A violation of RFC 6455, or of a limit, by the peer. Its text is the reason in the Close
/// frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Violation {
    /// Section 5.2: no extension was negotiated that defines these bits.
    #[error("{}", reason::RESERVED_BITS)]
    ReservedBits,
    /// Section 5.2: opcodes 3 to 7 and 11 to 15.
    #[error("{}", fill(reason::RESERVED_OPCODE, &[.0]))]
    ReservedOpcode(u8),
    /// Section 5.1: a client must mask every frame.
    #[error("{}", reason::UNMASKED)]
    Unmasked,
    /// Section 5.1: a server must not mask any frame.
    #[error("{}", reason::MASKED)]
    Masked,
    /// Section 5.5: a control frame must not be fragmented.
    #[error("{}", reason::FRAGMENTED_CONTROL)]
    FragmentedControl,
    /// Section 5.5: a control frame's payload has at most 125 bytes.
    #[error("{}", reason::LONG_CONTROL)]
    LongControl,
    /// Section 5.2: a length must use the shortest encoding, and be below 2^63.
    #[error("{}", reason::BAD_LENGTH)]
    BadLength,
    /// Section 5.4: a continuation frame outside a fragmented message.
    #[error("{}", reason::NOTHING_TO_CONTINUE)]
    NothingToContinue,
    /// Section 5.4: a new message inside a fragmented one.
    #[error("{}", reason::MESSAGE_IN_MESSAGE)]
    MessageInMessage,
    /// Section 8.1: a text message must be valid UTF-8.
    #[error("{}", reason::INVALID_TEXT)]
    InvalidUtf8,
    /// Section 5.5.1: a Close body is empty or begins with a code of two bytes.
    #[error("{}", reason::SHORT_CLOSE)]
    ShortClose,
    /// Section 7.4: a code that must not be sent.
    #[error("{}", fill(reason::BAD_CLOSE_CODE, &[.0]))]
    BadCloseCode(u16),
    /// Section 5.5.1: the reason must be valid UTF-8.
    #[error("{}", reason::INVALID_REASON)]
    InvalidReason,
    /// A message beyond the limit, in bytes.
    #[error("{}", fill(reason::TOO_BIG, &[.0]))]
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
