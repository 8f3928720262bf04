//! Splits received bytes into requests, however the bytes are divided into reads.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

/// The time without input after which the bytes received so far are a request without a newline,
/// since some clients send `str(time.time())` and wait for the answer. Once a client has sent a
/// newline, only newlines end its requests, and a pause within a line has no limit.
const IDLE: Duration = Duration::from_millis(100);

/// A client's request: a line, or the bytes before a pause or the end of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    /// The request without its line ending.
    pub(crate) bytes: &'a [u8],
    /// Whether the request ended with a newline (or CR LF).
    pub(crate) line: bool,
    /// Whether the request exceeded the limit: `bytes` is its beginning, the rest was discarded.
    pub(crate) too_long: bool,
}

/// Assembles requests from received bytes.
#[derive(Debug)]
pub(super) struct LineReader {
    /// The limit of a request, in bytes.
    max: usize,
    /// The beginning of a request whose end has not arrived.
    partial: Vec<u8>,
    /// Whether bytes of the partial request beyond the limit were discarded.
    too_long: bool,
    /// Whether a newline has arrived on this connection.
    has_newlines: bool,
}

impl LineReader {
    /// Creates a reader of requests of at most `max` bytes each.
    pub(super) fn new(max: usize) -> LineReader {
        LineReader { max, partial: Vec::new(), too_long: false, has_newlines: false }
    }

    /// Takes received bytes, and passes each request that they complete to `on_request`. When
    /// `on_request` returns false the remaining bytes are discarded.
    pub(super) fn take(
        &mut self,
        mut bytes: &[u8],
        mut on_request: impl FnMut(Request<'_>) -> bool,
    ) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            self.has_newlines = true;
            self.keep(line);
            if !self.finish(true, &mut on_request) {
                return;
            }
        }
        self.keep(bytes);
    }

    /// Whether there is a partial request that a pause completes.
    pub(super) fn flushes_when_idle(&self) -> bool {
        self.has_partial() && !self.has_newlines
    }

    fn has_partial(&self) -> bool {
        !self.partial.is_empty() || self.too_long
    }

    /// Passes the partial request, if there is one, to `on_request`.
    pub(super) fn flush(&mut self, mut on_request: impl FnMut(Request<'_>) -> bool) {
        if self.has_partial() {
            self.finish(false, &mut on_request);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.max - self.partial.len();
        self.too_long |= bytes.len() > room;
        self.partial.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Passes the partial request on and frees its memory.
    fn finish(&mut self, line: bool, on_request: &mut impl FnMut(Request<'_>) -> bool) -> bool {
        let request = std::mem::take(&mut self.partial);
        let too_long = std::mem::take(&mut self.too_long);
        let bytes = if line { request.strip_suffix(b"\r").unwrap_or(&request) } else { &request };
        on_request(Request { bytes, line, too_long })
    }
}

/// The timer after which a partial request is flushed, allocated at the first poll.
#[derive(Debug, Default)]
pub(super) struct IdleFlush(Option<Pin<Box<Sleep>>>);

impl IdleFlush {
    /// Stops the timer; the next poll starts it again.
    pub(super) fn reset(&mut self) {
        self.0 = None;
    }

    /// Ready when the connection has been idle for [`IDLE`] since the first poll.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.get_or_insert_with(|| Box::pin(sleep(IDLE))).as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The requests in `chunks` and at the end of input, as (bytes, line, too long).
    fn requests(max: usize, chunks: &[&[u8]]) -> Vec<(Vec<u8>, bool, bool)> {
        let mut all = Vec::new();
        let mut push = |request: Request<'_>| {
            all.push((request.bytes.to_vec(), request.line, request.too_long));
            true
        };
        let mut reader = LineReader::new(max);
        chunks.iter().for_each(|chunk| reader.take(chunk, &mut push));
        reader.flush(&mut push);
        all
    }

    #[test]
    fn a_line_is_a_request_and_so_are_the_bytes_before_the_end_of_input() {
        let all = requests(10, &[b"a\nb", b"c\r\n\nrest"]);
        let line = |bytes: &[u8]| (bytes.to_vec(), true, false);
        assert_eq!(all, [line(b"a"), line(b"bc"), line(b""), (b"rest".to_vec(), false, false)]);
        assert_eq!(requests(10, &[b"a\n"]), [line(b"a")]);
    }

    #[test]
    fn a_request_that_is_too_long_is_cut_and_the_next_one_is_whole() {
        let all = requests(3, &[b"abc", b"def", b"ghi\nxyz\n"]);
        assert_eq!(all, [(b"abc".to_vec(), true, true), (b"xyz".to_vec(), true, false)]);
    }

    #[test]
    fn a_pause_completes_no_request_of_a_client_that_sends_lines() {
        let mut reader = LineReader::new(10);
        reader.take(b"no", |_| true);
        assert!(reader.flushes_when_idle());
        reader.flush(|_| true);
        reader.take(b"line\n", |_| true);
        assert!(!reader.flushes_when_idle());
        reader.take(b"half a", |_| true);
        assert!(!reader.flushes_when_idle());
        let mut rest: Vec<u8> = Vec::new();
        reader.flush(|request| {
            rest.extend(request.bytes);
            true
        });
        assert_eq!(rest, b"half a", "the end of input completes it");
    }

    proptest! {
        #[test]
        fn requests_do_not_depend_on_how_bytes_are_divided(
            bytes in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), 0_u8..3], 0..60),
            cuts in proptest::collection::vec(0_usize..60, 0..8),
        ) {
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(requests(5, &chunks), requests(5, &[&bytes]));
        }
    }
}
