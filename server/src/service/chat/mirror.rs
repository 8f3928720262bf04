//! The mirror of another replica's conversations: the order of its events, and the messages that have
//! arrived. No I/O; time is an argument.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::{
    kept::{HISTORY, HISTORY_BYTES, Kept, size},
    untaken::{Untaken, UntakenGuard},
};

/// The time without a part of a snapshot after which it is requested again.
const REQUEST_AGAIN: Duration = Duration::from_secs(3);

/// The time after which conversations above the limit of shown ones are requested again.
const HIDDEN_AGAIN: Duration = Duration::from_secs(5);

/// A confirmation of events of a replica that operators of another one have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The sequence number of the last of the events.
    pub(super) sequence: u64,
    /// Whether a snapshot is among the events, so that all conversations are confirmed.
    pub(super) all: bool,
    /// The last conversation that is shown; later ones exceed the limit.
    pub(super) through: u64,
}

impl Seen {
    /// Whether a conversation is shown to the operators.
    pub(super) fn shows(&self, conversation: u64) -> bool {
        conversation <= self.through
    }
}

/// The mirror of another replica's conversations.
#[derive(Debug)]
pub(super) struct Mirror {
    /// The name of the replica, escaped.
    pub(super) name: String,
    /// The sequence number of the last event that was applied.
    sequence: u64,
    /// The sequence number of the replica's last event, as of its last heartbeat.
    announced: u64,
    /// The snapshot that is awaited; `None` while events arrive in order.
    waiting: Option<Waiting>,
    /// The last event of the last complete snapshot, and the time when it was complete.
    snapshot: (u64, Option<Instant>),
    /// The open conversations, by their numbers at the replica.
    open: HashMap<u64, Mirrored>,
    /// The highest number of a conversation that was opened here. Numbers ascend: a conversation up to
    /// that number that is not open has ended.
    highest: u64,
    /// Whether conversations above the highest one are not shown, because there are too many.
    pub(super) is_limited: bool,
    /// Whether operators were notified that there are too many conversations.
    pub(super) knows_of_limit: bool,
    /// The applied events that operators have not taken.
    untaken: Untaken,
    /// The sequence number of the last event that was confirmed.
    confirmed: u64,
}

/// An open conversation of another replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mirrored {
    /// The number of the conversation here.
    pub(super) local: u64,
    /// The number of its messages so far, those before the first known one included.
    pub(super) messages: u64,
}

/// A snapshot that is awaited.
#[derive(Debug, Default)]
struct Waiting {
    /// The time of the request, or of the last part.
    since: Option<Instant>,
    /// The number of parts that have arrived.
    parts: u32,
    /// The last event that the parts include.
    sequence: u64,
    /// The conversations in the parts.
    listed: HashSet<u64>,
    /// The conversation whose pieces arrive.
    gathered: Option<Gathered>,
    /// The guard that every event from the snapshot keeps.
    guard: Option<Arc<UntakenGuard>>,
}

/// A conversation in a snapshot that is not open yet, since further pieces of it may follow.
#[derive(Debug)]
pub(super) struct Gathered {
    pub(super) kept: Kept,
    /// The number of messages that are missing between its pieces.
    pub(super) missing: u64,
}

impl Mirror {
    /// The mirror of a replica before its first snapshot. `taken` is notified when operators take events.
    pub(super) fn new(name: &str, taken: Arc<Notify>) -> Mirror {
        Mirror {
            name: name.to_owned(),
            sequence: 0,
            announced: 0,
            waiting: Some(Waiting::default()),
            snapshot: (0, None),
            open: HashMap::new(),
            highest: 0,
            is_limited: false,
            knows_of_limit: false,
            untaken: Untaken::new(taken),
            confirmed: 0,
        }
    }

    /// The guard of the event with this sequence number, if it is the next one. After a gap a snapshot
    /// is needed.
    pub(super) fn next(&mut self, sequence: u64) -> Option<Arc<UntakenGuard>> {
        if self.waiting.is_some() || sequence <= self.sequence {
            return None;
        }
        if sequence - self.sequence > 1 {
            self.resynchronize();
            return None;
        }
        self.sequence = sequence;
        Some(self.untaken.guard(sequence))
    }

    /// Applies the sequence number in a heartbeat. An event that was sent before the previous heartbeat
    /// and has not arrived is missing.
    pub(super) fn announce(&mut self, sequence: u64) {
        if self.waiting.is_none() && self.sequence < self.announced {
            self.resynchronize();
        }
        self.announced = sequence;
    }

    /// Ignores events until a snapshot has arrived.
    pub(super) fn resynchronize(&mut self) {
        self.waiting = Some(Waiting::default());
    }

    /// Whether a snapshot is to be requested at `now`.
    pub(super) fn needs_snapshot(&mut self, now: Instant) -> bool {
        let Some(waiting) = &mut self.waiting else { return false };
        let is_due = waiting.since.is_none_or(|since| now - since >= REQUEST_AGAIN);
        if is_due {
            *waiting = Waiting { since: Some(now), ..Waiting::default() };
        }
        is_due
    }

    /// Waits for the requested snapshot from `now` on, where parts of it are not applied because
    /// operators are slow.
    pub(super) fn postpone(&mut self, now: Instant) {
        if let Some(Waiting { since: Some(since), .. }) = &mut self.waiting {
            *since = now;
        }
    }

    /// Awaits a snapshot with the conversations that are not shown, when there is room for more.
    pub(super) fn show_hidden(&mut self, now: Instant) {
        let is_old = self.snapshot.1.is_none_or(|at| now - at >= HIDDEN_AGAIN);
        if self.is_limited && self.waiting.is_none() && is_old {
            self.resynchronize();
        }
    }

    /// The guard of a part of a snapshot as of `sequence`, if it is the next one. The first part of
    /// another snapshot begins anew.
    pub(super) fn next_part(
        &mut self,
        index: u32,
        sequence: u64,
        now: Instant,
    ) -> Option<Arc<UntakenGuard>> {
        let waiting = self.waiting.as_mut()?;
        if index == 0 {
            // The snapshot replaces all events after the last one that was applied.
            let first = sequence.min(self.sequence.saturating_add(1));
            let guard = Some(self.untaken.guard(first));
            *waiting = Waiting { sequence, guard, ..Waiting::default() };
            self.is_limited = false;
        }
        if index != waiting.parts || sequence != waiting.sequence {
            return None;
        }
        waiting.since = Some(now);
        waiting.parts = waiting.parts.saturating_add(1);
        waiting.guard.clone()
    }

    /// Records that the snapshot has a conversation. Returns false if that one was shown and has ended.
    pub(super) fn list(&mut self, id: u64) -> bool {
        if let Some(waiting) = &mut self.waiting {
            waiting.listed.insert(id);
        }
        id > self.highest || self.open.contains_key(&id)
    }

    /// Adds a piece to the conversation that is gathered, or begins with that of the piece. The caller
    /// takes another conversation before.
    pub(super) fn gather(&mut self, piece: Kept) {
        let Some(waiting) = &mut self.waiting else { return };
        match &mut waiting.gathered {
            Some(gathered) => gathered.add(piece),
            none => *none = Some(Gathered { kept: piece, missing: 0 }),
        }
    }

    /// Takes the conversation that is gathered, unless it is `next`, of which a piece follows.
    pub(super) fn take_gathered(&mut self, next: Option<u64>) -> Option<Gathered> {
        let gathered = &mut self.waiting.as_mut()?.gathered;
        gathered.take_if(|gathered| Some(gathered.kept.conversation.id) != next)
    }

    /// Completes a snapshot as of `sequence`, whose last part has arrived. Returns the open conversations
    /// that the snapshot does not have, since they have ended.
    pub(super) fn complete(&mut self, sequence: u64, now: Instant) -> Vec<u64> {
        let listed = self.waiting.take().unwrap_or_default().listed;
        self.sequence = sequence;
        self.snapshot = (sequence, Some(now));
        self.announced = self.announced.min(sequence);
        let missing = self.open.keys().filter(|id| !listed.contains(id));
        missing.copied().collect()
    }

    /// The confirmation of the events that operators have taken, if there are new ones; with `repeats`,
    /// in any case.
    pub(super) fn seen(&mut self, repeats: bool) -> Option<Seen> {
        let before_first = self.untaken.first().map(|first| first.saturating_sub(1));
        let taken = before_first.map_or(self.sequence, |before| before.min(self.sequence));
        let before = self.confirmed;
        let sequence = taken.max(before);
        if sequence == 0 || (sequence == before && !repeats) {
            return None;
        }
        self.confirmed = sequence;
        let all = repeats || (before < self.snapshot.0 && self.snapshot.0 <= sequence);
        Some(Seen { sequence, all, through: self.highest })
    }

    /// Whether there are events that operators have not taken.
    pub(super) fn has_untaken(&self) -> bool {
        self.untaken.first().is_some()
    }

    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Mirrored> {
        self.open.get_mut(&id)
    }

    /// The numbers here and there of all open conversations.
    pub(super) fn open(&self) -> impl Iterator<Item = (u64, u64)> {
        self.open.iter().map(|(id, mirrored)| (mirrored.local, *id))
    }

    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Adds an open conversation, with `messages` that are not kept any more.
    pub(super) fn add(&mut self, id: u64, local: u64, messages: u64) {
        self.highest = self.highest.max(id);
        self.open.insert(id, Mirrored { local, messages });
    }

    /// Ends a conversation. Returns its number here.
    pub(super) fn end(&mut self, id: u64) -> Option<u64> {
        self.open.remove(&id).map(|mirrored| mirrored.local)
    }
}

impl Gathered {
    /// Adds the next piece. The latest messages are kept, as many as of any conversation.
    fn add(&mut self, piece: Kept) {
        let Kept { conversation, total } = piece;
        let first = total.saturating_sub(conversation.messages.len() as u64);
        self.missing = self.missing.saturating_add(first.saturating_sub(self.kept.total));
        self.kept.total = self.kept.total.max(total);
        let mine = &mut self.kept.conversation;
        mine.ending = conversation.ending;
        mine.messages.extend(conversation.messages);
        let mut bytes: usize = mine.messages.iter().map(size).sum();
        while bytes > HISTORY_BYTES || mine.messages.len() > HISTORY {
            bytes -= size(&mine.messages.remove(0));
        }
    }
}

impl Mirrored {
    /// Counts all `total` messages as known. Returns how many of the last `count` were known already, and
    /// how many messages in front of those are missing.
    pub(super) fn known(&mut self, total: u64, count: usize) -> (usize, u64) {
        let first = total.saturating_sub(count as u64);
        let known = self.messages.saturating_sub(first).min(count as u64);
        let missing = first.saturating_sub(self.messages);
        self.messages = self.messages.max(total);
        (usize::try_from(known).unwrap_or(count), missing)
    }
}

#[cfg(test)]
mod tests;
