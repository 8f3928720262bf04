//! The schedule of messages: after the previous replies, or at a fixed rate.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;

/// The longest sleep of the thread that releases messages, and so the time within which it stops.
const MAX_SLEEP: Duration = Duration::from_millis(50);

/// The schedule that all connections share.
#[derive(Debug)]
pub(super) struct Schedule {
    pub(super) start: Instant,
    /// Messages per second over all connections, with `--rate`.
    rate: Option<u64>,
    phase: AtomicU8,
    connections: Vec<DueMessages>,
}

/// The messages of one connection that are due and have not been taken.
#[derive(Debug, Default)]
struct DueMessages {
    count: AtomicU64,
    waker: AtomicWaker,
}

/// The phase of the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum LoadPhase {
    /// Messages are sent.
    Send,
    /// No more messages are sent; replies are awaited.
    Finish,
    /// Replies that have not come count as missing.
    GiveUp,
}

impl Schedule {
    pub(super) fn new(connections: usize, rate: Option<u64>) -> Schedule {
        Schedule {
            start: Instant::now(),
            rate,
            phase: AtomicU8::new(LoadPhase::Send as u8),
            connections: (0..connections).map(|_| DueMessages::default()).collect(),
        }
    }

    /// Registers the task of a connection, to be woken for due messages and new phases.
    pub(super) fn register(&self, connection: usize, waker: &Waker) {
        self.connections[connection].waker.register(waker);
    }

    pub(super) fn phase(&self) -> LoadPhase {
        match self.phase.load(Ordering::Acquire) {
            0 => LoadPhase::Send,
            1 => LoadPhase::Finish,
            _ => LoadPhase::GiveUp,
        }
    }

    /// Waits for [`LoadPhase::GiveUp`], as the task of a connection that is not open yet.
    pub(super) async fn given_up(&self, connection: usize) {
        poll_fn(|cx| {
            self.register(connection, cx.waker());
            if self.phase() == LoadPhase::GiveUp { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Enters `phase`, unless a later one has been entered.
    pub(super) fn enter(&self, phase: LoadPhase) {
        self.phase.fetch_max(phase as u8, Ordering::AcqRel);
        self.connections.iter().for_each(|due| due.waker.wake());
    }

    /// Takes the messages that are due on a connection, at most `room`; `None` without `--rate`.
    pub(super) fn take(&self, connection: usize, room: u64) -> Option<u64> {
        self.rate?;
        let due = &self.connections[connection].count;
        let taken = due.load(Ordering::Acquire).min(room);
        due.fetch_sub(taken, Ordering::AcqRel);
        Some(taken)
    }

    /// The time at which message `number` of a connection, counted from 0, is due; `None` without
    /// `--rate`.
    pub(super) fn due_at(&self, connection: usize, number: u64) -> Option<Instant> {
        let all = number * self.connections.len() as u64 + connection as u64;
        self.rate.map(|rate| self.start + offset(all, rate))
    }

    /// The number of messages that are due and have not been taken.
    pub(super) fn waiting(&self) -> u64 {
        self.connections.iter().map(|due| due.count.load(Ordering::Acquire)).sum()
    }

    /// Releases each message when it is due, for one connection after the other, until
    /// [`LoadPhase::Send`] ends. The caller provides a thread, since timers of tokio have a
    /// resolution of 1 ms.
    pub(super) fn run(&self) {
        let Some(rate) = self.rate else { return };
        for number in 0.. {
            let at = self.start + offset(number, rate);
            loop {
                if self.phase() != LoadPhase::Send {
                    return;
                }
                let left = at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                thread::sleep(left.min(MAX_SLEEP));
            }
            let index = usize::try_from(number % self.connections.len() as u64);
            let due = &self.connections[index.expect("a remainder is less than the length")];
            due.count.fetch_add(1, Ordering::AcqRel);
            due.waker.wake();
        }
    }
}

/// The time after the start at which message `number`, counted over all connections, is due.
fn offset(number: u64, rate: u64) -> Duration {
    let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_for_one_connection_after_the_other() {
        let schedule = Schedule::new(4, Some(1000));
        let after =
            |connection, number| schedule.due_at(connection, number).unwrap() - schedule.start;
        assert_eq!(after(0, 0), Duration::ZERO);
        assert_eq!(after(3, 0), Duration::from_millis(3));
        assert_eq!(after(0, 1), Duration::from_millis(4));
        assert_eq!(after(2, 250), Duration::from_millis(1002));
        assert_eq!(Schedule::new(4, None).due_at(0, 0), None);
    }

    #[test]
    fn a_phase_is_never_left_for_an_earlier_one() {
        let schedule = Schedule::new(1, None);
        assert_eq!(schedule.phase(), LoadPhase::Send);
        schedule.enter(LoadPhase::GiveUp);
        schedule.enter(LoadPhase::Finish);
        assert_eq!(schedule.phase(), LoadPhase::GiveUp);
    }
}
