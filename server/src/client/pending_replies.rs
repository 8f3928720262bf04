//! Pending replies on one connection. Where the transport has no half-close, or the user has set a
//! time limit, they decide when a session is done after the end of its input.

use std::{
    cell::{Cell, RefCell},
    str::FromStr,
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use crate::config::parse_duration;

/// The silence after the last reply that ends a session, without `--wait`.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// The time limit of a reply, without `--wait`.
const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// The time that a WebSocket server has to send a greeting before the first message is sent. A
/// greeting that comes later counts as a reply.
const GREETING_TIMEOUT: Duration = Duration::from_millis(100);

/// The value of `--wait`: the silence of the server that ends a session after the end of its input.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wait {
    /// [`REPLY_TIMEOUT`] for a pending reply, [`SILENCE`] after the last one. A server that can
    /// end its direction alone has no time limit.
    #[default]
    Default,
    /// This time, for pending replies as well. Zero: no reply is expected.
    For(Duration),
    /// No limit: until the server ends the connection.
    Forever,
    /// No limit, as with [`Wait::Forever`], but when the peer has ended its direction, a pause of
    /// the input ends the session. This is for a server, whose clients decide when they are done.
    UntilPeerEnds,
}

impl FromStr for Wait {
    type Err = String;

    fn from_str(text: &str) -> Result<Wait, String> {
        match text {
            "forever" => Ok(Wait::Forever),
            time => {
                let time = parse_duration(time);
                time.map(Wait::For).map_err(|error| format!("{error}, or forever"))
            }
        }
    }
}

impl Wait {
    /// The silence of the input that ends a session after the server has ended its direction, so
    /// that an endless input does not keep the client running. None: no limit.
    pub(super) fn for_input(self) -> Option<Duration> {
        match self {
            Wait::Default | Wait::UntilPeerEnds => Some(SILENCE),
            Wait::For(time) => Some(time),
            Wait::Forever => None,
        }
    }

    /// The silence of a datagram peer after which outstanding replies count as lost.
    pub(super) fn silence(self) -> Duration {
        match self {
            Wait::For(time) => time,
            Wait::Default | Wait::Forever | Wait::UntilPeerEnds => SILENCE,
        }
    }
}

/// The replies whose absence is a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// None, although the session waits for as many replies as messages.
    Optional,
    /// At least one after the last message.
    AfterLast,
    /// One for each message. In a byte stream, where replies cannot be told apart, at least one
    /// after the last message.
    Each,
    /// As [`Expected::Each`]; where replies are messages, the session is done with the last one.
    Counted,
}

/// The messages sent and the replies received on one connection.
#[derive(Debug, Default)]
pub(super) struct PendingReplies {
    /// Messages sent.
    sent: Cell<u64>,
    /// Replies received since the first message was sent.
    received: Cell<u64>,
    /// The time at which the last message was sent.
    sent_at: Cell<Option<Instant>>,
    /// A reply has been received since the last message was sent.
    answered: Cell<bool>,
    /// The replies are messages, so that they can be counted.
    framed: Cell<bool>,
    /// The longest time from a message to the next reply.
    slowest: Cell<Duration>,
    /// The description of replies that have not come in time; the next reply clears it.
    missing: RefCell<Option<String>>,
    /// The time at which the write of a reply began, while it lasts.
    writing_since: Cell<Option<Instant>>,
    /// The time spent with earlier writes.
    written_for: Cell<Duration>,
    /// Notified when a reply has been received, and when the write of one has ended.
    arrived: Notify,
}

impl PendingReplies {
    /// Counts a message as sent.
    pub(super) fn sent(&self) {
        self.sent.set(self.sent.get() + 1);
        self.sent_at.set(Some(Instant::now()));
        self.answered.set(false);
    }

    /// Whether a message has been sent.
    pub(super) fn has_sent(&self) -> bool {
        self.sent.get() > 0
    }

    /// Counts a message as received and shown.
    pub(super) fn received_message(&self) {
        self.framed.set(true);
        self.received_lines(1);
    }

    /// Counts bytes with `count` lines as received and shown: each line counts as a reply.
    pub(super) fn received_lines(&self, count: u64) {
        if let Some(sent_at) = self.sent_at.get() {
            self.received.set(self.received.get() + count);
            if !self.answered.replace(true) {
                self.slowest.set(self.slowest.get().max(sent_at.elapsed()));
            }
        }
        self.missing.take();
        self.arrived.notify_one();
    }

    /// Runs `write`, which writes a reply. No time limit elapses meanwhile.
    pub(super) async fn while_writing<T>(&self, write: impl Future<Output = T>) -> T {
        let start = Instant::now();
        self.writing_since.set(Some(start));
        let written = write.await;
        self.writing_since.set(None);
        self.written_for.set(self.written_for.get() + start.elapsed());
        self.arrived.notify_one();
        written
    }

    /// Waits until `limit` has passed, without the time in which replies are written.
    pub(super) async fn elapse(&self, limit: Duration) {
        let (start, before) = (Instant::now(), self.written_for());
        loop {
            if self.writing_since.get().is_some() {
                self.arrived.notified().await;
                continue;
            }
            let left = (limit + self.written_for() - before).saturating_sub(start.elapsed());
            if left.is_zero() {
                return;
            }
            sleep(left).await;
        }
    }

    /// The time spent with writes.
    fn written_for(&self) -> Duration {
        let present = self.writing_since.get().map(|since| since.elapsed());
        self.written_for.get() + present.unwrap_or_default()
    }

    /// Sets a description of replies that have not come in time but may still come.
    pub(super) fn set_missing(&self, missing: String) {
        *self.missing.borrow_mut() = Some(missing);
    }

    /// Takes the description of the missing replies, at the end of the connection.
    pub(super) fn take_missing(&self) -> Option<String> {
        self.missing.take()
    }

    /// Waits for a greeting of the server, if no message has been sent yet.
    pub(super) async fn wait_for_greeting(&self) {
        if self.sent_at.get().is_none() {
            self.next_within(GREETING_TIMEOUT).await;
        }
    }

    /// Waits in a session without a message until the peer has been silent for the time of
    /// `--wait`, or for [`SILENCE`].
    pub(super) async fn wait_until_peer_is_silent(&self, wait: Wait) {
        let limit = match wait {
            Wait::UntilPeerEnds => return std::future::pending().await,
            Wait::For(time) => time,
            Wait::Default | Wait::Forever => SILENCE,
        };
        while self.next_within(limit).await {}
    }

    /// Waits after the last message until the session is done.
    ///
    /// # Errors
    ///
    /// A description of the replies that are missing.
    pub(super) async fn wait_until_done(
        &self,
        wait: Wait,
        expected: Expected,
    ) -> Result<(), String> {
        loop {
            let complete = self.is_complete(expected);
            let is_done = complete && expected == Expected::Counted && self.framed.get();
            let limit = match wait {
                Wait::Forever | Wait::UntilPeerEnds => return std::future::pending().await,
                _ if is_done => return Ok(()),
                Wait::For(time) => time,
                Wait::Default => match expected {
                    Expected::Optional if complete => return Ok(()),
                    Expected::Optional => SILENCE,
                    // A server that was slow before may be slow again.
                    _ if complete => SILENCE.max(2 * self.slowest.get()),
                    _ => REPLY_TIMEOUT,
                },
            };
            if self.next_within(limit).await && !limit.is_zero() {
                continue;
            }
            return match self.missing(expected) {
                Some(missing) if !limit.is_zero() => {
                    Err(format!("{missing} within {}", format_time(limit)))
                }
                _ => Ok(()),
            };
        }
    }

    /// Waits for the next reply, and returns whether one came within `silence`. A reply that is
    /// still being written at that time counts, however slow the reader of the output is.
    async fn next_within(&self, silence: Duration) -> bool {
        let arrived = timeout(silence, self.arrived.notified()).await.is_ok();
        let write = self.writing_since.get();
        while write.is_some() && self.writing_since.get() == write {
            self.arrived.notified().await;
        }
        arrived || write.is_some()
    }

    fn is_complete(&self, expected: Expected) -> bool {
        let (sent, received) = (self.sent.get(), self.received.get());
        let answered = sent == 0 || self.answered.get();
        match expected {
            Expected::Optional => received >= sent,
            Expected::AfterLast => answered,
            Expected::Each | Expected::Counted => answered && received >= sent,
        }
    }

    fn missing(&self, expected: Expected) -> Option<String> {
        let (sent, received) = (self.sent.get(), self.received.get());
        if self.is_complete(expected) || expected == Expected::Optional {
            return None;
        }
        match received {
            0 => Some("no reply".to_owned()),
            _ if !self.framed.get() && self.answered.get() => None,
            _ if expected != Expected::AfterLast && received < sent && self.framed.get() => {
                Some(format!("only {received} of {sent} replies"))
            }
            _ => Some("no reply to the last message".to_owned()),
        }
    }
}

/// Formats a time limit for an error.
fn format_time(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{} ms", time.as_millis()),
        1.0 => "1 second".to_owned(),
        seconds => format!("{seconds} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Waits until a session of two messages is done, in which a reply comes after each of
    /// `pauses`. Returns the time and the result; times are in milliseconds.
    async fn wait(limit: Wait, expected: Expected, pauses: &[u32]) -> (u128, Result<(), String>) {
        let start = Instant::now();
        let replies = PendingReplies::default();
        replies.sent();
        replies.sent();
        let come = async {
            for pause in pauses {
                sleep(*pause * MS).await;
                replies.received_message();
            }
        };
        let done = async {
            let done = replies.wait_until_done(limit, expected).await;
            (start.elapsed().as_millis(), done)
        };
        tokio::join!(done, come).0
    }

    #[tokio::test(start_paused = true)]
    async fn silence_after_the_last_reply_ends_the_session() {
        for expected in [Expected::AfterLast, Expected::Each] {
            assert_eq!(wait(Wait::Default, expected, &[500, 500]).await, (2000, Ok(())));
            assert_eq!(wait(Wait::For(300 * MS), expected, &[200, 200]).await, (700, Ok(())));
        }
        assert_eq!(wait(Wait::Default, Expected::Optional, &[500, 500]).await, (1000, Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_missing_reply_is_awaited_and_reported() {
        let missing = |text: &str| Err(text.to_owned());
        let (each, last) = (Expected::Each, Expected::AfterLast);
        let default = Wait::Default;
        assert_eq!(wait(default, last, &[]).await, (30_000, missing("no reply within 30 seconds")));
        let text = "only 1 of 2 replies within 30 seconds";
        assert_eq!(wait(default, each, &[500]).await, (30_500, missing(text)));
        let limit = Wait::For(300 * MS);
        assert_eq!(wait(limit, last, &[]).await, (300, missing("no reply within 300 ms")));
        assert_eq!(wait(default, Expected::Optional, &[]).await, (1000, Ok(())));
        assert_eq!(wait(Wait::For(Duration::ZERO), each, &[]).await.1, Ok(()), "none is expected");
    }

    #[tokio::test]
    async fn a_reply_before_the_last_message_does_not_count_for_it() {
        let replies = PendingReplies::default();
        replies.received_message();
        replies.sent();
        let missing = replies.wait_until_done(Wait::For(MS), Expected::Each).await.unwrap_err();
        assert_eq!(missing, "no reply within 1 ms");
        replies.received_message();
        replies.received_message();
        replies.sent();
        let missing = replies.wait_until_done(Wait::For(MS), Expected::Each).await.unwrap_err();
        assert_eq!(missing, "no reply to the last message within 1 ms");
    }

    #[tokio::test(start_paused = true)]
    async fn counted_replies_that_are_messages_end_the_session_with_the_last_one() {
        for (wait, framed, waited) in [
            (Wait::Default, true, Duration::ZERO),
            (Wait::For(9 * MS), true, Duration::ZERO),
            // The end of a reply in a byte stream is not known.
            (Wait::Default, false, SILENCE),
        ] {
            let replies = PendingReplies::default();
            replies.sent();
            if framed {
                replies.received_message();
            } else {
                replies.received_lines(1);
            }
            let start = Instant::now();
            replies.wait_until_done(wait, Expected::Counted).await.unwrap();
            assert_eq!(start.elapsed(), waited, "{wait:?} {framed}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_time_limit_elapses_while_a_reply_is_written() {
        let start = Instant::now();
        let replies = PendingReplies::default();
        replies.sent();
        let come = async {
            for _ in 0..2 {
                replies.while_writing(sleep(60_000 * MS)).await;
                replies.received_message();
            }
        };
        let done = async {
            replies.wait_until_done(Wait::For(300 * MS), Expected::Each).await.unwrap();
            assert_eq!(start.elapsed(), 120_300 * MS);
        };
        tokio::join!(done, come);
        let write = async {
            sleep(200 * MS).await;
            replies.while_writing(sleep(60_000 * MS)).await;
        };
        let elapsed = async {
            replies.elapse(300 * MS).await;
            assert_eq!(start.elapsed(), 180_600 * MS);
        };
        tokio::join!(elapsed, write);
        let at_once = async {
            let done = replies.wait_until_done(Wait::For(Duration::ZERO), Expected::Each);
            done.await.unwrap();
            start.elapsed()
        };
        let written = tokio::join!(replies.while_writing(sleep(60_000 * MS)), at_once).1;
        assert_eq!(written, 240_600 * MS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_sends_is_waited_for_until_it_is_silent() {
        for (wait, limit) in [(Wait::Default, SILENCE), (Wait::For(300 * MS), 300 * MS)] {
            let (start, replies) = (Instant::now(), PendingReplies::default());
            let come = async {
                for _ in 0..3 {
                    sleep(limit - MS).await;
                    replies.received_lines(1);
                }
            };
            tokio::join!(replies.wait_until_peer_is_silent(wait), come);
            assert_eq!(start.elapsed(), 3 * (limit - MS) + limit, "{wait:?}");
        }
        let endless = PendingReplies::default();
        let wait = endless.wait_until_peer_is_silent(Wait::UntilPeerEnds);
        timeout(Duration::from_hours(1), wait).await.unwrap_err();
    }

    #[test]
    fn a_wait_is_a_time_or_forever() {
        assert_eq!("forever".parse(), Ok(Wait::Forever));
        assert_eq!("2s".parse(), Ok(Wait::For(Duration::from_secs(2))));
        assert!("ever".parse::<Wait>().is_err());
    }
}
