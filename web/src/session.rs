//! One connection, as a state machine that knows neither socket nor clock: events go in with the
//! time at which they happened, effects come out for somebody to carry out.
//!
//! ```text
//!   Idle ──Connect──▶ Connecting ──Opened──▶ Open ──Disconnect──▶ Closing
//!                         │  └────Disconnect──────────────────▶      │
//!                       Ended                Ended                 Ended
//!                         └────────▶ Closed ◀──┴─────────────────────┘   ──Connect──▶ …
//! ```
//!
//! Where it was asked to reconnect, a connection that was lost is not `Closed` but `Waiting`, and
//! then `Connecting` again.
//!
//! A reply is recognised by its place and its shape: the services that this page is made for
//! answer in order, each message with one of the same type and length. So a message that comes in
//! answers the oldest message of its shape that has no reply yet, and any older one will get none.
//! What fits no message of ours is a row of its own. Of services that answer otherwise [`Pairing`]
//! tells.

pub mod backoff;
mod event;
mod exchange;
mod state;

use std::collections::VecDeque;

use echogate_proto::close::CloseCode;

pub use self::{
    event::{Effect, Event, Refusal},
    state::{HALF_CLOSE, Halves, State},
};
use crate::{
    ending::{Ending, How},
    payload::Payload,
    stats::Stats,
    time::Millis,
    transcript::{Fate, Transcript, What},
};

/// How a service answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pairing {
    /// Each message with one of the same type and length.
    #[default]
    Shape,
    /// Each message with one, in order.
    Order,
    /// When it likes.
    Never,
}

/// One connection after another to somewhere, and the transcript of them all.
#[derive(Debug)]
pub struct Session {
    state: State,
    url: String,
    protocols: Vec<String>,
    pairing: Pairing,
    reconnect: bool,
    /// Connections in a row that did not last, or were not made.
    failures: u32,
    /// Whether this connection was ever open.
    was_open: bool,
    /// Handed to the socket, reply awaited.
    unanswered: VecDeque<Awaited>,
    /// Not yet handed to the socket.
    queue: VecDeque<(u64, Payload)>,
    queued_bytes: usize,
    /// What lies unsent in the browser, at most.
    buffered: usize,
    asked_buffered: bool,
    transcript: Transcript,
    stats: Stats,
}

#[derive(Debug)]
struct Awaited {
    id: u64,
    sent: Payload,
    at: Millis,
}

impl Session {
    /// While the browser holds this much unsent, in bytes, it is given no more.
    pub const MAX_BUFFERED: usize = 1 << 20;
    /// The most bytes that wait here to be sent. A single message may always wait.
    pub const MAX_QUEUED_BYTES: usize = 16 << 20;
    /// The most messages that wait here to be sent.
    pub const MAX_QUEUED: usize = 1000;
    /// The most messages whose reply is awaited; beyond it the oldest counts as unanswered.
    pub const MAX_UNANSWERED: usize = 1000;

    /// A session that has never connected.
    pub fn new() -> Self {
        Session {
            state: State::Idle,
            url: String::new(),
            protocols: Vec::new(),
            pairing: Pairing::default(),
            reconnect: false,
            failures: 0,
            was_open: false,
            unanswered: VecDeque::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            buffered: 0,
            asked_buffered: false,
            transcript: Transcript::new(),
            stats: Stats::default(),
        }
    }

    /// A session that has never connected, with what happened elsewhere.
    pub fn of(transcript: Transcript) -> Self {
        Session { transcript, ..Session::new() }
    }

    /// Where the connection stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Where the connection goes, or last went.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// From now on, the service answers so.
    pub fn pair(&mut self, pairing: Pairing) {
        self.pairing = pairing;
    }

    /// How the service answers.
    pub fn pairing(&self) -> Pairing {
        self.pairing
    }

    /// Whether a lost connection is made again.
    pub fn reconnects(&self) -> bool {
        self.reconnect
    }

    /// What happened.
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// What happened, to be pinned, cleared or caught up with.
    pub fn transcript_mut(&mut self) -> &mut Transcript {
        &mut self.transcript
    }

    /// The counters of the connection, or of the last one.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How many messages wait here to be sent.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Takes in what happened at `now`; answers with what is to be done, in order. What makes no
    /// sense in the state that the session is in changes nothing.
    pub fn handle(&mut self, event: Event, now: Millis) -> Vec<Effect> {
        match event {
            Event::Connect { url, protocols } => self.connect(url, protocols),
            Event::Disconnect { code, reason } => self.disconnect(code, reason),
            Event::Send(payload) => self.send(payload, now),
            Event::HalfClose => self.half_close(now),
            Event::Reconnect(wanted) => self.reconnect(wanted),
            Event::Woken => self.woken(now),
            Event::Rejected(words) => self.end(How::NotTried, CloseCode::ABNORMAL, words, now),
            Event::Opened { protocol } => self.opened(protocol, now),
            Event::Received(payload) => self.received(payload, now),
            Event::Buffered(bytes) => self.drained_to(bytes, now),
            Event::Ended { code, reason, clean } => self.end(self.how(clean), code, reason, now),
        }
    }

    fn connect(&mut self, url: String, protocols: Vec<String>) -> Vec<Effect> {
        if !self.state.is_at_rest() {
            return Vec::new();
        }
        self.failures = 0;
        self.url = url;
        self.protocols = protocols;
        self.open()
    }

    fn open(&mut self) -> Vec<Effect> {
        self.state = State::Connecting;
        self.was_open = false;
        self.buffered = 0;
        self.asked_buffered = false;
        vec![Effect::Open { url: self.url.clone(), protocols: self.protocols.clone() }]
    }

    fn disconnect(&mut self, code: CloseCode, reason: String) -> Vec<Effect> {
        match &self.state {
            State::Connecting | State::Open { .. } => {
                self.state = State::Closing;
                vec![Effect::Close { code, reason }]
            }
            State::Waiting { ending, .. } => {
                self.state = State::Closed(ending.clone());
                Vec::new()
            }
            State::Idle | State::Closing | State::Closed(_) => Vec::new(),
        }
    }

    fn reconnect(&mut self, wanted: bool) -> Vec<Effect> {
        self.reconnect = wanted;
        if let State::Waiting { ending, .. } = &self.state
            && !wanted
        {
            self.state = State::Closed(ending.clone());
        }
        Vec::new()
    }

    fn woken(&mut self, now: Millis) -> Vec<Effect> {
        match self.state {
            State::Waiting { until, .. } if now >= until => self.open(),
            // A timer of an earlier wait, or one that is a little early.
            State::Waiting { until, .. } => vec![Effect::Wake(until - now)],
            _ => Vec::new(),
        }
    }

    fn opened(&mut self, protocol: String, now: Millis) -> Vec<Effect> {
        if self.state == State::Connecting {
            self.was_open = true;
            self.failures = 0;
            self.stats = Stats::new(now);
            let (url, protocol_agreed) = (self.url.clone(), protocol.clone());
            self.transcript.push(now, What::Opened { url, protocol: protocol_agreed });
            self.state = State::Open { protocol, ended: Halves::default() };
        }
        Vec::new()
    }

    /// What an end means in the state that the session is in.
    fn how(&self, clean: bool) -> How {
        match (&self.state, self.was_open, clean) {
            (State::Closing, false, _) => How::CalledOff,
            (_, false, _) => How::NotOpened,
            (State::Closing, true, true) => How::ByUs,
            (State::Closing, true, false) => How::ByUsUnanswered,
            (_, true, true) => How::ByPeer,
            (_, true, false) => How::Broken,
        }
    }

    fn end(&mut self, how: How, code: CloseCode, reason: String, now: Millis) -> Vec<Effect> {
        if self.state.is_at_rest() {
            return Vec::new();
        }
        let (unsent, unanswered) = (self.queue.len(), self.unanswered.len());
        for (id, _) in self.queue.drain(..) {
            self.transcript.settle(id, Fate::NotSent);
        }
        self.queued_bytes = 0;
        while !self.unanswered.is_empty() {
            self.give_up_oldest();
        }
        let ending = Ending { how, code, reason, unsent, unanswered };
        self.transcript.push(now, What::Ended(ending.clone()));
        if !self.reconnect || !backoff::is_worthwhile(&ending) {
            self.state = State::Closed(ending);
            return vec![Effect::Release];
        }
        self.failures += 1;
        let wait = backoff::wait(self.failures);
        self.state = State::Waiting { ending, attempt: self.failures, until: now + wait };
        vec![Effect::Release, Effect::Wake(wait)]
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
