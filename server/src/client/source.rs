//! Where messages come from: the prompt, the lines of a pipe, or the clock.

use std::{
    fmt::{self, Debug},
    future::pending,
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use echogate_proto::hex;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    sync::mpsc,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{
    link::{Outbound, Stop},
    replies::Expected,
};

/// The longest line that is taken from a pipe, 1 MiB: it is held in memory whole.
const MAX_LINE: usize = 1 << 20;

/// Something to be sent at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// As a typed line is sent.
    Line(String),
    /// These bytes and no others.
    Bytes(Bytes),
    /// The Unix time of that moment, as a line.
    Now,
}

impl Message {
    /// What `text` is, read as hexadecimal if `hex` says so.
    pub(super) fn new(text: String, hex: bool) -> Result<Message, String> {
        if !hex {
            return Ok(Message::Line(text));
        }
        hex::decode(&text).map(|bytes| Message::Bytes(bytes.into())).map_err(|e| e.to_string())
    }

    /// Whether there are no bytes in it.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Message::Bytes(bytes) if bytes.is_empty())
    }

    /// Sends it.
    pub(super) async fn send(&self, outbound: &mut impl Outbound) -> io::Result<()> {
        match self {
            Message::Line(line) => outbound.send_line(line.clone()).await,
            Message::Bytes(bytes) => outbound.send_bytes(bytes.clone()).await,
            Message::Now => outbound.send_line(unix_time(SystemTime::now())).await,
        }
    }
}

/// The seconds since 1970, and their fraction.
fn unix_time(now: SystemTime) -> String {
    let time = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:06}", time.as_secs(), time.subsec_micros())
}

/// Where messages come from.
#[derive(Debug)]
pub(super) enum Source {
    /// Nowhere, as long as nobody is there to type.
    Nobody,
    /// A person at the prompt.
    Typed(mpsc::Receiver<String>),
    /// The lines of a pipe.
    Lines(Lines),
    /// The same again and again.
    Ticks(Ticks),
}

/// What a source gives.
#[derive(Debug)]
pub(super) enum Next {
    Line(String),
    Message(Message),
    End,
}

impl Source {
    /// What is to be sent next, when it is to be. Cancel safe.
    pub(super) async fn next(&mut self) -> Result<Next, Stop> {
        match self {
            Source::Nobody => pending().await,
            Source::Typed(lines) => Ok(lines.recv().await.map_or(Next::End, Next::Line)),
            Source::Lines(lines) => {
                let line = lines.next().await.map_err(Stop::Input)?;
                Ok(line.map_or(Next::End, Next::Line))
            }
            Source::Ticks(ticks) => Ok(ticks.next().await.map_or(Next::End, Next::Message)),
        }
    }

    /// Whether a line that cannot be sent is to be typed again.
    pub(super) fn is_typed(&self) -> bool {
        matches!(self, Source::Typed(_))
    }

    /// Which replies are missing if they do not come, where messages are not counted. A person
    /// sees what comes, and decides; not every line of a pipe need be a question.
    pub(super) fn expected(&self) -> Expected {
        match self {
            Source::Nobody | Source::Typed(_) => Expected::Optional,
            Source::Lines(_) => Expected::AfterLast,
            Source::Ticks(_) => Expected::Each,
        }
    }

    /// Whether there is as much at once as there is.
    pub(super) fn is_pipe(&self) -> bool {
        matches!(self, Source::Lines(_))
    }

    /// What is wrong with the line given last.
    pub(super) fn wrong(&self, what: &str) -> Stop {
        let place = match self {
            Source::Lines(lines) => format!("line {}: ", lines.number),
            _ => String::new(),
        };
        Stop::Input(io::Error::new(io::ErrorKind::InvalidData, place + what))
    }
}

/// The lines of a pipe.
pub(super) struct Lines {
    input: BufReader<Box<dyn AsyncRead + Unpin>>,
    /// The line so far.
    line: Vec<u8>,
    /// Lines given.
    number: u64,
}

impl Lines {
    pub(super) fn new(input: impl AsyncRead + Unpin + 'static) -> Lines {
        Lines { input: BufReader::new(Box::new(input)), line: Vec::new(), number: 0 }
    }

    /// The next line, without its end.
    async fn next(&mut self) -> io::Result<Option<String>> {
        let room = (MAX_LINE + 1 - self.line.len()) as u64;
        (&mut self.input).take(room).read_until(b'\n', &mut self.line).await?;
        let mut line = std::mem::take(&mut self.line);
        if line.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        if line.last() == Some(&b'\n') {
            line.pop();
        }
        let wrong = |what: &str| {
            let words = format!("line {}: {what}", self.number);
            io::Error::new(io::ErrorKind::InvalidData, words)
        };
        if line.len() > MAX_LINE {
            return Err(wrong("longer than 1 MiB"));
        }
        String::from_utf8(line).map(Some).map_err(|_| wrong("not UTF-8; --hex takes any bytes"))
    }
}

impl Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("number", &self.number).finish_non_exhaustive()
    }
}

/// One message, once or at each tick of a clock.
#[derive(Debug)]
pub(super) struct Ticks {
    message: Message,
    clock: Option<Interval>,
    over: bool,
}

impl Ticks {
    /// `message` at once, and then again after each `every`. A tick that is missed is
    /// left out.
    pub(super) fn new(message: Message, every: Option<Duration>) -> Ticks {
        let clock = every.map(|every| {
            let mut clock = interval(every);
            clock.set_missed_tick_behavior(MissedTickBehavior::Skip);
            clock
        });
        Ticks { message, clock, over: false }
    }

    async fn next(&mut self) -> Option<Message> {
        match &mut self.clock {
            Some(clock) => drop(clock.tick().await),
            None if self.over => return None,
            None => self.over = true,
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
    async fn a_pipes_last_line_needs_no_newline_and_others_keep_all_but_theirs() {
        let mut lines = Lines::new(&b"one\r\n\ntwo"[..]);
        for expected in [Some("one\r"), Some(""), Some("two"), None] {
            assert_eq!(lines.next().await.unwrap().as_deref(), expected);
        }
    }

    #[tokio::test]
    async fn a_line_that_cannot_be_sent_is_named() {
        let mut lines = Lines::new(&b"fine\n\xff\n"[..]);
        lines.next().await.unwrap();
        let error = lines.next().await.unwrap_err();
        assert_eq!(error.to_string(), "line 2: not UTF-8; --hex takes any bytes");
        let error = Lines::new(tokio::io::repeat(b'x')).next().await.unwrap_err();
        assert_eq!(error.to_string(), "line 1: longer than 1 MiB");
    }

    #[tokio::test(start_paused = true)]
    async fn ticks_come_at_once_and_then_at_their_times_without_those_missed() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut ticks = Ticks::new(Message::Now, Some(second));
        for (pause, at) in [(0, 0), (0, 1000), (2500, 3500), (0, 4000)] {
            tokio::time::advance(Duration::from_millis(pause)).await;
            assert_eq!(ticks.next().await, Some(Message::Now));
            assert_eq!(start.elapsed(), Duration::from_millis(at));
        }
        let mut once = Ticks::new(Message::Now, None);
        assert_eq!(once.next().await, Some(Message::Now));
        assert_eq!(once.next().await, None);
    }
}
