//! The command line of `echogate connect`, and which of its options go together.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use clap::value_parser;

use super::{
    Call,
    again::Calls,
    pipe::Pipe,
    prompt::Prompt,
    replies::Wait,
    show::Form,
    source::{Lines, Message, Source, Ticks},
    talk::{Manner, Talk},
    target::Target,
};
use crate::config::parse_duration;

/// The command line of `echogate connect`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES, after_long_help = LONG_EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) call: Call,

    /// Send TEXT as a typed line is sent, and nothing that is typed or piped in
    #[arg(long, short, value_name = "TEXT", help_heading = "What is sent", group = "given")]
    message: Option<String>,

    /// Send the Unix time with its fraction in the same way, as 1532345678.250000
    #[arg(long, help_heading = "What is sent", group = "given")]
    now: bool,

    /// Send --message or --now again each TIME (500ms, 10s, 5m), for the first time at once
    #[arg(long, value_name = "TIME", help_heading = "What is sent")]
    #[arg(value_parser = parse_duration, requires = "given")]
    every: Option<Duration>,

    /// Read and show bytes as hexadecimal text (00 61 ff), a message a line
    #[arg(long, help_heading = "What is sent", conflicts_with = "now")]
    hex: bool,

    /// Send WebSocket messages as text: in a pipe, each line is one
    #[arg(long, help_heading = "What is sent", conflicts_with = "hex")]
    text: bool,

    /// Send WebSocket messages as binary, whatever they come from
    #[arg(long, help_heading = "What is sent", conflicts_with = "text")]
    binary: bool,

    /// End after N messages and their replies
    #[arg(long, short = 'n', value_name = "N", help_heading = "When it ends")]
    #[arg(value_parser = value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Make a new connection for each message, and read its reply to the end
    #[arg(long, help_heading = "When it ends")]
    once: bool,

    /// When the input has ended, end after so long without a word from the server; `forever`:
    /// when the server ends; 0s: at once, no reply being expected. A reply that has not come by
    /// then is a failure [default: 30s for a reply that is missing, then 1s; over TCP, TLS and
    /// Unix sockets, and with --half-close, when the server ends]
    #[arg(long, value_name = "TIME", help_heading = "When it ends")]
    wait: Option<Wait>,

    /// Go on reading until the server ends: the same as --wait forever
    #[arg(long, help_heading = "When it ends", conflicts_with = "wait")]
    stay: bool,

    /// On WebSocket, end our side alone: agree on the subprotocol half-close, and send an
    /// empty binary message for the end of the input
    #[arg(long, help_heading = "When it ends")]
    half_close: bool,

    /// Connect again when the connection is lost or cannot be made, after 0.5 s, then twice
    /// as long, up to 30 s; what has not been sent waits
    #[arg(long, help_heading = "When it ends")]
    reconnect: bool,

    /// Tell each reply's round-trip time: behind it on a terminal, otherwise on the
    /// standard error
    #[arg(long, help_heading = "What is shown")]
    timing: bool,

    /// Show nothing but the replies
    #[arg(long, short, help_heading = "What is shown")]
    quiet: bool,

    /// Do not remember typed lines in $XDG_STATE_HOME/echogate/history
    #[arg(long, help_heading = "What is shown")]
    no_history: bool,
}

const EXAMPLES: &str = "\
Examples:
  echogate connect                                      a prompt, to tcp://127.0.0.1:7007
  printf hello | echogate connect udp://127.0.0.1:7007  a pipe: bytes in, bytes out
  echogate connect --every 10s --now --once tcp://127.0.0.1:7013";

const LONG_EXAMPLES: &str = "\
On a terminal it is a prompt: a line is a message, Ctrl-D ends our side, and what still comes is
shown. In a pipe bytes go in and out as they are, and the end of the input ends our side; with
--once, --count, --hex, --text, --timing or --reconnect each line of the input is a message, too,
and so is each line typed at a terminal into a pipeline, over WebSocket and datagrams.

A line is sent with a newline over a stream, and without one where messages have ends of their own:
over WebSocket (as a text message), UDP and Unix datagram sockets. In a pipe each read of the input
is a datagram, of at most 65,507 bytes over UDP; it waits while 32 of them (8 on a Unix socket) or
64 KiB are unanswered, for at most --wait.

When the input has ended: over TCP, TLS, Unix sockets and with --half-close the server is told so,
and is read from until it ends its side. WebSocket and datagrams have no such end. There a reply
is waited for after the last message (with --message, --now, --count and --once, one for each), for
30 s, and then until nothing has come for 1 s, or for twice as long as the slowest reply took; then
the WebSocket is closed. What a server says before the first message is no reply. --wait TIME sets
one limit for all of that, over every transport.

When the server ends its side first, the input is still sent as long as the server takes it and
there is no pause in it of 1 s or --wait.

Examples:
  echogate connect
      A prompt, to tcp://127.0.0.1:7007.
  printf hello | echogate connect udp://127.0.0.1:7007
      One datagram, and the reply to it.
  echogate connect --every 10s --now --once tcp://127.0.0.1:7013
      The time every ten seconds, each by a connection of its own.
  echogate connect --message ping --count 3 --every 1s --timing unix:///run/echogate.sock
      Three messages, and how long each reply took.
  echo '00 ff 61' | echogate connect --hex wss://echo.example/ --header 'Authorization: Bearer x'
      Bytes that are not text, both ways.
  tail -f log | echogate connect --reconnect tls://collector.example:6514 --ca ca.pem
      Lines to a server that may come and go.
  echogate connect --half-close ws://127.0.0.1:8080/ws <file >answer
      All of a file through the gateway, and all that is answered.
  echogate connect --message subscribe --stay wss://user:password@events.example/
      All that is pushed, until the server ends.
  echo metric:1 | echogate connect --wait 0s udp://127.0.0.1:8125
      A datagram to which there is no reply.

Exit status: 0 done, 1 failed (also when a reply has not come, the input could not be sent whole, or
the output could not be written), 2 used wrongly; one line on the standard error says what.";

/// How the connection is used.
#[derive(Debug)]
pub(super) enum Use {
    /// Bytes in, bytes out.
    Bytes(Pipe),
    /// Messages, one after the other.
    Messages(Box<Talk>),
}

impl Args {
    /// What is to be called, or which options do not go with it or with each other.
    pub(super) fn target(&self) -> Result<Target, String> {
        let target = Target::new(&self.call)?;
        if self.every.is_some_and(|every| every.is_zero()) {
            return Err("--every 0 leaves no time between messages".to_owned());
        }
        if self.count.is_some() && self.is_given() && self.every.is_none() {
            return Err("--count goes with --every where a --message or --now is given".to_owned());
        }
        let target = match (self.text, self.binary) {
            (false, false) => target,
            (text, _) => target.with_form(if text { "--text" } else { "--binary" })?,
        };
        if self.half_close { target.with_half_close() } else { Ok(target) }
    }

    pub(super) fn calls(&self) -> Calls {
        Calls { once: self.once, reconnect: self.reconnect, wait: self.wait() }
    }

    /// How long the server is waited for when the input has ended.
    fn wait(&self) -> Wait {
        if self.stay { Wait::Forever } else { self.wait.unwrap_or_default() }
    }

    /// How the connection is used, by the options and what the standard streams are.
    pub(super) fn to_use(&self) -> Result<Use, String> {
        let (input, output) = (io::stdin().is_terminal(), io::stdout().is_terminal());
        let form = Form { people: output, hex: self.hex };
        let wait = self.wait();
        let manner = Manner {
            form,
            timing: self.timing,
            quiet: self.quiet,
            once: self.once,
            reconnect: self.reconnect,
            wait,
            ends_by_silence: self.once || self.count.is_some(),
        };
        let talk = if self.is_given() {
            let ticks = Ticks::new(self.given()?, self.every);
            Talk::new(Source::Ticks(ticks), self.count, manner)
        } else if input && output {
            let prompt = Prompt { url: self.call.url().to_string(), history: !self.no_history };
            Talk::at(prompt, self.count, manner)
        } else if self.takes_lines(input) {
            Talk::new(Source::Lines(Lines::new(tokio::io::stdin())), self.count, manner)
        } else {
            return Ok(Use::Bytes(Pipe { wait }));
        };
        Ok(Use::Messages(Box::new(talk)))
    }

    /// Whether each line of an input without a prompt is a message. Of a terminal, where lines
    /// are typed, each is, unless the connection has no messages.
    fn takes_lines(&self, typed: bool) -> bool {
        let asked = self.once || self.hex || self.timing || self.reconnect || self.text;
        asked || self.count.is_some() || typed && !self.binary && self.call.has_messages()
    }

    /// Whether it is given what is to be sent.
    fn is_given(&self) -> bool {
        self.now || self.message.is_some()
    }

    /// What is to be sent, where nothing else is.
    fn given(&self) -> Result<Message, String> {
        match &self.message {
            Some(text) => {
                Message::new(text.clone(), self.hex).map_err(|e| format!("--message: {e}"))
            }
            None => Ok(Message::Now),
        }
    }
}
