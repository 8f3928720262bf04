//! A client of `chat`.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use echogate_proto::operator::{BYE, Ending};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc::Receiver},
    time::{Sleep, sleep},
};
use tokio_util::sync::PollSemaphore;

use super::hub::{Heard, Hub, ToClient, UNTAKEN_OF_CLIENT, Untaken};
use crate::{
    connections::registry::Peer,
    service::{Dialogue, Flow, Request, end::End},
    text::escape,
};

/// The longest message, in bytes.
const MAX_MESSAGE: usize = 4096;

/// How often a client that waits for operators looks whether they still take anything.
const STALL_INTERVAL: Duration = Duration::from_secs(1);

/// One client's conversation. The server's own words begin with a star.
#[derive(Debug)]
pub(crate) struct Client {
    hub: Arc<Hub>,
    id: u64,
    told: Receiver<ToClient>,
    /// Lines of one read that wait until operators have taken others. The client is not read
    /// meanwhile.
    held_back: VecDeque<String>,
    permits: Permits,
    stall: Option<Pin<Box<Sleep>>>,
    /// It knows that its messages wait.
    knows: bool,
    ended: bool,
}

/// Where a client gets its permits to send messages to operators.
#[derive(Debug)]
struct Permits {
    of_client: PollSemaphore,
    of_all: PollSemaphore,
    /// The first of the two that a message needs.
    first: Option<OwnedSemaphorePermit>,
}

impl Permits {
    fn new(hub: &Hub) -> Permits {
        Permits {
            of_client: PollSemaphore::new(Arc::new(Semaphore::new(UNTAKEN_OF_CLIENT))),
            of_all: PollSemaphore::new(hub.untaken().clone()),
            first: None,
        }
    }

    /// Those for a message, if it need not wait.
    fn take(&self) -> Option<Untaken> {
        let of_client = self.of_client.clone_inner().try_acquire_owned().ok()?;
        let of_all = self.of_all.clone_inner().try_acquire_owned().ok()?;
        Some(Untaken::new(of_client, of_all))
    }

    /// Those for a message. (None if there will never be any.)
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Untaken>> {
        if self.first.is_none() {
            self.first = ready!(self.of_client.poll_acquire(cx));
        }
        let of_all = ready!(self.of_all.poll_acquire(cx));
        let both = self.first.take().zip(of_all);
        Poll::Ready(both.map(|(of_client, of_all)| Untaken::new(of_client, of_all)))
    }
}

impl Client {
    pub(crate) fn new(hub: &Arc<Hub>, peer: &Peer) -> Client {
        let (id, told) = hub.open(peer);
        Client {
            hub: hub.clone(),
            id,
            told,
            held_back: VecDeque::new(),
            permits: Permits::new(hub),
            stall: None,
            knows: false,
            ended: false,
        }
    }

    /// Says a message to the operators.
    fn say(&mut self, text: String, untaken: Option<Untaken>, out: &mut Vec<u8>) {
        match self.hub.client_says(self.id, text, untaken) {
            Heard::Now => self.knows = false,
            Heard::Later if !std::mem::replace(&mut self.knows, true) => {
                out.extend(b"* no operator is here yet; your message waits\n");
            }
            Heard::Later => {}
            Heard::Never => out.extend(b"* too many messages wait; this one was not kept\n"),
        }
    }

    /// Says what is held back, as far as operators take it.
    fn say_held_back(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Flow {
        while let Some(text) = self.held_back.front() {
            if text.trim() == BYE {
                self.end(Ending::Client);
                return Flow::Over;
            }
            let Poll::Ready(untaken) = self.permits.poll(cx) else {
                self.watch_operators(cx);
                return Flow::Goes;
            };
            let text = self.held_back.pop_front().unwrap_or_default();
            self.say(text, untaken, out);
        }
        self.stall = None;
        Flow::Goes
    }

    /// Lets operators go who take nothing, now and then, for as long as a line is held back.
    fn watch_operators(&mut self, cx: &mut Context<'_>) {
        loop {
            let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(STALL_INTERVAL)));
            if stall.as_mut().poll(cx).is_pending() {
                return;
            }
            self.stall = None;
            self.hub.let_stalled_operators_go();
        }
    }

    fn end(&mut self, ending: Ending) {
        if !std::mem::replace(&mut self.ended, true) {
            self.hub.end(self.id, ending);
        }
    }
}

impl Dialogue for Client {
    fn max_request(&self) -> usize {
        MAX_MESSAGE
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<()> {
        // The task is woken by what `poll_say` waits for.
        if self.held_back.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    }

    fn hear(&mut self, request: Request<'_>, out: &mut Vec<u8>) -> Flow {
        let text = escape::bytes(request.bytes);
        if request.too_long {
            let notice =
                format!("* a message has at most {MAX_MESSAGE} bytes; this one was not sent\n");
            out.extend(notice.bytes());
        } else if text.trim().is_empty() {
            // Nothing is said.
        } else if !self.held_back.is_empty() {
            self.held_back.push_back(text);
        } else if text.trim() == BYE {
            self.end(Ending::Client);
            return Flow::Over;
        } else if let Some(untaken) = self.permits.take() {
            self.say(text, Some(untaken), out);
        } else {
            self.held_back.push_back(text);
        }
        Flow::Goes
    }

    fn poll_say(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Flow> {
        let flow = self.say_held_back(cx, out);
        if flow == Flow::Over || !out.is_empty() {
            return Poll::Ready(flow);
        }
        match ready!(self.told.poll_recv(cx)) {
            Some(ToClient::Line(line)) => {
                out.extend(line.bytes());
                out.push(b'\n');
                Poll::Ready(Flow::Answered)
            }
            Some(ToClient::Notice(line)) => {
                out.extend(line.bytes());
                out.push(b'\n');
                Poll::Ready(Flow::Goes)
            }
            // Without a newline: there are clients that compare what they receive with it.
            Some(ToClient::Bye) => {
                out.extend(BYE.bytes());
                Poll::Ready(Flow::Over)
            }
            None => Poll::Ready(Flow::Over),
        }
    }

    fn ended(&mut self, how: &io::Result<End>) {
        if matches!(how, Ok(End::InputEnded)) {
            // The rest of a line that the end of input has ended: no other is held back
            // where the end of input was read.
            for text in std::mem::take(&mut self.held_back) {
                self.say(text, None, &mut Vec::new());
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
