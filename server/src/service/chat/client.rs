//! A client's connection to `chat`.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use echogate_proto::chat::{BYE, Ending};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc::Receiver},
    time::{Sleep, sleep},
};
use tokio_util::sync::PollSemaphore;

use super::{
    delivery::{DeliveryOutcome, ToClient},
    hub::Hub,
    operator_queues::{IN_FLIGHT_PER_CLIENT, InFlightPermit},
};
use crate::{
    connections::registry::Peer,
    service::{
        end::End,
        line_reader::Request,
        lines::{LineOutcome, LineService},
    },
    text::escape,
};

/// The limit of a message, in bytes.
const MAX_MESSAGE: usize = 4096;

/// The interval at which a client that waits for operators checks that they still read.
const STALL_INTERVAL: Duration = Duration::from_secs(1);

/// One client's conversation. Lines that are notices from the server begin with `*`.
#[derive(Debug)]
pub(crate) struct Client {
    hub: Arc<Hub>,
    id: u64,
    messages: Receiver<ToClient>,
    /// Lines of one read that wait for permits. Nothing is read from the client until all are sent.
    held_back: VecDeque<String>,
    permits: Permits,
    /// The time of the next check that operators still read.
    stall_check: Option<Pin<Box<Sleep>>>,
    /// Whether the client was notified that its messages are queued.
    knows_of_queue: bool,
    ended: bool,
}

/// The source of a client's permits to have messages in flight.
#[derive(Debug)]
struct Permits {
    of_client: PollSemaphore,
    of_all: PollSemaphore,
    /// The permit `of_client` while the one `of_all` is awaited.
    first: Option<OwnedSemaphorePermit>,
}

impl Permits {
    fn new(hub: &Hub) -> Permits {
        Permits {
            of_client: PollSemaphore::new(Arc::new(Semaphore::new(IN_FLIGHT_PER_CLIENT))),
            of_all: PollSemaphore::new(hub.in_flight().clone()),
            first: None,
        }
    }

    /// Acquires the permit for a message, if that is possible at once.
    fn take(&self) -> Option<InFlightPermit> {
        let of_client = self.of_client.clone_inner().try_acquire_owned().ok()?;
        let of_all = self.of_all.clone_inner().try_acquire_owned().ok()?;
        Some(InFlightPermit::new(of_client, of_all))
    }

    /// Waits for the permit for a message; none if the semaphores are closed.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<InFlightPermit>> {
        if self.first.is_none() {
            self.first = ready!(self.of_client.poll_acquire(cx));
        }
        let of_all = ready!(self.of_all.poll_acquire(cx));
        let both = self.first.take().zip(of_all);
        Poll::Ready(both.map(|(of_client, of_all)| InFlightPermit::new(of_client, of_all)))
    }
}

impl Client {
    pub(crate) fn new(hub: &Arc<Hub>, peer: &Peer) -> Client {
        let (id, messages) = hub.open_conversation(peer);
        Client {
            hub: hub.clone(),
            id,
            messages,
            held_back: VecDeque::new(),
            permits: Permits::new(hub),
            stall_check: None,
            knows_of_queue: false,
            ended: false,
        }
    }

    /// Sends a message to the operators.
    fn send(&mut self, text: String, permit: Option<InFlightPermit>, out: &mut Vec<u8>) {
        match self.hub.client_says(self.id, text, permit) {
            DeliveryOutcome::Delivered | DeliveryOutcome::Ended => self.knows_of_queue = false,
            DeliveryOutcome::Queued if !std::mem::replace(&mut self.knows_of_queue, true) => {
                out.extend(b"* no operator is online; your message is queued\n");
            }
            DeliveryOutcome::Queued => {}
            DeliveryOutcome::Dropped => {
                out.extend(b"* too many messages are queued; this one was discarded\n");
            }
        }
    }

    /// Sends the lines that are held back, as far as there are permits.
    fn send_held_back(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> LineOutcome {
        while let Some(text) = self.held_back.front() {
            if text.trim() == BYE {
                self.end(Ending::Client);
                return LineOutcome::Close;
            }
            let Poll::Ready(permit) = self.permits.poll(cx) else {
                self.watch_operators(cx);
                return LineOutcome::Continue;
            };
            let text = self.held_back.pop_front().unwrap_or_default();
            self.send(text, permit, out);
        }
        self.stall_check = None;
        LineOutcome::Continue
    }

    /// Disconnects stalled operators at each [`STALL_INTERVAL`], while a line is held back.
    fn watch_operators(&mut self, cx: &mut Context<'_>) {
        loop {
            let check = self.stall_check.get_or_insert_with(|| Box::pin(sleep(STALL_INTERVAL)));
            if check.as_mut().poll(cx).is_pending() {
                return;
            }
            self.stall_check = None;
            self.hub.disconnect_stalled_operators();
        }
    }

    fn end(&mut self, ending: Ending) {
        if !std::mem::replace(&mut self.ended, true) {
            self.hub.end_conversation(self.id, ending);
        }
    }
}

impl LineService for Client {
    fn max_request(&self) -> usize {
        MAX_MESSAGE
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        // `poll_push` has registered the task with the semaphores and the timer.
        if self.held_back.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn on_line(&mut self, request: Request<'_>, out: &mut Vec<u8>) -> LineOutcome {
        let text = escape::bytes(request.bytes);
        if request.too_long {
            let notice =
                format!("* message too long (limit: {MAX_MESSAGE} bytes); it was not sent\n");
            out.extend(notice.bytes());
        } else if text.trim().is_empty() {
            // An empty line is no message.
        } else if !self.held_back.is_empty() {
            self.held_back.push_back(text);
        } else if text.trim() == BYE {
            self.end(Ending::Client);
            return LineOutcome::Close;
        } else if let Some(permit) = self.permits.take() {
            self.send(text, Some(permit), out);
        } else {
            self.held_back.push_back(text);
        }
        LineOutcome::Continue
    }

    fn poll_push(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<LineOutcome> {
        let outcome = self.send_held_back(cx, out);
        if outcome == LineOutcome::Close || !out.is_empty() {
            return Poll::Ready(outcome);
        }
        Poll::Ready(match ready!(self.messages.poll_recv(cx)) {
            Some(ToClient::Line(line)) => {
                out.extend(line.bytes().chain([b'\n']));
                LineOutcome::Replied
            }
            Some(ToClient::Notice(line)) => {
                out.extend(line.bytes().chain([b'\n']));
                LineOutcome::Continue
            }
            // Without a newline, for clients that compare the received bytes with "bye".
            Some(ToClient::Bye) => {
                out.extend(BYE.bytes());
                LineOutcome::Close
            }
            None => LineOutcome::Close,
        })
    }

    fn ended(&mut self, how: &io::Result<End>) {
        if matches!(how, Ok(End::InputEnded)) {
            // At most one line: the partial line that the end of the input completed. The end is
            // not read while other lines are held back.
            for text in std::mem::take(&mut self.held_back) {
                self.send(text, None, &mut Vec::new());
            }
        }
        self.end(match how {
            Err(_) => Ending::Vanished,
            Ok(End::InputEnded) => Ending::Left,
            Ok(_) => Ending::Server,
        });
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.end(Ending::Server);
    }
}
