use echogate_proto::chat::{Author, Ending, Message};

use super::*;

fn conversation(id: u64, waiting_since: Option<f64>) -> Conversation {
    Conversation {
        id,
        peer: format!("127.0.0.1:{id}"),
        since: 0.0,
        waiting_since,
        messages: vec![],
        ending: None,
    }
}

fn welcomed(conversations: Vec<Conversation>) -> Operator {
    let mut operator = Operator::default();
    operator.signing_in();
    operator.apply(ToOperator::Welcome { operator: 3, conversations });
    operator
}

fn said(conversation: u64, from: Author, at: f64) -> ToOperator {
    ToOperator::Said { conversation, message: Message { from, at, text: "hi".into() } }
}

fn order(operator: &Operator) -> Vec<u64> {
    operator.conversations().map(|conversation| conversation.id).collect()
}

#[test]
fn the_longest_wait_comes_first() {
    let mut operator = welcomed(vec![
        conversation(1, None),
        conversation(2, Some(20.0)),
        conversation(3, Some(10.0)),
    ]);
    assert_eq!(order(&operator), [3, 2, 1]);
    assert_eq!(operator.chosen().unwrap().id, 3, "and is selected");
    operator.apply(said(3, Author::Operator(3), 30.0));
    assert_eq!(order(&operator), [2, 1, 3]);
    operator.apply(said(1, Author::Client, 40.0));
    operator.apply(said(1, Author::Client, 50.0));
    assert_eq!(order(&operator), [2, 1, 3], "it waits since it first asked");
    operator.apply(ToOperator::Ended { conversation: 2, ending: Ending::Left });
    assert_eq!(order(&operator), [1, 3, 2]);
}

#[test]
fn unseen_messages_are_marked_until_their_conversation_is_selected() {
    let mut operator = welcomed(vec![conversation(1, None), conversation(2, None)]);
    operator.choose(1);
    operator.apply(said(1, Author::Client, 1.0));
    operator.apply(said(2, Author::Client, 1.0));
    operator.apply(ToOperator::Opened { conversation: conversation(5, None) });
    assert_eq!([1, 2, 5].map(|id| operator.is_unread(id)), [false, true, true]);
    operator.apply(ToOperator::Ended { conversation: 5, ending: Ending::Left });
    assert!(!operator.is_unread(5), "no message is there");
    operator.apply(ToOperator::Ended { conversation: 2, ending: Ending::Left });
    assert!(operator.is_unread(2), "its message was not seen");
    operator.choose(2);
    assert!(!operator.is_unread(2));
    operator.choose(99);
    assert_eq!(operator.chosen().unwrap().id, 2, "there is no such conversation");
}

#[test]
fn an_answer_is_one_line_to_the_selected_conversation() {
    let mut operator = welcomed(vec![conversation(1, Some(1.0))]);
    let say = FromOperator::Say { conversation: 1, text: "a b".into() };
    assert_eq!(operator.say(" a\nb "), Some(say));
    assert_eq!(operator.say("  "), None);
    operator.apply(ToOperator::Ended { conversation: 1, ending: Ending::Client });
    assert_eq!(operator.say("hello?"), None, "it has ended");
}

#[test]
fn a_wrong_token_and_a_lost_connection_are_told_apart() {
    let mut operator = Operator::default();
    operator.signing_in();
    operator.ended(true, "policy".into());
    assert_eq!(operator.sign_in(), &SignIn::WrongToken);
    let mut operator = welcomed(vec![conversation(1, None)]);
    operator.ended(true, "gone".into());
    assert_eq!(operator.sign_in(), &SignIn::Disconnected("gone".into()));
    assert_eq!(order(&operator), [1], "the messages can still be read");
    assert_eq!(operator.say("x"), None);
}

#[test]
fn conversations_are_bounded_and_ended_ones_are_removed_first() {
    let mut operator =
        welcomed((0..Operator::MAX as u64).map(|id| conversation(id, None)).collect());
    operator.apply(ToOperator::Ended { conversation: 7, ending: Ending::Client });
    operator.apply(ToOperator::Opened { conversation: conversation(900, None) });
    assert_eq!(operator.conversations().count(), Operator::MAX);
    assert!(!order(&operator).contains(&7));
}
