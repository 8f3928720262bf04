//! WebSocket frames (RFC 6455 section 5) as a server reads and writes them.
//!
//! - [`frame`]: opcodes and the heads of frames
//! - [`mask`]: the masking of a client's payload
//! - [`decoder`]: a client's bytes, in any pieces, into frames and messages, strictly
//! - [`violation`]: what a client can do wrong, and the Close that answers it

pub mod decoder;
pub mod frame;
pub mod mask;
pub mod violation;

pub use self::{
    decoder::{Control, Decoder, Event},
    frame::{Head, Kind, OpCode},
    violation::Violation,
};
