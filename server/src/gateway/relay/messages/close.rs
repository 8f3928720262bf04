//! The ends of a side: a Close, a violation of the protocol, or the end of the connection without
//! either, and the effect of each on the other side.

use std::{borrow::Cow, fmt::Display, io};

use echogate_proto::{
    close::CloseCode,
    reason::{self, fill},
    ws::{Role, Violation},
};

use super::{
    MessageRelay, PollContext, RelayState,
    side::Side,
    state::{Input, Output},
};
use crate::{
    gateway::{bridge::End, failure},
    net::stream::Transport,
    text::escape::escape,
};

/// The end of a peer's connection without a Close.
#[derive(Debug)]
pub(super) enum Loss {
    /// The peer ended the stream.
    Fin,
    Failure(io::Error),
    /// The peer did not answer a Ping.
    NoPong,
}

impl Loss {
    /// The description, for the log and, where the upstream is the peer, for the client.
    fn description(&self, peer: &str) -> Cow<'static, str> {
        match self {
            Loss::Fin => fill(reason::PEER_ENDED_WITHOUT_CLOSE, &[peer]),
            Loss::NoPong => fill(reason::PEER_SILENT, &[peer]),
            Loss::Failure(error) => failure::describe(peer, error),
        }
        .into()
    }
}

/// The peer of a side on which this process has the `role`.
fn peer(role: Role) -> &'static str {
    match role {
        Role::Server => reason::CLIENT,
        Role::Client => reason::UPSTREAM,
    }
}

/// Handles the Close of a peer, whose reason is the decoder's control payload; `more` says whether
/// bytes follow it. Code and reason are passed to the other side, or complete its closing
/// handshake.
pub(super) fn closed<F: Transport, T: Transport>(
    from: &mut Side<F>,
    to: &mut Side<T>,
    shared: &mut RelayState,
    poll: &mut PollContext<'_, '_>,
    code: CloseCode,
    more: bool,
) {
    let given = String::from_utf8_lossy(from.decoder.control_payload()).into_owned();
    let peer = peer(from.role);
    shared.ends(
        code,
        match &*given {
            "" => fill(reason::PEER_CLOSED, &[peer]),
            given => fill(reason::PEER_CLOSED_WITH, &[peer, &escape(given)]),
        },
    );
    from.input = Input::Closed;
    // A client waits for the server to end the TCP connection.
    let more = more || from.role == Role::Client;
    let closing = from.closing();
    (closing.received, closing.more) = (Some(code), more);
    if from.output == Output::Closed {
        from.awaits_end(poll.now);
    }
    match to.output {
        Output::Open => to.send_close(poll.cx, poll.now, code, &given),
        Output::Replies => to.end_replies(poll.cx, poll.now),
        Output::Closed | Output::Shut | Output::Last | Output::Delivered | Output::Failed => {}
    }
}

/// Handles a violation of the protocol by a peer.
pub(super) fn violated<F: Transport, T: Transport>(
    from: &mut Side<F>,
    to: &mut Side<T>,
    shared: &mut RelayState,
    poll: &mut PollContext<'_, '_>,
    violation: Violation,
) {
    from.input = Input::Violated;
    let code = violation.close_code();
    match from.role {
        Role::Server => {
            shared.ends(code, violation.to_string());
            if from.output == Output::Open {
                let due = Some((code, violation.to_string().into()));
                from.await_replies(poll.now, due);
            }
            if to.passes() {
                to.end_after_delivery(true);
            }
        }
        Role::Client => {
            if from.passes() {
                from.send_close(poll.cx, poll.now, code, &violation.to_string());
            }
            let reason = match violation {
                Violation::TooBig(limit) => {
                    fill(reason::PEER_SENT_TOO_MUCH, &[&reason::UPSTREAM as &dyn Display, &limit])
                }
                other => fill(reason::PEER_VIOLATED, &[reason::UPSTREAM, &other.to_string()]),
            };
            fail_client(to, shared, poll, reason.into());
        }
    }
}

/// Handles the end of a peer's connection. After its Close, or a violation of the protocol, the end
/// has no effect on the other side; otherwise the peer's messages so far are all that the other side
/// gets.
pub(super) fn ended<F: Transport, T: Transport>(
    from: &mut Side<F>,
    to: &mut Side<T>,
    shared: &mut RelayState,
    poll: &mut PollContext<'_, '_>,
    loss: Loss,
) {
    let before = std::mem::replace(&mut from.input, Input::Ended);
    // The end of a stream says nothing of the other direction, in which a Close may be under way.
    let was_sent_close = matches!(loss, Loss::Fin) && from.output == Output::Closed;
    let why = loss.description(peer(from.role));
    match (loss, from.role, from.output) {
        (Loss::Fin, Role::Server, Output::Open) => from.await_replies(poll.now, None),
        (Loss::Fin, Role::Client, Output::Open) | (Loss::Failure(_) | Loss::NoPong, ..) => {
            from.fail();
        }
        (Loss::Fin, ..) => {}
    }
    if before != Input::Open {
        return;
    }
    if was_sent_close && from.is_at_boundary() && to.input == Input::Closed {
        // The end takes the place of the peer's answer to the Close.
        return answer(to, poll);
    }
    match from.role {
        Role::Client => fail_client(to, shared, poll, why),
        Role::Server => {
            shared.ends(CloseCode::ABNORMAL, why);
            if to.passes() {
                to.end_after_delivery(true);
            }
        }
    }
}

/// Sends the Close that tells the client of a failed upstream.
fn fail_client<T: Transport>(
    client: &mut Side<T>,
    shared: &mut RelayState,
    poll: &mut PollContext<'_, '_>,
    reason: Cow<'static, str>,
) {
    match client.output {
        Output::Open => {
            client.send_close(poll.cx, poll.now, CloseCode::INTERNAL_ERROR, &reason);
        }
        Output::Replies => client.end_replies(poll.cx, poll.now),
        Output::Closed | Output::Shut | Output::Last | Output::Delivered | Output::Failed => {}
    }
    shared.ends(CloseCode::INTERNAL_ERROR, reason);
}

/// Answers a peer's Close with its own code, because the other side gives no answer.
fn answer<S: Transport>(side: &mut Side<S>, poll: &mut PollContext<'_, '_>) {
    if let Some(code) = side.closing().received.filter(|_| side.passes()) {
        side.send_close(poll.cx, poll.now, code, "");
    }
}

/// Handles the deadline of a peer that has not answered a Close, or has not ended the connection after
/// the answer.
pub(super) fn is_overdue<F: Transport, T: Transport>(
    from: &mut Side<F>,
    to: &mut Side<T>,
    shared: &RelayState,
    poll: &mut PollContext<'_, '_>,
) {
    let before = std::mem::replace(&mut from.input, Input::Ended);
    from.end_after_delivery(false);
    if before != Input::Open {
        return;
    }
    match (to.input, to.role) {
        (Input::Closed, _) => answer(to, poll),
        (_, role) if to.passes() => {
            // A client that spoke last, or has vanished, may have had more to send.
            let is_at_rest = from.is_at_boundary() && from.took_all() && !shared.client_spoke_last;
            if role == Role::Client && !is_at_rest {
                return to.end_after_delivery(true);
            }
            let end = shared.end.as_deref();
            let (code, reason) =
                end.map_or((CloseCode::GOING_AWAY, ""), |end| (end.code, &end.why));
            to.send_close(poll.cx, poll.now, code, reason);
        }
        _ => {}
    }
}

impl<C: Transport, U: Transport> MessageRelay<C, U> {
    /// The description of the end, for the log and the registry.
    pub(super) fn end(&mut self) -> End {
        let cut = || End { code: CloseCode::ABNORMAL, why: reason::CUT_OFF.into() };
        let End { code, why } = self.shared.end.take().map_or_else(cut, |end| *end);
        let losses = [
            (self.upstream.undelivered(), reason::UPSTREAM),
            (self.client.undelivered(), reason::CLIENT),
        ];
        End { code, why: failure::with_losses(why, losses) }
    }
}
