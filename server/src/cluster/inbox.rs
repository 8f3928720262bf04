//! The messages of one subscription that wait to be read, bounded in bytes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_nats::Message;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;

/// The most bytes that wait to be read. Further messages are lost, since replicas request events,
/// snapshots and reports again, and repeat heartbeats.
const MAX_WAITING: usize = 32 << 20;

/// The messages of one subscription that wait to be read. The subscription ends with the inbox.
#[derive(Debug)]
pub(super) struct Inbox {
    messages: mpsc::UnboundedReceiver<Message>,
    /// The bytes that wait.
    waiting: Arc<AtomicUsize>,
    /// The task that takes the messages from the client of the broker.
    _task: AbortOnDropHandle<()>,
}

impl Inbox {
    /// Starts to read a subscription. Calls `on_lost` for each message that is lost.
    pub(super) fn new(
        mut subscription: impl Stream<Item = Message> + Send + Unpin + 'static,
        on_lost: impl Fn() + Send + 'static,
    ) -> Inbox {
        let (sender, messages) = mpsc::unbounded_channel();
        let waiting = Arc::<AtomicUsize>::default();
        let bytes = waiting.clone();
        let task = tokio::spawn(async move {
            while let Some(mut message) = subscription.next().await {
                // The payload is a slice of a read buffer, all of which it would keep allocated.
                message.payload = Bytes::copy_from_slice(&message.payload);
                let size = size(&message);
                if bytes.fetch_add(size, Ordering::Relaxed) + size > MAX_WAITING {
                    bytes.fetch_sub(size, Ordering::Relaxed);
                    on_lost();
                } else if sender.send(message).is_err() {
                    return;
                }
            }
        });
        Inbox { messages, waiting, _task: AbortOnDropHandle::new(task) }
    }

    /// The next message.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub(super) async fn next(&mut self) -> Result<Message, String> {
        let message = self.messages.recv().await.ok_or("a subscription has ended")?;
        self.waiting.fetch_sub(size(&message), Ordering::Relaxed);
        Ok(message)
    }
}

/// The memory that a message takes, in bytes.
fn size(message: &Message) -> usize {
    size_of::<Message>() + message.length
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn message(length: usize) -> Message {
        let (subject, payload) = ("echogate.1.a.events".into(), vec![0; length].into());
        let (reply, headers, status, description) = (None, None, None, None);
        Message { subject, reply, payload, headers, status, description, length }
    }

    #[tokio::test]
    async fn a_message_that_waits_does_not_keep_the_block_that_it_was_read_into() {
        let block = Bytes::from(vec![0; 64 << 10]);
        let waiting = Message { payload: block.slice(..300), ..message(300) };
        let mut inbox = Inbox::new(stream::iter([waiting]), || {});
        (&mut inbox._task).await.unwrap();
        assert!(block.is_unique());
        assert_eq!(inbox.next().await.unwrap().payload, block.slice(..300));
    }

    #[tokio::test]
    async fn messages_that_are_not_read_take_a_bounded_memory_and_further_ones_are_lost() {
        const LENGTH: usize = 1 << 20;
        const FIT: usize = MAX_WAITING / LENGTH - 1;

        let lost = Arc::<AtomicUsize>::default();
        let count = lost.clone();
        let all = stream::iter((0..2 * FIT).map(|_| message(LENGTH)));
        let mut inbox = Inbox::new(all, move || _ = count.fetch_add(1, Ordering::Relaxed));
        // The task takes the messages, of which none is read, until the subscription ends.
        (&mut inbox._task).await.unwrap();
        assert_eq!(lost.load(Ordering::Relaxed), FIT);
        for _ in 0..FIT {
            assert_eq!(inbox.next().await.unwrap().length, LENGTH);
        }
        assert!(inbox.next().await.is_err());
        assert_eq!(inbox.waiting.load(Ordering::Relaxed), 0);
    }
}
