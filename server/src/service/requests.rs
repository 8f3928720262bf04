//! From bytes to requests, whatever the chunks they come in.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Sleep, sleep};

/// After this much silence what has come is a request, also without a newline: for
/// clients that send `str(time.time())` and wait. A client that has sent a newline is known
/// to send lines, and the rest of a line may take as long as it takes.
const PAUSE: Duration = Duration::from_millis(100);

/// What a client asks: a line, or what came before a pause or the end of input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    /// Without the line's end.
    pub(crate) bytes: &'a [u8],
    /// A newline (or CR LF) ended it.
    pub(crate) line: bool,
    /// It goes on beyond the longest that is taken; the rest was thrown away.
    pub(crate) too_long: bool,
}

/// What of a request has come.
#[derive(Debug)]
pub(super) struct Requests {
    max: usize,
    begun: Vec<u8>,
    /// More has come than is kept.
    too_long: bool,
    /// A newline has come.
    in_lines: bool,
}

impl Requests {
    /// Of at most `max` bytes each.
    pub(super) fn new(max: usize) -> Requests {
        Requests { max, begun: Vec::new(), too_long: false, in_lines: false }
    }

    /// Takes what was read, and gives the requests that it completes to `hear`, which
    /// says whether to go on.
    pub(super) fn take(&mut self, mut bytes: &[u8], mut hear: impl FnMut(Request<'_>) -> bool) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            self.in_lines = true;
            self.keep(line);
            if !self.finish(true, &mut hear) {
                return;
            }
        }
        self.keep(bytes);
    }

    /// Whether a request has begun that a pause would end.
    pub(super) fn ends_at_pause(&self) -> bool {
        self.has_rest() && !self.in_lines
    }

    fn has_rest(&self) -> bool {
        !self.begun.is_empty() || self.too_long
    }

    /// Ends the request that has begun, if one has.
    pub(super) fn end(&mut self, mut hear: impl FnMut(Request<'_>) -> bool) {
        if self.has_rest() {
            self.finish(false, &mut hear);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = self.max - self.begun.len();
        self.too_long |= bytes.len() > room;
        self.begun.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }

    /// Hands over what has come, and holds no memory for it any more.
    fn finish(&mut self, line: bool, hear: &mut impl FnMut(Request<'_>) -> bool) -> bool {
        let begun = std::mem::take(&mut self.begun);
        let too_long = std::mem::take(&mut self.too_long);
        let bytes = if line { begun.strip_suffix(b"\r").unwrap_or(&begun) } else { &begun };
        hear(Request { bytes, line, too_long })
    }
}

/// A pause to be waited for.
#[derive(Debug, Default)]
pub(super) struct Pause(Option<Pin<Box<Sleep>>>);

impl Pause {
    /// It begins again, when it is waited for next.
    pub(super) fn reset(&mut self) {
        self.0 = None;
    }

    /// Ready when it is over.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.get_or_insert_with(|| Box::pin(sleep(PAUSE))).as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What `chunks` hold, as (bytes, line, too long), the rest at the end included.
    fn requests(max: usize, chunks: &[&[u8]]) -> Vec<(Vec<u8>, bool, bool)> {
        let mut all = Vec::new();
        let mut hear = |request: Request<'_>| {
            all.push((request.bytes.to_vec(), request.line, request.too_long));
            true
        };
        let mut requests = Requests::new(max);
        chunks.iter().for_each(|chunk| requests.take(chunk, &mut hear));
        requests.end(&mut hear);
        all
    }

    #[test]
    fn a_line_is_a_request_and_so_is_what_comes_before_the_end() {
        let all = requests(10, &[b"a\nb", b"c\r\n\nrest"]);
        let line = |bytes: &[u8]| (bytes.to_vec(), true, false);
        assert_eq!(all, [line(b"a"), line(b"bc"), line(b""), (b"rest".to_vec(), false, false)]);
        assert_eq!(requests(10, &[b"a\n"]), [line(b"a")]);
    }

    #[test]
    fn of_a_request_that_is_too_long_the_beginning_is_kept_and_the_next_is_whole() {
        let all = requests(3, &[b"abc", b"def", b"ghi\nxyz\n"]);
        assert_eq!(all, [(b"abc".to_vec(), true, true), (b"xyz".to_vec(), true, false)]);
    }

    #[test]
    fn a_pause_ends_no_request_of_a_client_that_sends_lines() {
        let mut requests = Requests::new(10);
        requests.take(b"no", |_| true);
        assert!(requests.ends_at_pause());
        requests.end(|_| true);
        requests.take(b"line\n", |_| true);
        assert!(!requests.ends_at_pause());
        requests.take(b"half a", |_| true);
        assert!(!requests.ends_at_pause());
        let mut rest: Vec<u8> = Vec::new();
        requests.end(|request| {
            rest.extend(request.bytes);
            true
        });
        assert_eq!(rest, b"half a", "the end of input does end it");
    }

    proptest! {
        #[test]
        fn chunks_make_no_difference(
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
