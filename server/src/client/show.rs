//! What is shown of what comes: as it is for programs, escaped and in lines for people,
//! or as hexadecimal text for both.

use std::{
    io::{self, Write},
    sync::Arc,
    time::{Duration, Instant},
};

use echogate_proto::hex;
use tokio::io::AsyncWriteExt;

use super::{lines::Lines, link::Stop, timing::RoundTrips};
use crate::terminal::Screen;

/// Where it is shown.
#[derive(Debug)]
pub(super) enum Sink {
    /// On a terminal, above the prompt.
    Screen(Held),
    /// On the standard output.
    Output,
}

/// A terminal that was taken over, and is given back however the conversation ends.
#[derive(Debug)]
pub(super) struct Held(pub(super) Arc<Screen>);

impl Drop for Held {
    fn drop(&mut self) {
        // Nothing is left to be done where it has been closed before.
        self.0.close().ok();
    }
}

impl Sink {
    /// Shows replies.
    pub(super) async fn show(&self, shown: &[u8]) -> Result<(), Stop> {
        let written = match self {
            Sink::Screen(Held(screen)) => screen.show(&String::from_utf8_lossy(shown)).await,
            Sink::Output => {
                let mut output = tokio::io::stdout();
                match output.write_all(shown).await {
                    Ok(()) => output.flush().await,
                    failed => failed,
                }
            }
        };
        written.map_err(Stop::Output)
    }

    /// Says something about the connection, beside the replies.
    pub(super) async fn say(&self, words: &str) -> Result<(), Stop> {
        match self {
            Sink::Screen(_) => self.show(format!("{words}\n").as_bytes()).await,
            Sink::Output => {
                writeln!(io::stderr(), "{words}").ok();
                Ok(())
            }
        }
    }
}

/// In which form replies are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Form {
    /// To a terminal: nothing in it may act on that.
    pub(super) people: bool,
    pub(super) hex: bool,
}

/// What comes on one connection, made fit to be shown.
#[derive(Debug)]
pub(super) struct Show {
    form: Form,
    lines: Lines,
    /// A line that has been shown as it is and has not come to its end.
    half: bool,
    /// What round-trip times are told from, if they are wanted.
    trips: Option<RoundTrips>,
}

impl Show {
    pub(super) fn new(form: Form, timing: bool) -> Show {
        let trips = timing.then(RoundTrips::default);
        Show { form, lines: Lines::default(), half: false, trips }
    }

    /// A message goes out.
    pub(super) fn sent(&mut self, at: Instant) {
        if let Some(trips) = &mut self.trips {
            trips.sent(at);
        }
    }

    /// The next bytes of a stream: each line of it is a reply, but in hexadecimal all that
    /// came at once.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Vec<u8> {
        match self.form {
            Form { hex: true, .. } => self.reply(hex::encode(bytes)),
            Form { people: true, .. } => {
                let lines = self.lines.push(bytes);
                lines.into_iter().flat_map(|line| self.reply(line)).collect()
            }
            Form { people: false, .. } => {
                bytes.iter().filter(|byte| **byte == b'\n').for_each(|_| self.tell_time());
                self.half = bytes.last() != Some(&b'\n');
                bytes.to_vec()
            }
        }
    }

    /// A message: all its lines are one reply.
    pub(super) fn message(&mut self, message: &[u8]) -> Vec<u8> {
        match self.form {
            Form { hex: true, .. } => self.reply(hex::encode(message)),
            Form { people: true, .. } => {
                let mut lines = Lines::default();
                let mut shown = lines.push(message);
                shown.extend(lines.take_rest());
                self.reply(shown.join("\n"))
            }
            Form { people: false, .. } => {
                self.tell_time();
                let end: &[u8] = if message.ends_with(b"\n") { b"" } else { b"\n" };
                [message, end].concat()
            }
        }
    }

    /// Whether a part of a line is held back, or its time.
    pub(super) fn has_rest(&self) -> bool {
        self.lines.has_rest() || self.half
    }

    /// A line as far as it has come.
    pub(super) fn rest(&mut self) -> Vec<u8> {
        if std::mem::take(&mut self.half) {
            self.tell_time();
        }
        self.lines.take_rest().map_or_else(Vec::new, |line| self.reply(line))
    }

    /// A reply as a line of text, its time behind it where people read it.
    fn reply(&mut self, text: String) -> Vec<u8> {
        let mut shown = text;
        if !self.form.people {
            self.tell_time();
        } else if let Some(time) = self.time() {
            shown += &format!("  ({time})");
        }
        shown.push('\n');
        shown.into()
    }

    /// Says the round-trip time apart from the reply, which is for a program.
    fn tell_time(&mut self) {
        if let Some(time) = self.time() {
            writeln!(io::stderr(), "{time}").ok();
        }
    }

    /// The round-trip time of a reply that is here now.
    fn time(&mut self) -> Option<String> {
        self.trips.as_mut()?.received(Instant::now()).map(in_ms)
    }
}

/// A time as it is shown.
fn in_ms(time: Duration) -> String {
    format!("{:.3} ms", time.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(people: bool, hex: bool, bytes: &[u8], message: &[u8]) -> String {
        let mut show = Show::new(Form { people, hex }, false);
        let all = [show.bytes(bytes), show.rest(), show.message(message)].concat();
        String::from_utf8_lossy(&all).into_owned()
    }

    #[test]
    fn programs_get_a_stream_as_it_is_and_messages_as_lines() {
        assert_eq!(shown(false, false, b"a\x1b\nb", b"c\nd"), "a\x1b\nbc\nd\n");
        assert_eq!(shown(false, false, b"", b"with its own\n"), "with its own\n");
    }

    #[test]
    fn people_get_lines_that_do_nothing_to_their_terminal() {
        assert_eq!(shown(true, false, b"a\x1b\nb", b"c\nd\x07"), "a\\x1b\nb\nc\nd\\x07\n");
    }

    #[test]
    fn hexadecimal_text_is_a_line_for_each_that_came() {
        for people in [true, false] {
            assert_eq!(shown(people, true, b"a\xff\n", b""), "61 ff 0a\n\n");
        }
    }
}
