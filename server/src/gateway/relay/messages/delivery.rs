//! The delivery of the last bytes for a peer. It continues for as long as the peer makes progress.

use std::io;

use echogate_proto::{
    close::CloseCode,
    reason::{self, fill},
    ws::Role,
};
use tokio::time::Instant;

use super::{
    MessageRelay, PollContext, RelayState,
    close::{self, Loss},
    side::Side,
    state::{Input, Output},
};
use crate::{
    gateway::bridge::End,
    net::stream::Transport,
    runtime::delivery::{Delivery, Progress, STALL},
};

impl<C: Transport, U: Transport> MessageRelay<C, U> {
    /// Whether both sides are done; their deliveries are advanced.
    pub(super) fn poll_end(&mut self, poll: &mut PollContext<'_, '_>) -> bool {
        let MessageRelay { client, upstream, shared, .. } = self;
        let upstream_is_done = poll_side(upstream, client, shared, poll);
        poll_side(client, upstream, shared, poll) && upstream_is_done
    }

    /// Ends the connection at once, at the end of the server's shutdown or by resets at a request.
    pub(super) fn cut(&mut self) -> End {
        cut_side(&mut self.client, &self.upstream);
        cut_side(&mut self.upstream, &self.client);
        if self.watch.is_reset_requested() {
            self.client.stream.reset_on_drop();
            self.upstream.stream.reset_on_drop();
        }
        End { code: CloseCode::ABNORMAL, why: self.watch.cut_reason() }
    }
}

/// Makes a connection end by a reset if something is owed to its peer.
fn cut_side<S: Transport, O: Transport>(side: &mut Side<S>, other: &Side<O>) {
    let is_owed = !side.took_all() || !other.is_at_boundary();
    if is_owed && !side.is_done() {
        side.stream.reset_on_drop();
    }
}

/// Whether the connection of `to` is done. While the last bytes are delivered, of `to` or of a
/// `from` that has ended unread, the delivery is advanced, and given up if it makes no progress.
fn poll_side<F: Transport, T: Transport>(
    to: &mut Side<T>,
    from: &mut Side<F>,
    shared: &mut RelayState,
    poll: &mut PollContext<'_, '_>,
) -> bool {
    let has_ended_unread = has_ended_unread(from, to);
    if to.output != Output::Last && !has_ended_unread {
        if let Some(closing) = &mut to.closing {
            closing.delivery = None;
            // Nothing of the peer is passed any more, while the end of the other side is awaited.
            if to.output == Output::Delivered && closing.resets && !from.passes() {
                closing.resets = false;
                to.input = Input::Ended;
                to.stream.reset();
            }
        }
        return to.is_done();
    }
    // The unread bytes of a peer that has ended its side may contain a Close.
    let may_be_clean = match from.input {
        Input::Closed => true,
        Input::Open => from.output != Output::Failed && !from.stream.has_failed(),
        Input::Violated | Input::Ended => false,
    };
    let stall = if may_be_clean { STALL } else { STALL.min(shared.config.ping_timeout) };
    let now = poll.now;
    let progress = Progress { unwritten: to.unwritten.len(), ..Progress::default() };
    let in_flight = to.stream.in_flight();
    let closing = to.closing.get_or_insert_default();
    let delivery = Delivery::advance(&mut closing.delivery, now, stall, progress, in_flight);
    if to.output == Output::Last {
        let has_arrived = Delivery::has_arrived(Some(delivery), now, in_flight);
        if (to.unwritten.is_empty() && has_arrived) || to.stream.has_failed() {
            if closing.resets {
                to.stream.reset_on_drop();
            }
            closing.delivery = None;
            to.output = Output::Delivered;
            return true;
        }
    }
    if delivery.has_stalled(now) {
        closing.undelivered += in_flight.map_or(0, |in_flight| in_flight.unsent as usize);
        if let Some(undecoded) = &from.undecoded {
            closing.undelivered += undecoded.len();
        }
        to.fail();
        to.input = Input::Ended;
        if has_ended_unread {
            if to.role == Role::Server {
                shared.ends(
                    CloseCode::ABNORMAL,
                    fill(reason::PEER_STOPPED_READING, &[reason::CLIENT]),
                );
            }
            let loss = if may_be_clean {
                Loss::Fin
            } else {
                Loss::Failure(io::ErrorKind::ConnectionReset.into())
            };
            close::ended(from, to, shared, poll, loss);
        }
    }
    to.is_done()
}

/// Whether `from` is known to have ended although its last bytes are not read yet, because `to` is
/// slow.
fn has_ended_unread<F: Transport, T: Transport>(from: &Side<F>, to: &Side<T>) -> bool {
    holds_back(from, to) && (from.output == Output::Failed || from.stream.has_ended())
}

/// Whether `from` is not read because earlier messages are not written to `to` yet.
pub(super) fn holds_back<F: Transport, T: Transport>(from: &Side<F>, to: &Side<T>) -> bool {
    from.input == Input::Open && to.passes() && !to.unwritten.is_empty()
}

impl<S: Transport> Side<S> {
    /// Whether nothing more is to be written to the peer, and nothing more is awaited from it.
    /// [`poll_side`] decides about the state `Last`.
    pub(super) fn is_done(&self) -> bool {
        match (self.output, self.input) {
            (Output::Failed, input) => input != Input::Open,
            (Output::Delivered, _) | (Output::Shut, Input::Ended) => true,
            (Output::Shut, Input::Closed) => !self.may_send_more(),
            _ => false,
        }
    }

    /// The time of the next step of a delivery.
    pub(super) fn next_update(&self) -> Option<Instant> {
        self.closing.as_ref()?.delivery.as_ref().map(Delivery::next_update)
    }
}
