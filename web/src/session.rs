//! One connection as a state machine without socket and clock: events go in with the time at which
//! they happened, effects come out for the caller to carry out.
//!
//! ```text
//!   Idle ──Connect──▶ Connecting ──Opened──▶ Open ──Disconnect──▶ Closing
//!                         │  └────Disconnect──────────────────▶      │
//!                       Ended                Ended                 Ended
//!                         └────────▶ Closed ◀──┴─────────────────────┘   ──Connect──▶ …
//!                                      └──Dismiss──▶ Idle
//! ```
//!
//! With reconnection enabled, a lost connection is not `Closed` but `Waiting`, and then `Connecting`
//! again.
//!
//! Received messages are paired with sent ones by the connection's [`Pairing`].

pub mod backoff;
mod event;
mod messages;
mod state;

use std::collections::VecDeque;

use echogate_proto::close::CloseCode;

use self::messages::Outgoing;
pub use self::messages::is_end_of_input;
pub use self::{
    event::{Effect, Event, Refusal},
    state::{HALF_CLOSE, Halves, State},
};
use crate::{
    close_reason::{CloseReason, Outcome},
    exchanges::{Exchange, Exchanges, Position},
    pairing::{Pairing, Pairs},
    stats::Stats,
    time::Millis,
    transcript::{Delivery, Direction, EntryKind, Transcript},
};

/// A series of connections to one endpoint, and their transcript.
#[derive(Debug)]
pub struct Session {
    state: State,
    url: String,
    protocols: Vec<String>,
    reconnect: bool,
    /// A random number from 0 to 1, which spreads the attempts of several pages.
    jitter: f64,
    /// Failed, refused or lost connections in a row.
    failures: u32,
    /// Whether the current connection has been open.
    was_open: bool,
    /// The code and the reason of the page's Close frame.
    closed_with: Option<(CloseCode, String)>,
    /// Messages that were sent and whose reply is outstanding.
    pairs: Pairs,
    /// The first row to which a new rule for pairing is not applied yet; `None` if it is to all.
    unpaired_from: Option<u64>,
    /// Whether rows that were cleared are not paired by the present rule.
    cleared_is_unpaired: bool,
    /// Messages handed to the socket that it has not reported as sent.
    handed: VecDeque<Outgoing>,
    /// Messages not yet handed to the socket.
    queue: VecDeque<Outgoing>,
    queued_bytes: usize,
    /// An upper bound of the bytes that the browser has not sent.
    buffered: usize,
    polled_buffered: bool,
    transcript: Transcript,
    stats: Stats,
    position: Position,
    exchanges: Exchanges,
}

impl Session {
    /// The number of unsent bytes in the browser from which on it is given no more.
    pub const MAX_BUFFERED: usize = 1 << 20;
    /// The most bytes in the queue. A single message of any size is accepted.
    pub const MAX_QUEUED_BYTES: usize = 16 << 20;
    /// The most messages in the queue.
    pub const MAX_QUEUED: usize = 1000;

    /// A session that has not connected yet.
    pub fn new() -> Self {
        Session {
            state: State::Idle,
            url: String::new(),
            protocols: Vec::new(),
            reconnect: false,
            jitter: 0.0,
            failures: 0,
            was_open: false,
            closed_with: None,
            pairs: Pairs::default(),
            unpaired_from: None,
            cleared_is_unpaired: false,
            handed: VecDeque::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            buffered: 0,
            polled_buffered: false,
            transcript: Transcript::new(),
            stats: Stats::default(),
            position: Position::default(),
            exchanges: Exchanges::default(),
        }
    }

    /// A session that has not connected yet, with a transcript from a file and its statistics.
    pub fn from_transcript(transcript: Transcript, pairing: Pairing) -> Self {
        let mut session = Session { transcript, ..Session::new() };
        for row in session.transcript.rows() {
            match row.kind.message() {
                Some((Direction::Sent, payload)) => session.stats.sent(payload.len(), row.at),
                Some((Direction::Received, payload)) => {
                    session.stats.received(payload.len(), row.at);
                }
                None => {}
            }
        }
        session.set_pairing(pairing);
        session.pair_anew(u64::MAX);
        session
    }

    /// The state of the connection.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The URL of the current or last connection.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The rule for pairing replies.
    pub fn pairing(&self) -> &Pairing {
        self.pairs.rule()
    }

    /// Whether a lost connection is opened again.
    pub fn reconnects(&self) -> bool {
        self.reconnect
    }

    /// Sets the random number from 0 to 1 by which the next wait before an attempt is shortened.
    pub fn set_jitter(&mut self, jitter: f64) {
        self.jitter = jitter;
    }

    /// The transcript.
    pub fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// The transcript, to pin rows.
    pub fn transcript_mut(&mut self) -> &mut Transcript {
        &mut self.transcript
    }

    /// The statistics of the current or last connection.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// The latest exchanges of the current or last connection.
    pub fn exchanges(&self) -> &Exchanges {
        &self.exchanges
    }

    /// The exchange of the message in this row, sent or received, if it is among the latest.
    pub fn exchange_of(&self, row: u64) -> Option<&Exchange> {
        let sent = match &self.transcript.get(row)?.kind {
            EntryKind::Received(_, answer) => answer.as_ref()?.row,
            _ => row,
        };
        self.exchanges.of_row(sent)
    }

    /// The latest exchanges, to complete their times.
    pub fn exchanges_mut(&mut self) -> &mut Exchanges {
        &mut self.exchanges
    }

    /// The number of messages in the queue.
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// Handles an event that happened at `now`; returns the effects to carry out, in order. An event
    /// that does not fit the state changes nothing.
    pub fn handle(&mut self, event: Event, now: Millis) -> Vec<Effect> {
        match event {
            Event::Connect { url, protocols } => self.connect(url, protocols),
            Event::Disconnect { code, reason } => self.disconnect(code, reason),
            Event::Send(payload) => self.send(payload, now),
            Event::HalfClose => self.half_close(now),
            Event::Reconnect(wanted) => self.reconnect(wanted),
            Event::Dismiss => {
                if let State::Closed(_) = self.state {
                    self.state = State::Idle;
                }
                Vec::new()
            }
            Event::TimerExpired => self.woken(now),
            Event::Rejected(error) => self.end(Outcome::Rejected, CloseCode::ABNORMAL, error, now),
            Event::Opened { protocol } => self.opened(protocol, now),
            Event::Sent { buffered } => self.sent(buffered, now),
            Event::Received(payload) => self.received(payload, now),
            Event::FileMoved { sent, received } => {
                self.position.payload += sent.bytes;
                self.stats.moved(sent, received, now);
                Vec::new()
            }
            Event::Buffered(bytes) => self.drained_to(bytes),
            Event::Ended { code, reason, clean } => {
                self.end(self.outcome(clean), code, reason, now)
            }
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
        self.closed_with = None;
        self.buffered = 0;
        self.polled_buffered = false;
        vec![Effect::Open { url: self.url.clone(), protocols: self.protocols.clone() }]
    }

    fn disconnect(&mut self, code: CloseCode, reason: String) -> Vec<Effect> {
        match &self.state {
            State::Connecting | State::Open { .. } => {
                self.state = State::Closing;
                self.closed_with = Some((code, reason.clone()));
                vec![Effect::Close { code, reason }]
            }
            State::Waiting { cause, .. } => {
                self.state = State::Closed(cause.clone());
                Vec::new()
            }
            State::Idle | State::Closing | State::Closed(_) => Vec::new(),
        }
    }

    fn reconnect(&mut self, wanted: bool) -> Vec<Effect> {
        self.reconnect = wanted;
        if let State::Waiting { cause, .. } = &self.state
            && !wanted
        {
            self.state = State::Closed(cause.clone());
        }
        Vec::new()
    }

    fn woken(&mut self, now: Millis) -> Vec<Effect> {
        match self.state {
            State::Waiting { until, .. } if now >= until => self.open(),
            // A timer of an earlier wait, or one that fired early.
            State::Waiting { until, .. } => vec![Effect::StartTimer(until - now)],
            _ => Vec::new(),
        }
    }

    fn opened(&mut self, protocol: String, now: Millis) -> Vec<Effect> {
        if self.state == State::Connecting {
            self.was_open = true;
            self.stats = Stats::default();
            (self.position, self.exchanges) = (Position::default(), Exchanges::default());
            let (url, protocol_agreed) = (self.url.clone(), protocol.clone());
            self.transcript
                .push(now, EntryKind::Opened { url, protocol: protocol_agreed, refused: false });
            self.state = State::Open { protocol, ended: Halves::default() };
        }
        Vec::new()
    }

    /// The outcome that the end of the socket means in the current state.
    fn outcome(&self, clean: bool) -> Outcome {
        match (&self.state, self.was_open, clean) {
            (State::Closing, false, _) => Outcome::Cancelled,
            (_, false, _) => Outcome::NotOpened,
            (State::Closing, true, true) => Outcome::ClosedHere,
            (State::Closing, true, false) => Outcome::ClosedHereUnanswered,
            (_, true, true) => Outcome::ClosedByPeer,
            (_, true, false) => Outcome::Lost,
        }
    }

    fn end(
        &mut self,
        outcome: Outcome,
        code: CloseCode,
        reason: String,
        now: Millis,
    ) -> Vec<Effect> {
        if self.state.is_at_rest() {
            return Vec::new();
        }
        self.pair_anew(u64::MAX);
        let mut unsent = 0;
        let outgoing = self.handed.drain(..).chain(self.queue.drain(..));
        for message in outgoing.filter_map(|it| it.message) {
            self.transcript.push(now, EntryKind::Sent(message, Delivery::NotSent));
            unsent += 1;
        }
        self.queued_bytes = 0;
        let unanswered = self.pairs.len();
        self.pairs.give_up_all();
        self.mark_given_up();
        let by_us = matches!(outcome, Outcome::ClosedHere | Outcome::ClosedHereUnanswered);
        let ours = self.closed_with.take().filter(|_| by_us);
        let (code, reason) = ours.unwrap_or((code, reason));
        let url = self.url.clone();
        let cause = CloseReason { outcome, url, code, reason, unsent, unanswered };
        self.transcript.push(now, EntryKind::Ended(cause.clone()));
        if self.was_open && !self.transcript.ends_with_refusal() {
            self.failures = 0;
        }
        if !self.reconnect || !backoff::is_worthwhile(&cause) {
            self.state = State::Closed(cause);
            return vec![Effect::DropSocket];
        }
        self.failures += 1;
        let wait = backoff::wait(self.failures, self.jitter);
        self.state = State::Waiting { cause, attempt: self.failures, until: now + wait };
        vec![Effect::DropSocket, Effect::StartTimer(wait)]
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
