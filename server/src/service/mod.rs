//! The built-in services.
//!
//! - [`Service`]: their names in settings; [`Backend`]: one with what it needs to work
//! - `bytes`: those that answer bytes with as many bytes, at once: `upper`, `echo`
//! - `lines`: those that answer one request at a time: `time`, `chat`, `operator`
//! - `requests`: from bytes to requests
//! - `time`: a Unix time, formatted

mod bytes;
pub(crate) mod chat;
pub(crate) mod connection;
mod end;
mod lines;
mod requests;
mod time;

use std::{
    fmt, io,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll},
};

use echogate_proto::framing::Framing;
use jiff::tz::TimeZone;
use tokio::io::{AsyncRead, AsyncWrite};

use self::{bytes::Bytes, chat::Hub, end::End, lines::Lines, time::Time};
pub(crate) use self::{
    lines::{Dialogue, Flow},
    requests::Request,
};
use crate::{
    connections::registry::{Entry, Peer},
    runtime::drain::Stage,
    text::suggest,
};

/// A built-in service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// `a` to `z` become `A` to `Z`; every other byte stays.
    Upper,
    /// Every byte stays.
    Echo,
    /// A Unix time is answered with its date and time of day.
    Time,
    /// The operators answer.
    Chat,
    /// Where the operators of `chat` are.
    Operator,
}

impl Service {
    /// All of them.
    pub(crate) const ALL: [Service; 5] =
        [Service::Upper, Service::Echo, Service::Time, Service::Chat, Service::Operator];

    /// The name used in settings.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Service::Upper => "upper",
            Service::Echo => "echo",
            Service::Time => "time",
            Service::Chat => "chat",
            Service::Operator => "operator",
        }
    }

    /// Where its messages to a WebSocket client end.
    pub(crate) fn framing(self) -> Framing {
        match self {
            Service::Upper | Service::Echo => Framing::Message,
            Service::Time | Service::Chat | Service::Operator => Framing::Line,
        }
    }

    /// Whether it can answer a datagram with a datagram.
    pub(crate) fn answers_datagrams(self) -> bool {
        matches!(self, Service::Upper | Service::Echo | Service::Time)
    }
}

impl FromStr for Service {
    type Err = String;

    fn from_str(text: &str) -> Result<Service, String> {
        Service::ALL.into_iter().find(|service| service.name() == text).ok_or_else(|| {
            let names = Service::ALL.map(Service::name).join(", ");
            let tip = suggest::tip(text, Service::ALL.map(Service::name));
            format!("unknown service \"{text}\": expected one of {names}{tip}")
        })
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A service with what it needs to work. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) enum Backend {
    /// [`Service::Upper`]
    Upper,
    /// [`Service::Echo`]
    Echo,
    /// [`Service::Time`], in a zone.
    Time(TimeZone),
    /// [`Service::Chat`]
    Chat(Arc<Hub>),
    /// [`Service::Operator`]
    Operator(Arc<Hub>),
}

impl Backend {
    /// Which service it is.
    pub(crate) fn service(&self) -> Service {
        match self {
            Backend::Upper => Service::Upper,
            Backend::Echo => Service::Echo,
            Backend::Time(_) => Service::Time,
            Backend::Chat(_) => Service::Chat,
            Backend::Operator(_) => Service::Operator,
        }
    }

    /// Begins with a client. `once`: one message is answered, and that is all.
    pub(crate) fn meet(&self, peer: Peer, once: bool) -> Exchange {
        match self {
            Backend::Upper => Exchange::Bytes(Bytes::new(<[u8]>::make_ascii_uppercase, once)),
            Backend::Echo => Exchange::Bytes(Bytes::new(|_| (), once)),
            Backend::Time(zone) => lines(Time::new(zone.clone()), once),
            Backend::Chat(hub) => lines(chat::Client::new(hub, &peer), once),
            Backend::Operator(hub) => lines(chat::Operator::new(hub, peer), once),
        }
    }

    /// Answers a datagram in `bytes[..len]` there, and says how long the answer is; none
    /// if the service does not answer it.
    pub(crate) fn answer(&self, bytes: &mut [u8], len: usize) -> Option<usize> {
        match self {
            Backend::Upper => bytes[..len].make_ascii_uppercase(),
            Backend::Echo => {}
            Backend::Time(_) if time::is_error(&bytes[..len]) => return None,
            Backend::Time(zone) => {
                let answer = time::answer(&bytes[..len], zone);
                bytes[..answer.len()].copy_from_slice(&answer);
                return Some(answer.len());
            }
            Backend::Chat(_) | Backend::Operator(_) => return None,
        }
        Some(len)
    }
}

fn lines(dialogue: impl Dialogue + 'static, once: bool) -> Exchange {
    Exchange::Lines(Box::new(Lines::new(dialogue, once)))
}

/// A service at work with one client: what has come is answered.
#[derive(Debug)]
pub(crate) enum Exchange {
    Bytes(Bytes),
    Lines(Box<Lines>),
}

impl Exchange {
    /// Tells the service that its client's connection has failed. It is not to be polled any
    /// more.
    pub(crate) fn failed(&mut self, error: io::Error) {
        match self {
            Exchange::Bytes(_) => {}
            Exchange::Lines(lines) => lines.failed(error),
        }
    }

    /// How many bytes of answers the client has not taken.
    pub(crate) fn unsent(&self) -> usize {
        match self {
            Exchange::Bytes(bytes) => bytes.unsent(),
            Exchange::Lines(lines) => lines.unsent(),
        }
    }

    /// Answers what comes until an end, by `stage` the server's, and counts it in
    /// `entry`. Reads only when all answers are written: a client that does not read
    /// is not read.
    pub(crate) fn poll<S>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        entry: Option<&Entry>,
        stage: Stage,
    ) -> Poll<io::Result<End>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        match self {
            Exchange::Bytes(bytes) => bytes.poll(cx, stream, entry, stage),
            Exchange::Lines(lines) => lines.poll(cx, stream, entry, stage),
        }
    }
}
