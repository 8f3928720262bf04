//! A direction of the relay: the frames of one side are decoded, and passed to the other.

use std::{
    io::{self, IoSlice},
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use echogate_proto::{
    close::CloseCode,
    recording::Direction,
    ws::{Event, OpCode, Role, Violation},
};
use tokio::io::ReadBuf;

use super::{
    PollContext, RelayState,
    close::{self, Loss},
    frames::{MAX_HEAD, put_head},
    side::Side,
    state::Input,
};
use crate::{
    gateway::websocket::{
        gather::Gather,
        undecoded::{MAX_FRAMES, Undecoded},
    },
    net::stream::Transport,
    runtime::buffer_pool::HEADROOM,
};
use echogate_event_loop::may_continue;

/// The last frame of a peer: a Close, or a violation of the protocol.
type LastFrame = Result<CloseCode, Violation>;

/// Relays from one side, until there is nothing more to read or the other side is not writable.
/// Returns true in the first case: all bytes that have arrived are read, unless the task's budget is
/// used up.
pub(super) fn relay<F: Transport, T: Transport>(
    from: &mut Side<F>,
    to: &mut Side<T>,
    shared: &mut RelayState,
    poll: &mut PollContext<'_, '_>,
) -> bool {
    loop {
        let is_blocked = to.poll_output(poll.cx, poll.now).is_pending();
        match from.input {
            Input::Open if is_blocked && to.passes() => return false,
            Input::Open | Input::Violated => {}
            Input::Closed if from.may_send_more() => {}
            Input::Closed | Input::Ended => return false,
        }
        if let Some(mut undecoded) = from.undecoded.take() {
            let may_continue = may_continue(poll.cx);
            if may_continue {
                let Undecoded { bytes, at } = &mut *undecoded;
                *at = pass(from, to, shared, poll, (bytes, *at));
            }
            if undecoded.len() > 0 && from.input == Input::Open {
                from.undecoded = Some(undecoded);
            }
            if may_continue {
                continue;
            }
            return false;
        }
        from.stream.reads_at(|| from.decoder.scanner());
        let scratch = std::mem::take(&mut poll.scratch);
        let mut buf = ReadBuf::new(&mut scratch[HEADROOM..]);
        let read = Pin::new(&mut from.stream).poll_read(poll.cx, &mut buf);
        let end = HEADROOM + buf.filled().len();
        if end > HEADROOM && from.input == Input::Open {
            let at = pass(from, to, shared, poll, (&mut scratch[..end], HEADROOM));
            if from.input == Input::Open {
                from.undecoded = Undecoded::new(&scratch[at..end], MAX_HEAD);
            }
        }
        poll.scratch = scratch;
        match read {
            Poll::Pending => return true,
            Poll::Ready(Ok(())) if end > HEADROOM => from.ping_timer.activity(poll.now),
            Poll::Ready(Ok(())) => close::ended(from, to, shared, poll, Loss::Fin),
            Poll::Ready(Err(e)) => close::ended(from, to, shared, poll, Loss::Failure(e)),
        }
    }
}

/// Decodes `buffer` from `at` on and passes its frames in one write. Returns the position up to
/// which bytes are decoded, which is not the end if there are too many frames or the input ends.
fn pass<F: Transport, T: Transport>(
    from: &mut Side<F>,
    to: &mut Side<T>,
    shared: &mut RelayState,
    poll: &mut PollContext<'_, '_>,
    (buffer, mut at): (&mut [u8], usize),
) -> usize {
    let direction = from.direction();
    shared.latency.read(direction, &shared.entry);
    let last = Gather::with(|gather| {
        let mut batch = Batch { gather, run: 0..0, bytes: 0, messages: 0 };
        let last = batch.decode(from, to, buffer, &mut at);
        shared.entry.counter(direction).add(batch.bytes, batch.messages);
        let any = !batch.run.is_empty();
        if any {
            shared.client_spoke_last = direction == Direction::ToServer;
            shared.latency.writes(direction);
            if batch.write(buffer, poll.cx, to).is_err() {
                to.fail();
            }
        }
        shared.latency.written(direction, any, &shared.entry);
        last
    });
    match last {
        None => {}
        Some(Ok(code)) => close::closed(from, to, shared, poll, code, at < buffer.len()),
        Some(Err(violation)) => close::violated(from, to, shared, poll, violation),
    }
    at
}

/// The frames of one step. Most are adjacent in the buffer, and such frames are written from there
/// without a copy.
struct Batch<'a> {
    /// The frames in front of `run`.
    gather: &'a mut Gather,
    /// The latest adjacent frames in the buffer.
    run: Range<usize>,
    bytes: usize,
    messages: u64,
}

impl Batch<'_> {
    fn decode<F: Transport, T: Transport>(
        &mut self,
        from: &mut Side<F>,
        to: &mut Side<T>,
        buffer: &mut [u8],
        at: &mut usize,
    ) -> Option<LastFrame> {
        let passes = to.passes();
        for _ in 0..MAX_FRAMES {
            let (opcode, payload, fin) = match from.decoder.next(buffer, at) {
                Ok(None) => break,
                Ok(Some(Event::Message { opcode, range })) => (opcode, range, true),
                Ok(Some(Event::Frame { opcode, .. })) => {
                    from.begun = from.begun.or((opcode != OpCode::Continuation).then_some(opcode));
                    continue;
                }
                Ok(Some(Event::Payload { range, ends_message })) => {
                    (from.begun.take().unwrap_or(OpCode::Continuation), range, ends_message)
                }
                Ok(Some(Event::Ping)) => {
                    from.answer_ping();
                    continue;
                }
                Ok(Some(Event::Pong)) => continue,
                Ok(Some(Event::Close(code))) => return Some(Ok(code)),
                Err(violation) => return Some(Err(violation)),
            };
            if !passes {
                // A client that has ended the connection awaits no more messages.
                if to.role == Role::Client || to.input == Input::Open {
                    to.closing().undelivered += payload.len();
                }
                continue;
            }
            self.bytes += payload.len();
            self.messages += u64::from(fin);
            let frame = put_head(buffer, payload, opcode, fin, to.role);
            if frame.start == self.run.end {
                self.run.end = frame.end;
            } else {
                self.gather.add(buffer, std::mem::replace(&mut self.run, frame));
            }
        }
        None
    }

    fn write<T: Transport>(
        self,
        buffer: &[u8],
        cx: &mut Context<'_>,
        to: &mut Side<T>,
    ) -> io::Result<()> {
        let Side { unwritten, stream, .. } = to;
        if self.gather.is_empty() {
            return unwritten.write(cx, stream, &mut [IoSlice::new(&buffer[self.run])]);
        }
        self.gather.add(buffer, self.run);
        self.gather.write(buffer, cx, unwritten, stream)
    }
}
