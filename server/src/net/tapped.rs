//! A transport that reports its reads, writes and ends to the observers of its connection, and the
//! first bytes from and to an upstream to the registry, which times them.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use echogate_event_loop::InFlight;
use echogate_proto::{
    recording::{Side, TapPoint},
    ws::scanner::FrameScanner,
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::stream::{Transport, is_end};
use crate::connections::{
    registry::Entry,
    tap::{Passed, input, output},
};

/// A transport at one side of a connection. Without observers each read and write costs the load
/// of a flag. The side is part of the type, so that it takes no memory.
#[derive(Debug)]
pub(crate) struct Tapped<T, const IS_UPSTREAM: bool> {
    stream: T,
    entry: Arc<Entry>,
}

/// A transport at the client's side.
pub(crate) type TappedClient<T> = Tapped<T, false>;

/// A transport at the upstream's side.
pub(crate) type TappedUpstream<T> = Tapped<T, true>;

impl<T: Transport, const IS_UPSTREAM: bool> Tapped<T, IS_UPSTREAM> {
    const SIDE: Side = if IS_UPSTREAM { Side::Upstream } else { Side::Client };

    /// The transport of a connection in the registry. `read_ahead` was read together with an
    /// opening handshake.
    pub(crate) fn new(stream: T, entry: &Arc<Entry>, read_ahead: &[u8]) -> Self {
        let tapped = Tapped { stream, entry: entry.clone() };
        if !read_ahead.is_empty() {
            tapped.read(read_ahead);
        }
        tapped
    }

    fn read(&self, bytes: &[u8]) {
        if IS_UPSTREAM && !bytes.is_empty() {
            self.entry.upstream_read();
        }
        self.passed(input(Self::SIDE), &[IoSlice::new(bytes)], bytes.len());
    }

    /// Reports the first `len` bytes of `parts` to the observers.
    fn passed(&self, point: TapPoint, parts: &[IoSlice<'_>], len: usize) {
        if self.is_tapped() {
            let is_datagram = self.stream.reads_messages();
            self.entry.passed(&Passed { point, parts, len, is_datagram });
        }
    }

    #[inline]
    fn is_tapped(&self) -> bool {
        self.entry.is_tapped(Self::SIDE)
    }

    /// Whether a read is to be reported: to observers, or as the first of the upstream.
    #[inline]
    fn watches_reads(&self) -> bool {
        if IS_UPSTREAM { self.entry.watches_upstream_reads() } else { self.is_tapped() }
    }

    /// Whether a write is to be reported: to observers, or as the first to the upstream.
    #[inline]
    fn watches_writes(&self) -> bool {
        if IS_UPSTREAM { self.entry.watches_upstream_writes() } else { self.is_tapped() }
    }

    /// Reports a read.
    #[cold]
    fn on_read(&self, read: &Poll<io::Result<()>>, bytes: &[u8], had_room: bool) {
        match read {
            Poll::Pending => {}
            Poll::Ready(Err(e)) if is_end(e) => self.entry.direction_ended(input(Self::SIDE)),
            Poll::Ready(Err(_)) => self.entry.side_failed(input(Self::SIDE)),
            Poll::Ready(Ok(())) if !bytes.is_empty() => self.read(bytes),
            Poll::Ready(Ok(())) if !had_room => {}
            Poll::Ready(Ok(())) if self.stream.has_read_end() => {
                self.entry.direction_ended(input(Self::SIDE));
            }
            Poll::Ready(Ok(())) => self.read(bytes),
        }
    }

    /// Reports a write of `parts`.
    #[cold]
    fn on_write(&self, written: &Poll<io::Result<usize>>, parts: &[IoSlice<'_>]) {
        match written {
            Poll::Pending => {}
            Poll::Ready(Err(_)) => self.entry.side_failed(input(Self::SIDE)),
            Poll::Ready(Ok(len)) => {
                if IS_UPSTREAM && *len > 0 {
                    self.entry.upstream_written();
                }
                self.passed(output(Self::SIDE), parts, *len);
            }
        }
    }

    /// Reports a flush or shutdown.
    #[cold]
    fn on_end(&self, done: &Poll<io::Result<()>>, is_shutdown: bool) {
        match done {
            Poll::Ready(Err(_)) => self.entry.side_failed(input(Self::SIDE)),
            Poll::Ready(Ok(())) if is_shutdown => self.entry.direction_ended(output(Self::SIDE)),
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
    }
}

impl<T: Transport, const IS_UPSTREAM: bool> AsyncRead for Tapped<T, IS_UPSTREAM> {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let tapped = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut tapped.stream).poll_read(cx, buf);
        if tapped.watches_reads() {
            tapped.on_read(&read, &buf.filled()[before..], buf.capacity() > before);
        }
        read
    }
}

impl<T: Transport, const IS_UPSTREAM: bool> AsyncWrite for Tapped<T, IS_UPSTREAM> {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let tapped = self.get_mut();
        let written = Pin::new(&mut tapped.stream).poll_write(cx, buf);
        if tapped.watches_writes() {
            tapped.on_write(&written, &[IoSlice::new(buf)]);
        }
        written
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let tapped = self.get_mut();
        let written = Pin::new(&mut tapped.stream).poll_write_vectored(cx, bufs);
        if tapped.watches_writes() {
            tapped.on_write(&written, bufs);
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tapped = self.get_mut();
        let flushed = Pin::new(&mut tapped.stream).poll_flush(cx);
        if tapped.is_tapped() {
            tapped.on_end(&flushed, false);
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let tapped = self.get_mut();
        let shut = Pin::new(&mut tapped.stream).poll_shutdown(cx);
        if tapped.is_tapped() {
            tapped.on_end(&shut, true);
        }
        shut
    }
}

impl<T: Transport, const IS_UPSTREAM: bool> Transport for Tapped<T, IS_UPSTREAM> {
    fn has_ended(&self) -> bool {
        self.stream.has_ended()
    }

    fn has_failed(&self) -> bool {
        let has_failed = self.stream.has_failed();
        if has_failed && self.is_tapped() {
            self.entry.side_failed(input(Self::SIDE));
        }
        has_failed
    }

    fn wakes_on_failure(&self) -> bool {
        self.stream.wakes_on_failure()
    }

    fn in_flight(&self) -> Option<InFlight> {
        self.stream.in_flight()
    }

    fn reset_on_drop(&mut self) {
        self.stream.reset_on_drop();
        if self.is_tapped() {
            self.entry.side_failed(output(Self::SIDE));
        }
    }

    fn reset(&mut self) {
        self.reset_on_drop();
        self.stream.reset();
    }

    fn reads_messages(&self) -> bool {
        self.stream.reads_messages()
    }

    fn has_read_end(&self) -> bool {
        self.stream.has_read_end()
    }

    #[inline]
    fn reads_at(&self, position: impl FnOnce() -> FrameScanner) {
        if self.entry.awaits_position() {
            self.entry.is_at(input(Self::SIDE), position);
        }
    }

    #[inline]
    fn writes_a_frame(&self) {
        if self.entry.awaits_position() {
            self.entry.is_at(output(Self::SIDE), FrameScanner::default);
        }
    }
}
