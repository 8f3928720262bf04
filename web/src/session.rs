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
//! A reply is recognised by its place and its shape: the services that this page is made for
//! answer in order, each message with one of the same type and length. So a message that comes in
//! answers the oldest message of its shape that has no reply yet, and any older one will get none.
//! What fits no message of ours is a row of its own.

mod event;
mod state;

use std::collections::VecDeque;

use echogate_proto::close::CloseCode;

pub use self::{
    event::{Effect, Event, Refusal},
    state::State,
};
use crate::{
    ending::{Ending, How},
    payload::Payload,
    stats::Stats,
    time::Millis,
    transcript::{Fate, Transcript, What},
};

/// One connection after another to somewhere, and the transcript of them all.
#[derive(Debug)]
pub struct Session {
    state: State,
    url: String,
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

    /// Where the connection stands.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Where the connection goes, or last went.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What happened.
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// The counters of the connection, or of the last one.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// How many messages wait here to be sent.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Empties the transcript.
    pub fn clear_transcript(&mut self) {
        self.transcript.clear();
    }

    /// Takes in what happened at `now`; answers with what is to be done, in order. What makes no
    /// sense in the state that the session is in changes nothing.
    pub fn handle(&mut self, event: Event, now: Millis) -> Vec<Effect> {
        match event {
            Event::Connect { url, protocols } => self.connect(url, protocols),
            Event::Disconnect => self.disconnect(),
            Event::Send(payload) => self.send(payload, now),
            Event::Rejected(words) => self.end(How::NotTried, CloseCode::ABNORMAL, words, now),
            Event::Opened { protocol } => self.opened(protocol, now),
            Event::Received(payload) => self.received(payload, now),
            Event::Buffered(bytes) => self.drained_to(bytes, now),
            Event::Ended { code, reason, clean } => self.end(self.how(clean), code, reason, now),
        }
    }

    fn connect(&mut self, url: String, protocols: Vec<String>) -> Vec<Effect> {
        if !matches!(self.state, State::Idle | State::Closed(_)) {
            return Vec::new();
        }
        self.state = State::Connecting;
        self.url.clone_from(&url);
        self.was_open = false;
        self.buffered = 0;
        self.asked_buffered = false;
        vec![Effect::Open { url, protocols }]
    }

    fn disconnect(&mut self) -> Vec<Effect> {
        if !matches!(self.state, State::Connecting | State::Open { .. }) {
            return Vec::new();
        }
        self.state = State::Closing;
        vec![Effect::Close]
    }

    fn opened(&mut self, protocol: String, now: Millis) -> Vec<Effect> {
        if self.state == State::Connecting {
            self.was_open = true;
            self.stats = Stats::default();
            let (url, protocol_agreed) = (self.url.clone(), protocol.clone());
            self.transcript.push(now, What::Opened { url, protocol: protocol_agreed });
            self.state = State::Open { protocol };
        }
        Vec::new()
    }

    fn send(&mut self, payload: Payload, now: Millis) -> Vec<Effect> {
        if !matches!(self.state, State::Open { .. }) {
            return vec![Effect::Refuse(Refusal::NotOpen)];
        }
        let bytes = self.queued_bytes.saturating_add(payload.len());
        let full = self.queue.len() >= Self::MAX_QUEUED || bytes > Self::MAX_QUEUED_BYTES;
        if full && !self.queue.is_empty() {
            return vec![Effect::Refuse(Refusal::QueueFull)];
        }
        let id = self.transcript.push(now, What::Sent(payload.clone(), Fate::Queued));
        self.queued_bytes = bytes;
        self.queue.push_back((id, payload));
        self.transmit(now)
    }

    fn drained_to(&mut self, bytes: usize, now: Millis) -> Vec<Effect> {
        self.asked_buffered = false;
        self.buffered = bytes;
        self.transmit(now)
    }

    /// Hands over what the browser may take now.
    fn transmit(&mut self, now: Millis) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !matches!(self.state, State::Open { .. }) {
            return effects;
        }
        while self.buffered < Self::MAX_BUFFERED
            && let Some((id, payload)) = self.queue.pop_front()
        {
            self.queued_bytes -= payload.len();
            self.buffered += payload.len();
            self.stats.sent.add(payload.len());
            self.transcript.settle(id, Fate::Sent);
            self.unanswered.push_back(Awaited { id, sent: payload.clone(), at: now });
            if self.unanswered.len() > Self::MAX_UNANSWERED {
                self.give_up_oldest();
            }
            effects.push(Effect::Transmit(payload));
        }
        if !self.queue.is_empty() && !self.asked_buffered {
            self.asked_buffered = true;
            effects.push(Effect::AskBuffered);
        }
        effects
    }

    fn received(&mut self, payload: Payload, now: Millis) -> Vec<Effect> {
        if !matches!(self.state, State::Open { .. } | State::Closing) {
            return Vec::new();
        }
        self.stats.received.add(payload.len());
        let answers = self.unanswered.iter().position(|awaited| awaited.sent.is_like(&payload));
        for _ in 0..answers.unwrap_or(0) {
            self.give_up_oldest();
        }
        match answers.and_then(|_| self.unanswered.pop_front()) {
            Some(Awaited { id, at, .. }) => {
                let round_trip = now - at;
                self.stats.round_trips.add(round_trip);
                self.transcript.settle(id, Fate::Answered { reply: payload, round_trip });
            }
            None => {
                self.transcript.push(now, What::Received(payload));
            }
        }
        Vec::new()
    }

    fn give_up_oldest(&mut self) {
        if let Some(awaited) = self.unanswered.pop_front() {
            self.transcript.settle(awaited.id, Fate::Unanswered);
        }
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
        if matches!(self.state, State::Idle | State::Closed(_)) {
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
        self.state = State::Closed(ending);
        vec![Effect::Release]
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
