//! The cache of the resolver: the last answer for each name, and its look-ups under way. Pure
//! state; the caller passes the time.

use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::watch;

use super::ResolveError;

/// The time for which an answer is kept.
pub(super) const ANSWER_TTL: Duration = Duration::from_secs(5);

/// The time for which a failed look-up is kept.
pub(super) const FAILURE_TTL: Duration = Duration::from_secs(1);

/// The time after which a look-up counts as hung: the next caller then starts a second one.
pub(super) const HUNG: Duration = Duration::from_secs(5);

/// The most simultaneous look-ups of one name.
pub(super) const LOOKUPS_PER_NAME: usize = 2;

/// The most simultaneous look-ups of all names.
pub(super) const MAX_THREADS: usize = 128;

/// The time after which a failure shows that no name server has answered.
const SLOW: Duration = Duration::from_secs(1);

/// The most cached names, not counting those being looked up.
pub(super) const MAX_NAMES: usize = 256;

/// The result of a look-up. The ports of the addresses are ignored.
pub(super) type Answer = Result<Arc<[SocketAddr]>, ResolveError>;

/// All names, and the queues of the look-up threads.
#[derive(Default)]
pub(super) struct Table {
    pub(super) names: HashMap<Arc<str>, Name>,
    /// Names whose look-up waits for a thread, each at most once, by their [`History`].
    pub(super) queues: [VecDeque<Arc<str>>; History::ALL.len()],
    pub(super) threads: usize,
}

/// The look-ups of a name so far, which determine how many threads the next one leaves to names
/// that are more likely to be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum History {
    /// The last look-up was answered, or failed before [`SLOW`].
    Answered,
    /// No look-up has ended yet.
    #[default]
    New,
    /// The last look-up failed after [`SLOW`] or later, or hangs.
    Hung,
}

impl History {
    const ALL: [History; 3] = [History::Answered, History::New, History::Hung];

    /// The most threads that are busy while a look-up of the name runs.
    pub(super) fn max_threads(self) -> usize {
        match self {
            History::Answered => MAX_THREADS,
            History::New => MAX_THREADS / 4 * 3,
            History::Hung => MAX_THREADS / 2,
        }
    }
}

/// The last answer for a name, and its look-ups under way.
#[derive(Default)]
pub(super) struct Name {
    /// The last answer and its expiry.
    known: Option<(Answer, Instant)>,
    /// Sends the next answer to the callers that wait for it.
    pub(super) waiting: Option<watch::Sender<Option<Answer>>>,
    pub(super) running: usize,
    /// The time at which the last look-up was queued, or began; None unless it is queued or runs.
    pub(super) asked: Option<Instant>,
    pub(super) is_queued: bool,
    pub(super) history: History,
}

impl Name {
    /// The last answer, unless it has expired.
    pub(super) fn known(&self, now: Instant) -> Option<&Answer> {
        self.known.as_ref().filter(|(_, until)| now < *until).map(|(answer, _)| answer)
    }

    fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting.is_none() && !self.is_queued
    }

    /// Records that another look-up is queued, if the callers that wait need one. Returns the history
    /// whose queue it joins.
    pub(super) fn queue_another(&mut self, now: Instant) -> Option<History> {
        if self.is_queued || self.running >= LOOKUPS_PER_NAME {
            return None;
        }
        if let Some(asked) = self.asked {
            if now.duration_since(asked) < HUNG {
                return None;
            }
            self.history = History::Hung;
        }
        (self.asked, self.is_queued) = (Some(now), true);
        Some(self.history)
    }

    /// Stores the result of a look-up that began at `begun`, and sends it to the callers that wait.
    pub(super) fn finish(&mut self, answer: Answer, begun: Instant, now: Instant) {
        let ttl = if answer.is_ok() { ANSWER_TTL } else { FAILURE_TTL };
        // A late failure of an overtaken look-up does not replace a valid answer.
        if answer.is_ok() || self.known(now).is_none() {
            self.history = match answer.is_ok() || now.duration_since(begun) < SLOW {
                true => History::Answered,
                false => History::Hung,
            };
            self.known = Some((answer.clone(), now + ttl));
        }
        self.asked = None;
        if let Some(waiting) = self.waiting.take() {
            waiting.send_replace(Some(answer));
        }
    }
}

impl Table {
    /// Removes names that are not in use until there is room for one more.
    pub(super) fn make_room(&mut self, now: Instant) {
        if self.names.len() < MAX_NAMES {
            return;
        }
        self.names.retain(|_, name| !name.is_idle() || name.known(now).is_some());
        if self.names.len() < MAX_NAMES {
            return;
        }
        let idle = self.names.iter().filter(|(_, name)| name.is_idle());
        let first = idle.min_by_key(|(_, name)| name.known.as_ref().map(|(_, until)| *until));
        if let Some(host) = first.map(|(host, _)| host.clone()) {
            self.names.remove(&host);
        }
    }

    /// Stores the result of a look-up that began at `begun`. Another look-up of the name that is still
    /// queued is removed: its callers have this answer.
    pub(super) fn finish(&mut self, host: &Arc<str>, answer: Answer, begun: Instant, now: Instant) {
        let Some(name) = self.names.get_mut(host) else { return };
        name.running -= 1;
        name.finish(answer, begun, now);
        if std::mem::take(&mut name.is_queued) {
            self.queues.iter_mut().for_each(|queue| queue.retain(|queued| queued != host));
        }
    }

    /// Takes the next name with a waiting caller from the queues, for one of the threads.
    pub(super) fn next(&mut self, now: Instant) -> Option<Arc<str>> {
        let threads = self.threads;
        let mut next = || {
            let queues = self.queues.iter_mut().zip(History::ALL);
            let mut queues = queues.filter(|(_, history)| threads <= history.max_threads());
            queues.find_map(|(queue, _)| queue.pop_front())
        };
        while let Some(host) = next() {
            let Some(name) = self.names.get_mut(&host) else { continue };
            name.is_queued = false;
            if name.waiting.as_ref().is_some_and(|waiting| waiting.receiver_count() > 0) {
                (name.running, name.asked) = (name.running + 1, Some(now));
                return Some(host);
            }
            (name.waiting, name.asked) = (None, None);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn address(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_hung_look_up_gets_a_second_one_beside_it() {
        let start = Instant::now();
        let mut name = Name::default();
        assert_eq!(name.queue_another(start), Some(History::New), "no look-up is under way");
        assert_eq!(name.queue_another(start + HUNG), None, "the look-up waits for a thread");
        (name.running, name.is_queued) = (1, false);
        assert_eq!(name.queue_another(start + HUNG / 2), None, "the look-up may still end");
        assert_eq!(name.queue_another(start + HUNG), Some(History::Hung));
        (name.running, name.is_queued) = (LOOKUPS_PER_NAME, false);
        assert_eq!(name.queue_another(start + 9 * HUNG), None);
    }

    #[test]
    fn an_answer_removes_the_second_look_up_of_its_name_from_the_queue() {
        let start = Instant::now();
        let (mut table, host) = (Table::default(), Arc::<str>::from("a.example"));
        let mut name = Name { running: 1, asked: Some(start), ..Name::default() };
        let history = name.queue_another(start + HUNG).unwrap();
        table.names.insert(host.clone(), name);
        table.queues[history as usize].push_back(host.clone());
        table.finish(&host, Ok([address("192.0.2.1:0")].into()), start, start + HUNG);
        assert!(table.queues.iter().all(VecDeque::is_empty));
        let name = table.names.get_mut(&host).unwrap();
        assert_eq!(name.queue_another(start + HUNG + ANSWER_TTL), Some(History::Answered));
    }

    #[test]
    fn answers_and_failures_expire() {
        let start = Instant::now();
        let failure = Err(ResolveError::new(&io::Error::other("temporary failure")));
        let mut name = Name::default();
        name.finish(failure.clone(), start, start);
        assert!(name.known(start).is_some());
        assert!(name.known(start + FAILURE_TTL).is_none());
        name.finish(Ok([address("192.0.2.1:0")].into()), start, start);
        name.finish(failure, start, start + FAILURE_TTL);
        assert!(name.known(start + FAILURE_TTL).unwrap().is_ok(), "the failure came late");
        assert!(name.known(start + ANSWER_TTL).is_none());
    }

    #[test]
    fn names_that_hang_leave_threads_to_new_ones_and_both_to_those_that_are_answered() {
        let start = Instant::now();
        let failure: Answer = Err(ResolveError::new(&io::Error::other("temporary failure")));
        let (mut table, mut callers) = (Table::default(), Vec::new());
        for (failed_after, threads) in [
            (Some(SLOW), MAX_THREADS / 2),
            (None, MAX_THREADS / 4 * 3),
            (Some(SLOW / 2), MAX_THREADS),
        ] {
            for number in 0..MAX_THREADS {
                let mut name = Name::default();
                if let Some(after) = failed_after {
                    name.finish(failure.clone(), start, start + after);
                }
                let waiting = name.waiting.insert(watch::channel(None).0);
                callers.push(waiting.subscribe());
                let history = name.queue_another(start + HUNG).unwrap();
                let host: Arc<str> = format!("{failed_after:?} {number}").into();
                table.queues[history as usize].push_back(host.clone());
                table.names.insert(host, name);
            }
            table.threads += 1;
            while table.next(start).is_some() {
                table.threads += 1;
            }
            table.threads -= 1;
            assert_eq!(table.threads, threads, "{failed_after:?}");
        }
    }
}
