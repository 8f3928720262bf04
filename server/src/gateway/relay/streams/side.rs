//! One of the two peers of a relay, and the direction from one to the other.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use echogate_proto::reason;
use tokio::{io::ReadBuf, time::Instant};

use crate::{
    connections::registry::Counter,
    net::stream::Transport,
    runtime::{delivery::Delivery, drain::Silence, write_buffer::WriteBuffer},
    text::io_error::describe,
};

/// The input from a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Open,
    /// The peer has ended its output.
    Ended,
    /// The connection has failed: what the peer sent may be incomplete.
    Failed,
}

/// The output to a side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Open,
    /// The buffered bytes are written, and then the end of input unless the other side has failed.
    Ending,
    /// Everything is written, including the end of input.
    Shut,
    /// Everything is written. The other side has failed, so that a reset follows.
    Truncated,
    /// Nothing is written any more: the connection has failed in this direction at least.
    Failed,
}

/// A peer, and the state of its connection.
pub(super) struct Side<T> {
    pub(super) stream: T,
    pub(super) input: Input,
    pub(super) output: Output,
    /// Whether the input ended or failed before that of the other side.
    pub(super) has_ended_first: bool,
    /// Whether the connection has failed by another error than `BrokenPipe`, which says only that the
    /// peer accepts no more bytes.
    is_aborted: bool,
    /// Bytes that are not written to this side yet.
    pub(super) unwritten: WriteBuffer,
    /// The state of the end, once it has begun. In a box, so that other connections take less memory.
    pub(super) closing: Option<Box<Closing>>,
}

/// The state of the end of a side.
#[derive(Default)]
pub(super) struct Closing {
    /// The delivery of the bytes for this side, once the side that sent them is gone.
    pub(super) delivery: Option<Delivery>,
    /// The number of bytes for this side that are known to be lost.
    pub(super) lost: u64,
    /// The failure of the connection, for the log, and its time.
    pub(super) failure: Option<Failure>,
    /// The state of the server's shutdown, where the side is the client.
    pub(super) shutdown: Shutdown,
}

/// The state of a relay that is to end.
#[derive(Debug, Default)]
pub(super) struct Shutdown {
    /// Whether the upstream's input has been ended.
    pub(super) is_asked: bool,
    /// The silence of both peers.
    pub(super) silence: Silence,
    /// The time at which a connection whose end was requested is reset if it goes on.
    pub(super) reset_at: Option<Instant>,
}

impl Shutdown {
    /// The time at which the relay is to be polled although neither side is ready.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let silence = self.silence.deadline(now).filter(|_| !self.is_asked);
        let reset_at = self.reset_at.filter(|&at| now < at);
        [silence, reset_at].into_iter().flatten().min()
    }
}

/// A failure of a connection: the time at which the relay learned of it, and the description.
pub(super) type Failure = (Instant, Box<str>);

/// The result of one step in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Bytes or an end were passed on: there may be more.
    Moved,
    /// All bytes that have arrived are passed on, unless the task's turn is over.
    Waits,
    /// The receiving side is not writable.
    Blocked,
}

/// Relays from one side to the other, by one read and one write.
#[inline]
pub(super) fn relay_once<A: Transport, B: Transport>(
    from: &mut Side<A>,
    to: &mut Side<B>,
    counter: &Counter,
    cx: &mut Context<'_>,
    scratch: &mut [u8],
) -> Step {
    match to.poll_output(cx, from.input) {
        Poll::Pending => return Step::Blocked,
        Poll::Ready(true) => return Step::Moved,
        Poll::Ready(false) => {}
    }
    if from.input != Input::Open {
        return Step::Waits;
    }
    let mut buf = ReadBuf::new(scratch);
    let read = Pin::new(&mut from.stream).poll_read(cx, &mut buf);
    let bytes = buf.filled();
    match read {
        Poll::Pending => return Step::Waits,
        Poll::Ready(Ok(())) if bytes.is_empty() && from.stream.has_read_end() => from.input_ended(),
        // The connection has failed, or its input was ended by the shutdown.
        Poll::Ready(Ok(())) if to.output != Output::Open => to.add_lost(bytes.len()),
        Poll::Ready(Ok(())) => {
            let is_message = from.stream.reads_messages() || to.stream.reads_messages();
            counter.add(bytes.len(), u64::from(is_message));
            to.write(cx, bytes);
        }
        Poll::Ready(Err(e)) => from.read_failed(&e),
    }
    from.has_ended_first |= from.input != Input::Open && to.input == Input::Open;
    Step::Moved
}

impl<T: Transport> Side<T> {
    pub(super) fn new(stream: T) -> Side<T> {
        Side {
            stream,
            input: Input::Open,
            output: Output::Open,
            has_ended_first: false,
            is_aborted: false,
            unwritten: WriteBuffer::default(),
            closing: None,
        }
    }

    /// Writes the bytes that wait for this side, and then the end of input if that is due. `source`
    /// is the input of the other side. Pending while this side is not writable; true if the output
    /// has ended or failed.
    #[inline]
    fn poll_output(&mut self, cx: &mut Context<'_>, source: Input) -> Poll<bool> {
        if self.output == Output::Open && source == Input::Open && self.unwritten.is_empty() {
            return Poll::Ready(false);
        }
        self.poll_unwritten(cx, source)
    }

    fn poll_unwritten(&mut self, cx: &mut Context<'_>, source: Input) -> Poll<bool> {
        match self.output {
            Output::Shut | Output::Truncated | Output::Failed => return Poll::Ready(false),
            Output::Open if source != Input::Open => self.output = Output::Ending,
            Output::Open | Output::Ending => {}
        }
        let done = match self.unwritten.poll_flush(cx, &mut self.stream) {
            Poll::Ready(Ok(())) if self.output == Output::Ending && source != Input::Failed => {
                Pin::new(&mut self.stream).poll_shutdown(cx)
            }
            other => other,
        };
        match ready!(done) {
            Err(e) => self.write_failed(&e),
            Ok(()) if self.output == Output::Open => {}
            Ok(()) if source == Input::Failed => self.output = Output::Truncated,
            Ok(()) => self.output = Output::Shut,
        }
        Poll::Ready(self.output != Output::Open)
    }

    /// Writes `bytes`, and buffers those that are not accepted. Empty `bytes` are an empty message.
    #[inline]
    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) {
        let empty = match bytes {
            [] => Pin::new(&mut self.stream).poll_write(cx, bytes).map_ok(drop),
            _ => Poll::Ready(Ok(())),
        };
        let written = match empty {
            Poll::Ready(Err(e)) => Err(e),
            _ => self.unwritten.write(cx, &mut self.stream, &mut [IoSlice::new(bytes)]),
        };
        if let Err(e) = written {
            self.add_lost(bytes.len().saturating_sub(self.unwritten.len()));
            self.write_failed(&e);
        }
    }

    /// Handles the end of the peer's output. After a write that has failed because of a reset, the system
    /// reports that reset to a read as an end.
    #[cold]
    fn input_ended(&mut self) {
        self.input = if self.is_aborted { Input::Failed } else { Input::Ended };
    }

    #[cold]
    fn read_failed(&mut self, error: &io::Error) {
        self.input = Input::Failed;
        self.write_failed(error);
    }

    /// Stops writing to this side. Bytes that the peer sent before may still have to be read.
    #[cold]
    fn write_failed(&mut self, error: &io::Error) {
        self.is_aborted |= error.kind() != io::ErrorKind::BrokenPipe;
        self.closing().failure.get_or_insert_with(|| (Instant::now(), describe(error).into()));
        self.stop_writing();
    }

    fn stop_writing(&mut self) {
        self.add_lost(self.unwritten.len());
        self.unwritten.clear();
        self.output = Output::Failed;
    }

    pub(super) fn closing(&mut self) -> &mut Closing {
        self.closing.get_or_insert_default()
    }

    pub(super) fn add_lost(&mut self, bytes: usize) {
        if bytes > 0 {
            self.closing().lost += bytes as u64;
        }
    }

    /// Checks whether a peer whose input has ended, so that it is not read any more, has failed. Returns
    /// whether it has.
    pub(super) fn check_failure(&mut self) -> bool {
        let is_due =
            matches!(self.output, Output::Open | Output::Ending) && self.input != Input::Open;
        let has_failed = is_due && self.stream.has_failed();
        if has_failed {
            self.closing()
                .failure
                .get_or_insert_with(|| (Instant::now(), reason::CLOSED_EARLY.into()));
            self.stop_writing();
        }
        has_failed
    }

    /// Whether nothing has ended, and no bytes wait to be written.
    pub(super) fn is_settled(&self) -> bool {
        self.input == Input::Open && self.output == Output::Open && self.unwritten.is_empty()
    }

    /// Whether nothing more is to be read from this side or written to it.
    pub(super) fn is_gone(&self) -> bool {
        self.input != Input::Open && self.output == Output::Failed
    }

    /// Whether nothing more is to be written to this side.
    pub(super) fn is_finished(&self) -> bool {
        matches!(self.output, Output::Shut | Output::Truncated | Output::Failed)
    }
}
