//! One connection under load.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use echogate_proto::{close::CloseCode, ws::OpCode};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};

use super::{
    Load,
    frames::{Event, Frames, client_frame},
    pace::Stage,
};
use crate::{
    client::{escape::words, websocket::broken},
    net::stream::Stream,
    runtime::buffer_pool,
};

/// How long the goodbye may take.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

/// The mask of control frames: any will do for a load.
const KEY: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];

/// A connection that sends messages and checks what is answered. Of the bytes
/// themselves it holds none.
pub(super) struct Connection {
    number: usize,
    load: Arc<Load>,
    stream: Stream,
    /// Where there are frames.
    frames: Option<Frames>,
    /// The script's message that is this connection's first.
    first: u64,
    /// Messages to be sent so far.
    ordered: u64,
    /// When the latest of them were.
    ordered_at: Instant,
    /// When it was begun, if it is there for one message and its latency counts from then.
    begun: Option<Instant>,
    /// Bytes of messages sent so far.
    sent: u64,
    /// Payload bytes that have come so far.
    received: u64,
    /// Control frames that are still to be sent.
    control: Vec<u8>,
}

impl Connection {
    /// The connection `number`, counted from 0.
    pub(super) fn new(number: usize, stream: Stream, load: Arc<Load>) -> Connection {
        Connection {
            number,
            stream,
            frames: load.websocket.then(Frames::default),
            first: load.script.first_message(number),
            ordered: 0,
            ordered_at: load.pace.start,
            begun: None,
            sent: 0,
            received: 0,
            control: Vec::new(),
            load,
        }
    }

    /// It is for one message, whose latency counts from `begun`.
    pub(super) fn begun_at(self, begun: Instant) -> Connection {
        Connection { begun: Some(begun), ..self }
    }

    /// Sends and checks until the end is called for, or there is no more to send, and
    /// everything is answered, then says goodbye. `early` is what has come already.
    ///
    /// # Errors
    ///
    /// What went wrong, on which connection and where.
    pub(super) async fn run(mut self, early: Vec<u8>) -> Result<(), String> {
        let mut done = self.take(&early);
        if done.is_ok() {
            done = poll_fn(|cx| self.poll(cx)).await;
        }
        done.map_err(|error| format!("connection {}: {error}", self.number + 1))?;
        timeout(GOODBYE_TIME, self.leave()).await.ok();
        Ok(())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        self.load.pace.wake(self.number, cx.waker());
        loop {
            let answered = self.received == self.ordered * self.load.script.size;
            match self.load.pace.stage() {
                Stage::Send if self.begun.is_none() || self.ordered == 0 => self.order(),
                _ if answered => return Poll::Ready(Ok(())),
                Stage::Send | Stage::Finish => {}
                Stage::GiveUp => {
                    let reply = self.received / self.load.script.size + 1;
                    return Poll::Ready(Err(format!("reply {reply} has not come")));
                }
            }
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                // What the server has said before tells more.
                while let Poll::Ready(received) = self.poll_receive(cx) {
                    received?;
                }
                return Poll::Ready(Err(words(&error)));
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Decides how many messages to send now: if they are due at times of their own,
    /// what is due and has room; otherwise all at once, when the last are answered.
    fn order(&mut self) {
        let room = self.load.in_flight - (self.ordered - self.received / self.load.script.size);
        let more = match self.load.pace.take(self.number, room) {
            Some(due) => due,
            None if room == self.load.in_flight => room,
            None => 0,
        };
        if more > 0 {
            self.ordered += more;
            self.ordered_at = self.begun.unwrap_or_else(Instant::now);
        }
    }

    /// Sends what is ordered, and control frames between whole messages, as far as the stream
    /// takes it; ready when there is nothing more.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let script = &self.load.script;
        loop {
            if !self.control.is_empty() && self.sent.is_multiple_of(script.wire_size) {
                let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.control))?;
                self.control.drain(..sent);
                continue;
            }
            let left = self.ordered * script.wire_size - self.sent;
            if left == 0 {
                return Pin::new(&mut self.stream).poll_flush(cx);
            }
            let bytes = script.wire(self.first * script.wire_size + self.sent, left);
            match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent as u64,
            }
        }
    }

    /// Reads once, and checks what has come.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        buffer_pool::with(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))
                .map_err(|error| words(&error))?;
            Poll::Ready(match buffer.filled() {
                [] if self.frames.is_some() => Err(broken().to_string()),
                [] => Err("closed by the server".to_owned()),
                bytes => self.take(bytes),
            })
        })
    }

    /// Checks and counts what has come.
    fn take(&mut self, bytes: &[u8]) -> Result<(), String> {
        let before = self.received;
        let mut count = 0;
        let Some(mut frames) = self.frames.take() else {
            self.check(bytes)?;
            self.count(before, count);
            return Ok(());
        };
        let mut at = 0;
        while let Some(event) = frames.next(bytes, &mut at)? {
            match event {
                Event::Frame => count += 1,
                Event::Payload(range) => self.check(&bytes[range])?,
                Event::Ping(payload) => {
                    self.control.extend(client_frame(OpCode::Pong, &payload, KEY));
                }
                Event::Close(close) => return Err(close.to_string()),
            }
        }
        self.frames = Some(frames);
        self.count(before, count);
        Ok(())
    }

    /// Compares payload with what is due.
    fn check(&mut self, payload: &[u8]) -> Result<(), String> {
        let script = &self.load.script;
        let due = usize::try_from(self.ordered * script.size - self.received).unwrap_or(usize::MAX);
        let (inside, beyond) = payload.split_at(payload.len().min(due));
        script.check(self.first * script.size + self.received, inside).map_err(|wrong| {
            let at = self.received + wrong.at as u64;
            wrong.words(at % script.size, at / script.size)
        })?;
        self.received += inside.len() as u64;
        if beyond.is_empty() {
            return Ok(());
        }
        let replies = self.received / script.size;
        Err(format!("more came than was asked for, behind reply {replies}"))
    }

    /// Counts the replies that are complete since `before` bytes had come.
    fn count(&self, before: u64, frames: u64) {
        let Load { pace, script, tallies, .. } = &*self.load;
        let (first, end) = (before / script.size, self.received / script.size);
        let mut tally = tallies.of(self.number);
        tally.frames += frames;
        if first < end {
            let now = Instant::now();
            for message in first..end {
                tally.count(pace.due_at(self.number, message).unwrap_or(self.ordered_at), now);
            }
        }
    }

    /// Says that it is over, and waits until the server has said so too.
    async fn leave(&mut self) -> io::Result<()> {
        if self.frames.is_some() {
            let code = CloseCode::NORMAL.0.to_be_bytes();
            self.control.extend(client_frame(OpCode::Close, &code, KEY));
            self.stream.write_all(&self.control).await?;
        } else {
            self.stream.shutdown().await?;
        }
        while self.stream.read(&mut [0; 256]).await? > 0 {}
        Ok(())
    }
}
