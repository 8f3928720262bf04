//! What both directions of a talk know of their connection: what was sent, what came, and
//! whether it is over.

use std::{
    cell::RefCell,
    io,
    time::{Duration, Instant},
};

use tokio::time::timeout;

use super::{
    link::{End, Inbound, Peer, Received, Stop},
    replies::Replies,
    show::{Show, Sink},
    talk::Manner,
};

/// How long the end of a line may be waited for before its beginning is shown.
const LINE_PAUSE: Duration = Duration::from_millis(50);

/// What both directions of a connection know.
#[derive(Debug)]
pub(super) struct Ledger {
    show: RefCell<Show>,
    pub(super) replies: Replies,
    pub(super) peer: Peer,
}

impl Ledger {
    /// Of a new connection.
    pub(super) fn new(manner: Manner) -> Ledger {
        Ledger {
            show: RefCell::new(Show::new(manner.form, manner.timing)),
            replies: Replies::default(),
            peer: Peer::default(),
        }
    }

    /// A message goes out.
    pub(super) fn sent(&self) {
        self.show.borrow_mut().sent(Instant::now());
        self.replies.sent();
    }

    /// Shows a line as far as it has come.
    pub(super) async fn show_rest(&self, sink: &Sink) -> Result<(), Stop> {
        let rest = self.show.borrow_mut().rest();
        if rest.is_empty() { Ok(()) } else { sink.show(&rest).await }
    }

    /// Shows what comes, until the peer has ended.
    pub(super) async fn download(
        &self,
        mut inbound: impl Inbound,
        sink: &Sink,
        heard: &mut bool,
    ) -> Result<End, Stop> {
        loop {
            let pause = self.show.borrow().has_rest();
            let received = if pause {
                timeout(LINE_PAUSE, inbound.receive()).await.ok()
            } else {
                Some(inbound.receive().await)
            };
            *heard |= matches!(received, Some(Ok(Received::Bytes(_) | Received::Message(_))));
            let lines = lines(&received);
            let is_message = matches!(received, Some(Ok(Received::Message(_))));
            let (shown, end) = self.take(received);
            if !shown.is_empty() {
                sink.show(&shown).await?;
            }
            // Not before: who waits for the last one may end it all.
            match lines {
                _ if is_message => self.replies.messages(1),
                0 => {}
                lines => self.replies.came(lines),
            }
            if let Some(end) = end {
                return end;
            }
        }
    }

    /// What is to be shown of what has come, and whether it is the end.
    fn take(&self, received: Option<io::Result<Received>>) -> (Vec<u8>, Option<Result<End, Stop>>) {
        let mut show = self.show.borrow_mut();
        match received {
            // A pause: a prompt without a newline, say.
            None => (show.rest(), None),
            Some(Ok(Received::Bytes(bytes))) => (show.bytes(&bytes), None),
            Some(Ok(Received::Message(message))) => (show.message(&message), None),
            Some(Ok(Received::HalfClosed)) => {
                self.peer.ended(true);
                (show.rest(), None)
            }
            Some(Ok(Received::End(end))) => (show.rest(), Some(Ok(end))),
            Some(Err(error)) => (show.rest(), Some(Err(Stop::Connection(error)))),
        }
    }
}

/// How many replies some bytes of a stream are, as far as that can be told: their lines.
fn lines(received: &Option<io::Result<Received>>) -> u64 {
    match received {
        Some(Ok(Received::Bytes(bytes))) => {
            bytes.iter().filter(|byte| **byte == b'\n').count().max(1) as u64
        }
        _ => 0,
    }
}
