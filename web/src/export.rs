//! Files of transcripts.
//!
//! - [`jsonl`]: JSON Lines in the form of the server's recordings, written and read
//! - [`reader`]: the events of recordings and taps as rows
//! - [`har`]: an HTTP archive, written for browsers' developer tools

pub mod har;
pub mod jsonl;
pub mod reader;

use crate::{
    close_reason::Outcome,
    transcript::{Entry, EntryKind, Observed, Transcript},
};

/// The reasons of `closed` events.
const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Rejected, "URL rejected by the browser"),
    (Outcome::Cancelled, "cancelled by the page"),
    (Outcome::NotOpened, "opening handshake failed"),
    (Outcome::ClosedHere, "closed by the page"),
    (Outcome::ClosedHereUnanswered, "closed by the page, no Close frame from the server"),
    (Outcome::ClosedByPeer, "closed by the server"),
    (Outcome::Lost, "connection lost, no Close frame"),
];

/// The rows of a transcript, each with the number of its connection, from 1. Messages that were not
/// sent are left out.
fn numbered(transcript: &Transcript) -> impl Iterator<Item = (u64, &Entry)> {
    let (mut connection, mut is_open) = (0, false);
    transcript.rows().filter(|entry| entry.kind.was_on_the_wire()).map(move |entry| {
        let begins = matches!(entry.kind, EntryKind::Opened { .. });
        connection += u64::from(begins || !is_open);
        is_open =
            !matches!(entry.kind, EntryKind::Ended(_) | EntryKind::Observed(Observed::Closed(_)));
        (connection, entry)
    })
}
