//! A file sent in parts, and the comparison of its echo. Both happen in the page's worker
//! (`static/sockets.js`), which reports their progress.

use crate::{stats::Volume, time::Millis};

/// The answer that a service should give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The same bytes, `a` to `z` as `A` to `Z`.
    Upper,
    /// The same bytes.
    Same,
    /// Anything, or nothing.
    Anything,
}

impl Expect {
    /// The name of the expected answer in the worker's commands.
    pub fn name(self) -> &'static str {
        match self {
            Expect::Upper => "upper",
            Expect::Same => "same",
            Expect::Anything => "anything",
        }
    }
}

/// A report of the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Parts sent since the previous report.
    pub sent: Volume,
    /// Messages received as expected since the previous report.
    pub received: Volume,
    /// The bytes of the file that have come back as expected.
    pub verified: u64,
    /// The end, if the transfer has ended.
    pub end: Option<End>,
}

/// The end of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything was sent and, if compared, came back as expected.
    Done,
    /// A byte came back different.
    Mismatch {
        /// The byte's offset.
        at: u64,
        /// The expected byte.
        expected: u8,
        /// The received byte.
        found: u8,
    },
    /// The user stopped it.
    Stopped,
    /// The connection ended first.
    Lost,
    /// The file could not be read.
    Unreadable,
}

/// A file transfer.
#[derive(Debug)]
pub struct Transfer {
    name: String,
    size: u64,
    expect: Expect,
    started: Millis,
    sent: u64,
    /// Bytes that came back as expected.
    verified: u64,
    end: Option<(End, Millis)>,
}

impl Transfer {
    /// A transfer that begins now.
    pub fn new(name: String, size: u64, expect: Expect, now: Millis) -> Transfer {
        Transfer { name, size, expect, started: now, sent: 0, verified: 0, end: None }
    }

    /// Applies a report of the worker.
    pub fn moved(&mut self, progress: &Progress, now: Millis) {
        // The echo of a file that was stopped is still reported.
        if self.end.is_none() {
            self.sent += progress.sent.bytes;
            self.verified = progress.verified;
            self.end = progress.end.map(|end| (end, now));
        }
    }

    /// The end, if the transfer has ended.
    pub fn end(&self) -> Option<End> {
        self.end.map(|(end, _)| end)
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's size.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The expected answer.
    pub fn expect(&self) -> Expect {
        self.expect
    }

    /// The bytes that are done: verified, or sent where nothing is compared.
    pub fn done(&self) -> u64 {
        if self.expect == Expect::Anything { self.sent } else { self.verified }
    }

    /// The progress in percent.
    pub fn percent(&self) -> u64 {
        (self.done() * 100).checked_div(self.size).unwrap_or(100)
    }

    /// The average rate of done bytes per second.
    pub fn per_second(&self, now: Millis) -> u64 {
        let until = self.end.map_or(now, |(_, at)| at);
        let span = (until - self.started).max(1.0);
        (self.done() as f64 * 1000.0 / span) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(sent: u64, verified: u64, end: Option<End>) -> Progress {
        let traffic = |bytes| Volume { bytes, messages: 1 };
        Progress { sent: traffic(sent), received: traffic(verified), verified, end }
    }

    #[test]
    fn where_the_echo_is_compared_bytes_are_done_when_they_are_back() {
        let mut transfer = Transfer::new("f".to_owned(), 10, Expect::Upper, 0.0);
        transfer.moved(&progress(10, 3, None), 500.0);
        assert_eq!((transfer.done(), transfer.percent(), transfer.end()), (3, 30, None));
        transfer.moved(&progress(0, 10, Some(End::Done)), 1000.0);
        assert_eq!((transfer.done(), transfer.end()), (10, Some(End::Done)));
        assert_eq!(transfer.per_second(9e9), 10, "time after the end does not count");
    }

    #[test]
    fn without_a_comparison_bytes_are_done_when_they_are_sent() {
        let mut transfer = Transfer::new("f".to_owned(), 10, Expect::Anything, 0.0);
        transfer.moved(&progress(5, 0, None), 500.0);
        assert_eq!((transfer.percent(), transfer.per_second(1000.0)), (50, 5));
    }

    #[test]
    fn the_first_end_counts_and_an_empty_file_is_complete() {
        let mut transfer = Transfer::new("f".to_owned(), 0, Expect::Same, 0.0);
        assert_eq!(transfer.percent(), 100);
        transfer.moved(&progress(0, 0, Some(End::Stopped)), 1.0);
        transfer.moved(&progress(0, 0, Some(End::Lost)), 2.0);
        assert_eq!(transfer.end(), Some(End::Stopped));
    }
}
