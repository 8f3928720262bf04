//! The output of received messages: unchanged for programs, as escaped lines on a terminal, or as
//! hexadecimal text.

use std::{
    io::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use echogate_proto::hex;
use tokio::io::AsyncWriteExt;

use super::{round_trips::RoundTrips, terminal_lines::TerminalLines};
use crate::{client::session::SessionError, terminal::Screen};

/// The destination of the output.
#[derive(Debug)]
pub(super) enum Output {
    /// The terminal, above the prompt.
    Screen(ScreenGuard),
    /// The standard output.
    Stdout,
}

/// A guard that restores the terminal on drop.
#[derive(Debug)]
pub(super) struct ScreenGuard(pub(super) Arc<Screen>);

impl Drop for ScreenGuard {
    fn drop(&mut self) {
        // Closing a closed screen has no effect.
        self.0.close().ok();
    }
}

impl Output {
    /// Writes replies.
    pub(super) async fn write(&self, shown: &[u8]) -> Result<(), SessionError> {
        let written = match self {
            Output::Screen(ScreenGuard(screen)) => {
                screen.show(&String::from_utf8_lossy(shown)).await
            }
            Output::Stdout => {
                let mut output = tokio::io::stdout();
                match output.write_all(shown).await {
                    Ok(()) => output.flush().await,
                    failed => failed,
                }
            }
        };
        written.map_err(SessionError::Output)
    }

    /// Writes a notice about the connection: on the terminal, or to the standard error.
    pub(super) async fn notice(&self, text: &str) -> Result<(), SessionError> {
        match self {
            Output::Screen(_) => self.write(format!("{text}\n").as_bytes()).await,
            Output::Stdout => {
                writeln!(io::stderr(), "{text}").ok();
                Ok(())
            }
        }
    }
}

/// The format of replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) struct OutputFormat {
    /// Escaped lines for a terminal.
    pub(in crate::client) terminal: bool,
    /// Hexadecimal text.
    pub(in crate::client) hex: bool,
}

/// A formatter of what is received on one connection.
#[derive(Debug)]
pub(super) struct Formatter {
    format: OutputFormat,
    lines: TerminalLines,
    /// Part of a line has been written unchanged, and its end has not been received.
    partial_line: bool,
    /// The round-trip times, with `--timing`.
    round_trips: Option<RoundTrips>,
}

impl Formatter {
    pub(super) fn new(format: OutputFormat, timing: bool) -> Formatter {
        let round_trips = timing.then(RoundTrips::default);
        Formatter { format, lines: TerminalLines::default(), partial_line: false, round_trips }
    }

    /// Counts a message as sent.
    pub(super) fn sent(&mut self, at: Instant) {
        if let Some(round_trips) = &mut self.round_trips {
            round_trips.sent(at);
        }
    }

    /// Formats the next bytes of a stream. Each line is a reply; in hexadecimal, each read is.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        match self.format {
            OutputFormat { hex: true, .. } => self.reply(hex::encode(bytes)),
            OutputFormat { terminal: true, .. } => {
                let lines = self.lines.push(bytes);
                lines.into_iter().flat_map(|line| self.reply(line)).collect()
            }
            OutputFormat { terminal: false, .. } => {
                bytes.iter().filter(|byte| **byte == b'\n').for_each(|_| self.write_time());
                self.partial_line = bytes.last() != Some(&b'\n');
                bytes.to_vec()
            }
        }
    }

    /// Formats a message, which is one reply.
    pub(super) fn message(&mut self, message: &[u8]) -> Vec<u8> {
        match self.format {
            OutputFormat { hex: true, .. } => self.reply(hex::encode(message)),
            OutputFormat { terminal: true, .. } => {
                let mut lines = TerminalLines::default();
                let mut shown = lines.push(message);
                shown.extend(lines.take_rest());
                self.reply(shown.join("\n"))
            }
            OutputFormat { terminal: false, .. } => {
                self.write_time();
                let end: &[u8] = if message.ends_with(b"\n") { b"" } else { b"\n" };
                [message, end].concat()
            }
        }
    }

    /// Whether part of a line, or its round-trip time, is held back.
    pub(super) fn has_rest(&self) -> bool {
        self.lines.has_rest() || self.partial_line
    }

    /// Formats the part of a line that is held back.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        if std::mem::take(&mut self.partial_line) {
            self.write_time();
        }
        self.lines.take_rest().map_or_else(Vec::new, |line| self.reply(line))
    }

    /// Formats a reply as a line; on a terminal its round-trip time follows in the same line.
    fn reply(&mut self, text: String) -> Vec<u8> {
        let mut shown = text;
        if !self.format.terminal {
            self.write_time();
        } else if let Some(time) = self.time() {
            shown += &format!("  ({time})");
        }
        shown.push('\n');
        shown.into()
    }

    /// Writes the round-trip time to the standard error, apart from the reply.
    fn write_time(&mut self) {
        if let Some(time) = self.time() {
            writeln!(io::stderr(), "{time}").ok();
        }
    }

    /// The round-trip time of a reply that is received now.
    fn time(&mut self) -> Option<String> {
        self.round_trips.as_mut()?.received(Instant::now()).map(format_time)
    }
}

/// Formats a round-trip time.
pub(super) fn format_time(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(terminal: bool, hex: bool, bytes: &[u8], message: &[u8]) -> String {
        let mut formatter = Formatter::new(OutputFormat { terminal, hex }, false);
        let all = [formatter.bytes(bytes), formatter.rest(), formatter.message(message)].concat();
        String::from_utf8_lossy(&all).into_owned()
    }

    #[test]
    fn a_program_gets_a_stream_unchanged_and_messages_as_lines() {
        assert_eq!(shown(false, false, b"a\x1b\nb", b"c\nd"), "a\x1b\nbc\nd\n");
        assert_eq!(shown(false, false, b"", b"with its own\n"), "with its own\n");
    }

    #[test]
    fn a_terminal_gets_escaped_lines() {
        assert_eq!(shown(true, false, b"a\x1b\nb", b"c\nd\x07"), "a\\x1b\nb\nc\nd\\x07\n");
    }

    #[test]
    fn hexadecimal_text_is_a_line_for_each_read_and_message() {
        for terminal in [true, false] {
            assert_eq!(shown(terminal, true, b"a\xff\n", b""), "61 ff 0a\n\n");
        }
    }
}
