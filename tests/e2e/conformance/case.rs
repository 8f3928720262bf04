//! A case: what the client sends, and all that it must receive.

use std::fmt;

use echogate_tests::ws::{self, first};

/// The frames that a client sends and must receive on one connection.
pub(super) struct Case {
    /// The number in Autobahn, or one that begins with `E`.
    pub(super) number: String,
    /// A description of the case.
    pub(super) title: String,
    /// The subprotocol that the client offers and the server must choose.
    pub(super) subprotocol: Option<&'static str>,
    /// The rounds of sending and receiving, up to the end.
    pub(super) rounds: Vec<Round>,
    /// The status code of the server's Close frame; `None` for an empty Close frame.
    pub(super) close_code: Option<u16>,
    /// The data opcode of a message that never becomes complete, and as much of its payload as the
    /// server may answer, in fragments.
    pub(super) unfinished: Option<(u8, Vec<u8>)>,
    /// Whether the server may end the connection inside a frame, without a Close frame.
    pub(super) may_be_cut: bool,
}

/// Octets that are sent without waiting, and their replies. The next round begins when all replies
/// have been received.
#[derive(Default)]
pub(super) struct Round {
    pub(super) sent: Vec<Octets>,
    pub(super) expected: Vec<Event>,
    /// The number of octets of the reply to the unfinished message that must have been received.
    pub(super) begun: usize,
}

/// Octets that are written in chops of at most `chop`.
pub(super) struct Octets {
    pub(super) octets: Vec<u8>,
    pub(super) chop: usize,
}

/// A received message, after its last fragment, or a Pong.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Event {
    Text(Vec<u8>),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, payload) = match self {
            Event::Text(payload) => ("text", payload),
            Event::Binary(payload) => ("binary", payload),
            Event::Pong(payload) => ("Pong", payload),
        };
        let start = payload[..payload.len().min(40)].escape_ascii();
        write!(f, "{kind} [{}] \"{start}\"", payload.len())
    }
}

/// The division of frames into writes.
#[derive(Clone, Copy)]
pub(super) enum Chop {
    /// All in one write.
    Whole,
    /// A write for each frame.
    Frames,
    /// A write for each so many octets.
    Octets(usize),
}

impl Case {
    pub(super) fn new(number: impl Into<String>, title: impl Into<String>) -> Case {
        Case {
            number: number.into(),
            title: title.into(),
            subprotocol: None,
            rounds: vec![Round::default()],
            close_code: None,
            unfinished: None,
            may_be_cut: false,
        }
    }

    /// Offers a subprotocol.
    pub(super) fn subprotocol(mut self, name: &'static str) -> Case {
        self.subprotocol = Some(name);
        self
    }

    /// Sends frames in one write, when all that is expected so far has been received.
    pub(super) fn send(self, frames: impl IntoIterator<Item = Vec<u8>>) -> Case {
        self.send_in(Chop::Whole, frames)
    }

    /// Sends frames in several writes, when all that is expected so far has been received.
    pub(super) fn send_in(mut self, chop: Chop, frames: impl IntoIterator<Item = Vec<u8>>) -> Case {
        let frames = frames.into_iter();
        let in_chops_of = |octets: Vec<u8>, chop| Octets { octets, chop };
        let sent = match chop {
            Chop::Whole => vec![in_chops_of(frames.collect::<Vec<_>>().concat(), usize::MAX)],
            Chop::Frames => frames.map(|frame| in_chops_of(frame, usize::MAX)).collect(),
            Chop::Octets(chop) => vec![in_chops_of(frames.collect::<Vec<_>>().concat(), chop)],
        };
        if !self.round().expected.is_empty() || self.round().begun > 0 {
            self.rounds.push(Round::default());
        }
        self.round().sent.extend(sent);
        self
    }

    /// Receives a text message: the service's reply to `sent`.
    pub(super) fn text(mut self, sent: impl Into<Vec<u8>>) -> Case {
        self.round().expected.push(Event::Text(sent.into()));
        self
    }

    /// Receives a binary message: the service's reply to `sent`.
    pub(super) fn binary(mut self, sent: impl Into<Vec<u8>>) -> Case {
        self.round().expected.push(Event::Binary(sent.into()));
        self
    }

    /// Receives a Pong.
    pub(super) fn pong(mut self, payload: impl Into<Vec<u8>>) -> Case {
        self.round().expected.push(Event::Pong(payload.into()));
        self
    }

    /// Receives Pongs.
    pub(super) fn pongs(self, payloads: impl IntoIterator<Item = String>) -> Case {
        payloads.into_iter().fold(self, Case::pong)
    }

    /// Receives at least `len` octets of the reply to the unfinished message.
    pub(super) fn begins_to_reply(mut self, len: usize) -> Case {
        self.round().begun = len;
        self
    }

    /// The client begins a message that never becomes complete; the server may answer this much.
    pub(super) fn unfinished(mut self, opcode: u8, payload: impl Into<Vec<u8>>) -> Case {
        self.unfinished = Some((opcode, payload.into()));
        self
    }

    /// The server may have begun a frame whose end it cannot send any more.
    pub(super) fn may_be_cut(mut self) -> Case {
        self.may_be_cut = true;
        self
    }

    /// The client closes by 1000 when all that is expected has been received.
    pub(super) fn closes(self) -> Case {
        self.send([ws::close(1000, "")]).ends_by(1000)
    }

    /// The server's Close frame has this status code, and is the last that is received.
    pub(super) fn ends_by(mut self, code: impl Into<Option<u16>>) -> Case {
        self.close_code = code.into();
        self
    }

    /// The server fails the connection by a Close frame with this status code.
    pub(super) fn fails_by(self, code: u16) -> Case {
        self.ends_by(code)
    }

    fn round(&mut self) -> &mut Round {
        self.rounds.last_mut().expect("a case begins with a round")
    }
}

/// A text message in one frame.
pub(super) fn text(payload: impl AsRef<[u8]>) -> Vec<u8> {
    ws::frame(first::TEXT, payload.as_ref())
}

/// A binary message in one frame.
pub(super) fn binary(payload: impl AsRef<[u8]>) -> Vec<u8> {
    ws::frame(first::BINARY, payload.as_ref())
}

/// The first fragment of a text message.
pub(super) fn text_begins(payload: impl AsRef<[u8]>) -> Vec<u8> {
    ws::frame(first::TEXT_BEGINS, payload.as_ref())
}

/// A Continuation frame that does not end its message.
pub(super) fn more(payload: impl AsRef<[u8]>) -> Vec<u8> {
    ws::frame(first::MORE, payload.as_ref())
}

/// A Continuation frame that ends its message.
pub(super) fn last(payload: impl AsRef<[u8]>) -> Vec<u8> {
    ws::frame(first::LAST, payload.as_ref())
}

pub(super) fn ping(payload: impl AsRef<[u8]>) -> Vec<u8> {
    ws::frame(first::PING, payload.as_ref())
}

pub(super) fn pong(payload: impl AsRef<[u8]>) -> Vec<u8> {
    ws::frame(first::PONG, payload.as_ref())
}

/// A message of data opcode `opcode` in fragments of at most `size` octets.
pub(super) fn fragments(opcode: u8, payload: &[u8], size: usize) -> Vec<Vec<u8>> {
    let count = payload.len().div_ceil(size);
    let parts = payload.chunks(size).enumerate().map(|(i, part)| {
        let opcode = if i == 0 { opcode } else { 0 };
        let fin = if i + 1 == count { 0x80 } else { 0 };
        ws::frame(fin | opcode, part)
    });
    parts.collect()
}
