//! Messages in both directions: the queue of those to send, and the replies outstanding.

use super::{Effect, HALF_CLOSE, Halves, Refusal, Session, State};
use crate::{
    exchanges::Exchange,
    pairing::{Awaited, Pairing, Pairs},
    payload::Payload,
    time::Millis,
    transcript::{Answer, Delivery, EntryKind, Observed},
};

/// A message, or the end of input, that the socket has not reported as sent. The report adds its row:
/// rows are in the order of events.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// The time of the user's command.
    pub(super) asked: Millis,
    /// The message; `None` for the end of input.
    pub(super) message: Option<Payload>,
}

impl Session {
    pub(super) fn send(&mut self, payload: Payload, now: Millis) -> Vec<Effect> {
        match &self.state {
            State::Open { ended: Halves { ours: true, .. }, .. } => {
                return vec![Effect::Refuse(Refusal::InputEnded)];
            }
            State::Open { .. } if self.state.can_half_close() && is_end_of_input(&payload) => {
                return self.half_close(now);
            }
            State::Open { .. } => {}
            _ => return vec![Effect::Refuse(Refusal::NotOpen)],
        }
        let bytes = self.queued_bytes.saturating_add(payload.len());
        let full = self.queue.len() >= Self::MAX_QUEUED || bytes > Self::MAX_QUEUED_BYTES;
        if full && !self.queue.is_empty() {
            return vec![Effect::Refuse(Refusal::QueueFull)];
        }
        self.queued_bytes = bytes;
        self.queue.push_back(Outgoing { asked: now, message: Some(payload) });
        self.transmit()
    }

    /// Queues the end of input after the messages before it.
    pub(super) fn half_close(&mut self, now: Millis) -> Vec<Effect> {
        if !self.state.can_half_close() {
            return vec![Effect::Refuse(Refusal::NotOpen)];
        }
        if let State::Open { ended, .. } = &mut self.state {
            ended.ours = true;
        }
        self.queue.push_back(Outgoing { asked: now, message: None });
        self.transmit()
    }

    pub(super) fn drained_to(&mut self, bytes: usize) -> Vec<Effect> {
        self.polled_buffered = false;
        self.buffered = bytes;
        self.transmit()
    }

    /// Hands queued messages to the browser until it holds [`Self::MAX_BUFFERED`] unsent bytes.
    fn transmit(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        if !matches!(self.state, State::Open { .. }) {
            return effects;
        }
        while self.buffered < Self::MAX_BUFFERED
            && let Some(outgoing) = self.queue.pop_front()
        {
            let payload = outgoing.message.clone().unwrap_or_else(|| Vec::new().into());
            self.queued_bytes -= payload.len();
            self.buffered += payload.len();
            self.handed.push_back(outgoing);
            effects.push(Effect::Transmit(payload));
        }
        if !self.queue.is_empty() && !self.polled_buffered {
            self.polled_buffered = true;
            effects.push(Effect::PollBuffered);
        }
        effects
    }

    /// Handles the report that the socket sent the oldest message handed to it: the round trip begins.
    pub(super) fn sent(&mut self, buffered: usize, now: Millis) -> Vec<Effect> {
        let Some(Outgoing { asked, message }) = self.handed.pop_front() else { return Vec::new() };
        match message {
            Some(payload) => self.add_sent(&payload, asked, now),
            None => {
                self.transcript.push(now, EntryKind::HalfClosed { by_us: true });
            }
        }
        if self.handed.is_empty() {
            self.buffered = buffered;
        }
        self.transmit()
    }

    fn add_sent(&mut self, payload: &Payload, asked: Millis, now: Millis) {
        self.stats.sent(payload.len(), now);
        self.position.add(payload.bytes());
        let row = self.transcript.push(now, EntryKind::Sent(payload.clone(), Delivery::Sent));
        self.await_reply(row, payload, Some(asked), now);
    }

    pub(super) fn received(&mut self, payload: Payload, now: Millis) -> Vec<Effect> {
        if !matches!(self.state, State::Open { .. } | State::Closing) {
            return Vec::new();
        }
        if let State::Open { protocol, ended } = &mut self.state
            && protocol == HALF_CLOSE
            && is_end_of_input(&payload)
        {
            ended.theirs = true;
            self.transcript.push(now, EntryKind::HalfClosed { by_us: false });
            return Vec::new();
        }
        self.add_received(payload, now);
        Vec::new()
    }

    fn add_received(&mut self, payload: Payload, now: Millis) {
        self.stats.received(payload.len(), now);
        let is_early = self.unpaired_from.is_some();
        let message = if is_early { None } else { self.pairs.received(&payload) };
        self.mark_given_up();
        let row = self.transcript.push(now, EntryKind::Received(payload, None));
        if let Some(message) = message {
            self.pair(&message, row, now);
        }
    }

    /// Adds a row of a connection that is not the page's own.
    pub fn observe(&mut self, kind: EntryKind, at: Millis) {
        match kind {
            EntryKind::Sent(payload, _) => self.add_sent(&payload, at, at),
            EntryKind::Received(payload, _) => self.add_received(payload, at),
            kind => {
                self.transcript.push(at, kind);
            }
        }
    }

    /// Sets the rule for pairing replies. [`Self::pair_anew`] applies it to the messages of the
    /// transcript.
    pub fn set_pairing(&mut self, rule: Pairing) {
        if *self.pairs.rule() != rule {
            self.cleared_is_unpaired = true;
            self.begin_pairing(rule);
        }
    }

    fn begin_pairing(&mut self, rule: Pairing) {
        self.pairs = Pairs::new(rule);
        self.stats.forget_replies();
        self.exchanges.unpair();
        let first = self.transcript.first_id();
        self.unpaired_from = (first < self.transcript.next_id()).then_some(first);
    }

    /// Clears the transcript, until [`Self::restore`].
    pub fn clear(&mut self) {
        if !self.transcript.is_empty() {
            self.cleared_is_unpaired = self.unpaired_from.is_some();
            self.transcript.clear();
        }
    }

    /// Restores the rows that were cleared. [`Self::pair_anew`] pairs their messages if the rule has
    /// changed.
    pub fn restore(&mut self) {
        self.transcript.restore();
        if std::mem::take(&mut self.cleared_is_unpaired) {
            self.begin_pairing(self.pairs.rule().clone());
        }
    }

    /// Applies a new rule to the next rows of the transcript, at most this many; returns whether
    /// there are more.
    pub fn pair_anew(&mut self, rows: u64) -> bool {
        let Some(from) = self.unpaired_from else { return false };
        let last = self.transcript.next_id();
        let end = from.max(self.transcript.first_id()).saturating_add(rows).min(last);
        for id in from..end {
            let Some(row) = self.transcript.get(id) else { continue };
            let at = row.at;
            match &row.kind {
                EntryKind::Sent(_, Delivery::NotSent) => {}
                EntryKind::Sent(payload, _) => {
                    let payload = payload.clone();
                    self.unpaired_from = Some(id + 1);
                    self.await_reply(id, &payload, None, at);
                }
                EntryKind::Received(payload, _) => {
                    let message = self.pairs.received(payload);
                    self.transcript.set_answer(id, None);
                    if let Some(message) = message {
                        self.pair(&message, id, at);
                    }
                }
                EntryKind::Opened { .. } => {
                    self.stats.forget_replies();
                    self.exchanges.drop_before(at);
                    self.pairs.give_up_all();
                }
                EntryKind::Ended(_) | EntryKind::Observed(Observed::Closed(_)) => {
                    self.pairs.give_up_all();
                }
                EntryKind::HalfClosed { .. } | EntryKind::Observed(_) => {}
            }
            self.mark_given_up();
        }
        self.unpaired_from = (end < last).then_some(end);
        end < last
    }

    /// Notes that a message was sent, at the user's command at `asked` if that is known.
    fn await_reply(&mut self, row: u64, payload: &Payload, asked: Option<Millis>, sent: Millis) {
        let is_early = self.unpaired_from.is_some_and(|from| row >= from);
        let awaited = if is_early { None } else { self.pairs.sent(row, payload, sent) };
        let mut delivery = Delivery::Sent;
        if let Some(awaited) = awaited {
            delivery = Delivery::Awaiting;
            if asked.is_some() {
                (awaited.asked, awaited.position) = (asked, self.position);
            }
        }
        self.transcript.set_delivery(row, delivery);
        self.mark_given_up();
    }

    /// Records that the message in row `reply`, received at this time, answers a sent one.
    fn pair(&mut self, message: &Awaited, reply: u64, received: Millis) {
        let Awaited { row, asked, sent, position, overlaps, .. } = *message;
        let round_trip = received - sent;
        self.stats.answered(round_trip, received, overlaps);
        self.exchanges.push(Exchange {
            row,
            asked,
            sent,
            received,
            drawn: None,
            position,
            gateway: None,
            service: None,
            is_paired: true,
        });
        self.transcript.set_delivery(row, Delivery::Answered(reply));
        self.transcript.set_answer(reply, Some(Answer { row, round_trip }));
    }

    pub(super) fn mark_given_up(&mut self) {
        for row in self.pairs.take_given_up() {
            self.transcript.set_delivery(row, Delivery::Unanswered);
        }
    }
}

/// Whether a message is the end of input under the [`HALF_CLOSE`] subprotocol.
pub fn is_end_of_input(payload: &Payload) -> bool {
    matches!(payload, Payload::Binary(bytes) if bytes.is_empty())
}
