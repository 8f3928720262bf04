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
//! step's worth each way.
//!
//! How a connection ends is decided in ending.rs. The upstream's connection ends in order
//! (FIN, with TLS after a close_notify) only when the client has said that it has sent
//! everything: by its Close, or by the end of input of half-close. After anything else, as
//! a client that vanishes, breaks the protocol or is given up, it ends by a reset, so that
//! no upload that was cut off looks complete. Either way the upstream first gets what the
//! client sent before: delivery.rs waits for that.

mod delivery;
mod down;
mod ending;
mod gather;
mod heartbeat;
mod pongs;
mod stopwatch;
mod up;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use echogate_proto::{
    close::CloseCode,
    framing::{Framer, Framing, FramingOptions},
    ws::Decoder,
};
use tokio::time::Instant;

pub(crate) use self::ending::{End, turn_away};
use self::{
    down::PartialReply,
    ending::{Disconnect, Ending},
    heartbeat::Heartbeat,
    pongs::Pongs,
    stopwatch::Stopwatch,
    up::Undecoded,
};
use crate::{
    connections::registry::Registered,
    net::stream::Transport,
    runtime::{
        buffer_pool,
        drain::{Drain, Stage, Watch},
        idle_timeout::Idle,
        write_buffer::Backlog,
    },
};

/// What a bridge is told about its route and its limits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Where messages to the client end.
    pub(crate) framing: Framing,
    /// The options of the framing.
    pub(crate) framing_options: FramingOptions,
    /// The largest message taken from the client, in bytes.
    pub(crate) max_message: u64,
    /// After this much silence of the client it is sent a Ping.
    pub(crate) ping_interval: Duration,
    /// A client silent for so long after a Ping is dropped.
    pub(crate) ping_timeout: Duration,
    /// A connection that carries nothing for so long is ended.
    pub(crate) idle_timeout: Option<Duration>,
}

/// What holds for one connection.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The route's.
    pub(crate) options: Arc<Options>,
    /// The subprotocol `half-close` was agreed on: an empty binary message is the end
    /// of input, either way, and the other direction goes on.
    pub(crate) half_close: bool,
}

/// Bridges a client and an upstream until both are told of the end, and logs it.
/// `early` is what the client sent behind its handshake and was read with it.
///
/// (Not an `async fn`: that would keep every argument twice, and a server holds as many
/// of these as it has connections.)
pub(crate) fn run<C, U>(
    client: C,
    upstream: U,
    early: &[u8],
    terms: Terms,
    entry: Registered,
    drain: &Drain,
) -> impl Future<Output = End> + use<C, U>
where
    C: Transport,
    U: Transport,
{
    let Terms { options, half_close } = terms;
    Bridge {
        client,
        upstream,
        entry,
        decoder: Decoder::new(options.max_message),
        framer: Framer::with_options(options.framing, &options.framing_options),
        last_byte: None,
        client_in: ClientIn::Open,
        client_unwritable: false,
        half_close,
        input_ended: false,
        only_empty_fragments: false,
        behind_close: false,
        aborted: false,
        upstream_out: UpstreamOut::Open,
        upstream_in: UpstreamIn::Open,
        undecoded: Undecoded::new(early),
        partial_reply: None,
        to_upstream: Backlog::default(),
        to_client: Backlog::default(),
        pongs: None,
        heartbeat: Heartbeat::new(Instant::now()),
        ping_due: false,
        stopwatch: Stopwatch::default(),
        idle: Idle::new(options.idle_timeout),
        ending: None,
        close_sent: false,
        client_told: false,
        watch: drain.watch(),
        options,
    }
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
    /// The client can or may not be written to any more: its connection has failed in that
    /// direction, or it was given up. What it sent before may still have to be read.
    client_unwritable: bool,
    half_close: bool,
    /// The client has sent its last message, and may still read.
    input_ended: bool,
    /// A binary message has begun, of which there were only empty fragments so far: with
    /// half-close it is the end of input if it ends like that.
    only_empty_fragments: bool,
    /// The client sent more behind its Close: left unread, that would make our end of
    /// the connection a reset, which could destroy our Close.
    behind_close: bool,
    /// The connection to the upstream is to end by a reset: the upstream did not get all that
    /// the client meant to send.
    aborted: bool,
    upstream_out: UpstreamOut,
    upstream_in: UpstreamIn,
    /// What was read from the client and not decoded yet.
    undecoded: Option<Box<Undecoded>>,
    /// What was read from the upstream and waits for the rest of a reply.
    partial_reply: Option<Box<PartialReply>>,
    /// What the upstream has not taken yet.
    to_upstream: Backlog,
    /// What the client has not taken yet.
    to_client: Backlog,
    /// Answers to Pings that were not written yet.
    pongs: Option<Box<Pongs>>,
    heartbeat: Heartbeat,
    /// A Ping is to go out.
    ping_due: bool,
    stopwatch: Stopwatch,
    idle: Option<Box<Idle>>,
    /// What is known of an ending in progress.
    ending: Option<Box<Ending>>,
    close_sent: bool,
    /// Our write side towards the client is shut.
    client_told: bool,
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
    /// Nothing: its connection ended without a Close.
    Gone(Disconnect),
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
    /// Payload that waits, then the end of input, or of an aborted connection nothing.
    /// Nothing more is added.
    Ending,
    /// Nothing: all is written, the end of input included if it was due.
    Shut,
    /// Nothing: it takes no more.
    Broken,
}

/// What is to be read from the upstream.
#[derive(Debug, PartialEq, Eq)]
enum UpstreamIn {
    /// Bytes.
    Open,
    /// Bytes to be thrown away: the framing cannot carry them.
    Unframed,
    /// Nothing: it ended or failed.
    Ended,
}

impl<C: Transport, U: Transport> Future for Bridge<C, U> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let bridge = self.get_mut();
        let end = ready!(buffer_pool::with(|scratch| bridge.poll_all(cx, scratch)));
        if bridge.aborted {
            bridge.upstream.reset_on_drop();
        }
        bridge.entry.ended(&end);
        Poll::Ready(end)
    }
}

impl<C: Transport, U: Transport> Bridge<C, U> {
    /// Moves what can be moved, until nothing can or all is over.
    fn poll_all(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<End> {
        let now = Instant::now();
        loop {
            let stage = self.watch.poll(cx);
            if stage == Stage::Cut {
                return Poll::Ready(self.cut());
            }
            let before = (self.has_pending_close(), self.client_in.is_gone());
            let idle = self.poll_up(cx, scratch, now);
            let reopened = self.poll_down(cx, scratch, now);
            // What ended on the way down changes what is to be done on the way up.
            let ended = before != (self.has_pending_close(), self.client_in.is_gone());
            if self.settle(stage, idle) || reopened || ended {
                continue;
            }
            if let Some(end) = self.end(now) {
                return Poll::Ready(end);
            }
            let deadline = self.deadline(now);
            if now < deadline {
                self.watch.wake_at(cx, now, deadline);
                self.framer.shrink();
                return Poll::Pending;
            }
            self.on_timer(now);
        }
    }

    fn deadline(&mut self, now: Instant) -> Instant {
        let ends = self.deadline_of_end(now);
        // A part of a reply does not go out while the client does not take what waits before.
        let reply = self.partial_reply.as_ref().filter(|_| self.to_client.is_empty());
        reply.and_then(|reply| reply.until).map_or(ends, |until| until.min(ends))
    }

    fn deadline_of_end(&mut self, now: Instant) -> Instant {
        let ending = self.ending.as_ref();
        let ends = ending.and_then(|ending| ending.deadline());
        // A client that has left unread is still sent Pings: they find out whether it is gone.
        let is_asked = self.client_has_left_unread()
            && ending.is_none_or(|ending| !ending.cuts_the_client_short());
        if let Some(ends) = ends.filter(|_| !is_asked) {
            return ends;
        }
        let heartbeat = self.heartbeat.deadline(&self.options);
        let delivered = self.delivered_bytes();
        let idle = self.idle.as_mut().map(|idle| idle.deadline(now, delivered));
        [ends, idle].into_iter().flatten().fold(heartbeat, Instant::min)
    }

    /// Bytes that moved so far: those that wait to be written have not.
    fn delivered_bytes(&self) -> u64 {
        let part = self.partial_reply.as_ref().map_or(0, |reply| reply.len());
        // A part that waits for the rest has been read, and is counted when it is sent.
        let waiting = self.to_client.len() + self.to_upstream.len() + part;
        self.entry.carried_bytes().wrapping_sub(waiting as u64)
    }
}

#[cfg(test)]
mod tests;
