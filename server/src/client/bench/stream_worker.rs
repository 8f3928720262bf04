//! One connection under load: a byte stream or a WebSocket.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use echogate_proto::{
    close::CloseCode,
    ws::{Decoder, Event, OpCode, Role, frame::masked_frame},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    time::timeout,
};

use super::{Load, schedule::LoadPhase};
use crate::text::io_error::describe;
use crate::{
    client::transport::{
        PeerRole,
        close::{Close, abnormal_closure},
    },
    net::stream::Stream,
    recording::model::Traffic,
    runtime::buffer_pool,
};

/// The time limit of the close at the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The masking key of control frames. A load generator needs no random keys.
const KEY: [u8; 4] = [0x5a, 0xa5, 0x3c, 0xc3];

/// A worker that sends messages over one connection and checks the replies without storing them.
pub(super) struct StreamWorker {
    /// The number of the connection, from 0.
    number: usize,
    load: Arc<Load>,
    stream: Stream,
    /// The decoder of a WebSocket.
    decoder: Option<Decoder>,
    /// The index of this connection's first message in the payload.
    first: u64,
    /// Messages released for sending so far.
    released: u64,
    /// The time at which the latest messages were released.
    released_at: Instant,
    /// The start of the connection, if it is for one message whose latency counts from there.
    begun: Option<Instant>,
    /// Bytes of messages sent so far.
    sent: u64,
    /// Payload bytes received so far.
    received: u64,
    /// Bytes of control frames to send.
    control: Vec<u8>,
}

impl StreamWorker {
    /// Creates the worker of the connection `number`, counted from 0.
    pub(super) fn new(number: usize, stream: Stream, load: Arc<Load>) -> StreamWorker {
        let is_websocket = load.traffic == Traffic::Messages;
        let decoder = is_websocket.then(|| Decoder::with_role(Role::Client, u64::MAX));
        StreamWorker {
            number,
            stream,
            decoder,
            first: load.payload.first_message(number),
            released: 0,
            released_at: load.schedule.start,
            begun: None,
            sent: 0,
            received: 0,
            control: Vec::new(),
            load,
        }
    }

    /// Limits the worker to one message, whose latency counts from `begun`.
    pub(super) fn begun_at(self, begun: Instant) -> StreamWorker {
        StreamWorker { begun: Some(begun), ..self }
    }

    /// Sends messages and checks replies until the load ends or no message is left, and all replies
    /// have come. Then closes the connection. `early` was read with the opening handshake.
    ///
    /// # Errors
    ///
    /// A description of the failure with the number of the connection.
    pub(super) async fn run(mut self, mut early: Vec<u8>) -> Result<(), String> {
        let mut result = self.process(&mut early);
        if result.is_ok() {
            result = poll_fn(|cx| self.poll(cx)).await;
        }
        result.map_err(|error| format!("connection {}: {error}", self.number + 1))?;
        timeout(CLOSE_TIMEOUT, self.close()).await.ok();
        Ok(())
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        self.load.schedule.register(self.number, cx.waker());
        loop {
            let answered = self.received == self.released * self.load.payload.size;
            match self.load.schedule.phase() {
                LoadPhase::Send if self.begun.is_none() || self.released == 0 => self.release(),
                _ if answered => return Poll::Ready(Ok(())),
                LoadPhase::Send | LoadPhase::Finish => {}
                LoadPhase::GiveUp => {
                    let reply = self.received / self.load.payload.size + 1;
                    return Poll::Ready(Err(format!(
                        "no reply to message {reply} by the end of the run"
                    )));
                }
            }
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                // A wrong reply or a Close that has arrived explains the failure better.
                while let Poll::Ready(received) = self.poll_receive(cx) {
                    received?;
                }
                return Poll::Ready(Err(describe(&error)));
            }
            ready!(self.poll_receive(cx))?;
        }
    }

    /// Releases the messages to send now: with a rate, those that are due and that the limit in
    /// flight allows; otherwise as many as the limit, when all replies have come.
    fn release(&mut self) {
        let in_flight = self.released - self.received / self.load.payload.size;
        let room = self.load.in_flight - in_flight;
        let more = match self.load.schedule.take(self.number, room) {
            Some(due) => due,
            None if room == self.load.in_flight => room,
            None => 0,
        };
        if more > 0 {
            self.released += more;
            self.released_at = self.begun.unwrap_or_else(Instant::now);
        }
    }

    /// Sends released messages, and control frames between them, as far as the stream accepts
    /// bytes. Ready when nothing is left to send.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let payload = &self.load.payload;
        loop {
            if !self.control.is_empty() && self.sent.is_multiple_of(payload.wire_size) {
                let sent = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.control))?;
                self.control.drain(..sent);
                continue;
            }
            let left = self.released * payload.wire_size - self.sent;
            if left == 0 {
                return Pin::new(&mut self.stream).poll_flush(cx);
            }
            let bytes = payload.wire(self.first * payload.wire_size + self.sent, left);
            match ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent as u64,
            }
        }
    }

    /// Reads once, and checks the bytes.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        buffer_pool::with(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer))
                .map_err(|error| describe(&error))?;
            Poll::Ready(match buffer.filled_mut() {
                [] if self.decoder.is_some() => Err(abnormal_closure().to_string()),
                [] => Err("closed by the server".to_owned()),
                bytes => self.process(bytes),
            })
        })
    }

    /// Checks and counts received bytes.
    fn process(&mut self, bytes: &mut [u8]) -> Result<(), String> {
        let before = self.received;
        let mut frames = 0;
        let Some(mut decoder) = self.decoder.take() else {
            self.check(bytes)?;
            self.count(before, frames);
            return Ok(());
        };
        let mut at = 0;
        loop {
            let event = decoder.next(bytes, &mut at);
            if let Some(close) = Close::received(&event, &decoder) {
                return Err(close.describe(PeerRole::Server));
            }
            match event.map_err(|violation| violation.to_string())? {
                None => break,
                Some(Event::Message { range, .. }) => {
                    frames += 1;
                    self.check(&bytes[range])?;
                }
                Some(Event::Frame { .. }) => frames += 1,
                Some(Event::Payload { range, .. }) => self.check(&bytes[range])?,
                Some(Event::Ping) => {
                    let pong = masked_frame(OpCode::Pong, decoder.control_payload(), KEY);
                    self.control.extend(pong);
                }
                Some(Event::Pong | Event::Close(_)) => {}
            }
        }
        self.decoder = Some(decoder);
        self.count(before, frames);
        Ok(())
    }

    /// Compares received payload with the expected replies.
    fn check(&mut self, received: &[u8]) -> Result<(), String> {
        let payload = &self.load.payload;
        let expected = self.released * payload.size - self.received;
        let expected = usize::try_from(expected).unwrap_or(usize::MAX);
        let (replies, surplus) = received.split_at(received.len().min(expected));
        payload.check(self.first * payload.size + self.received, replies).map_err(|mismatch| {
            let at = self.received + mismatch.at as u64;
            mismatch.describe(at % payload.size, at / payload.size)
        })?;
        self.received += replies.len() as u64;
        if surplus.is_empty() {
            return Ok(());
        }
        let count = self.received / payload.size;
        Err(format!("the server sent more bytes than expected after reply {count}"))
    }

    /// Counts the replies that have become complete since `before` bytes were received.
    fn count(&self, before: u64, frames: u64) {
        let Load { schedule, payload, stats, .. } = &*self.load;
        let (first, end) = (before / payload.size, self.received / payload.size);
        let mut stats = stats.of(self.number);
        stats.frames += frames;
        if first < end {
            let now = Instant::now();
            for message in first..end {
                let due = schedule.due_at(self.number, message);
                stats.record(due.unwrap_or(self.released_at), now);
            }
        }
    }

    /// Closes the connection, and waits until the server has closed it as well.
    async fn close(&mut self) -> io::Result<()> {
        if self.decoder.is_some() {
            let code = CloseCode::NORMAL.0.to_be_bytes();
            self.control.extend(masked_frame(OpCode::Close, &code, KEY));
            self.stream.write_all(&self.control).await?;
        } else {
            self.stream.shutdown().await?;
        }
        while self.stream.read(&mut [0; 256]).await? > 0 {}
        Ok(())
    }
}
