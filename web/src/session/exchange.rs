//! Messages in both directions: the queue of those to send, and the replies outstanding.

use super::{Effect, HALF_CLOSE, Halves, Pairing, Refusal, Session, State};
use crate::{
    exchanges::{Exchange, Position},
    payload::Payload,
    time::Millis,
    transcript::{Delivery, EntryKind},
};

/// A message whose reply is outstanding.
#[derive(Debug)]
pub(super) struct PendingReply {
    pub(super) id: u64,
    pub(super) sent: Payload,
    /// The time at which the user sent it.
    pub(super) asked: Millis,
    /// The time at which the socket sent it.
    pub(super) at: Millis,
    /// The bytes sent over the connection, this message included.
    pub(super) position: Position,
}

/// A message, or the end of input, that was handed to the socket.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) id: u64,
    /// The message; `None` for the end of input.
    pub(super) payload: Option<Payload>,
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
        let id = self.transcript.push(now, EntryKind::Sent(payload.clone(), Delivery::Queued));
        self.queued_bytes = bytes;
        self.queue.push_back((id, payload));
        self.transmit(now)
    }

    /// Queues the end of input behind the messages before it.
    pub(super) fn half_close(&mut self, now: Millis) -> Vec<Effect> {
        if !self.state.can_half_close() {
            return vec![Effect::Refuse(Refusal::NotOpen)];
        }
        if let State::Open { ended, .. } = &mut self.state {
            ended.ours = true;
        }
        let id = self.transcript.push(now, EntryKind::HalfClosed { by_us: true });
        self.queue.push_back((id, Payload::from(Vec::new())));
        self.transmit(now)
    }

    pub(super) fn drained_to(&mut self, bytes: usize, now: Millis) -> Vec<Effect> {
        self.polled_buffered = false;
        self.buffered = bytes;
        self.transmit(now)
    }

    /// Hands queued messages to the browser, as far as it takes them.
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
            let ends_input = self.queue.is_empty()
                && matches!(self.state, State::Open { ended: Halves { ours: true, .. }, .. });
            let message = (!ends_input).then(|| payload.clone());
            self.handed.push_back(Handed { id, payload: message });
            if !ends_input {
                let asked = self.transcript.get(id).map_or(now, |row| row.at);
                self.transcript.set_delivery(id, Delivery::Sent);
                if self.pairing != Pairing::Never {
                    self.unanswered.push_back(PendingReply {
                        id,
                        sent: payload.clone(),
                        asked,
                        at: now,
                        position: Position::default(),
                    });
                }
                if self.unanswered.len() > Self::MAX_UNANSWERED {
                    self.give_up_oldest();
                }
            }
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
        let Some(Handed { id, payload }) = self.handed.pop_front() else { return Vec::new() };
        self.transcript.set_time(id, now);
        if let Some(payload) = payload {
            self.stats.sent(payload.len(), now);
            self.position.add(payload.bytes());
        }
        if let Ok(at) = self.unanswered.binary_search_by_key(&id, |awaited| awaited.id) {
            let awaited = &mut self.unanswered[at];
            (awaited.at, awaited.position) = (now, self.position);
        }
        if self.handed.is_empty() {
            self.buffered = buffered;
        }
        self.transmit(now)
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
        self.stats.received(payload.len(), now);
        let fits = |awaited: &PendingReply| {
            self.pairing == Pairing::Order || awaited.sent.has_shape_of(&payload)
        };
        let answers = self.unanswered.iter().position(fits);
        for _ in 0..answers.unwrap_or(0) {
            self.give_up_oldest();
        }
        match answers.and_then(|_| self.unanswered.pop_front()) {
            Some(PendingReply { id, asked, at, position, .. }) => {
                let round_trip = now - at;
                self.stats.answered(round_trip, now);
                self.exchanges.push(Exchange {
                    row: id,
                    asked,
                    sent: at,
                    received: now,
                    drawn: None,
                    position,
                    gateway: None,
                    service: None,
                });
                self.transcript.set_delivery(id, Delivery::Answered { reply: payload, round_trip });
            }
            None => {
                self.transcript.push(now, EntryKind::Received(payload));
            }
        }
        Vec::new()
    }

    pub(super) fn give_up_oldest(&mut self) {
        if let Some(awaited) = self.unanswered.pop_front() {
            self.transcript.set_delivery(awaited.id, Delivery::Unanswered);
        }
    }
}

/// Whether a message is the end of input under the [`HALF_CLOSE`] subprotocol.
pub(super) fn is_end_of_input(payload: &Payload) -> bool {
    matches!(payload, Payload::Binary(bytes) if bytes.is_empty())
}
