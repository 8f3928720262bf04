//! The deadlines of a connection, and the shutdown: Pings, idle timeout, and the steps of the
//! end.

use tokio::time::Instant;

use super::{
    MessageRelay, PollContext, RelayState,
    close::{self, Loss},
    delivery::holds_back,
    side::{REPLY_TIME, Side},
    state::{Input, Output},
};
use crate::{
    gateway::{
        bridge::CLOSE_TIMEOUT,
        websocket::ping_timer::{PingAction, PingTimes},
    },
    net::stream::Transport,
    runtime::drain::{ServerClose, Stage},
};
use echogate_event_loop::has_turn;

impl<C: Transport, U: Transport> MessageRelay<C, U> {
    /// The time at which [`MessageRelay::poll_all`] is to be called although neither side is ready.
    pub(super) fn deadline(&mut self, stage: Stage, now: Instant) -> Option<Instant> {
        let times = self.shared.config.ping_times();
        let sides = [self.client.deadline(times), self.upstream.deadline(times)];
        let quiet = (stage == Stage::Graceful && self.is_open()).then(|| self.quiet_from());
        let idle = match &self.idle {
            Some(_) if self.is_open() => self.idle_deadline(now),
            _ => None,
        };
        let others = [quiet.filter(|&quiet| now < quiet), idle];
        sides.into_iter().chain(others).flatten().min()
    }

    /// Whether neither side has begun to end.
    fn is_open(&self) -> bool {
        [self.client.states(), self.upstream.states()] == [(Input::Open, Output::Open); 2]
    }

    /// The time from which on both peers have been silent for [`REPLY_TIME`], if they remain silent.
    fn quiet_from(&self) -> Instant {
        let last = self.client.ping_timer.last_activity();
        last.max(self.upstream.ping_timer.last_activity()) + REPLY_TIME
    }

    /// Handles a deadline that has passed.
    pub(super) fn on_timer(&mut self, poll: &mut PollContext<'_, '_>) {
        if self.is_open() && self.is_idle(poll.now) {
            return self.idle_timed_out(poll);
        }
        let running_since = self.watch.running_since(poll.now);
        let MessageRelay { client, upstream, shared, .. } = self;
        on_timer(client, upstream, shared, poll, running_since);
        on_timer(upstream, client, shared, poll, running_since);
    }

    fn idle_deadline(&mut self, now: Instant) -> Option<Instant> {
        let delivered = self.delivered_bytes();
        self.idle.as_mut().map(|idle| idle.deadline(now, delivered))
    }

    /// A count that changes whenever bytes are delivered: the payload that was counted so far,
    /// without the bytes that wait to be written.
    fn delivered_bytes(&self) -> u64 {
        let waiting = self.client.unwritten.len() + self.upstream.unwritten.len();
        self.shared.entry.carried_bytes().wrapping_sub(waiting as u64)
    }

    /// Whether the connection has been idle for too long.
    fn is_idle(&mut self, now: Instant) -> bool {
        let delivered = self.delivered_bytes();
        let in_flight = || [self.client.stream.in_flight(), self.upstream.stream.in_flight()];
        self.watch.is_idle(&mut self.idle, now, delivered, in_flight)
    }

    fn idle_timed_out(&mut self, poll: &mut PollContext<'_, '_>) {
        let close = self.watch.idle_close();
        let is_owed = !self.client.unwritten.is_empty();
        give_up_idle(&mut self.client, poll, &close);
        if is_owed && self.upstream.unwritten.is_empty() {
            // A Close would tell the upstream that the client has received everything.
            self.upstream.end_after_delivery(true);
        } else {
            give_up_idle(&mut self.upstream, poll, &close);
        }
        self.shared.ends(close.code, close.reason);
    }

    /// Closes the client's side for the server's shutdown or at a request, as far as the stage and the
    /// states allow it: gracefully where the upstream spoke last and both are silent, otherwise after
    /// the upstream's current message. The upstream gets its Close with the client's own. `is_idle` says
    /// that nothing more could be read from either.
    pub(super) fn shut_down(
        &mut self,
        poll: &mut PollContext<'_, '_>,
        stage: Stage,
        is_idle: bool,
    ) {
        let is_quiet = self.client.is_at_boundary()
            && is_idle
            && has_turn()
            && !self.shared.client_spoke_last
            && self.client.unwritten.is_empty()
            && self.upstream.unwritten.is_empty()
            && self.is_open()
            && self.quiet_from() <= poll.now;
        let is_due = (stage >= Stage::Immediate || is_quiet) && self.upstream.is_at_boundary();
        let MessageRelay { client, shared, watch, .. } = self;
        if is_due && client.states() == (Input::Open, Output::Open) {
            let ServerClose { code, reason } = watch.close();
            client.send_close(poll.cx, poll.now, code, &reason);
            shared.ends(code, reason);
        }
    }
}

fn give_up_idle<S: Transport>(
    side: &mut Side<S>,
    poll: &mut PollContext<'_, '_>,
    close: &ServerClose,
) {
    if side.unwritten.is_empty() {
        side.send_close(poll.cx, poll.now, close.code, &close.reason);
    } else {
        // The peer does not read, so a Close would not reach it.
        side.fail();
        side.input = Input::Ended;
    }
}

impl<S: Transport> Side<S> {
    fn deadline(&self, times: PingTimes) -> Option<Instant> {
        let step = match self.output {
            Output::Open | Output::Failed if self.input == Input::Open => {
                Some(self.ping_timer.deadline(times))
            }
            Output::Replies | Output::Closed | Output::Shut if !self.is_done() => {
                self.closing.as_ref()?.deadline
            }
            _ => None,
        };
        [step, self.next_update()].into_iter().flatten().min()
    }
}

/// Handles a deadline of `side` that has passed.
fn on_timer<S: Transport, O: Transport>(
    side: &mut Side<S>,
    other: &mut Side<O>,
    shared: &mut RelayState,
    poll: &mut PollContext<'_, '_>,
    running_since: Instant,
) {
    let now = poll.now;
    match side.output {
        Output::Replies | Output::Closed | Output::Shut => {
            let deadline = side.closing().deadline;
            if side.is_done() || deadline.is_none_or(|deadline| now < deadline) {
                return;
            }
            let silence_deadline = other.ping_timer.last_activity() + CLOSE_TIMEOUT;
            if side.output == Output::Replies {
                side.end_replies(poll.cx, now);
            } else if holds_back(side, other) && now < silence_deadline {
                // The answer to the Close cannot be read while the other side is slow.
                side.closing().deadline = Some(silence_deadline);
            } else if side.is_moving() {
                side.awaits_end(now);
            } else {
                close::is_overdue(side, other, shared, poll);
            }
        }
        Output::Open | Output::Failed if side.input == Input::Open => {
            side.ping_timer.running_since(running_since);
            match side.ping_timer.on_timer(now, shared.config.ping_times()) {
                PingAction::Wait => {}
                PingAction::SendPing => side.ping_due = true,
                // The Pong of a peer that is not read cannot arrive. Its kernel's acknowledgement of
                // the Ping is accepted instead. Without that nothing more is written to the peer,
                // and what it sent before is still delivered.
                PingAction::TimedOut if holds_back(side, other) || side.undecoded.is_some() => {
                    side.ping_timer.activity(now);
                    if !side.took_all() {
                        side.fail();
                    }
                }
                PingAction::TimedOut => close::ended(side, other, shared, poll, Loss::NoPong),
            }
        }
        _ => {}
    }
}
