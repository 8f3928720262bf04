//! The command line of `echogate connect`, and the mode that it selects.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use clap::value_parser;

use super::{
    modes::{
        Mode,
        messages::{
            MessageOptions, Messages,
            output::OutputFormat,
            prompt::Prompt,
            source::{InputLines, Message, Source, Timer},
        },
        pipe::Pipe,
    },
    pending_replies::Wait,
    reconnect::ConnectionPolicy,
    target::Target,
    target_args::TargetArgs,
};
use crate::config::parse_duration;

/// The command line of `echogate connect`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES, after_long_help = LONG_EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) target: TargetArgs,

    /// Send TEXT, as a typed line is sent, instead of the input
    #[arg(long, short, value_name = "TEXT", help_heading = "Messages", group = "given")]
    message: Option<String>,

    /// Send the Unix time with its fraction, such as 1532345678.250000, instead of the input
    #[arg(long, help_heading = "Messages", group = "given")]
    now: bool,

    /// Repeat --message or --now every TIME (500ms, 10s, 5m), beginning at once
    #[arg(long, value_name = "TIME", help_heading = "Messages")]
    #[arg(value_parser = parse_duration, requires = "given")]
    every: Option<Duration>,

    /// Read and write hexadecimal text (00 61 ff), one message per line
    #[arg(long, help_heading = "Messages", conflicts_with = "now")]
    hex: bool,

    /// Send WebSocket text messages: in a pipe, one for each line
    #[arg(long, help_heading = "Messages", conflicts_with = "hex")]
    text: bool,

    /// Send WebSocket binary messages, also for lines
    #[arg(long, help_heading = "Messages", conflicts_with = "text")]
    binary: bool,

    /// Exit after N messages and their replies
    #[arg(long, short = 'n', value_name = "N", help_heading = "End of the session")]
    #[arg(value_parser = value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Make a new connection for each message, and read its reply to the end
    #[arg(long, help_heading = "End of the session")]
    once: bool,

    /// After the end of the input, exit when the server has been silent for TIME; `forever`: when
    /// the server ends; 0s: at once, expecting no reply. A reply that has not come by then is a
    /// failure [default: 30s for a pending reply, then 1s; over TCP, TLS and Unix sockets, and with
    /// --half-close, when the server ends]
    #[arg(long, value_name = "TIME", help_heading = "End of the session")]
    wait: Option<Wait>,

    /// Continue to read until the server ends: the same as --wait forever
    #[arg(long, help_heading = "End of the session", conflicts_with = "wait")]
    stay: bool,

    /// Half-close a WebSocket: require the subprotocol half-close, and send an empty binary message
    /// at the end of the input
    #[arg(long, help_heading = "End of the session")]
    half_close: bool,

    /// Reconnect when the connection is lost or cannot be made: after 0.5 s, then twice as long, up
    /// to 30 s. Messages that have not been sent are kept
    #[arg(long, help_heading = "End of the session")]
    reconnect: bool,

    /// Show the round-trip time of each reply: behind the reply on a terminal, otherwise on the
    /// standard error
    #[arg(long, help_heading = "Output")]
    timing: bool,

    /// Show nothing but the replies
    #[arg(long, short, help_heading = "Output")]
    quiet: bool,

    /// Do not keep typed lines in $XDG_STATE_HOME/echogate/history
    #[arg(long, help_heading = "Output")]
    no_history: bool,
}

const EXAMPLES: &str = "\
Examples:
  echogate connect                                      a prompt, to tcp://127.0.0.1:7007
  printf hello | echogate connect udp://127.0.0.1:7007  a pipe: bytes in, bytes out
  echogate connect --every 10s --now --once tcp://127.0.0.1:7013";

const LONG_EXAMPLES: &str = "\
On a terminal, connect is a prompt: each line is a message, and Ctrl-D ends the input. In a pipe,
bytes are sent and written unchanged. With --once, --count, --hex, --text, --timing or --reconnect
each line of the input is a message instead; so is each line typed into a pipeline over WebSocket
and datagrams.

A line is sent with a newline over a byte stream. Over WebSocket (as a text message), UDP and Unix
datagram sockets it is sent without one, since messages have boundaries there. In a pipe over
datagrams each read of the input is one datagram, of at most 65,507 bytes over UDP. The client
pauses while 32 datagrams (8 over a Unix socket) or 64 KiB are unanswered, for at most --wait.

At the end of the input, the client half-closes TCP, TLS and Unix sockets, and WebSocket with
--half-close, and reads until the server ends. WebSocket and datagrams have no half-close: there the
client waits up to 30 s for a reply after the last message (with --message, --now, --count and
--once, for one reply per message), then until nothing has come for 1 s, or for twice the slowest
reply time; then it closes the WebSocket. Messages that the server sends before the first one of the
client are no replies. --wait TIME sets one limit for all of this, over every transport.

If the server ends its direction first, the input is still sent, until it pauses for 1 s or --wait,
or the server refuses it.

Examples:
  echogate connect
      A prompt, to tcp://127.0.0.1:7007.
  printf hello | echogate connect udp://127.0.0.1:7007
      One datagram and its reply.
  echogate connect --every 10s --now --once tcp://127.0.0.1:7013
      The time every ten seconds, each over a new connection.
  echogate connect --message ping --count 3 --every 1s --timing unix:///run/echogate.sock
      Three messages, and the round-trip time of each reply.
  echo '00 ff 61' | echogate connect --hex wss://echo.example/ --header 'Authorization: Bearer x'
      Binary data in hexadecimal, in both directions.
  tail -f log | echogate connect --reconnect tls://collector.example:6514 --ca ca.pem
      Lines to a server that is not always available.
  echogate connect --half-close ws://127.0.0.1:8080/ws <file >answer
      A whole file through the gateway, and the whole reply.
  echogate connect --message subscribe --stay wss://user:password@events.example/
      All messages that the server pushes, until it ends.
  echo metric:1 | echogate connect --wait 0s udp://127.0.0.1:8125
      A datagram without a reply.

Exit status: 0 success; 1 failure (including a missing reply, an input that could not be sent
completely, or an output that could not be written); 2 invalid usage. One line on the standard error
gives the reason.";

impl Args {
    /// The validated target.
    pub(super) fn target(&self) -> Result<Target, String> {
        let target = Target::new(&self.target)?;
        if self.every.is_some_and(|every| every.is_zero()) {
            return Err("--every 0 is invalid: the interval must be longer than 0".to_owned());
        }
        if self.count.is_some() && self.is_given() && self.every.is_none() {
            return Err("--count with --message or --now requires --every".to_owned());
        }
        let target = match (self.text, self.binary) {
            (false, false) => target,
            (text, _) => target.with_format(if text { "--text" } else { "--binary" })?,
        };
        if self.half_close { target.with_half_close() } else { Ok(target) }
    }

    /// The rules by which connections are made.
    pub(super) fn policy(&self) -> ConnectionPolicy {
        ConnectionPolicy { once: self.once, reconnect: self.reconnect, wait: self.wait() }
    }

    /// The limit of the wait for replies when the input has ended.
    fn wait(&self) -> Wait {
        if self.stay { Wait::Forever } else { self.wait.unwrap_or_default() }
    }

    /// The mode that the options and the standard streams select.
    pub(super) fn mode(&self) -> Result<Mode, String> {
        let (input, output) = (io::stdin().is_terminal(), io::stdout().is_terminal());
        let wait = self.wait();
        let options = MessageOptions {
            format: OutputFormat { terminal: output, hex: self.hex },
            timing: self.timing,
            quiet: self.quiet,
            once: self.once,
            reconnect: self.reconnect,
            wait,
            ends_by_silence: self.once || self.count.is_some(),
        };
        let messages = if self.is_given() {
            let timer = Timer::new(self.given()?, self.every);
            Messages::new(Source::Timer(timer), self.count, options)
        } else if input && output {
            let prompt = Prompt { url: self.target.url().to_string(), history: !self.no_history };
            Messages::with_prompt(prompt, self.count, options)
        } else if self.takes_lines(input) {
            let lines = InputLines::new(tokio::io::stdin());
            Messages::new(Source::Lines(lines), self.count, options)
        } else {
            return Ok(Mode::Pipe(Pipe { wait }));
        };
        Ok(Mode::Messages(Box::new(messages)))
    }

    /// Whether each line of an input without a prompt is a message: if an option requires it, or
    /// if the input is a terminal and the transport preserves message boundaries.
    fn takes_lines(&self, typed: bool) -> bool {
        let required = self.once || self.hex || self.timing || self.reconnect || self.text;
        required || self.count.is_some() || typed && !self.binary && self.target.has_messages()
    }

    /// Whether the message to send is given on the command line.
    fn is_given(&self) -> bool {
        self.now || self.message.is_some()
    }

    /// The message given on the command line.
    fn given(&self) -> Result<Message, String> {
        match &self.message {
            Some(text) => {
                Message::new(text.clone(), self.hex).map_err(|e| format!("--message: {e}"))
            }
            None => Ok(Message::Now),
        }
    }
}
