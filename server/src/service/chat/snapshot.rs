//! A snapshot of the conversations of one replica, in parts within the limit of a broker.

use std::{collections::BTreeMap, mem::take};

use serde::{Deserialize, Serialize};

use super::{kept::Kept, requests::RemoteOperator};
use crate::connections::replicas::{Added, PartSize};

/// A part of a snapshot of the conversations of one replica.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    /// The last event that the snapshot includes.
    pub(super) sequence: u64,
    /// The number of the part, from 0.
    pub(super) index: u32,
    /// Whether there is no further part.
    pub(super) is_last: bool,
    pub(super) conversations: Vec<Kept>,
    pub(super) operators: Vec<(u64, RemoteOperator)>,
}

/// The parts of a snapshot as of `sequence`, of at most `most` bytes of JSON each, with those of the
/// `operators` of other replicas that the part names.
pub(super) fn parts(
    sequence: u64,
    kept: Vec<Kept>,
    operators: &BTreeMap<u64, RemoteOperator>,
    most: usize,
) -> Vec<Part> {
    let (mut parts, mut last, mut size) = (Vec::new(), Vec::new(), PartSize::new(most));
    for piece in kept.into_iter().flat_map(|kept| kept.split(most)) {
        if size.add(piece.json_size()) == Added::ToNewPart {
            parts.push(take(&mut last));
        }
        last.push(piece);
    }
    parts.push(last);
    let count = parts.len();
    let part = |(index, conversations): (usize, Vec<Kept>)| {
        let named: BTreeMap<_, _> = conversations
            .iter()
            .flat_map(Kept::operators)
            .filter_map(|number| Some((number, *operators.get(&number)?)))
            .collect();
        Part {
            sequence,
            index: u32::try_from(index).unwrap_or(u32::MAX),
            is_last: index + 1 == count,
            conversations,
            operators: named.into_iter().collect(),
        }
    };
    parts.into_iter().enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use echogate_proto::chat::{Author, Conversation, Message};

    use super::*;
    use crate::connections::replicas::ReplicaId;

    fn kept(id: u64, messages: Vec<Message>) -> Kept {
        let total = messages.len() as u64;
        let peer = "[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535".to_owned();
        let (since, waiting_since, ending) = (1_795_781_160.123_456_7, None, None);
        Kept {
            conversation: Conversation { id, peer, since, waiting_since, messages, ending },
            total,
        }
    }

    #[test]
    fn thousands_of_silent_conversations_are_in_parts_of_which_none_is_too_large() {
        for most in [32 << 10, 1 << 20] {
            let silent = (1..10_000).map(|id| kept(id, Vec::new())).collect();
            let parts = parts(7, silent, &BTreeMap::new(), most);
            let last = parts.len() - 1;
            for (index, part) in parts.iter().enumerate() {
                assert!(serde_json::to_vec(part).unwrap().len() < most, "part {index}");
                assert_eq!((part.index as usize, part.is_last), (index, index == last));
            }
            let ids = parts.iter().flat_map(|part| &part.conversations);
            assert!(ids.map(|it| it.conversation.id).eq(1..10_000));
        }
    }

    #[test]
    fn a_part_names_the_operators_of_its_own_messages() {
        let said = |number| Message { from: Author::Operator(number), at: 0.0, text: "x".into() };
        let replica = ReplicaId::of(1);
        let operators = (0..4000).map(|number| (number, RemoteOperator { replica, number }));
        let conversations = (0..2000).map(|id| kept(id, vec![said(id), said(id)])).collect();
        let parts = parts(7, conversations, &operators.collect(), 32 << 10);
        for part in &parts {
            assert_eq!(part.operators.len(), part.conversations.len());
            assert!(serde_json::to_vec(part).unwrap().len() < 32 << 10);
        }
    }
}
