//! A row of the transcript.

use crate::{
    close_reason::CloseReason,
    format,
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
    /// A received message, and the message that it answers if that is known.
    Received(Payload, Option<Answer>),
    /// The connection opened.
    Opened {
        /// The URL.
        url: String,
        /// The subprotocol, empty for none.
        protocol: String,
        /// Whether the peer refused the client by a Close frame right after the opening handshake.
        /// [`Transcript::push`](super::Transcript::push) determines it.
        refused: bool,
    },
    /// One side has finished sending and goes on receiving.
    HalfClosed {
        /// Whether this side has finished sending, not the peer.
        by_us: bool,
    },
    /// The connection ended, or could not be opened.
    Ended(CloseReason),
    /// An event from the server's view of a connection, which a page does not see on its own ones.
    Observed(Observed),
}

/// An event of a connection as the server sees it, apart from messages. A direction is that of the
/// client's messages or of those to the client.
#[derive(Clone, Debug, PartialEq)]
pub enum Observed {
    /// A Ping frame.
    Ping(Direction, Payload),
    /// A Pong frame.
    Pong(Direction, Payload),
    /// A Close frame, with its code if it has one, and its reason.
    Close(Direction, Option<u16>, String),
    /// The end of one direction: FIN, or close_notify with TLS.
    EndOfInput(Direction),
    /// A reset, or a failure of the connection.
    Reset(Direction),
    /// The number of events, and of their bytes, that are missing because the observer was slower
    /// than the connection.
    Lost(u64, u64),
    /// Bytes that passed before the first event.
    Before(u64),
    /// The end, in the server's words.
    Closed(String),
}

/// The message that a received one answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Answer {
    /// The row of the message.
    pub row: u64,
    /// The time since the socket sent that message.
    pub round_trip: Millis,
}

/// The direction of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the page.
    Sent,
    /// To the page.
    Received,
}

/// The progress of a sent message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Sent; the pairing of the connection expects no reply.
    Sent,
    /// Sent; no reply yet.
    Awaiting,
    /// Answered by the message in this row.
    Answered(u64),
    /// There was no reply, and none is expected any more.
    Unanswered,
    /// The connection ended before the message was sent.
    NotSent,
}

impl EntryKind {
    /// The message, and its direction.
    pub fn message(&self) -> Option<(Direction, &Payload)> {
        match self {
            EntryKind::Sent(payload, _) => Some((Direction::Sent, payload)),
            EntryKind::Received(payload, _) => Some((Direction::Received, payload)),
            _ => None,
        }
    }

    /// Whether the event happened on the connection: a message that was not sent did not.
    pub fn was_on_the_wire(&self) -> bool {
        !matches!(self, EntryKind::Sent(_, Delivery::NotSent))
    }

    /// The row of the other message of the exchange.
    pub fn partner(&self) -> Option<u64> {
        match self {
            EntryKind::Sent(_, Delivery::Answered(row)) => Some(*row),
            EntryKind::Received(_, Some(Answer { row, .. })) => Some(*row),
            _ => None,
        }
    }

    /// The round trip of a reply.
    pub fn round_trip(&self) -> Option<Millis> {
        match self {
            EntryKind::Received(_, answer) => answer.map(|answer| answer.round_trip),
            _ => None,
        }
    }

    /// The state of a message that has not been sent, or whose reply has not come.
    pub fn remark(&self, texts: &Texts) -> Option<&'static str> {
        match self {
            EntryKind::Sent(_, Delivery::Awaiting) => Some(texts.no_reply_yet),
            EntryKind::Sent(_, Delivery::Unanswered) => Some(texts.no_reply),
            EntryKind::Sent(_, Delivery::NotSent) => Some(texts.not_sent),
            _ => None,
        }
    }

    /// The text of a row about the connection; `None` for messages.
    pub fn sentence(&self, texts: &Texts) -> Option<String> {
        match self {
            EntryKind::Opened { url, refused: true, .. } => {
                Some(fill(texts.handshake_completed, &[url]))
            }
            EntryKind::Opened { url, protocol, .. } if protocol.is_empty() => {
                Some(fill(texts.connected_to, &[url]))
            }
            EntryKind::Opened { url, protocol, .. } => {
                Some(fill(texts.connected_protocol, &[url, protocol]))
            }
            EntryKind::HalfClosed { by_us: true } => Some(texts.we_half_closed.to_owned()),
            EntryKind::HalfClosed { by_us: false } => Some(texts.they_half_closed.to_owned()),
            EntryKind::Ended(cause) => Some(cause.sentences(texts)),
            EntryKind::Observed(event) => Some(event.sentence(texts)),
            EntryKind::Sent(..) | EntryKind::Received(..) => None,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.message().map_or(0, |(_, payload)| payload.len())
    }
}

impl Observed {
    fn sentence(&self, texts: &Texts) -> String {
        let sender = |direction: &Direction| match direction {
            Direction::Sent => texts.by_client,
            Direction::Received => texts.by_server,
        };
        let bytes = |payload: &Payload| texts.bytes(payload.len() as u64);
        match self {
            Observed::Ping(from, payload) => {
                fill(texts.seen_ping, &[sender(from), &bytes(payload)])
            }
            Observed::Pong(from, payload) => {
                fill(texts.seen_pong, &[sender(from), &bytes(payload)])
            }
            Observed::Close(from, code, reason) => {
                let code = code.map_or_else(|| texts.no_code.to_owned(), |code| code.to_string());
                let text = fill(texts.seen_close, &[sender(from), &code]);
                if reason.is_empty() { text } else { format!("{text} \"{reason}\"") }
            }
            Observed::EndOfInput(from) => fill(texts.seen_end, &[sender(from)]),
            Observed::Reset(from) => fill(texts.seen_reset, &[sender(from)]),
            Observed::Lost(events, bytes) => texts.lost(*events, *bytes),
            Observed::Before(bytes) => fill(texts.seen_before, &[&format::size(*bytes)]),
            Observed::Closed(reason) => fill(texts.seen_closed, &[&texts.reason(reason)]),
        }
    }
}
