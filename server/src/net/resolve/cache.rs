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

/// The most simultaneous look-ups of all names. Second look-ups of a name may use half of the
/// threads, so that hung names leave threads for others.
pub(super) const MAX_THREADS: usize = 64;

/// The most cached names, not counting those being looked up.
pub(super) const MAX_NAMES: usize = 256;

/// The result of a look-up. The ports of the addresses are ignored.
pub(super) type Answer = Result<Arc<[SocketAddr]>, ResolveError>;

/// All names, and the queue of the look-up threads.
#[derive(Default)]
pub(super) struct Table {
    pub(super) names: HashMap<Arc<str>, Name>,
    /// Names whose look-up waits for a thread, each at most once.
    pub(super) queue: VecDeque<Arc<str>>,
    pub(super) threads: usize,
}

/// The last answer for a name, and its look-ups under way.
#[derive(Default)]
pub(super) struct Name {
    /// The last answer and its expiry.
    known: Option<(Answer, Instant)>,
    /// Sends the next answer to the callers that wait for it.
    pub(super) waiting: Option<watch::Sender<Option<Answer>>>,
    pub(super) running: usize,
    /// The time at which the last look-up was queued; None unless it is queued or runs.
    pub(super) asked: Option<Instant>,
    pub(super) is_queued: bool,
}

impl Name {
    /// The last answer, unless it has expired.
    pub(super) fn known(&self, now: Instant) -> Option<&Answer> {
        self.known.as_ref().filter(|(_, until)| now < *until).map(|(answer, _)| answer)
    }

    fn is_idle(&self) -> bool {
        self.running == 0 && self.waiting.is_none() && !self.is_queued
    }

    /// Whether to start another look-up for the callers that wait, while `threads` are running.
    pub(super) fn needs_another(&self, threads: usize, now: Instant) -> bool {
        let Some(asked) = self.asked else { return self.running < LOOKUPS_PER_NAME };
        let is_hung = !self.is_queued && now.duration_since(asked) >= HUNG;
        is_hung && self.running < LOOKUPS_PER_NAME && threads < MAX_THREADS / 2
    }

    /// Stores the result of a look-up and sends it to the callers that wait.
    pub(super) fn finish(&mut self, answer: Answer, now: Instant) {
        let ttl = if answer.is_ok() { ANSWER_TTL } else { FAILURE_TTL };
        // A late failure of an overtaken look-up does not replace a valid answer.
        if answer.is_ok() || self.known(now).is_none() {
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

    /// Takes the next name with a waiting caller from the queue.
    pub(super) fn next(&mut self) -> Option<Arc<str>> {
        while let Some(host) = self.queue.pop_front() {
            let Some(name) = self.names.get_mut(&host) else { continue };
            name.is_queued = false;
            if name.waiting.as_ref().is_some_and(|waiting| waiting.receiver_count() > 0) {
                name.running += 1;
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
        assert!(name.needs_another(0, start), "no look-up is under way");
        (name.asked, name.is_queued) = (Some(start), true);
        assert!(!name.needs_another(0, start + HUNG), "the look-up waits for a thread");
        (name.running, name.is_queued) = (1, false);
        assert!(!name.needs_another(1, start + HUNG / 2), "the look-up may still end");
        assert!(name.needs_another(1, start + HUNG));
        assert!(!name.needs_another(MAX_THREADS / 2, start + HUNG), "other names need the threads");
        (name.running, name.asked) = (LOOKUPS_PER_NAME, Some(start + HUNG));
        assert!(!name.needs_another(2, start + 9 * HUNG));
    }

    #[test]
    fn answers_and_failures_expire() {
        let start = Instant::now();
        let failure = Err(ResolveError::new(&io::Error::other("temporary failure")));
        let mut name = Name::default();
        name.finish(failure.clone(), start);
        assert!(name.known(start).is_some());
        assert!(name.known(start + FAILURE_TTL).is_none());
        name.finish(Ok([address("192.0.2.1:0")].into()), start);
        name.finish(failure, start + FAILURE_TTL);
        assert!(name.known(start + FAILURE_TTL).unwrap().is_ok(), "the failure came late");
        assert!(name.known(start + ANSWER_TTL).is_none());
    }
}
