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
mod heartbeat;
mod up;

use std::{
    future::poll_fn,
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use echogate_proto::{
    close::CloseCode,
    framing::{Framer, Framing},
    ws::Decoder,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, Sleep, sleep_until},
};

pub use self::ending::{End, turn_away};
use self::{ending::Verdict, heartbeat::Heartbeat};
use crate::{
    backlog::Backlog,
    drain::{Drain, Watch},
    registry::Entry,
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
}

/// Bridges a client and an upstream until both are told of the end. `early` is what
/// the client sent behind its handshake and was read with it.
pub async fn run<C, U>(
    client: C,
    upstream: U,
    early: &[u8],
    options: Options,
    entry: &Entry,
    drain: &Drain,
) -> End
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    let now = Instant::now();
    let mut bridge = Bridge {
        client,
        upstream,
        entry,
        framing: options.framing,
        decoder: Decoder::new(options.max_message),
        framer: Framer::new(options.framing),
        last_byte: None,
        client_in: ClientIn::Open,
        upstream_out: UpstreamOut::Open,
        upstream_in: UpstreamIn::Open,
        to_upstream: Backlog::default(),
        to_client: Backlog::default(),
        pong: None,
        heartbeat: Heartbeat::new(now, options.ping_interval, options.ping_timeout),
        verdict: None,
        close_sent: false,
        client_told: false,
        until: None,
        watch: drain.watch(),
    };
    let armed = bridge.deadline();
    let mut timer = pin!(sleep_until(armed));
    let mut early = Some(early).filter(|early| !early.is_empty());
    poll_fn(|cx| {
        if let Some(early) = early.take() {
            bridge.take_early(cx, early);
        }
        bridge.poll(cx, timer.as_mut())
    })
    .await
}

struct Bridge<'a, C, U> {
    client: C,
    upstream: U,
    entry: &'a Entry,
    framing: Framing,
    decoder: Decoder,
    framer: Framer,
    /// The last payload byte of the message that is coming in (framing `line`).
    last_byte: Option<u8>,
    client_in: ClientIn,
    upstream_out: UpstreamOut,
    upstream_in: UpstreamIn,
    /// What the upstream has not taken yet.
    to_upstream: Backlog,
    /// What the client has not taken yet.
    to_client: Backlog,
    /// The payload of the latest Ping, to be answered. Of several that wait only the
    /// last is, as RFC 6455 section 5.5.3 allows: that bounds them.
    pong: Option<Box<[u8]>>,
    heartbeat: Heartbeat,
    /// The Close to be sent at the next frame boundary. Once there is one, no more
    /// payload is forwarded to the upstream.
    verdict: Option<Verdict>,
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
    /// Nothing: its Close came, with this code.
    Closed(CloseCode),
    /// Bytes to be thrown away: it broke the protocol.
    Violated,
    /// Nothing: it went without a Close.
    Gone(&'static str),
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

impl<C, U> Bridge<'_, C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// Moves what can be moved, until nothing can or all is over.
    fn poll(&mut self, cx: &mut Context<'_>, mut timer: Pin<&mut Sleep>) -> Poll<End> {
        loop {
            let stage = self.watch.poll(cx);
            let idle = self.poll_up(cx);
            let reopened = self.poll_down(cx);
            if self.settle(stage, idle) || reopened {
                continue;
            }
            if let Some(end) = self.end() {
                return Poll::Ready(end);
            }
            // The deadline mostly moves away: the timer follows when it fires.
            let deadline = self.deadline();
            if deadline < timer.deadline() {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() {
                self.framer.shrink();
                return Poll::Pending;
            }
            if let Some(end) = self.on_timer(Instant::now()) {
                return Poll::Ready(end);
            }
            timer.as_mut().reset(self.deadline());
        }
    }

    fn deadline(&self) -> Instant {
        self.until.unwrap_or_else(|| self.heartbeat.deadline())
    }
}
