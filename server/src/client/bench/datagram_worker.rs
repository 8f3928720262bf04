//! One datagram socket under load. A message or its reply may be lost.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use tokio::{
    io::ReadBuf,
    time::{Sleep, sleep},
};

use super::{Load, schedule::LoadPhase, sequence::Sequence, window::Window};
use crate::net::connected_datagrams::ConnectedSocket;
use crate::text::io_error::describe;

/// The time after which a message without a reply counts as lost.
const REPLY_TIMEOUT: Duration = Duration::from_secs(1);

/// A worker that sends messages over one socket and checks the replies.
pub(super) struct DatagramWorker {
    /// The number of the socket, from 0.
    number: usize,
    load: Arc<Load>,
    socket: ConnectedSocket,
    sequence: Sequence,
    /// Messages released for sending so far.
    released: u64,
    window: Window,
    /// Expires when the oldest message counts as lost.
    timer: Pin<Box<Sleep>>,
    /// Room for a message to send, or for a reply and one byte, which shows that a reply is too
    /// long.
    buffer: Vec<u8>,
}

impl DatagramWorker {
    /// Creates the worker of the socket `number`, counted from 0.
    pub(super) fn new(number: usize, socket: ConnectedSocket, load: Arc<Load>) -> DatagramWorker {
        DatagramWorker {
            number,
            socket,
            sequence: Sequence::new(&load.payload, number),
            released: 0,
            window: Window::default(),
            timer: Box::pin(sleep(REPLY_TIMEOUT)),
            buffer: vec![0; load.payload.size as usize + 1],
            load,
        }
    }

    /// Sends messages and checks replies until the load ends and each message is answered or lost.
    ///
    /// # Errors
    ///
    /// A description of the failure with the number of the connection.
    pub(super) async fn run(mut self) -> Result<(), String> {
        let result = poll_fn(|cx| self.poll(cx)).await;
        result.map_err(|error| format!("connection {}: {error}", self.number + 1))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        self.load.schedule.register(self.number, cx.waker());
        loop {
            self.expire(cx);
            match self.load.schedule.phase() {
                LoadPhase::Send => self.release(),
                LoadPhase::Finish if self.window.oldest().is_some() => {
                    self.released = self.window.sent();
                }
                LoadPhase::Finish | LoadPhase::GiveUp => return Poll::Ready(Ok(())),
            }
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                return Poll::Ready(Err(describe(&error)));
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Counts the messages that are lost by now, and sets the timer for the next one.
    fn expire(&mut self, cx: &mut Context<'_>) {
        while self.timer.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            while let Some((message, sent)) = self.window.expire(now, REPLY_TIMEOUT) {
                let at = self.due_at(message, sent);
                self.load.stats.of(self.number).record_loss(at);
            }
            let next = self.window.oldest().map_or(now, |(_, sent)| sent) + REPLY_TIMEOUT;
            self.timer.as_mut().reset(next.into());
        }
    }

    /// Releases the messages to send now: those that are due, or as many as the limit in flight
    /// allows.
    fn release(&mut self) {
        let in_flight = self.released - self.window.sent() + self.window.len();
        let room = self.load.in_flight - in_flight;
        self.released += self.load.schedule.take(self.number, room).unwrap_or(room);
    }

    /// Sends released messages as far as the system accepts them. Ready when none is left.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.window.sent() < self.released {
            let (message, _) = self.buffer.split_at_mut(self.load.payload.size as usize);
            self.sequence.write(&self.load.payload, self.window.sent(), message);
            let now = Instant::now();
            ready!(self.socket.poll_send(cx, message))?;
            self.window.send(now);
        }
        Poll::Ready(Ok(()))
    }

    /// Receives one datagram and checks it.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(self.socket.poll_receive(cx, &mut buffer)).map_err(|error| describe(&error))?;
        let len = buffer.filled().len();
        Poll::Ready(self.process(len))
    }

    /// Checks and counts the reply of `len` bytes in the buffer.
    fn process(&mut self, len: usize) -> Result<(), String> {
        let (payload, sequence) = (&self.load.payload, self.sequence);
        let reply = &self.buffer[..len];
        if len as u64 != payload.size {
            let than = if len as u64 > payload.size { "longer" } else { "shorter" };
            return Err(format!("a reply is {than} than its message"));
        }
        let read = sequence.read(reply);
        let open = read.and_then(|read| self.window.find(|number| sequence.matches(number, read)));
        if let Some((number, sent)) = open {
            sequence
                .check(payload, number, reply)
                .map_err(|mismatch| mismatch.describe(mismatch.at as u64, number))?;
            self.window.close(number);
            let at = self.due_at(number, sent);
            self.load.stats.of(self.number).record(at, Instant::now());
            return Ok(());
        }
        let earlier = read.and_then(|read| sequence.latest(self.window.sent(), read));
        if earlier.is_some_and(|number| sequence.check(payload, number, reply).is_ok()) {
            self.load.stats.of(self.number).stray += 1;
            return Ok(());
        }
        let oldest = self.window.oldest();
        let mismatch = oldest.map(|(number, _)| (number, sequence.check(payload, number, reply)));
        Err(match mismatch {
            Some((number, Err(mismatch))) => mismatch.describe(mismatch.at as u64, number),
            _ => "a reply belongs to no message".to_owned(),
        })
    }

    /// The time from which the latency of message `number` counts: when it was due, or `sent`.
    fn due_at(&self, number: u64, sent: Instant) -> Instant {
        self.load.schedule.due_at(self.number, number).unwrap_or(sent)
    }
}
