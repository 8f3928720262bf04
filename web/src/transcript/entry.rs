//! A row of the transcript: what happened, and what became of it.

use crate::{ending::Ending, payload::Payload, time::Millis, words::Words};

/// One row of the transcript.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number, counted from 0 over the life of the transcript.
    pub id: u64,
    /// When it began.
    pub at: Millis,
    /// What happened.
    pub what: What,
}

/// What a row tells of.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A message that was sent from here, and what became of it.
    Sent(Payload, Fate),
    /// A message that answers none of ours.
    Received(Payload),
    /// The connection opened, with this subprotocol (often none).
    Opened {
        /// Where to.
        url: String,
        /// What was agreed; empty for none.
        protocol: String,
    },
    /// One side has nothing more to send, and goes on reading.
    HalfClosed {
        /// Whether it is this side.
        by_us: bool,
    },
    /// The connection ended, or never was.
    Ended(Ending),
}

/// What became of a message that was sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// The browser has not taken it yet: it holds enough that is not sent.
    Queued,
    /// On its way; no reply yet.
    Sent,
    /// Answered.
    Answered {
        /// With what.
        reply: Payload,
        /// How long after it was handed to the browser.
        round_trip: Millis,
    },
    /// No reply came, and none will.
    Unanswered,
    /// The connection ended before it could be sent.
    NotSent,
}

impl What {
    /// The message that went out.
    pub fn sent(&self) -> Option<&Payload> {
        match self {
            What::Sent(payload, _) => Some(payload),
            _ => None,
        }
    }

    /// The message that came in.
    pub fn received(&self) -> Option<&Payload> {
        match self {
            What::Sent(_, Fate::Answered { reply, .. }) => Some(reply),
            What::Received(payload) => Some(payload),
            _ => None,
        }
    }

    /// How long the reply took.
    pub fn round_trip(&self) -> Option<Millis> {
        match self {
            What::Sent(_, Fate::Answered { round_trip, .. }) => Some(*round_trip),
            _ => None,
        }
    }

    /// In place of a reply: why there is none.
    pub fn remark(&self, words: &Words) -> Option<&'static str> {
        match self {
            What::Sent(_, Fate::Queued) => Some(words.waiting_to_be_sent),
            What::Sent(_, Fate::Sent) => Some(words.no_reply_yet),
            What::Sent(_, Fate::Unanswered) => Some(words.no_reply),
            What::Sent(_, Fate::NotSent) => Some(words.not_sent),
            _ => None,
        }
    }

    /// Goes up whenever the row's content changes.
    pub fn stage(&self) -> u8 {
        match self {
            What::Sent(_, Fate::Queued) => 0,
            What::Sent(_, Fate::Sent) => 1,
            _ => 2,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            What::Sent(payload, fate) => payload.len() + fate.bytes(),
            What::Received(payload) => payload.len(),
            What::Opened { .. } | What::HalfClosed { .. } | What::Ended(_) => 0,
        }
    }
}

impl Fate {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Fate::Answered { reply, .. } => reply.len(),
            _ => 0,
        }
    }
}
