//! Messages of this replica's operators to clients of other replicas that are not confirmed yet.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::{Duration, Instant},
};

use super::{
    LocalReplica,
    messages::{Direct, to},
    session::Session,
};
use crate::{
    connections::replicas::ReplicaId,
    service::chat::{OperatorMessage, Undelivered, not_sent},
};

/// The times without confirmation after which a message is sent again, and after which it is given
/// up.
const CONFIRM: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(3)];

/// The most messages to other replicas that wait for confirmation.
const MAX_PENDING: usize = 256;

/// The messages that are not confirmed.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// The messages by their identifiers.
    pending: HashMap<u64, Pending>,
    last_id: u64,
}

#[derive(Debug)]
struct Pending {
    message: OperatorMessage,
    attempts: usize,
    deadline: Instant,
}

impl Outbox {
    /// Sends an operator's message to the replica of its client.
    pub(super) async fn say(
        &mut self,
        session: &Session<'_>,
        message: OperatorMessage,
    ) -> Result<(), String> {
        if self.pending.len() == MAX_PENDING {
            let why = format!(
                "{MAX_PENDING} messages to other replicas await confirmation; try again later"
            );
            let text = not_sent(message.local, &why, &message.text);
            session.shared.hub.notify_operator(message.operator, text);
            return Ok(());
        }
        self.last_id += 1;
        let (id, operator) = (self.last_id, message.operator);
        let (to, request) = (to(message.owner), request(id, &message));
        let deadline = Instant::now() + CONFIRM[0];
        // Inserted before it is sent, so that a loss of the connection meanwhile is reported.
        self.pending.insert(id, Pending { message, attempts: 1, deadline });
        if !session.publish(&to, request).await?
            && let Some(Pending { message, .. }) = self.pending.remove(&id)
        {
            let why = "the message is too large for the broker (max_payload)";
            let text = not_sent(message.local, why, &message.text);
            session.shared.hub.notify_operator(operator, text);
        }
        Ok(())
    }

    /// Sends messages that are not confirmed in time again, under the same identifiers, or gives
    /// them up.
    pub(super) async fn send_again(&mut self, session: &Session<'_>) -> Result<(), String> {
        let now = Instant::now();
        let is_over = |pending: &Pending| pending.deadline <= now;
        let given_up =
            |_: &u64, pending: &mut Pending| is_over(pending) && pending.attempts == CONFIRM.len();
        for (_, Pending { message, .. }) in self.pending.extract_if(given_up) {
            give_up(session.shared, &message, "its replica does not answer");
        }
        for (id, pending) in self.pending.iter_mut().filter(|(_, pending)| is_over(pending)) {
            pending.deadline = now + CONFIRM[pending.attempts];
            pending.attempts += 1;
            session.publish(&to(pending.message.owner), request(*id, &pending.message)).await?;
        }
        Ok(())
    }

    /// Handles the answer of a replica to a message.
    pub(super) fn answered(
        &mut self,
        shared: &LocalReplica,
        from: ReplicaId,
        id: u64,
        error: Option<Undelivered>,
    ) {
        let Entry::Occupied(pending) = self.pending.entry(id) else { return };
        if pending.get().message.owner == from {
            let OperatorMessage { operator, local, text, .. } = pending.remove().message;
            if let Some(error) = error {
                let text = format!("{}: {text}", error.describe(local));
                shared.hub.notify_operator(operator, text);
            }
        }
    }

    /// Gives up all pending and all `unsent` messages, after the loss of the connection.
    pub(super) fn disconnected(
        &mut self,
        shared: &LocalReplica,
        unsent: impl Iterator<Item = OperatorMessage>,
    ) {
        let unconfirmed = self.pending.drain().map(|(_, pending)| pending.message);
        for message in unconfirmed.chain(unsent) {
            give_up(shared, &message, "the connection to the broker was lost");
        }
    }
}

fn request(id: u64, message: &OperatorMessage) -> Direct {
    let OperatorMessage { operator, conversation, ref text, .. } = *message;
    Direct::Say { id, operator, conversation, text: text.clone() }
}

/// Reports to an operator that a message may not have been received by the client.
fn give_up(shared: &LocalReplica, message: &OperatorMessage, why: &str) {
    let OperatorMessage { operator, local, text, .. } = message;
    let text = format!("not confirmed, client {local} may not have received it ({why}): {text}");
    shared.hub.notify_operator(*operator, text);
}
