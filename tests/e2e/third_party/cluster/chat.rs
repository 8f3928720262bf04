//! `chat` over replicas: clients at one of them, operators at another.

use std::process::Command;

use echogate_proto::chat::{Author, BYE, Ending, ToOperator};
use echogate_tests::{
    http::connect,
    server::{Server, wait_for},
    tcp::write_until_blocked,
};
use nix::sys::signal::Signal;

use super::{Broker, ready, wait_until_ready_says};
use crate::{
    ECHOGATE,
    chat::{Client, Operator, TOKEN, server_with},
};

const QUEUED: &str = "* no operator is online; your message is queued";
const UNREACHABLE: &str =
    "* the operators cannot be reached at the moment; your messages are kept until they can";

/// A replica with `chat`, whose operators know [`TOKEN`].
pub(super) fn replica(broker: &Broker) -> Server {
    server_with(&["--listen", "chat=tcp://127.0.0.1:0", "--cluster", &broker.url()])
}

/// `N` replicas that know each other.
pub(super) fn replicas<const N: usize>(broker: &Broker) -> [Server; N] {
    let replicas = std::array::from_fn(|_| replica(broker));
    replicas.iter().for_each(|it| wait_for_others(it, N - 1));
    replicas
}

fn wait_for_others(replica: &Server, count: usize) {
    wait_until_ready_says(replica, &format!("other replicas: {count}\n"));
}

/// An operator at one replica, of which `others` know.
pub(super) fn operator(at: &Server, others: &[&Server]) -> Operator {
    let operator = Operator::new(at);
    for other in others {
        other.wait_for_metric("echogate_cluster_operators", |count| count > 0);
    }
    operator
}

/// The next event, a conversation that began earlier: its number, and the texts of its messages.
fn opened(operator: &mut Operator) -> (u64, Vec<String>) {
    match operator.receive() {
        ToOperator::Opened { conversation } => {
            let messages = conversation.messages.into_iter().map(|message| message.text);
            (conversation.id, messages.collect())
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_client_at_one_replica_and_an_operator_at_another_talk_until_either_says_bye() {
    let Some(broker) = Broker::start(&[]) else { return };
    let [a, b] = replicas(&broker);
    let mut operator = operator(&b, &[&a]);
    let mut client = Client::new(&a);
    let (id, peer) = operator.receive_opened();
    assert!(peer.starts_with(&format!("{} at ", client.peer())), "{peer}");
    assert!(peer.ends_with(&format!("/{}", a.pid())), "{peer}");
    client.say(b"hello\n");
    assert_eq!(operator.receive_said(), (id, Author::Client, "hello".to_owned()));
    operator.say(id, "how can I help?");
    let me = Author::Operator(operator.id);
    assert_eq!(operator.receive_said(), (id, me, "how can I help?".to_owned()));
    assert_eq!(client.read_line(), "how can I help?");
    operator.say(id, BYE);
    assert_eq!(client.read_line(), BYE);
    assert_eq!(operator.receive_said(), (id, me, BYE.to_owned()));
    assert_eq!(operator.receive_ended(), (id, Ending::Operator(operator.id)));
    operator.say(id, "wait");
    assert_eq!(operator.receive_error(), format!("conversation {id} has ended"));

    let mut client = Client::new(&a);
    let (next, _) = operator.receive_opened();
    client.say(b"one more\nbye\n");
    assert_eq!(operator.receive_said().2, "one more");
    assert_eq!(operator.receive_ended(), (next, Ending::Client));
    assert_eq!(client.read_line(), "");
}

#[test]
pub(super) fn operators_at_three_replicas_see_one_another_under_numbers_of_their_own() {
    let Some(broker) = Broker::start(&[]) else { return };
    let [a, b, c] = replicas(&broker);
    let mut at_b = operator(&b, &[&a, &c]);
    let mut at_c = operator(&c, &[&b]);
    let mut client = Client::new(&a);
    let (id_b, _) = at_b.receive_opened();
    let (id_c, _) = at_c.receive_opened();
    client.say(b"hello\n");
    assert_eq!((at_b.receive_said().2, at_c.receive_said().2), ("hello".into(), "hello".into()));
    at_b.say(id_b, "from b");
    assert_eq!(client.read_line(), "from b");
    assert_eq!(at_b.receive_said().1, Author::Operator(at_b.id));
    let (_, other, text) = at_c.receive_said();
    assert_eq!(text, "from b");
    assert_ne!(other, Author::Operator(at_c.id));
    at_c.say(id_c, "from c");
    assert_eq!(client.read_line(), "from c");
    assert_eq!(at_c.receive_said().1, Author::Operator(at_c.id));
    assert_ne!(at_b.receive_said().1, Author::Operator(at_b.id));
    // The replica of the client has operators, too.
    let mut at_a = Operator::new(&a);
    assert_eq!(at_a.conversations[0].messages.len(), 3);
    at_a.say(at_a.conversations[0].id, BYE);
    assert_eq!(at_b.receive_said().2, BYE);
    let (ended, ending) = at_b.receive_ended();
    assert_eq!(ended, id_b);
    assert!(matches!(ending, Ending::Operator(number) if number != at_b.id), "{ending:?}");
}

#[test]
fn an_operator_who_comes_later_sees_what_was_said_and_what_has_ended() {
    let Some(broker) = Broker::start(&[]) else { return };
    let [a, b] = replicas(&broker);
    let mut early = Client::new(&a);
    early.say(b"anybody?\n");
    assert_eq!(early.read_line(), QUEUED);
    early.say(b"bye\n");
    assert_eq!(early.read_line(), "");
    let mut client = Client::new(&a);
    client.say(b"hello?\n");
    assert_eq!(client.read_line(), QUEUED);
    for number in 1..=99 {
        client.say(format!("{number}\n").as_bytes());
    }
    // All are queued: the next is one too many.
    client.say(b"x\n");
    assert_eq!(client.read_line(), "* too many messages are queued; this one was discarded");
    let mut operator = operator(&b, &[&a]);
    let (ended, earlier) = opened(&mut operator);
    assert_eq!(earlier, ["anybody?"]);
    assert_eq!(operator.receive_ended(), (ended, Ending::Client));
    let (id, earlier) = opened(&mut operator);
    assert_eq!((earlier.len(), &*earlier[0], &*earlier[99]), (100, "hello?", "99"));
    // They are seen now: there is room again.
    operator.say(id, "here I am");
    assert_eq!(client.read_line(), "here I am");
    operator.receive_said();
    client.say(b"good\n");
    assert_eq!(operator.receive_said(), (id, Author::Client, "good".to_owned()));
    // A second one sees all of it at once.
    let second = Operator::new(&b);
    let messages = second.conversations.iter().map(|it| it.messages.len());
    assert_eq!(messages.collect::<Vec<_>>(), [1, 102]);
}

#[test]
fn thousands_of_lines_at_once_reach_an_operator_at_another_replica_in_order() {
    const LINES: usize = 3000;
    let Some(broker) = Broker::start(&[]) else { return };
    let [a, b] = replicas(&broker);
    let mut operator = operator(&b, &[&a]);
    let mut client = Client::new(&a);
    operator.receive_opened();
    let lines: String = (0..LINES).map(|number| format!("line {number}\n")).collect();
    client.say(lines.as_bytes());
    for number in 0..LINES {
        assert_eq!(operator.receive_said().2, format!("line {number}"));
    }
}

#[test]
fn a_flood_waits_for_an_operator_at_another_replica_that_reads_late() {
    const LINES: usize = 8000;
    let Some(broker) = Broker::start(&[]) else { return };
    let [a, b] = replicas(&broker);
    let mut operator = operator(&b, &[&a]);
    let mut client = connect(a.address("chat"));
    operator.receive_opened();
    let line = |number: usize| format!("{number:0>3999}");
    let lines: String = (0..LINES).map(|number| line(number) + "\n").collect();
    let sent = write_until_blocked(&mut client, lines.as_bytes());
    assert!(sent < lines.len(), "nothing waits for the operator");
    assert!(a.metric("echogate_cluster_unconfirmed") > 0);
    for number in 0..sent / 4000 {
        assert_eq!(operator.receive_said().2, line(number));
    }
    a.wait_for_metric("echogate_cluster_unconfirmed", |count| count == 0);
}

#[test]
fn messages_that_are_too_large_for_the_broker_are_reported_and_the_rest_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nats.conf");
    std::fs::write(&file, "max_payload: 4096\n").unwrap();
    let file: &'static str = file.to_str().unwrap().to_owned().leak();
    let Some(broker) = Broker::start(&["--config", file]) else { return };
    let [a, b] = replicas(&broker);
    let mut silent: Vec<_> = (0..50).map(|_| Client::new(&a)).collect();
    silent[0].say(format!("{}\n", "x".repeat(4000)).as_bytes());
    assert_eq!(silent[0].read_line(), QUEUED);
    silent[0].say(b"small\n");
    silent[1].say(b"hello\n");
    assert_eq!(silent[1].read_line(), QUEUED);
    // The snapshot is in parts, and has all but the large message.
    let mut operator = operator(&b, &[&a]);
    let (mut opened, mut said) = (Vec::new(), Vec::new());
    while opened.len() < 50 || said.len() < 2 {
        match operator.receive() {
            ToOperator::Opened { conversation } => {
                opened.push(conversation.id);
                said.extend(conversation.messages.into_iter().map(|message| message.text));
            }
            ToOperator::Error { text } => {
                assert!(text.contains(" is shown without 1 message, "), "{text}");
            }
            other => panic!("{other:?}"),
        }
    }
    said.sort_unstable();
    assert_eq!(said, ["hello", "small"]);
    operator.say(opened[0], &"y".repeat(5000));
    assert!(operator.receive_error().contains("too large for the broker (max_payload)"));
    // A large message of a client is a gap, which a snapshot closes.
    silent[0].say(format!("{}\nafter\n", "x".repeat(4000)).as_bytes());
    let error = operator.receive_error();
    assert!(error.contains(" is shown without 1 message, "), "{error}");
    assert_eq!(operator.receive_said().2, "after");
    a.wait_for_log(&["cluster: a message of", "for events", "max_payload"]);
    assert_eq!(a.metric("echogate_cluster_connected"), 1);
}

#[test]
fn a_client_goes_on_where_a_reload_leaves_a_broker_that_hangs() {
    let Some(broker) = Broker::start(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("echogate.toml");
    let token = folder.path().join("token");
    std::fs::write(&token, format!("{TOKEN}\n")).unwrap();
    let http = "http = [\"127.0.0.1:0\"]\n";
    std::fs::write(&file, format!("{http}cluster = \"{}\"\n", broker.url())).unwrap();
    let mut command = Command::new(ECHOGATE);
    command.args(["serve", "--listen", "chat=tcp://127.0.0.1:0", "--operator-token-file"]);
    command.arg(&token).arg("--config").arg(&file);
    let a = Server::spawn(command);
    let b = replica(&broker);
    wait_for_others(&a, 1);
    let _at_b = operator(&b, &[&a]);
    let mut here = Operator::new(&a);
    let mut client = Client::new(&a);
    here.receive_opened();
    client.say(b"hello\n");
    here.receive_said();
    // More than the buffers between the replica and the broker take.
    broker.signal(Signal::SIGSTOP);
    let reader = std::thread::spawn(move || {
        while here.receive_said().2 != "last" {}
        here
    });
    client.say(format!("{}\n", "x".repeat(3999)).repeat(6000).as_bytes());
    client.say(b"last\n");
    let here = reader.join().unwrap();
    std::fs::write(&file, http).unwrap();
    a.signal("HUP");
    wait_for(|| ready(&a), |said| said == "ready\n");
    drop(here);
    a.wait_for_log(&["operator disconnected"]);
    client.say(b"anybody?\n");
    assert_eq!(client.read_line(), QUEUED);
    broker.signal(Signal::SIGCONT);
}

#[test]
fn while_the_broker_is_away_conversations_live_on_and_nothing_is_lost_or_doubled() {
    let Some(mut broker) = Broker::start(&[]) else { return };
    let [a, b] = replicas(&broker);
    let mut operator = operator(&b, &[&a]);
    let (mut client, mut local) = (Client::new(&a), Client::new(&b));
    let first = operator.receive_opened();
    let second = operator.receive_opened();
    let is_remote = |(_, peer): &(u64, String)| peer.contains(" at ");
    let (remote, own) = if is_remote(&first) { (first.0, second.0) } else { (second.0, first.0) };
    client.say(b"one\n");
    assert_eq!(operator.receive_said().2, "one");

    broker.kill();
    assert_eq!(client.read_line(), UNREACHABLE);
    assert!(operator.receive_error().contains("the connection to the broker is lost"));
    client.say(b"two\n");
    assert_eq!(client.read_line(), QUEUED);
    operator.say(remote, "are you there?");
    assert!(operator.receive_error().contains("the broker of --cluster cannot be reached"));
    local.say(b"still here\n");
    assert_eq!(operator.receive_said(), (own, Author::Client, "still here".to_owned()));
    operator.say(own, "me too");
    assert_eq!(local.read_line(), "me too");
    operator.receive_said();
    let mut newcomer = Client::new(&a);
    newcomer.say(b"hello\n");
    assert_eq!(newcomer.read_line(), QUEUED);

    broker.start_again();
    assert_eq!(operator.receive_said(), (remote, Author::Client, "two".to_owned()));
    let (new, earlier) = opened(&mut operator);
    assert_eq!(earlier, ["hello"]);
    operator.say(new, "welcome");
    assert_eq!(newcomer.read_line(), "welcome");
    assert_eq!(operator.receive_said().2, "welcome");
    client.say(b"three\n");
    assert_eq!(operator.receive_said(), (remote, Author::Client, "three".to_owned()));
    operator.say(remote, "welcome back");
    assert_eq!(client.read_line(), "welcome back");
}

#[test]
fn a_replica_that_dies_ends_its_conversations_and_takes_its_operators_along() {
    let Some(broker) = Broker::start(&[]) else { return };
    let [mut a, mut b, c] = replicas(&broker);
    let mut at_c = operator(&c, &[&a, &b]);
    let mut client = Client::new(&a);
    let (id, _) = at_c.receive_opened();
    client.say(b"hello\n");
    at_c.receive_said();
    a.signal("KILL");
    a.wait();
    let error = at_c.receive_error();
    assert!(error.contains(&format!("/{} is gone; 1 open conversations", a.pid())), "{error}");
    assert_eq!(at_c.receive_ended(), (id, Ending::Vanished));

    let mut client = Client::new(&c);
    at_c.receive_opened();
    drop(at_c);
    let mut at_b = operator(&b, &[&c]);
    at_b.receive_opened();
    client.say(b"are you there?\n");
    assert_eq!(at_b.receive_said().2, "are you there?");
    b.signal("KILL");
    b.wait();
    assert_eq!(client.read_line(), UNREACHABLE);
    client.say(b"hello?\n");
    assert_eq!(client.read_line(), QUEUED);
    assert_eq!(Operator::new(&c).conversations.last().unwrap().messages.len(), 2);
}

#[test]
fn a_replica_that_is_stopped_in_order_ends_its_conversations_at_the_others() {
    let Some(broker) = Broker::start(&[]) else { return };
    let [mut a, b] = replicas(&broker);
    let mut operator = operator(&b, &[&a]);
    let _client = Client::new(&a);
    let (id, _) = operator.receive_opened();
    a.signal("TERM");
    assert_eq!(operator.receive_ended(), (id, Ending::Server));
    a.wait();
    wait_for_others(&b, 0);
}

#[test]
fn an_operator_is_told_where_a_message_is_not_confirmed() {
    let Some(broker) = Broker::start(&[]) else { return };
    let [a, b] = replicas(&broker);
    let mut operator = operator(&b, &[&a]);
    let mut client = Client::new(&a);
    let (id, _) = operator.receive_opened();
    a.signal("STOP");
    operator.say(id, "hello");
    let error = loop {
        match operator.receive() {
            ToOperator::Error { text } if text.starts_with("not confirmed") => break text,
            ToOperator::Error { .. } | ToOperator::Ended { .. } => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(error.ends_with(": hello") && error.contains("does not answer"), "{error}");
    a.signal("CONT");
    // Both attempts arrive now, and are one message.
    assert_eq!(client.read_line(), "hello");
    wait_for_others(&b, 1);
    let (again, earlier) = opened(&mut operator);
    assert_eq!(earlier, ["hello"]);
    operator.say(again, "and now?");
    assert_eq!(client.read_line(), "and now?");
}

#[test]
fn a_broker_that_stops_answering_is_a_broker_that_is_away() {
    let Some(broker) = Broker::start(&[]) else { return };
    let [a, b] = replicas(&broker);
    let mut operator = operator(&b, &[&a]);
    let mut client = Client::new(&a);
    let (id, _) = operator.receive_opened();
    client.say(b"one\n");
    assert_eq!(operator.receive_said().2, "one");
    broker.signal(Signal::SIGSTOP);
    client.say(b"two\n");
    operator.say(id, "hello");
    assert_eq!(client.read_line(), UNREACHABLE);
    let errors = [operator.receive_error(), operator.receive_error()];
    assert!(errors.iter().any(|text| text.contains("not confirmed")), "{errors:?}");
    broker.signal(Signal::SIGCONT);
    loop {
        match operator.receive() {
            ToOperator::Said { message, .. } if message.text == "two" => break,
            // The message may have been on its way.
            ToOperator::Said { message, .. } => assert_eq!(message.text, "hello"),
            other => panic!("{other:?}"),
        }
    }
}
