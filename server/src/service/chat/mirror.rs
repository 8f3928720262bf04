//! The conversations of another replica as they are known here: the order in which its events
//! arrive, and the messages that are known already. No socket and no clock.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::untaken::{Untaken, UntakenGuard};

/// The time without a part of a snapshot after which it is requested again.
const REQUEST_AGAIN: Duration = Duration::from_secs(3);

/// The time after which conversations that were not shown for want of room are requested again.
const HIDDEN_AGAIN: Duration = Duration::from_secs(5);

/// The events of a replica that operators of another one have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    /// The sequence number of the last one.
    pub(super) sequence: u64,
    /// A snapshot is among them.
    pub(super) all: bool,
    /// The last conversation that is shown: those behind it are too many.
    pub(super) through: u64,
}

impl Seen {
    /// Whether a conversation is among those that are shown.
    pub(super) fn shows(&self, conversation: u64) -> bool {
        conversation <= self.through
    }
}

/// The conversations of another replica as they are known here.
#[derive(Debug)]
pub(super) struct Mirror {
    /// The name of the replica.
    pub(super) name: String,
    /// The sequence number of the last event that was applied.
    sequence: u64,
    /// The sequence number of the replica's last event by its last heartbeat but one.
    announced: u64,
    /// The snapshot that is waited for; None while events arrive in order.
    waiting: Option<Waiting>,
    /// The last event of the last complete snapshot, and the time when it was complete.
    snapshot: (u64, Option<Instant>),
    /// The open conversations, by their numbers there.
    open: HashMap<u64, Mirrored>,
    /// The highest number of a conversation that was opened here. Numbers ascend: a conversation at or
    /// below it that is not open has ended.
    highest: u64,
    /// Conversations above the highest one are not shown: there are too many.
    pub(super) is_limited: bool,
    /// Operators know that there are too many conversations.
    pub(super) knows_of_limit: bool,
    /// The applied events that operators have not taken.
    untaken: Untaken,
    /// The last event of which the replica knows that operators have taken it.
    confirmed: u64,
}

/// An open conversation of another replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mirrored {
    /// The number here.
    pub(super) local: u64,
    /// The number of messages in it so far, those before the first known one included.
    pub(super) messages: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    /// The time of the request, or of the last part.
    since: Option<Instant>,
    /// The parts that have come, and the last event that they include.
    parts: u32,
    sequence: u64,
    /// The conversations in them.
    listed: HashSet<u64>,
    /// Kept by every event that comes from the snapshot.
    guard: Option<Arc<UntakenGuard>>,
}

impl Mirror {
    /// A replica of which nothing is known. `taken` is notified when operators take events.
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

    /// The guard of the event with this sequence number, if it is the next one. One that is ahead
    /// shows that others are missing: a snapshot is needed.
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

    /// Takes the sequence number of a heartbeat. An event that was sent before the heartbeat before
    /// and has not arrived is missing.
    pub(super) fn announce(&mut self, sequence: u64) {
        if self.waiting.is_none() && self.sequence < self.announced {
            self.resynchronize();
        }
        self.announced = sequence;
    }

    /// Ignores events until a snapshot has come.
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

    /// Waits for the requested snapshot from `now` on: parts of it may have come and are not applied
    /// because operators are slow.
    pub(super) fn postpone(&mut self, now: Instant) {
        if let Some(Waiting { since: Some(since), .. }) = &mut self.waiting {
            *since = now;
        }
    }

    /// There is room for further conversations: a snapshot shows those that are not shown.
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
            // It stands for all events behind the last one that was applied.
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

    /// Notes that a snapshot has a conversation. False if it has ended and is known.
    pub(super) fn list(&mut self, id: u64) -> bool {
        if let Some(waiting) = &mut self.waiting {
            waiting.listed.insert(id);
        }
        id > self.highest || self.open.contains_key(&id)
    }

    /// The last part of a snapshot as of `sequence` has come. Returns the conversations that are not
    /// in it: they ended before.
    pub(super) fn complete(&mut self, sequence: u64, now: Instant) -> Vec<u64> {
        let listed = self.waiting.take().unwrap_or_default().listed;
        self.sequence = sequence;
        self.snapshot = (sequence, Some(now));
        self.announced = self.announced.min(sequence);
        let missing = self.open.keys().filter(|id| !listed.contains(id));
        missing.copied().collect()
    }

    /// The events that operators have taken, if they are more than the replica knows; with
    /// `repeats`, in any case.
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

    /// Whether operators have to take events.
    pub(super) fn has_untaken(&self) -> bool {
        self.untaken.first().is_some()
    }

    /// An open conversation.
    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Mirrored> {
        self.open.get_mut(&id)
    }

    /// The numbers here and there of all open conversations.
    pub(super) fn open(&self) -> impl Iterator<Item = (u64, u64)> {
        self.open.iter().map(|(id, mirrored)| (mirrored.local, *id))
    }

    /// The number of open conversations.
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

impl Mirrored {
    /// Of the last `count` of `total` messages in the conversation, the number of those that are
    /// known already; and the number of messages before them that are missing. All are known from
    /// then on.
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
