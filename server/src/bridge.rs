//! A WebSocket connection on one side, an upstream on the other.
//!
//! The bridge changes no payload and knows no service. One task serves a
//! connection; each time it is woken it moves what can be moved in both directions:
//!
//! ```text
//! client  --frames-->  Decoder  --payload-->  upstream     up.rs
//! client  <--frames--  Framer   <---bytes---  upstream     down.rs
//! ```
//!
//! Each direction reads only when what it read before is written, so that a peer
//! that does not read stops the other from being read, and memory is bounded by one
//! step's worth each way. How a connection ends is decided in ending.rs.

mod down;
mod ending;
mod gather;
mod heartbeat;
mod stopwatch;
mod up;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use echogate_proto::{
    close::CloseCode,
    framing::{Framer, Framing},
    ws::{Control, Decoder},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::Instant,
};

pub use self::ending::{End, turn_away};
use self::{
    ending::{Departure, Verdict},
    heartbeat::Heartbeat,
    stopwatch::Stopwatch,
};
use crate::{
    backlog::Backlog,
    drain::{Drain, Watch},
    idle::Idle,
    registry::Registered,
    scratch,
};

/// What a bridge is told about its route and its limits.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Where messages to the client end.
    pub framing: Framing,
    /// The largest message taken from the client, in bytes.
    pub max_message: u64,
    /// After this much silence of the client it is sent a Ping.
    pub ping_interval: Duration,
    /// A client silent for so long after a Ping is dropped.
    pub ping_timeout: Duration,
    /// A connection that carries nothing for so long is ended.
    pub idle_timeout: Option<Duration>,
}

/// What holds for one connection.
#[derive(Clone, Debug)]
pub struct Terms {
    /// The route's.
    pub options: Arc<Options>,
    /// The subprotocol `half-close` was agreed on: an empty binary message is the end
    /// of input, either way, and the other direction goes on.
    pub half_close: bool,
}

/// Bridges a client and an upstream until both are told of the end, and logs it.
/// `early` is what the client sent behind its handshake and was read with it.
///
/// (Not an `async fn`: that would keep every argument twice, and a server holds as many
/// of these as it has connections.)
pub fn run<C, U>(
    client: C,
    upstream: U,
    early: &[u8],
    terms: Terms,
    entry: Registered,
    drain: &Drain,
) -> impl Future<Output = End> + use<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let Terms { options, half_close } = terms;
    let mut bridge = Bridge {
        client,
        upstream,
        entry,
        decoder: Decoder::new(options.max_message),
        framer: Framer::new(options.framing),
        last_byte: None,
        client_in: ClientIn::Open,
        half_close,
        input_ended: false,
        behind_close: false,
        upstream_out: UpstreamOut::Open,
        upstream_in: UpstreamIn::Open,
        to_upstream: Backlog::default(),
        to_client: Backlog::default(),
        pong: None,
        heartbeat: Heartbeat::new(Instant::now()),
        ping_due: false,
        stopwatch: Stopwatch::default(),
        idle: Idle::new(options.idle_timeout),
        verdict: None,
        close_sent: false,
        client_told: false,
        until: None,
        watch: drain.watch(),
        options,
    };
    if !early.is_empty() {
        // Whom to wake is said when the task runs.
        bridge.take_early(&mut Context::from_waker(Waker::noop()), early);
    }
    bridge
}

struct Bridge<C, U> {
    client: C,
    upstream: U,
    entry: Registered,
    options: Arc<Options>,
    decoder: Decoder,
    framer: Framer,
    /// The last payload byte of the message that is coming in (framing `line`).
    last_byte: Option<u8>,
    client_in: ClientIn,
    half_close: bool,
    /// The client has sent its last message, and may still read.
    input_ended: bool,
    /// The client sent more behind its Close: left unread, that would make our end of
    /// the connection a reset, which could destroy our Close.
    behind_close: bool,
    upstream_out: UpstreamOut,
    upstream_in: UpstreamIn,
    /// What the upstream has not taken yet.
    to_upstream: Backlog,
    /// What the client has not taken yet.
    to_client: Backlog,
    /// The payload of the latest Ping, to be answered. Of several that wait only the
    /// last is, as RFC 6455 section 5.5.3 allows: that bounds them.
    pong: Option<Box<Control>>,
    heartbeat: Heartbeat,
    /// A Ping is to go out.
    ping_due: bool,
    stopwatch: Stopwatch,
    idle: Option<Box<Idle>>,
    /// The Close to be sent at the next frame boundary. Once there is one, no more
    /// payload is forwarded to the upstream.
    verdict: Option<Box<Verdict>>,
    close_sent: bool,
    /// Our write side towards the client is shut.
    client_told: bool,
    /// When an ending in progress is cut short.
    until: Option<Instant>,
    watch: Watch,
}

/// What is to be read from the client.
#[derive(Debug)]
enum ClientIn {
    /// Frames.
    Open,
    /// Nothing, or bytes to be thrown away: its Close came, with this code.
    Closed(CloseCode),
    /// Bytes to be thrown away: it broke the protocol.
    Violated,
    /// Nothing: it went without a Close.
    Gone(Departure),
}

impl ClientIn {
    fn is_gone(&self) -> bool {
        matches!(self, ClientIn::Gone(_))
    }
}

/// What the upstream may be sent.
#[derive(Debug, PartialEq, Eq)]
enum UpstreamOut {
    /// Payload.
    Open,
    /// Payload that waits, then the end of input. Nothing more is added.
    Ending,
    /// Nothing: it was told of the end.
    Shut,
    /// Nothing: it takes no more.
    Broken,
}

/// What is to be read from the upstream.
#[derive(Debug, PartialEq, Eq)]
enum UpstreamIn {
    /// Bytes.
    Open,
    /// Nothing: it ended or failed.
    Ended,
}

impl<C, U> Future for Bridge<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let bridge = self.get_mut();
        let end = ready!(scratch::with(|scratch| bridge.poll_all(cx, scratch)));
        bridge.entry.ended(&end);
        Poll::Ready(end)
    }
}

impl<C, U> Bridge<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// Moves what can be moved, until nothing can or all is over.
    fn poll_all(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<End> {
        let now = Instant::now();
        loop {
            let stage = self.watch.poll(cx);
            let before = (self.verdict.is_some(), self.client_in.is_gone());
            let idle = self.poll_up(cx, scratch, now);
            let reopened = self.poll_down(cx, scratch, now);
            // What ended on the way down changes what is to be done on the way up.
            let ended = before != (self.verdict.is_some(), self.client_in.is_gone());
            if self.settle(stage, idle) || reopened || ended {
                continue;
            }
            if let Some(end) = self.end() {
                return Poll::Ready(end);
            }
            let deadline = self.deadline(now);
            if now < deadline {
                self.watch.wake_at(cx, now, deadline);
                self.framer.shrink();
                return Poll::Pending;
            }
            if let Some(end) = self.on_timer(now) {
                return Poll::Ready(end);
            }
        }
    }

    fn deadline(&mut self, now: Instant) -> Instant {
        if let Some(until) = self.until {
            return until;
        }
        let heartbeat = self.heartbeat.deadline(&self.options);
        let carried = self.entry.carried_bytes();
        self.idle.as_mut().map_or(heartbeat, |idle| heartbeat.min(idle.deadline(now, carried)))
    }
}

#[cfg(test)]
mod tests;
