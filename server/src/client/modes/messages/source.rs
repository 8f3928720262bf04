//! The sources of messages: the prompt, the lines of the input, or a clock.

use std::{
    fmt::{self, Debug},
    future::pending,
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use echogate_proto::{close::CloseCode, hex};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    sync::mpsc,
    time::{Interval, MissedTickBehavior, interval},
};

use crate::client::{
    pending_replies::Expected,
    session::SessionError,
    transport::{CHUNK, Sender},
};

/// The longest line of the input, in bytes. A line is held in memory completely.
const MAX_LINE: usize = 16 << 20;

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) enum Message {
    /// A line without its line ending.
    Line(String),
    /// Exactly these bytes.
    Bytes(Bytes),
    /// A line with the Unix time at which it is sent.
    Now,
    /// A Ping with its payload.
    Ping(Bytes),
    /// A Pong with its payload.
    Pong(Bytes),
    /// A Close with its code and reason.
    Close(CloseCode, String),
}

impl Message {
    /// Converts `text` to a message, from hexadecimal if `hex` is set.
    pub(in crate::client) fn new(text: String, hex: bool) -> Result<Message, String> {
        if !hex {
            return Ok(Message::Line(text));
        }
        hex::decode(&text).map(|bytes| Message::Bytes(bytes.into())).map_err(|e| e.to_string())
    }

    /// Whether the message is hexadecimal text without bytes, which is not sent.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Message::Bytes(bytes) if bytes.is_empty())
    }

    /// Whether the message is a control frame, which is not counted and has no reply.
    pub(super) fn is_control(&self) -> bool {
        matches!(self, Message::Ping(_) | Message::Pong(_) | Message::Close(..))
    }

    /// Sends the message.
    pub(super) async fn send(&self, sender: &mut Sender) -> io::Result<()> {
        match self {
            Message::Line(line) => sender.send_line(line.clone()).await,
            Message::Bytes(bytes) => sender.send_bytes(bytes.clone()).await,
            Message::Now => sender.send_line(unix_time(SystemTime::now())).await,
            Message::Ping(payload) => sender.ping(payload.clone()).await,
            Message::Pong(payload) => sender.pong(payload.clone()).await,
            Message::Close(code, reason) => sender.close(*code, reason).await,
        }
    }
}

/// The seconds since 1970 with their fraction.
fn unix_time(now: SystemTime) -> String {
    let time = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:06}", time.as_secs(), time.subsec_micros())
}

/// A source of messages.
#[derive(Debug)]
pub(in crate::client) enum Source {
    /// No source: the prompt has not been opened yet.
    None,
    /// The lines typed at the prompt.
    Typed(mpsc::Receiver<String>),
    /// The lines of the standard input.
    Lines(InputLines),
    /// One message, once or periodically.
    Timer(Timer),
}

/// An item from a source.
#[derive(Debug)]
pub(super) enum Next {
    Line(String),
    Message(Message),
    End,
}

impl Source {
    /// Waits for the next item. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Next, SessionError> {
        match self {
            Source::None => pending().await,
            Source::Typed(lines) => Ok(lines.recv().await.map_or(Next::End, Next::Line)),
            Source::Lines(lines) => {
                let line = lines.next().await.map_err(SessionError::Input)?;
                Ok(line.map_or(Next::End, Next::Line))
            }
            Source::Timer(timer) => Ok(timer.next().await.map_or(Next::End, Next::Message)),
        }
    }

    /// Whether the messages are typed at a prompt, where an invalid one can be typed again.
    pub(super) fn is_typed(&self) -> bool {
        matches!(self, Source::Typed(_))
    }

    /// The replies whose absence is a failure, unless `--count` or `--once` is given. A user at the
    /// prompt sees missing replies; not every line of an input needs a reply.
    pub(super) fn expected(&self) -> Expected {
        match self {
            Source::None | Source::Typed(_) => Expected::Optional,
            Source::Lines(_) => Expected::AfterLast,
            Source::Timer(_) => Expected::Each,
        }
    }

    /// Whether the next message is available as soon as it can be sent.
    pub(super) fn is_input(&self) -> bool {
        matches!(self, Source::Lines(_))
    }

    /// The error of the latest line, which is invalid for `reason`.
    pub(super) fn invalid_line(&self, reason: &str) -> SessionError {
        SessionError::Input(match self {
            Source::Lines(lines) => lines.invalid(reason),
            _ => io::Error::new(io::ErrorKind::InvalidData, reason),
        })
    }
}

/// The lines of the standard input.
pub(in crate::client) struct InputLines {
    input: BufReader<Box<dyn AsyncRead + Unpin>>,
    /// The line that is being read.
    line: Vec<u8>,
    /// Lines read.
    number: u64,
    /// The advice for a line that is not text.
    advice: &'static str,
}

impl InputLines {
    pub(in crate::client) fn new(
        input: impl AsyncRead + Unpin + 'static,
        advice: &'static str,
    ) -> InputLines {
        let input = BufReader::with_capacity(CHUNK, Box::new(input) as Box<_>);
        InputLines { input, line: Vec::new(), number: 0, advice }
    }

    /// Reads the next line, without its newline.
    async fn next(&mut self) -> io::Result<Option<String>> {
        let limit = (MAX_LINE + 1 - self.line.len()) as u64;
        (&mut self.input).take(limit).read_until(b'\n', &mut self.line).await?;
        let mut line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        if line.len() > MAX_LINE {
            return Err(self.invalid("longer than 16 MiB"));
        }
        String::from_utf8(line)
            .map(Some)
            .map_err(|_| self.invalid(&format!("not UTF-8; {}", self.advice)))
    }

    /// The error of the latest line, which is invalid for `reason`.
    fn invalid(&self, reason: &str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, format!("line {}: {reason}", self.number))
    }
}

impl Debug for InputLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InputLines").field("number", &self.number).finish_non_exhaustive()
    }
}

/// One message, sent once or periodically.
#[derive(Debug)]
pub(in crate::client) struct Timer {
    message: Message,
    clock: Option<Interval>,
    done: bool,
}

impl Timer {
    /// Sends `message` immediately, and then again after each `every`. Missed ticks are skipped.
    pub(in crate::client) fn new(message: Message, every: Option<Duration>) -> Timer {
        let clock = every.map(|every| {
            let mut clock = interval(every);
            clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
            clock
        });
        Timer { message, clock, done: false }
    }

    async fn next(&mut self) -> Option<Message> {
        match &mut self.clock {
            Some(clock) => drop(clock.tick().await),
            None if self.done => return None,
            None => self.done = true,
        }
        Some(self.message.clone())
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn the_unix_time_has_its_fraction() {
        let moment = UNIX_EPOCH + Duration::from_micros(1_532_345_678_250_000);
        assert_eq!(unix_time(moment), "1532345678.250000");
    }

    #[tokio::test]
    async fn a_line_keeps_all_but_its_newline_which_the_last_line_may_lack() {
        let mut lines = InputLines::new(&b"one\r\n\ntwo"[..], "");
        for expected in [Some("one\r"), Some(""), Some("two"), None] {
            assert_eq!(lines.next().await.unwrap().as_deref(), expected);
        }
    }

    #[tokio::test]
    async fn a_line_that_cannot_be_sent_is_reported_with_its_number() {
        let mut lines = InputLines::new(&b"fine\n\xff\n"[..], "use --hex");
        lines.next().await.unwrap();
        let error = lines.next().await.unwrap_err();
        assert_eq!(error.to_string(), "line 2: not UTF-8; use --hex");
        let error = InputLines::new(tokio::io::repeat(b'x'), "").next().await.unwrap_err();
        assert_eq!(error.to_string(), "line 1: longer than 16 MiB");
    }

    #[tokio::test(start_paused = true)]
    async fn the_timer_fires_immediately_and_then_periodically_and_skips_missed_ticks() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut timer = Timer::new(Message::Now, Some(second));
        for (pause, at) in [(0, 0), (0, 1000), (2500, 3500), (0, 4000)] {
            tokio::time::advance(Duration::from_millis(pause)).await;
            assert_eq!(timer.next().await, Some(Message::Now));
            assert_eq!(start.elapsed(), Duration::from_millis(at));
        }
        let mut once = Timer::new(Message::Now, None);
        assert_eq!(once.next().await, Some(Message::Now));
        assert_eq!(once.next().await, None);
    }
}
