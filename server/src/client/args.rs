//! The command line of `echogate connect`, and the mode that it selects.

use std::{path::PathBuf, time::Duration};

use echogate_proto::endpoint::Endpoint;

use super::{
    modes::{
        Mode,
        messages::source::{Message, Timer},
    },
    pending_replies::Wait,
    reconnect::ConnectionPolicy,
    session_args::{SessionArgs, SessionPlan},
    target::Target,
    target_args::TargetArgs,
    transport::TransportOptions,
};
use crate::config::{parse_count, parse_duration};

/// The command line of `echogate connect`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES, after_long_help = LONG_EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) target: TargetArgs,

    #[command(flatten)]
    pub(super) session: SessionArgs,

    /// Record what is sent and received into FILE, whose name ends in .pcapng (packets, for
    /// Wireshark), .jsonl (one event per line) or .har (WebSocket messages, for browsers). An
    /// existing file is replaced when a connection is made
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) record: Option<PathBuf>,

    /// Send TEXT, as a typed line is sent, instead of the input
    #[arg(long, short, value_name = "TEXT", help_heading = "Messages", group = "given")]
    message: Option<String>,

    /// Send the Unix time with its fraction, such as 1532345678.250000, instead of the input
    #[arg(long, help_heading = "Messages", group = "given", conflicts_with = "hex")]
    now: bool,

    /// Repeat --message or --now every TIME (500ms, 10s, 5m), beginning at once
    #[arg(long, value_name = "TIME", help_heading = "Messages")]
    #[arg(value_parser = parse_duration, requires = "given")]
    every: Option<Duration>,

    /// Exit after N messages and their replies. Over WebSocket and with datagrams the last reply
    /// ends the session at once
    #[arg(long, short = 'n', value_name = "N", help_heading = "End of the session")]
    #[arg(value_parser = parse_count::<u64>)]
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

    /// Reconnect when the connection is lost or cannot be made: the first time after a random time
    /// of up to 1.5 s, later after up to 30 s. Messages that have not been sent are kept
    #[arg(long, help_heading = "End of the session")]
    reconnect: bool,

    /// Show the round-trip time of each reply: after the reply on a terminal, otherwise on the
    /// standard error
    #[arg(long, help_heading = "Output")]
    timing: bool,
}

const EXAMPLES: &str = "\
Examples:
  echogate connect                                      a prompt, to tcp://127.0.0.1:7007
  printf hello | echogate connect udp://127.0.0.1:7007  a pipe: bytes in, bytes out
  echogate connect --every 10s --now --once tcp://127.0.0.1:7013";

const LONG_EXAMPLES: &str = "\
On a terminal, connect is a prompt: each line is a message, and Ctrl-D ends the input. In a pipe, \
bytes are sent and written unchanged. Over WebSocket without --binary, and with --once, --count, \
--hex, --timing or --reconnect, each line of the input is a message instead, and each message \
received is written as a line. The same holds for datagrams if the input is a terminal.

A line is sent with a newline over a byte stream (CR LF with --crlf). Over WebSocket (as a text \
message), UDP and Unix datagram sockets it is sent without one, since messages have boundaries \
there. In a pipe over datagrams each read of the input is one datagram, of at most 65,507 bytes over \
UDP. The client pauses while 32 datagrams (8 over a Unix socket) or 64 KiB are unanswered, for at \
most --wait.

At the end of the input, the client half-closes TCP, TLS and Unix sockets, and WebSocket with \
--half-close, and reads until the server ends. After an input without a byte, such as /dev/null, \
the client half-closes only when the server has ended, or has sent nothing for 1 s (--wait). \
WebSocket and datagrams have no half-close: there the client waits up to 30 s for a reply after the \
last message (with --message, --now, --count and --once, for one reply per message), then, except \
with --count, until nothing has come for 1 s, or for twice the slowest reply time; then it closes \
the WebSocket. Messages that the server sends before the client's first message are not replies. \
--wait TIME sets one limit for all of this, over every transport.

Over WebSocket, lines typed at the prompt that begin with a slash are commands: /ping [TEXT], \
/pong [TEXT] and /close [CODE [REASON]]; a line that begins with // is sent with one slash. In a pipe \
there are no commands.

A pipe over TCP or TLS that is cut, because this process is killed or fails, resets the connection, \
so that the server does not take a part of the input for all of it. So does a session that is cut \
while it sends lines of a pipe, or --message or --now with --count.

If the server ends its direction first, the input is still sent, until the input pauses for 1 s \
(--wait) or the server refuses it. After such a pause the rest is not sent: a notice says so, and the \
connection is reset as soon as the server's system has acknowledged what was sent. The status is 1 if \
that system acknowledges nothing for 60 s.

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
  echo '{\"op\":1}' | echogate connect -H 'X-Key: abc' https://api.example/socket
      A text message over WebSocket, and its reply.
  echogate connect -v --crlf mail.example 25
      A prompt to a host and port, with the steps of the connection.
  echogate connect --half-close --binary ws://127.0.0.1:8080/ws <file >answer
      A whole file through the gateway, and the whole reply.
  echogate connect --message subscribe --stay wss://user:password@events.example/
      All messages that the server pushes, until it ends.
  echo metric:1 | echogate connect --wait 0s udp://127.0.0.1:8125
      A datagram without a reply.

Exit status: 0 success; 1 failure (including a missing reply, an input that could not be sent \
completely, or an output or a recording that could not be written); 2 invalid usage. One line on \
the standard error gives the reason.";

impl Args {
    /// The validated target at `endpoint`.
    pub(super) fn target(&self, endpoint: &Endpoint) -> Result<Target, String> {
        let target = Target::new(endpoint, &self.target)?;
        if self.every.is_some_and(|every| every.is_zero()) {
            return Err("--every 0 is invalid: the interval must be longer than 0".to_owned());
        }
        if self.count.is_some_and(|n| n > 1) && self.is_given() && self.every.is_none() {
            return Err(
                "--count N above 1 with --message or --now requires --every TIME".to_owned()
            );
        }
        self.session.check(target.traffic())?;
        let target = if self.session.binary { target.with_binary() } else { target };
        if self.half_close { target.with_half_close() } else { Ok(target) }
    }

    /// The rules by which connections are made.
    pub(super) fn policy(&self) -> ConnectionPolicy {
        ConnectionPolicy {
            once: self.once,
            reconnect: self.reconnect,
            transport: TransportOptions {
                silence: self.wait().silence(),
                crlf: self.session.crlf,
                verbose: self.session.verbose,
                reset_when_cut: false,
                recorder: None,
            },
        }
    }

    /// The limit of the wait for replies when the input has ended.
    fn wait(&self) -> Wait {
        if self.stay { Wait::Forever } else { self.wait.unwrap_or_default() }
    }

    /// The mode for the target at `url`, as the options and the standard streams select it.
    pub(super) fn mode(&self, target: &Target, url: &str) -> Result<Mode, String> {
        let message = self.is_given().then(|| self.given()).transpose()?;
        Ok(self.session.mode(SessionPlan {
            traffic: target.traffic(),
            url: url.to_owned(),
            timer: message.map(|message| Timer::new(message, self.every)),
            count: self.count,
            once: self.once,
            reconnect: self.reconnect,
            timing: self.timing,
            wait: self.wait(),
            command_handles_signals: self.record.is_some(),
        }))
    }

    /// Whether the message to send is given on the command line.
    fn is_given(&self) -> bool {
        self.now || self.message.is_some()
    }

    /// The message given on the command line.
    fn given(&self) -> Result<Message, String> {
        match &self.message {
            Some(text) => {
                Message::new(text.clone(), self.session.hex).map_err(|e| format!("--message: {e}"))
            }
            None => Ok(Message::Now),
        }
    }
}
