//! The WebSocket protocol (RFC 6455): frames and messages, for servers and clients.
//!
//! - [`frame`]: opcodes and frame headers
//! - [`mask`]: the masking of a client's payload
//! - `decoder`: a strict decoder from bytes to frames and messages, in either [`Role`]
//! - [`scanner`]: a lenient scanner of frames, for observers
//! - `violation`: violations of the protocol, and their close codes

mod decoder;
pub mod frame;
pub mod mask;
pub mod scanner;
mod violation;

pub use self::{
    decoder::{Control, Decoder, Event},
    frame::{FrameHeader, MessageType, OpCode, Role},
    violation::Violation,
};

/// The name of the subprotocol in which an empty binary message ends one direction of a
/// connection while the other stays open.
pub const HALF_CLOSE: &str = "half-close";
