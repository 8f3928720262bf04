//! A conversation as its replica keeps it, for the others of a cluster.

use echogate_proto::chat::{Conversation, Message};
use serde::{Deserialize, Serialize};

/// A conversation, and the number of its messages, those that are not kept any more included.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(super) conversation: Conversation,
    pub(super) total: u64,
}

impl Kept {
    /// The bytes of its text.
    pub(super) fn size(&self) -> usize {
        let messages = &self.conversation.messages;
        self.conversation.peer.len() + messages.iter().map(size).sum::<usize>()
    }

    /// Pieces of at most `bytes` each, and one message more. The last one has the ending.
    pub(super) fn split(mut self, bytes: usize) -> Vec<Kept> {
        let messages = std::mem::take(&mut self.conversation.messages);
        let ending = self.conversation.ending.take();
        let piece = |before: u64| Kept { conversation: self.conversation.clone(), total: before };
        let mut pieces = vec![piece(self.total - messages.len() as u64)];
        for message in messages {
            let last = pieces.last_mut().expect("there is at least one");
            if last.size() > bytes {
                let before = last.total;
                pieces.push(piece(before));
            }
            let last = pieces.last_mut().expect("there is at least one");
            last.total += 1;
            last.conversation.messages.push(message);
        }
        pieces.last_mut().expect("there is at least one").conversation.ending = ending;
        pieces
    }
}

/// The memory that a message takes, in bytes.
pub(super) fn size(message: &Message) -> usize {
    size_of::<Message>() + message.text.len()
}

#[cfg(test)]
mod tests {
    use echogate_proto::chat::{Author, Ending};

    use super::*;

    #[test]
    fn the_pieces_of_a_conversation_have_its_messages_in_order_and_their_places() {
        let message = |number: u64| Message {
            from: Author::Client,
            at: 0.0,
            text: format!("{number} {}", "x".repeat(1000)),
        };
        let conversation = Conversation {
            id: 7,
            peer: "a".to_owned(),
            since: 0.0,
            waiting_since: None,
            messages: (10..30).map(message).collect(),
            ending: Some(Ending::Left),
        };
        let pieces = Kept { conversation, total: 30 }.split(3000);
        assert!(pieces.len() > 5, "{}", pieces.len());
        let mut next = 10;
        for (index, piece) in pieces.iter().enumerate() {
            assert!(piece.size() < 4200, "{}", piece.size());
            for said in &piece.conversation.messages {
                assert_eq!(*said, message(next));
                next += 1;
            }
            assert_eq!(piece.total, next);
            assert_eq!(piece.conversation.ending.is_some(), index == pieces.len() - 1);
        }
        assert_eq!(next, 30);
    }
}
