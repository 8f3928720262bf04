//! The script of a peer in a differential test, written by tungstenite.

use std::time::Duration;

use futures_util::{Sink, SinkExt};
use proptest::prelude::*;
use tokio::time::sleep;
use tokio_tungstenite::tungstenite::{
    Error, Message,
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};

use super::pattern;

/// The payload of the Ping after each fragment.
pub(in crate::gateway) const BETWEEN: &[u8] = b"between";

#[derive(Clone, Debug)]
pub(in crate::gateway) enum Step {
    Text(String),
    Binary(Vec<u8>),
    /// A binary message of this length.
    Large(usize),
    /// A message in these fragments, with a Ping after each; text, or else binary.
    Fragments(bool, Vec<String>),
    Ping(Vec<u8>),
    /// Time passes.
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => ".{0,40}".prop_map(Step::Text),
        3 => proptest::collection::vec(any::<u8>(), 0..300).prop_map(Step::Binary),
        1 => (0..140_000_usize).prop_map(Step::Large),
        2 => (any::<bool>(), proptest::collection::vec(".{0,100}", 1..5))
            .prop_map(|(text, parts)| Step::Fragments(text, parts)),
        1 => proptest::collection::vec(any::<u8>(), 0..125).prop_map(Step::Ping),
        1 => (0..50_u8).prop_map(Step::Wait),
    ]
}

/// A script of fewer than `len` steps.
pub(in crate::gateway) fn script(len: usize) -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 0..len)
}

impl Step {
    /// The message of the step, if it has one.
    pub(in crate::gateway) fn message(&self) -> Option<Message> {
        match self {
            Step::Text(text) => Some(Message::text(text)),
            Step::Binary(bytes) => Some(Message::binary(bytes.clone())),
            Step::Large(len) => Some(Message::binary(pattern(*len))),
            Step::Fragments(true, parts) => Some(Message::text(parts.concat())),
            Step::Fragments(false, parts) => Some(Message::binary(parts.concat())),
            Step::Ping(_) | Step::Wait(_) => None,
        }
    }
}

/// Sends the messages of a script.
pub(in crate::gateway) async fn play(
    to: &mut (impl Sink<Message, Error = Error> + Unpin),
    script: Vec<Step>,
) {
    for step in script {
        match step {
            Step::Wait(ms) => sleep(Duration::from_millis(ms.into())).await,
            Step::Ping(payload) => to.send(Message::Ping(payload.into())).await.unwrap(),
            Step::Fragments(text, parts) => {
                let last = parts.len() - 1;
                for (i, part) in parts.into_iter().enumerate() {
                    let opcode = match (i, text) {
                        (0, true) => Data::Text,
                        (0, false) => Data::Binary,
                        _ => Data::Continue,
                    };
                    let frame = Frame::message(part, OpCode::Data(opcode), i == last);
                    to.send(Message::Frame(frame)).await.unwrap();
                    to.send(Message::Ping(BETWEEN.into())).await.unwrap();
                }
            }
            step => to.send(step.message().expect("a message")).await.unwrap(),
        }
    }
}
