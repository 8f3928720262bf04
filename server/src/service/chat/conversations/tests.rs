use tokio::sync::mpsc::{Receiver, channel};

use super::*;

/// Conversations whose clients send messages while no operator is connected.
#[derive(Default)]
struct Clients(Conversations);

impl Clients {
    fn open(&mut self, peer: &Peer) -> (u64, Receiver<ToClient>) {
        let (to_client, receiver) = channel(64);
        (self.0.open(peer, to_client).id, receiver)
    }

    fn say(&mut self, id: u64, text: &str) -> DeliveryOutcome {
        let message = Message { from: Author::Client, at: 0.0, text: text.to_owned() };
        let delivery = self.0.receive(id, &message, Online::Nowhere, 0);
        if delivery == DeliveryOutcome::Queued {
            self.0.keep(id, message);
        }
        delivery
    }

    /// The number of messages that are kept of a conversation.
    fn kept(&self, id: u64) -> usize {
        self.0.by_id[&id].conversation.messages.len()
    }

    /// The memory of all messages, in bytes.
    fn bytes(&self) -> usize {
        let states = self.0.by_id.values();
        let all = states.flat_map(|state| &state.conversation.messages).map(size).sum();
        assert_eq!(self.0.memory.total(), all);
        all
    }
}

#[test]
fn the_memory_for_messages_is_bounded_and_each_client_has_a_share() {
    let mut clients = Clients::default();
    let mut open: Vec<_> = (0..20).map(|_| clients.open(&Peer::Unknown)).collect();
    for round in 0..UNSEEN {
        for (id, _) in &open {
            let delivery = clients.say(*id, &"x".repeat(4096));
            assert!(delivery == DeliveryOutcome::Queued || round > HISTORY_BYTES / 20 / 5000);
        }
    }
    assert!((HISTORY_BYTES * 9 / 10..=HISTORY_BYTES).contains(&clients.bytes()));
    // A new client has room nevertheless, up to as much as the others have.
    let (newcomer, _receiver) = clients.open(&Peer::Unknown);
    let queued = (0..UNSEEN)
        .filter(|_| clients.say(newcomer, &"y".repeat(4096)) == DeliveryOutcome::Queued)
        .count();
    assert_eq!(clients.kept(newcomer), queued);
    let others = open.iter().map(|(id, _)| clients.kept(*id));
    let (least, most) = others.fold((UNSEEN, 0), |(a, b), n| (a.min(n), b.max(n)));
    assert!(least.abs_diff(queued) <= 2 && most.abs_diff(queued) <= 2, "{least} {queued} {most}");
    // Clients whose messages were discarded for it know.
    let notices = open.iter_mut().filter_map(|(_, receiver)| receiver.try_recv().ok());
    assert!(notices.count() > 0);
    // Ended conversations are removed first.
    clients.0.end(1, Ending::Left);
    assert_eq!(clients.say(newcomer, "hello"), DeliveryOutcome::Queued);
    let conversations = clients.0.show();
    assert_eq!(conversations.last().unwrap().messages.last().unwrap().text, "hello");
    clients.bytes();
}

#[test]
fn one_address_cannot_take_the_memory_of_another() {
    let mut clients = Clients::default();
    let address = |host: u8| Peer::Address(([192, 0, 2, host], 5).into());
    let mut open = Vec::new();
    for _ in 0..30 {
        let (id, receiver) = clients.open(&address(1));
        for _ in 0..UNSEEN {
            clients.say(id, &"x".repeat(4096));
        }
        open.push(receiver);
    }
    let (id, _receiver) = clients.open(&address(2));
    for _ in 0..UNSEEN {
        assert_eq!(clients.say(id, &"y".repeat(4096)), DeliveryOutcome::Queued);
    }
    let (other, _receiver) = clients.open(&address(1));
    for _ in 0..UNSEEN {
        clients.say(other, &"x".repeat(4096));
    }
    assert_eq!(clients.kept(id), UNSEEN);
}

#[test]
fn the_conversations_that_ended_last_are_kept() {
    let mut clients = Clients::default();
    let ids: Vec<_> = (0..ENDED as u64 + 2).map(|_| clients.open(&Peer::Unknown).0).collect();
    let (first, others) = ids.split_first().unwrap();
    for id in others.iter().chain([first]) {
        assert!(clients.0.end(*id, Ending::Left) && !clients.0.end(*id, Ending::Client));
    }
    let kept: Vec<_> = clients.0.show().iter().map(|conversation| conversation.id).collect();
    assert_eq!(kept.len(), ENDED);
    assert!(kept.contains(first) && !kept.contains(&others[0]) && !kept.contains(&others[1]));
}
