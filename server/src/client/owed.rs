//! Replies that are owed: one for each message that was sent. Where the transport has no
//! end of its own, or one that cuts the peer short, they say when it is over.

use std::{cell::Cell, time::Duration};

use tokio::{sync::Notify, time::timeout};

/// What was sent and what came back.
#[derive(Debug, Default)]
pub(super) struct Owed {
    sent: Cell<u64>,
    replies: Cell<u64>,
    came: Notify,
}

impl Owed {
    /// A message goes out.
    pub(super) fn sent(&self) {
        self.sent.set(self.sent.get() + 1);
    }

    /// So many replies are here.
    pub(super) fn came(&self, replies: u64) {
        self.replies.set(self.replies.get() + replies);
        self.came.notify_one();
    }

    /// Whether as many have come as were sent.
    pub(super) fn paid(&self) -> bool {
        self.replies.get() >= self.sent.get()
    }

    /// Waits for a reply, and says whether one has come before `silence` is over.
    pub(super) async fn another(&self, silence: Duration) -> bool {
        timeout(silence, self.came.notified()).await.is_ok()
    }

    /// Waits until all replies are here, or nothing comes for `silence`.
    pub(super) async fn paid_or_silent(&self, silence: Duration) {
        while !self.paid() && self.another(silence).await {}
    }

    /// Waits until all replies are here, and then nothing comes for `silence`.
    pub(super) async fn paid_and_silent(&self, silence: Duration) {
        loop {
            while !self.paid() {
                self.came.notified().await;
            }
            if !self.another(silence).await {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, sleep};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How long both waits take, with a reply after each of `pauses`, for two messages.
    async fn waits(pauses: &[Duration]) -> (Duration, Duration) {
        let start = Instant::now();
        let owed = [Owed::default(), Owed::default()];
        owed.iter().for_each(|owed| (0..2).for_each(|_| owed.sent()));
        let replies = async {
            for pause in pauses {
                sleep(*pause).await;
                owed.iter().for_each(|owed| owed.came(1));
            }
        };
        let (either, both, ()) = tokio::join!(
            async {
                owed[0].paid_or_silent(SECOND).await;
                start.elapsed()
            },
            async {
                timeout(100 * SECOND, owed[1].paid_and_silent(SECOND)).await.ok();
                start.elapsed()
            },
            replies
        );
        (either, both)
    }

    #[tokio::test(start_paused = true)]
    async fn the_last_reply_is_the_end_or_silence_after_it() {
        assert_eq!(waits(&[SECOND / 2, SECOND / 2]).await, (SECOND, 2 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reply_that_does_not_come_is_waited_for_as_long_as_asked() {
        assert_eq!(waits(&[SECOND / 2]).await, (SECOND * 3 / 2, 100 * SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_reply_is_not_missed_where_silence_alone_is_no_end() {
        let (_, both) = waits(&[3 * SECOND, 3 * SECOND]).await;
        assert_eq!(both, 7 * SECOND);
    }
}
