//! What both directions of a talk know of their connection: what was sent, what came, and
//! whether it is over.

use std::{
    cell::RefCell,
    io,
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::timeout};

use super::{
    link::{Inbound, Received, Stop},
    owed::Owed,
    show::{Show, Sink},
    talk::Manner,
};

/// How long the end of a line may be waited for before its beginning is shown.
const LINE_PAUSE: Duration = Duration::from_millis(50);

/// How long the reply to a message may take that has a connection of its own.
const NO_REPLY: Duration = Duration::from_secs(30);

/// What both directions of a connection know.
#[derive(Debug)]
pub(super) struct Ledger {
    show: RefCell<Show>,
    owed: Owed,
    /// All has been sent.
    finished: Notify,
}

impl Ledger {
    /// Of a new connection.
    pub(super) fn new(manner: Manner) -> Ledger {
        Ledger {
            show: RefCell::new(Show::new(manner.form, manner.timing)),
            owed: Owed::default(),
            finished: Notify::new(),
        }
    }

    /// A message goes out.
    pub(super) fn sent(&self) {
        self.show.borrow_mut().sent(Instant::now());
        self.owed.sent();
    }

    /// All has been sent.
    pub(super) fn finished(&self) {
        self.finished.notify_one();
    }

    /// Waits until all that was sent is answered and shown, or nothing comes for `patience`.
    pub(super) async fn settle(&self, patience: Duration, sink: &Sink) -> Result<(), Stop> {
        self.owed.paid_or_silent(patience).await;
        let rest = self.show.borrow_mut().rest();
        if rest.is_empty() { Ok(()) } else { sink.show(&rest).await }
    }

    /// Shows what comes. Gives the words in which the peer said that it is done.
    pub(super) async fn download(
        &self,
        mut inbound: impl Inbound,
        sink: &Sink,
        heard: &mut bool,
    ) -> Result<String, Stop> {
        loop {
            let pause = self.show.borrow().has_rest();
            let received = if pause {
                timeout(LINE_PAUSE, inbound.receive()).await.ok()
            } else {
                Some(inbound.receive().await)
            };
            *heard |= matches!(received, Some(Ok(Received::Bytes(_) | Received::Message(_))));
            let replies = replies(&received);
            let (shown, end) = self.take(received);
            if !shown.is_empty() {
                sink.show(&shown).await?;
            }
            // Not before: who waits for the last one may end it all.
            if replies > 0 {
                self.owed.came(replies);
            }
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// What is to be shown of what has come, and whether it is the end.
    fn take(
        &self,
        received: Option<io::Result<Received>>,
    ) -> (Vec<u8>, Option<Result<String, Stop>>) {
        let mut show = self.show.borrow_mut();
        match received {
            // A pause: a prompt without a newline, say.
            None => (show.rest(), None),
            Some(Ok(Received::Bytes(bytes))) => (show.bytes(&bytes), None),
            Some(Ok(Received::Message(message))) => (show.message(&message), None),
            Some(Ok(Received::End(words))) => (show.rest(), Some(Ok(words))),
            Some(Err(error)) => (show.rest(), Some(Err(Stop::Connection(error)))),
        }
    }

    /// Waits until all has been sent and answered and nothing more comes, if such a
    /// silence is an end. An only message has its own connection for a reply: that there
    /// is none is a failure.
    pub(super) async fn silence(&self, manner: Manner) -> Result<(), Stop> {
        let Some(silence) = manner.silence else { return std::future::pending().await };
        self.finished.notified().await;
        if manner.once {
            self.owed.paid_or_silent(NO_REPLY).await;
            if !self.owed.paid() {
                let words = format!("no reply within {} seconds", NO_REPLY.as_secs());
                return Err(Stop::Connection(io::Error::new(io::ErrorKind::TimedOut, words)));
            }
        }
        self.owed.paid_and_silent(silence).await;
        Ok(())
    }
}

/// How many replies have come, as far as that can be told: of a stream its lines.
fn replies(received: &Option<io::Result<Received>>) -> u64 {
    match received {
        Some(Ok(Received::Bytes(bytes))) => {
            bytes.iter().filter(|byte| **byte == b'\n').count().max(1) as u64
        }
        Some(Ok(Received::Message(_))) => 1,
        Some(Ok(Received::End(_)) | Err(_)) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::{super::show::Form, *};

    /// How long after the last message a silent peer is left, and why.
    async fn left(once: bool, replies: u64) -> (u64, Option<String>) {
        let form = Form { people: false, hex: false };
        let silence = Some(Duration::from_secs(1));
        let patience = Duration::ZERO;
        let manner = Manner { form, timing: false, quiet: false, once, silence, patience };
        let ledger = Ledger::new(manner);
        ledger.sent();
        ledger.owed.came(replies);
        ledger.finished();
        let start = Instant::now();
        let ended = timeout(Duration::from_secs(100), ledger.silence(manner)).await;
        let why = ended.map_or(None, |ended| ended.err().map(|stop| stop.to_string()));
        (start.elapsed().as_secs(), why)
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_has_answered_is_left_after_a_silence() {
        assert_eq!(left(false, 1).await, (1, None));
        assert_eq!(left(true, 1).await, (1, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_owes_a_reply_is_waited_for_but_not_for_ever_before_the_next_message() {
        assert_eq!(left(false, 0).await, (100, None));
        let why = "no reply within 30 seconds".to_owned();
        assert_eq!(left(true, 0).await, (30, Some(why)));
    }
}
