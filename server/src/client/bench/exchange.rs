//! One socket of datagrams under load: no stream, but messages each of which may be lost.

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

use super::{Load, numbered::Numbered, pace::Stage, window::Window};
use crate::client::{datagram::Datagrams, escape::words};

/// A message whose reply has not come after so long is lost.
const LOST_TIME: Duration = Duration::from_secs(1);

/// A socket that sends messages and checks what is answered.
pub(super) struct Exchange {
    number: usize,
    load: Arc<Load>,
    socket: Datagrams,
    numbered: Numbered,
    /// Messages to be sent so far.
    ordered: u64,
    window: Window,
    /// Until the oldest message may be lost.
    patience: Pin<Box<Sleep>>,
    /// Room for a message, or for a reply and one byte too many.
    buffer: Vec<u8>,
}

impl Exchange {
    /// The socket `number`, counted from 0.
    pub(super) fn new(number: usize, socket: Datagrams, load: Arc<Load>) -> Exchange {
        Exchange {
            number,
            socket,
            numbered: Numbered::new(&load.script, number),
            ordered: 0,
            window: Window::default(),
            patience: Box::pin(sleep(LOST_TIME)),
            buffer: vec![0; load.script.size as usize + 1],
            load,
        }
    }

    /// Sends and checks until the end is called for and everything is answered or lost.
    ///
    /// # Errors
    ///
    /// What went wrong, on which connection and where.
    pub(super) async fn run(mut self) -> Result<(), String> {
        let done = poll_fn(|cx| self.poll(cx)).await;
        done.map_err(|error| format!("connection {}: {error}", self.number + 1))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        self.load.pace.wake(self.number, cx.waker());
        loop {
            self.lose(cx);
            match self.load.pace.stage() {
                Stage::Send => self.order(),
                Stage::Finish if self.window.oldest().is_some() => {
                    self.ordered = self.window.sent();
                }
                Stage::Finish | Stage::GiveUp => return Poll::Ready(Ok(())),
            }
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                return Poll::Ready(Err(words(&error)));
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Counts the messages that are lost by now, and sees to it that the next is not
    /// overslept.
    fn lose(&mut self, cx: &mut Context<'_>) {
        while self.patience.as_mut().poll(cx).is_ready() {
            let now = Instant::now();
            while let Some((message, sent)) = self.window.lose(now, LOST_TIME) {
                let at = self.due_at(message, sent);
                self.load.tallies.of(self.number).lose(at);
            }
            let next = self.window.oldest().map_or(now, |(_, sent)| sent) + LOST_TIME;
            self.patience.as_mut().reset(next.into());
        }
    }

    /// Decides how many messages to send now: what is due, or as many as there is room for.
    fn order(&mut self) {
        let on_their_way = self.ordered - self.window.sent() + self.window.len();
        let room = self.load.in_flight - on_their_way;
        self.ordered += self.load.pace.take(self.number, room).unwrap_or(room);
    }

    /// Sends what is ordered, as far as the system takes it; ready when there is nothing
    /// more.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.window.sent() < self.ordered {
            let (message, _) = self.buffer.split_at_mut(self.load.script.size as usize);
            self.numbered.write(&self.load.script, self.window.sent(), message);
            let now = Instant::now();
            ready!(self.socket.poll_send(cx, message))?;
            self.window.send(now);
        }
        Poll::Ready(Ok(()))
    }

    /// Receives once, and checks what has come.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        let mut buffer = ReadBuf::new(&mut self.buffer);
        ready!(self.socket.poll_receive(cx, &mut buffer)).map_err(|error| words(&error))?;
        let len = buffer.filled().len();
        Poll::Ready(self.take(len))
    }

    /// Checks and counts the reply of `len` bytes in the buffer.
    fn take(&mut self, len: usize) -> Result<(), String> {
        let (script, numbered) = (&self.load.script, self.numbered);
        let reply = &self.buffer[..len];
        if len as u64 != script.size {
            let than = if len as u64 > script.size { "longer" } else { "shorter" };
            return Err(format!("a reply is {than} than its message"));
        }
        let read = numbered.read(reply);
        let open = read.and_then(|read| self.window.find(|number| numbered.alike(number, read)));
        if let Some((number, sent)) = open {
            numbered
                .check(script, number, reply)
                .map_err(|wrong| wrong.words(wrong.at as u64, number))?;
            self.window.close(number);
            let at = self.due_at(number, sent);
            self.load.tallies.of(self.number).count(at, Instant::now());
            return Ok(());
        }
        let earlier = read.and_then(|read| numbered.latest(self.window.sent(), read));
        if earlier.is_some_and(|number| numbered.check(script, number, reply).is_ok()) {
            self.load.tallies.of(self.number).stray += 1;
            return Ok(());
        }
        let oldest = self.window.oldest();
        let wrong = oldest.map(|(number, _)| (number, numbered.check(script, number, reply)));
        Err(match wrong {
            Some((number, Err(wrong))) => wrong.words(wrong.at as u64, number),
            _ => "what came is the reply to no message".to_owned(),
        })
    }

    /// From when on the latency of message `number` counts, if it was sent at `sent`.
    fn due_at(&self, number: u64, sent: Instant) -> Instant {
        self.load.pace.due_at(self.number, number).unwrap_or(sent)
    }
}
