//! The pairing of received messages with sent ones, by a rule that belongs to the connection.

use std::collections::VecDeque;

use crate::{exchanges::Position, json::Json, payload::Payload, time::Millis};

/// The rule by which received messages are paired with sent ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pairing {
    /// None: nothing is known about the replies of the service.
    #[default]
    None,
    /// The message received next answers the latest message sent.
    Next,
    /// Replies come in the order of the messages.
    Order,
    /// A reply has the type and the length of its message, and replies come in order.
    Length,
    /// A reply has the same value as its message in this member of a JSON object.
    Field(String),
}

/// A message whose reply is outstanding.
#[derive(Clone, Debug, PartialEq)]
pub struct Awaited {
    /// The row of the message.
    pub row: u64,
    /// The time at which the user sent the message; `None` if another rule applied then.
    pub asked: Option<Millis>,
    /// The time at which the socket sent the message.
    pub sent: Millis,
    /// The bytes sent over the connection, this message included.
    pub position: Position,
    /// Whether other replies were outstanding at that time: the message may wait for others.
    pub overlaps: bool,
    mark: Mark,
}

/// The property by which a reply is recognised.
#[derive(Clone, Debug, PartialEq)]
enum Mark {
    Any,
    Shape { is_text: bool, length: usize },
    Value(Json),
}

/// The messages whose replies are outstanding.
#[derive(Debug, Default)]
pub struct Pairs {
    rule: Pairing,
    /// In the order in which they were sent.
    awaited: VecDeque<Awaited>,
    given_up: Vec<u64>,
}

impl Pairing {
    /// The member of JSON objects that requests and replies usually have in common (JSON-RPC 2.0
    /// section 4).
    pub const USUAL_FIELD: &str = "id";

    /// The rule's name in program text.
    pub fn name(&self) -> &'static str {
        match self {
            Pairing::None => "none",
            Pairing::Next => "next",
            Pairing::Order => "order",
            Pairing::Length => "length",
            Pairing::Field(_) => "field",
        }
    }

    /// The rule of this name, with the usual field where it needs one.
    pub fn of_name(name: &str) -> Option<Pairing> {
        let field = Pairing::Field(Self::USUAL_FIELD.to_owned());
        [Pairing::None, Pairing::Next, Pairing::Order, Pairing::Length, field]
            .into_iter()
            .find(|rule| rule.name() == name)
    }

    /// Whether a reply may repeat its message, byte for byte, so that a comparison has a meaning.
    pub fn compares(&self) -> bool {
        matches!(self, Pairing::Order | Pairing::Length)
    }

    /// The property by which a reply to this message, or of the same exchange as this reply, is
    /// recognised; `None` if the message takes part in no exchange.
    fn mark(&self, payload: &Payload) -> Option<Mark> {
        match self {
            Pairing::None => None,
            Pairing::Next | Pairing::Order => Some(Mark::Any),
            Pairing::Length => {
                let is_text = matches!(payload, Payload::Text(_));
                Some(Mark::Shape { is_text, length: payload.len() })
            }
            Pairing::Field(name) => {
                let json = Json::read(payload.as_text()?)?;
                json.get(name).filter(|value| **value != Json::Null).cloned().map(Mark::Value)
            }
        }
    }
}

impl Pairs {
    /// The most outstanding replies; beyond it the oldest is given up.
    pub const MAX: usize = 1000;

    /// No outstanding replies, with this rule.
    pub fn new(rule: Pairing) -> Pairs {
        Pairs { rule, ..Pairs::default() }
    }

    /// The rule.
    pub fn rule(&self) -> &Pairing {
        &self.rule
    }

    /// The number of outstanding replies.
    pub fn len(&self) -> usize {
        self.awaited.len()
    }

    /// Whether no reply is outstanding.
    pub fn is_empty(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Adds the message of a row, which the socket sent at this time; returns it if a reply is
    /// expected.
    pub fn sent(&mut self, row: u64, payload: &Payload, sent: Millis) -> Option<&mut Awaited> {
        let mark = self.rule.mark(payload)?;
        let (position, overlaps) = (Position::default(), !self.awaited.is_empty());
        self.awaited.push_back(Awaited { row, asked: None, sent, position, overlaps, mark });
        if self.awaited.len() > Self::MAX {
            self.give_up(1);
        }
        self.awaited.back_mut()
    }

    /// The message that a received one answers. Messages whose replies cannot come any more are given
    /// up.
    pub fn received(&mut self, payload: &Payload) -> Option<Awaited> {
        let mark = self.rule.mark(payload)?;
        let fits = |awaited: &Awaited| awaited.mark == mark;
        let at = match self.rule {
            Pairing::Next => self.awaited.len().checked_sub(1)?,
            _ => self.awaited.iter().position(fits)?,
        };
        if matches!(self.rule, Pairing::Field(_)) {
            return self.awaited.remove(at);
        }
        self.give_up(at);
        self.awaited.pop_front()
    }

    /// Gives up all outstanding replies, as at the end of the connection.
    pub fn give_up_all(&mut self) {
        self.give_up(self.awaited.len());
    }

    /// The rows of the messages that were given up since the last call.
    pub fn take_given_up(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.given_up)
    }

    fn give_up(&mut self, oldest: usize) {
        self.given_up.extend(self.awaited.drain(..oldest).map(|awaited| awaited.row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rows that received messages answer after these were sent, and the rows given up.
    fn answers(rule: Pairing, sent: &[&str], received: &[&str]) -> (Vec<Option<u64>>, Vec<u64>) {
        let mut pairs = Pairs::new(rule);
        for (row, text) in (0..).zip(sent) {
            pairs.sent(row, &Payload::from(*text), 0.0);
        }
        let answer = |text: &&str| pairs.received(&Payload::from(*text)).map(|it| it.row);
        let answers = received.iter().map(answer).collect();
        (answers, pairs.take_given_up())
    }

    #[test]
    fn without_a_rule_nothing_is_paired() {
        assert_eq!(answers(Pairing::None, &["a"], &["A"]), (vec![None], vec![]));
        assert_eq!(Pairs::default().sent(0, &"a".into(), 0.0), None);
    }

    #[test]
    fn replies_in_order_answer_the_oldest_message() {
        let all = (vec![Some(0), Some(1), None], vec![]);
        assert_eq!(answers(Pairing::Order, &["a", "b"], &["1", "22", "3"]), all);
    }

    #[test]
    fn the_next_message_answers_the_latest_and_the_others_are_given_up() {
        let all = (vec![Some(2), None], vec![0, 1]);
        assert_eq!(answers(Pairing::Next, &["a", "b", "c"], &["1", "2"]), all);
    }

    #[test]
    fn replies_of_the_same_length_skip_messages_of_another_one() {
        let all = (vec![None, Some(1), None], vec![0]);
        assert_eq!(answers(Pairing::Length, &["a", "bb"], &["333", "BB", "A"]), all);
        let mut pairs = Pairs::new(Pairing::Length);
        pairs.sent(0, &"a".into(), 0.0);
        assert_eq!(pairs.received(&vec![b'A'].into()), None, "a binary message answers no text");
    }

    #[test]
    fn a_json_member_pairs_replies_in_any_order() {
        let sent = [r#"{"id":1}"#, r#"{"id":"x","a":[]}"#, r#"{"event":1}"#, "no JSON"];
        let received = [r#"{"id":"x"}"#, r#"{"id":2}"#, r#"{"id":null}"#, r#"{"ok":1,"id":1}"#];
        let all = (vec![Some(1), None, None, Some(0)], vec![]);
        assert_eq!(answers(Pairing::Field("id".to_owned()), &sent, &received), all);
    }

    fn any_rule() -> impl Strategy<Value = Pairing> {
        prop_oneof![
            Just(Pairing::None),
            Just(Pairing::Next),
            Just(Pairing::Order),
            Just(Pairing::Length),
            Just(Pairing::Field("id".to_owned())),
        ]
    }

    proptest! {
        #[test]
        fn every_message_is_answered_given_up_or_outstanding_once(
            rule in any_rule(),
            events in prop::collection::vec((any::<bool>(), 0..4u8), 0..60),
        ) {
            let mut pairs = Pairs::new(rule);
            let (mut expected, mut settled) = (Vec::new(), Vec::new());
            for (row, (is_sent, n)) in (0..).zip(events) {
                let json = format!("{{\"id\":{}}}", 10u32.pow(n.into()));
                let payload = Payload::from(&*json);
                if is_sent {
                    expected.extend(pairs.sent(row, &payload, 0.0).map(|it| it.row));
                } else if let Some(awaited) = pairs.received(&payload) {
                    prop_assert!(awaited.row < row);
                    settled.push(awaited.row);
                }
            }
            settled.extend(pairs.take_given_up());
            pairs.give_up_all();
            settled.extend(pairs.take_given_up());
            settled.sort_unstable();
            prop_assert_eq!(settled, expected);
        }
    }
}
