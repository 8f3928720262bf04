//! A row of the transcript.

use crate::{
    close_reason::CloseReason,
    i18n::{Texts, fill},
    payload::Payload,
    time::Millis,
};

/// One row of the transcript.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The row's number, counted from 0 over the life of the transcript.
    pub id: u64,
    /// The time of the event.
    pub at: Millis,
    /// The event.
    pub kind: EntryKind,
}

/// The event that a row shows.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryKind {
    /// A message sent by the page, and its delivery.
    Sent(Payload, Delivery),
    /// A received message that is no reply.
    Received(Payload),
    /// The connection opened.
    Opened {
        /// The URL.
        url: String,
        /// The subprotocol, empty for none.
        protocol: String,
    },
    /// One side has finished sending and goes on receiving.
    HalfClosed {
        /// Whether this side has, not the peer.
        by_us: bool,
    },
    /// The connection ended, or could not be opened.
    Ended(CloseReason),
}

/// The progress of a sent message.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// In the page's queue: the browser holds enough unsent bytes.
    Queued,
    /// Handed to the browser; no reply yet.
    Sent,
    /// Answered.
    Answered {
        /// The reply.
        reply: Payload,
        /// The time since the message was handed to the browser.
        round_trip: Millis,
    },
    /// There was no reply, and none is expected any more.
    Unanswered,
    /// The connection ended before the message was sent.
    NotSent,
}

impl EntryKind {
    /// The sent message.
    pub fn sent(&self) -> Option<&Payload> {
        match self {
            EntryKind::Sent(payload, _) => Some(payload),
            _ => None,
        }
    }

    /// The received message.
    pub fn received(&self) -> Option<&Payload> {
        match self {
            EntryKind::Sent(_, Delivery::Answered { reply, .. }) => Some(reply),
            EntryKind::Received(payload) => Some(payload),
            _ => None,
        }
    }

    /// The round trip of the reply.
    pub fn round_trip(&self) -> Option<Millis> {
        match self {
            EntryKind::Sent(_, Delivery::Answered { round_trip, .. }) => Some(*round_trip),
            _ => None,
        }
    }

    /// The reason why there is no reply, shown in its place.
    pub fn remark(&self, texts: &Texts) -> Option<&'static str> {
        match self {
            EntryKind::Sent(_, Delivery::Queued) => Some(texts.waiting_to_be_sent),
            EntryKind::Sent(_, Delivery::Sent) => Some(texts.no_reply_yet),
            EntryKind::Sent(_, Delivery::Unanswered) => Some(texts.no_reply),
            EntryKind::Sent(_, Delivery::NotSent) => Some(texts.not_sent),
            _ => None,
        }
    }

    /// The text of a row about the connection; `None` for messages.
    pub fn sentence(&self, texts: &Texts) -> Option<String> {
        match self {
            EntryKind::Opened { url, protocol } if protocol.is_empty() => {
                Some(fill(texts.connected_to, &[url]))
            }
            EntryKind::Opened { url, protocol } => {
                Some(fill(texts.connected_protocol, &[url, protocol]))
            }
            EntryKind::HalfClosed { by_us: true } => Some(texts.we_half_closed.to_owned()),
            EntryKind::HalfClosed { by_us: false } => Some(texts.they_half_closed.to_owned()),
            EntryKind::Ended(cause) => Some(cause.sentences(texts)),
            EntryKind::Sent(..) | EntryKind::Received(_) => None,
        }
    }

    /// A number that rises whenever the row's content changes.
    pub fn revision(&self) -> u8 {
        match self {
            EntryKind::Sent(_, Delivery::Queued) => 0,
            EntryKind::Sent(_, Delivery::Sent) => 1,
            _ => 2,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            EntryKind::Sent(payload, delivery) => payload.len() + delivery.bytes(),
            EntryKind::Received(payload) => payload.len(),
            EntryKind::Opened { .. } | EntryKind::HalfClosed { .. } | EntryKind::Ended(_) => 0,
        }
    }
}

impl Delivery {
    pub(super) fn bytes(&self) -> usize {
        match self {
            Delivery::Answered { reply, .. } => reply.len(),
            _ => 0,
        }
    }
}
