//! Replies on one connection, and when an exchange is over whose input has ended: where the
//! transport has no end of one side alone, or where the user has set a limit.

use std::{
    cell::{Cell, RefCell},
    str::FromStr,
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use crate::config::parse_duration;

/// The silence that ends an exchange in which everything is answered, without `--wait`.
pub(super) const SILENCE: Duration = Duration::from_secs(1);

/// How long a reply may take, without `--wait`.
const REPLY_TIME: Duration = Duration::from_secs(30);

/// How long a WebSocket server may take to send a greeting before the first message is sent.
/// A greeting that comes later is taken for a reply.
const GREETING_TIME: Duration = Duration::from_millis(100);

/// `--wait`: how long the server may be silent when the input has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wait {
    /// [`REPLY_TIME`] for a reply that is missing, [`SILENCE`] after the last one. A server
    /// that can end its side alone is waited for without a limit.
    #[default]
    Default,
    /// So long, whatever is missing. Zero: no reply is expected.
    For(Duration),
    /// Until the server ends.
    Forever,
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
    /// How long the input may be silent when the server has ended its side: an input that
    /// never ends would keep the client there for ever. None: without a limit.
    pub(super) fn for_input(self) -> Option<Duration> {
        match self {
            Wait::Default => Some(SILENCE),
            Wait::For(time) => Some(time),
            Wait::Forever => None,
        }
    }
}

/// Which replies are missing if they have not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// None, but as many as messages are waited for.
    Optional,
    /// One at least after the last message.
    AfterLast,
    /// One for each message; of a stream of bytes, where replies cannot be told apart, one
    /// at least after the last message.
    Each,
}

/// What was sent and what has come on one connection.
#[derive(Debug, Default)]
pub(super) struct Replies {
    sent: Cell<u64>,
    /// Since the first message was sent.
    received: Cell<u64>,
    /// When the last message was sent.
    sent_at: Cell<Option<Instant>>,
    /// Something has come since then.
    answered: Cell<bool>,
    /// The replies are messages, which can be counted.
    framed: Cell<bool>,
    /// The longest time between a message and the first reply after it.
    slowest: Cell<Duration>,
    /// What has not come in time, if nothing has come since.
    missing: RefCell<Option<String>>,
    came: Notify,
}

impl Replies {
    /// A message goes out.
    pub(super) fn sent(&self) {
        self.sent.set(self.sent.get() + 1);
        self.sent_at.set(Some(Instant::now()));
        self.answered.set(false);
    }

    /// Whether no message has been sent.
    pub(super) fn is_unasked(&self) -> bool {
        self.sent.get() == 0
    }

    /// So many messages have come and been shown.
    pub(super) fn messages(&self, count: u64) {
        self.framed.set(true);
        self.came(count);
    }

    /// Bytes have come and been shown that look like so many replies.
    pub(super) fn came(&self, count: u64) {
        if let Some(sent_at) = self.sent_at.get() {
            self.received.set(self.received.get() + count);
            if !self.answered.replace(true) {
                self.slowest.set(self.slowest.get().max(sent_at.elapsed()));
            }
        }
        self.missing.take();
        self.came.notify_one();
    }

    /// A reply has not come in time, but may come yet.
    pub(super) fn is_missing(&self, missing: String) {
        *self.missing.borrow_mut() = Some(missing);
    }

    /// What has not come at all, when the connection has ended.
    pub(super) fn take_missing(&self) -> Option<String> {
        self.missing.take()
    }

    /// Waits for what a server may say before the first message is sent.
    pub(super) async fn greeting(&self) {
        if self.sent_at.get().is_none() {
            self.another(GREETING_TIME).await;
        }
    }

    /// Waits until the exchange is over after the last message.
    ///
    /// # Errors
    ///
    /// In words, which replies are missing.
    pub(super) async fn over(&self, wait: Wait, expected: Expected) -> Result<(), String> {
        loop {
            let complete = self.is_complete(expected);
            let limit = match wait {
                Wait::Forever => return std::future::pending().await,
                Wait::For(time) => time,
                Wait::Default => match expected {
                    Expected::Optional if complete => return Ok(()),
                    Expected::Optional => SILENCE,
                    // A server that was slow before may be so again.
                    _ if complete => SILENCE.max(2 * self.slowest.get()),
                    _ => REPLY_TIME,
                },
            };
            if self.another(limit).await {
                continue;
            }
            return match self.missing(expected) {
                Some(missing) if !limit.is_zero() => {
                    Err(format!("{missing} within {}", in_words(limit)))
                }
                _ => Ok(()),
            };
        }
    }

    /// Waits for something to come, and says whether it did before `silence` was over.
    async fn another(&self, silence: Duration) -> bool {
        timeout(silence, self.came.notified()).await.is_ok()
    }

    fn is_complete(&self, expected: Expected) -> bool {
        let (sent, received) = (self.sent.get(), self.received.get());
        let answered = sent == 0 || self.answered.get();
        match expected {
            Expected::Optional => received >= sent,
            Expected::AfterLast => answered,
            Expected::Each => answered && received >= sent,
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
            _ if expected == Expected::Each && received < sent && self.framed.get() => {
                Some(format!("only {received} of {sent} replies"))
            }
            _ => Some("no reply to the last message".to_owned()),
        }
    }
}

/// A time as the options take it, in words.
fn in_words(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds < 1.0 => format!("{} ms", time.as_millis()),
        1.0 => "1 second".to_owned(),
        seconds => format!("{seconds} seconds"),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::sleep;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// How long the end is waited for after two messages, and what is then missing; a reply
    /// comes after each of `pauses`, in milliseconds.
    async fn over(wait: Wait, expected: Expected, pauses: &[u32]) -> (u128, Result<(), String>) {
        let start = Instant::now();
        let replies = Replies::default();
        replies.sent();
        replies.sent();
        let come = async {
            for pause in pauses {
                sleep(*pause * MS).await;
                replies.messages(1);
            }
        };
        let over = async {
            let over = replies.over(wait, expected).await;
            (start.elapsed().as_millis(), over)
        };
        tokio::join!(over, come).0
    }

    #[tokio::test(start_paused = true)]
    async fn silence_after_the_last_reply_is_the_end() {
        for expected in [Expected::AfterLast, Expected::Each] {
            assert_eq!(over(Wait::Default, expected, &[500, 500]).await, (2000, Ok(())));
            assert_eq!(over(Wait::For(300 * MS), expected, &[200, 200]).await, (700, Ok(())));
        }
        assert_eq!(over(Wait::Default, Expected::Optional, &[500, 500]).await, (1000, Ok(())));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_is_missing_is_waited_for_and_named() {
        let wrong = |words: &str| Err(words.to_owned());
        let (each, last) = (Expected::Each, Expected::AfterLast);
        let default = Wait::Default;
        assert_eq!(over(default, last, &[]).await, (30_000, wrong("no reply within 30 seconds")));
        let words = "only 1 of 2 replies within 30 seconds";
        assert_eq!(over(default, each, &[500]).await, (30_500, wrong(words)));
        let wait = Wait::For(300 * MS);
        assert_eq!(over(wait, last, &[]).await, (300, wrong("no reply within 300 ms")));
        assert_eq!(over(default, Expected::Optional, &[]).await, (1000, Ok(())));
        assert_eq!(over(Wait::For(Duration::ZERO), each, &[]).await.1, Ok(()), "none is expected");
    }

    #[tokio::test]
    async fn what_comes_before_the_last_message_is_no_reply_to_it() {
        let replies = Replies::default();
        replies.messages(1);
        replies.sent();
        let missing = replies.over(Wait::For(MS), Expected::Each).await.unwrap_err();
        assert_eq!(missing, "no reply within 1 ms");
        replies.messages(2);
        replies.sent();
        let missing = replies.over(Wait::For(MS), Expected::Each).await.unwrap_err();
        assert_eq!(missing, "no reply to the last message within 1 ms");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_it_is_never_over() {
        let over = over(Wait::Forever, Expected::Each, &[1, 1]);
        timeout(Duration::from_secs(1 << 20), over).await.unwrap_err();
    }

    #[test]
    fn a_wait_is_a_time_or_forever() {
        assert_eq!("forever".parse(), Ok(Wait::Forever));
        assert_eq!("2s".parse(), Ok(Wait::For(Duration::from_secs(2))));
        assert!("ever".parse::<Wait>().is_err());
    }
}
