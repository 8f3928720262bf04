//! The bytes of actions. Frames of a client are masked.

use bytes::Bytes;
use echogate_proto::{
    recording::Direction,
    ws::{
        OpCode,
        frame::{FrameHeader, control_frame, masked_frame},
    },
};

use crate::{gateway::masking_key, recording::model::Action};

/// The bytes of an action of the end that sends in the direction `own`. [`Action::End`] and
/// [`Action::Reset`] have none.
pub(super) fn encode(action: &Action, own: Direction) -> Bytes {
    match action {
        Action::Bytes(bytes) | Action::Datagram(bytes) => bytes.clone(),
        Action::Message { is_text, payload } => {
            let opcode = if *is_text { OpCode::Text } else { OpCode::Binary };
            if own == Direction::ToServer {
                return masked_frame(opcode, payload, masking_key::next()).into();
            }
            let header = FrameHeader::new(opcode, true, payload.len() as u64);
            [header.as_bytes(), payload].concat().into()
        }
        Action::Ping(payload) => control(OpCode::Ping, payload, own),
        Action::Pong(payload) => control(OpCode::Pong, payload, own),
        Action::Close { code: None, .. } => control(OpCode::Close, &[], own),
        Action::Close { code: Some(code), reason } => {
            let payload = [&code.to_be_bytes()[..], reason.as_bytes()].concat();
            control(OpCode::Close, &payload, own)
        }
        Action::End | Action::Reset => Bytes::new(),
    }
}

/// A control frame.
pub(super) fn control(opcode: OpCode, payload: &[u8], own: Direction) -> Bytes {
    match own {
        Direction::ToServer => masked_frame(opcode, payload, masking_key::next()).into(),
        Direction::ToClient => control_frame(opcode, payload).into(),
    }
}
