//! The server's frames, read and checked against RFC 6455.

use tokio::io::{AsyncRead, AsyncReadExt};

use super::case::Event;

/// The next item from the server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Event(Event),
    /// A Close frame: its status code and reason.
    Close(Option<u16>, String),
    /// The end of the stream, between frames.
    End,
    /// The end of the stream, inside a frame.
    Cut,
}

/// A reader of frames.
pub(super) struct Replies<R> {
    stream: R,
    buffer: Vec<u8>,
    /// The index of the first octet of `buffer` that is not parsed yet.
    at: usize,
    frame: Option<Frame>,
    /// The data opcode and the payload so far of the message that is being received.
    message: Option<(u8, Vec<u8>)>,
    closed: bool,
}

/// A frame whose head has been received.
struct Frame {
    opcode: u8,
    fin: bool,
    /// The number of octets of payload still to be received.
    missing: usize,
    /// The payload of a control frame.
    control: Vec<u8>,
}

const CONTINUATION: u8 = 0;
const TEXT: u8 = 1;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;

const BUFFER: usize = 256 * 1024;

impl<R: AsyncRead + Unpin> Replies<R> {
    pub(super) fn new(stream: R) -> Replies<R> {
        let buffer = Vec::with_capacity(BUFFER);
        Replies { stream, buffer, at: 0, frame: None, message: None, closed: false }
    }

    /// The data opcode and the payload so far of the message that is being received.
    pub(super) fn unfinished(&self) -> Option<&(u8, Vec<u8>)> {
        self.message.as_ref()
    }

    /// The next event, Close frame or end.
    ///
    /// # Errors
    ///
    /// A description of the invalid frame, or the stream's error.
    pub(super) async fn next(&mut self) -> Result<Reply, String> {
        loop {
            if let Some(reply) = self.parse()? {
                return Ok(reply);
            }
            if let Some(end) = self.read().await? {
                return Ok(end);
            }
        }
    }

    /// Waits until `len` octets of a message that is not finished have been received.
    ///
    /// # Errors
    ///
    /// A description of the invalid frame or of the item received instead, or the stream's error.
    pub(super) async fn begun(&mut self, len: usize) -> Result<(), String> {
        loop {
            if let Some(reply) = self.parse()? {
                return Err(format!("{reply:?} instead of the beginning of a reply"));
            }
            if self.message.as_ref().is_some_and(|(_, payload)| payload.len() >= len) {
                return Ok(());
            }
            if let Some(end) = self.read().await? {
                return Err(format!("{end:?} instead of the beginning of a reply"));
            }
        }
    }

    /// Reads more octets; `Some` at the end of the stream.
    async fn read(&mut self) -> Result<Option<Reply>, String> {
        self.buffer.drain(..self.at);
        self.at = 0;
        let read = self.stream.read_buf(&mut self.buffer).await;
        Ok(match read.map_err(|e| format!("no orderly end of the stream: {e}"))? {
            0 if self.frame.is_some() || !self.buffer.is_empty() => Some(Reply::Cut),
            0 => Some(Reply::End),
            _ => None,
        })
    }

    /// Parses what has been read, up to the next event.
    fn parse(&mut self) -> Result<Option<Reply>, String> {
        loop {
            let Some(frame) = &mut self.frame else {
                let Some((frame, len)) = head(&self.buffer[self.at..])? else {
                    return Ok(None);
                };
                self.at += len;
                self.begin(&frame)?;
                self.frame = Some(frame);
                continue;
            };
            let len = frame.missing.min(self.buffer.len() - self.at);
            let octets = &self.buffer[self.at..self.at + len];
            match &mut self.message {
                Some((_, payload)) if frame.opcode < CLOSE => payload.extend_from_slice(octets),
                _ => frame.control.extend_from_slice(octets),
            }
            self.at += len;
            frame.missing -= len;
            if frame.missing > 0 {
                return Ok(None);
            }
            if let Some(frame) = self.frame.take()
                && let Some(reply) = self.end(frame)?
            {
                return Ok(Some(reply));
            }
        }
    }

    /// Checks that a frame may begin here.
    fn begin(&mut self, frame: &Frame) -> Result<(), String> {
        if self.closed {
            return Err("a frame behind the Close frame".into());
        }
        match (frame.opcode, &self.message) {
            (CONTINUATION, None) => Err("a Continuation frame without a message".into()),
            (TEXT | BINARY, Some(_)) => Err("a message inside a message".into()),
            (TEXT | BINARY, None) => {
                self.message = Some((frame.opcode, Vec::new()));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn end(&mut self, frame: Frame) -> Result<Option<Reply>, String> {
        Ok(match frame.opcode {
            PONG => Some(Reply::Event(Event::Pong(frame.control))),
            CLOSE => {
                self.closed = true;
                Some(close(&frame.control)?)
            }
            _ if frame.fin => self.message.take().map(|(opcode, payload)| {
                Reply::Event(if opcode == TEXT {
                    Event::Text(payload)
                } else {
                    Event::Binary(payload)
                })
            }),
            _ => None,
        })
    }
}

/// The head of a frame and its length, when `octets` has all of it.
fn head(octets: &[u8]) -> Result<Option<(Frame, usize)>, String> {
    let [first, second, rest @ ..] = octets else {
        return Ok(None);
    };
    let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
    if first & 0x70 != 0 {
        return Err(format!("a reserved bit: {first:#04x}"));
    }
    if second & 0x80 != 0 {
        return Err("a masked frame".into());
    }
    let (missing, shortest, len) = match (second & 0x7f, rest) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 126, 4),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 0x1_0000, 10)
        }
        (126 | 127, _) => return Ok(None),
        (len, _) => (u64::from(len), 0, 2),
    };
    if missing < shortest {
        return Err(format!("a length of {missing} not in its shortest form"));
    }
    match opcode {
        CONTINUATION | TEXT | BINARY => {}
        CLOSE | PONG if fin && missing <= 125 => {}
        CLOSE | PONG => return Err("a control frame in fragments, or of over 125 octets".into()),
        PING => {
            return Err("a Ping from the server: nothing was received for its Ping interval".into());
        }
        _ => return Err(format!("a reserved opcode: {opcode}")),
    }
    let missing = usize::try_from(missing).map_err(|e| e.to_string())?;
    Ok(Some((Frame { opcode, fin, missing, control: Vec::new() }, len)))
}

fn close(payload: &[u8]) -> Result<Reply, String> {
    match payload {
        [] => Ok(Reply::Close(None, String::new())),
        [_] => Err("a Close frame with half a status code".into()),
        [a, b, reason @ ..] => {
            let reason = str::from_utf8(reason).map_err(|e| format!("a Close reason: {e}"))?;
            Ok(Reply::Close(Some(u16::from_be_bytes([*a, *b])), reason.to_owned()))
        }
    }
}
