//! A conversation with the messages that its client's replica keeps, in pieces for other replicas.

use std::mem::{replace, take};

use echogate_proto::chat::{Author, Conversation, Ending, Message};
use serde::{Deserialize, Serialize};

use crate::connections::replicas::{Added, PartSize};

/// The maximum number of messages that are kept of a conversation: the latest.
pub(super) const HISTORY: usize = 200;

/// The memory for the messages of all conversations, in bytes: 4 MiB. An operator that connects
/// receives all of them in one message, and clients such as the page accept at most 16 MiB.
pub(super) const HISTORY_BYTES: usize = 4 << 20;

/// The maximum size in JSON of a conversation without its texts, and of the operator that ended the
/// conversation, in bytes.
const CONVERSATION: usize = 320;

/// The maximum size in JSON of a message without its text, and of its author, in bytes.
const MESSAGE: usize = 200;

/// A conversation, and the number of all its messages, kept or not.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(super) conversation: Conversation,
    pub(super) total: u64,
}

impl Kept {
    /// The maximum size of the conversation in JSON, in bytes.
    pub(super) fn json_size(&self) -> usize {
        let messages = self.conversation.messages.iter();
        self.json_size_without_messages() + messages.map(json_size).sum::<usize>()
    }

    fn json_size_without_messages(&self) -> usize {
        CONVERSATION + json_text(&self.conversation.peer)
    }

    /// Splits the conversation into pieces of at most `most` bytes of JSON each. The last one has the
    /// ending. A message that does not fit into a piece is left out; `total` counts it.
    pub(super) fn split(mut self, most: usize) -> Vec<Kept> {
        let messages = take(&mut self.conversation.messages);
        let ending = self.conversation.ending.take();
        let room = most.saturating_sub(self.json_size_without_messages());
        let piece = |total: u64| Kept { conversation: self.conversation.clone(), total };
        let mut last = piece(self.total.saturating_sub(messages.len() as u64));
        let (mut pieces, mut size) = (Vec::new(), PartSize::new(room));
        for message in messages {
            let (bytes, total) = (json_size(&message), last.total + 1);
            if bytes > room {
                pieces.push(replace(&mut last, piece(total)));
                size = PartSize::new(room);
                continue;
            }
            if size.add(bytes) == Added::ToNewPart {
                let next = piece(last.total);
                pieces.push(replace(&mut last, next));
            }
            last.total = total;
            last.conversation.messages.push(message);
        }
        last.conversation.ending = ending;
        pieces.push(last);
        pieces
    }

    /// The numbers of the operators that the conversation names.
    pub(super) fn operators(&self) -> impl Iterator<Item = u64> {
        let ended = match self.conversation.ending {
            Some(Ending::Operator(number)) => Some(number),
            _ => None,
        };
        self.conversation.messages.iter().filter_map(author).chain(ended)
    }
}

/// The operator that wrote a message, unless its client did.
pub(super) fn author(message: &Message) -> Option<u64> {
    match message.from {
        Author::Operator(number) => Some(number),
        Author::Client => None,
    }
}

/// The memory that a message takes, in bytes.
pub(super) fn size(message: &Message) -> usize {
    size_of::<Message>() + message.text.len()
}

fn json_size(message: &Message) -> usize {
    MESSAGE + json_text(&message.text)
}

/// The maximum size in JSON of a text without control characters other than tabs, in bytes.
fn json_text(text: &str) -> usize {
    2 * text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: u64) -> Message {
        Message { from: Author::Client, at: 0.0, text: format!("{number} {}", "x".repeat(1000)) }
    }

    fn kept(messages: Vec<Message>, total: u64) -> Kept {
        let (peer, waiting_since, ending) = ("a".to_owned(), None, Some(Ending::Left));
        let conversation =
            Conversation { id: 7, peer, since: 0.0, waiting_since, messages, ending };
        Kept { conversation, total }
    }

    #[test]
    fn the_pieces_of_a_conversation_have_its_messages_in_order_and_their_positions() {
        let pieces = kept((10..30).map(message).collect(), 30).split(7000);
        assert!(pieces.len() > 5, "{}", pieces.len());
        let mut next = 10;
        for (index, piece) in pieces.iter().enumerate() {
            assert!(piece.json_size() <= 7000, "{}", piece.json_size());
            for said in &piece.conversation.messages {
                assert_eq!(*said, message(next));
                next += 1;
            }
            assert_eq!(piece.total, next);
            assert_eq!(piece.conversation.ending.is_some(), index == pieces.len() - 1);
        }
        assert_eq!(next, 30);
    }

    #[test]
    fn a_message_that_is_too_large_is_left_out_as_one_that_is_not_kept() {
        let mut messages: Vec<_> = (0..5).map(message).collect();
        messages[2].text = "x".repeat(10_000);
        let pieces = kept(messages, 5).split(7000);
        let positions = pieces.iter().map(|it| (it.total, it.conversation.messages.len()));
        assert_eq!(positions.collect::<Vec<_>>(), [(2, 2), (5, 2)]);
    }

    #[test]
    fn the_size_in_json_is_not_more_than_is_counted() {
        let from = Author::Operator(u64::MAX);
        let said = Message { from, at: 1_795_781_160.123_456_7, text: "\"\\\t".repeat(100) };
        let mut kept = kept(vec![said; 100], u64::MAX);
        kept.conversation.waiting_since = Some(1_795_781_160.123_456_7);
        kept.conversation.ending = Some(Ending::Operator(u64::MAX));
        assert!(serde_json::to_vec(&kept).unwrap().len() < kept.json_size());
    }
}
