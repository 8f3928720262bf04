//! When messages are sent: at the answer to the last ones, or when they are due.

use std::{
    future::poll_fn,
    sync::atomic::{AtomicU8, AtomicU64, Ordering},
    task::{Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;

/// How long the thread that releases messages sleeps at the most, and so takes to end.
const NAP: Duration = Duration::from_millis(50);

/// What the connections are told: what to send when, and when to end.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) start: Instant,
    /// Messages per second over all connections, if they are due at times of their own.
    rate: Option<u64>,
    stage: AtomicU8,
    lanes: Vec<Lane>,
}

/// One connection's share.
#[derive(Debug, Default)]
struct Lane {
    /// Messages that are due and not taken yet.
    waiting: AtomicU64,
    waker: AtomicWaker,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Send.
    Send,
    /// Wait for the answers to what was sent.
    Finish,
    /// Answers that have not come now do not count.
    GiveUp,
}

impl Pace {
    pub(super) fn new(connections: usize, rate: Option<u64>) -> Pace {
        Pace {
            start: Instant::now(),
            rate,
            stage: AtomicU8::new(Stage::Send as u8),
            lanes: (0..connections).map(|_| Lane::default()).collect(),
        }
    }

    /// Wakes `lane`'s connection from now on, when there is something new for it.
    pub(super) fn wake(&self, lane: usize, waker: &Waker) {
        self.lanes[lane].waker.register(waker);
    }

    pub(super) fn stage(&self) -> Stage {
        match self.stage.load(Ordering::Acquire) {
            0 => Stage::Send,
            1 => Stage::Finish,
            _ => Stage::GiveUp,
        }
    }

    /// Waits until answers do not count any more, in place of `lane`'s connection.
    pub(super) async fn given_up(&self, lane: usize) {
        poll_fn(|cx| {
            self.wake(lane, cx.waker());
            if self.stage() == Stage::GiveUp { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Goes on to `stage`.
    pub(super) fn enter(&self, stage: Stage) {
        self.stage.fetch_max(stage as u8, Ordering::AcqRel);
        self.lanes.iter().for_each(|lane| lane.waker.wake());
    }

    /// Takes what is due on `lane`, at most `room` messages, if that is decided by the
    /// clock.
    pub(super) fn take(&self, lane: usize, room: u64) -> Option<u64> {
        self.rate?;
        let waiting = &self.lanes[lane].waiting;
        let taken = waiting.load(Ordering::Acquire).min(room);
        waiting.fetch_sub(taken, Ordering::AcqRel);
        Some(taken)
    }

    /// When the message `number` of `lane` is due, counted from 0.
    pub(super) fn due_at(&self, lane: usize, number: u64) -> Option<Instant> {
        let all = number * self.lanes.len() as u64 + lane as u64;
        self.rate.map(|rate| self.start + moment(all, rate))
    }

    /// How many messages are due and not taken.
    pub(super) fn waiting(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.waiting.load(Ordering::Acquire)).sum()
    }

    /// Releases each message when it is due, one connection after the other, until
    /// nothing more is to be sent. A thread's work: tokio's timers count milliseconds.
    pub(super) fn keep(&self) {
        let Some(rate) = self.rate else { return };
        for number in 0.. {
            let at = self.start + moment(number, rate);
            loop {
                if self.stage() != Stage::Send {
                    return;
                }
                let left = at.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                thread::sleep(left.min(NAP));
            }
            let lane = number % self.lanes.len() as u64;
            let lane = &self.lanes[usize::try_from(lane).expect("it is less than a length")];
            lane.waiting.fetch_add(1, Ordering::AcqRel);
            lane.waker.wake();
        }
    }
}

/// How long after the start the message `number` of all is due.
fn moment(number: u64, rate: u64) -> Duration {
    let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_due_one_connection_after_the_other() {
        let pace = Pace::new(4, Some(1000));
        let after = |lane, number| pace.due_at(lane, number).unwrap() - pace.start;
        assert_eq!(after(0, 0), Duration::ZERO);
        assert_eq!(after(3, 0), Duration::from_millis(3));
        assert_eq!(after(0, 1), Duration::from_millis(4));
        assert_eq!(after(2, 250), Duration::from_millis(1002));
        assert_eq!(Pace::new(4, None).due_at(0, 0), None);
    }

    #[test]
    fn a_stage_is_never_left_for_an_earlier_one() {
        let pace = Pace::new(1, None);
        assert_eq!(pace.stage(), Stage::Send);
        pace.enter(Stage::GiveUp);
        pace.enter(Stage::Finish);
        assert_eq!(pace.stage(), Stage::GiveUp);
    }
}
