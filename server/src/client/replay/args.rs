//! The command line of `echogate replay`.

use std::{path::PathBuf, sync::Arc, time::Duration};

use echogate_proto::endpoint::{Address, Endpoint};

use crate::{
    client::{
        Error,
        compare::{MAX_TARGET, OutputArgs, Selection},
        recording_file::FileWriter,
        target::{Target, schemes},
        target_args::TargetArgs,
    },
    config::{AllowedOrigin, parse_duration},
    recording::{
        head,
        model::{RecordedConnection, Traffic},
    },
    text::escape::first_line,
};

/// The command line of `echogate replay`.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES, after_long_help = LONG_EXAMPLES)]
pub(crate) struct ReplayArgs {
    /// The recording: pcap, pcapng, HAR or JSON Lines
    #[arg(value_name = "FILE")]
    pub(super) file: PathBuf,

    #[command(flatten)]
    pub(super) target: TargetArgs,

    #[command(flatten)]
    pub(super) selection: Selection,

    /// Play the server's side: listen on URL, and answer as the server did
    #[arg(long, help_heading = "Server")]
    pub(super) serve: bool,

    /// Begin again after the last connection, until Ctrl-C
    #[arg(long = "loop", help_heading = "Server", requires = "serve")]
    pub(super) repeat: bool,

    /// Accept web pages of this origin, such as http://localhost:3000 (ws, wss; repeatable)
    #[arg(long, value_name = "ORIGIN", help_heading = "Server", requires = "serve")]
    pub(super) allow_origin: Vec<AllowedOrigin>,

    /// Play at this many times the recorded speed, such as 10 or 0.5. max: without pauses; a
    /// connection begins when all those have ended that had ended before it in the recording
    /// [default: 1]
    #[arg(long, value_name = "N", help_heading = "Time", conflicts_with = "paced_by_peer")]
    #[arg(value_parser = parse_speed)]
    speed: Option<Pace>,

    /// Send each message when the other side has sent as much as it had before that message in the
    /// recording (default with --serve)
    #[arg(long, help_heading = "Time")]
    paced_by_peer: bool,

    /// Give up a connection when the other side is silent for TIME longer than in the recording
    /// [default: 5s; with --serve never]
    #[arg(long, value_name = "TIME", help_heading = "Time", value_parser = parse_duration)]
    timeout: Option<Duration>,

    /// Record the replayed connections into FILE, whose name ends in .pcapng, .jsonl or .har. An
    /// existing file is replaced when a connection begins
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    record: Option<PathBuf>,

    /// Compare the replayed connections with the recording; a difference is a failure
    #[arg(long, help_heading = "Result", conflicts_with = "serve")]
    pub(super) compare: bool,

    #[command(flatten, next_help_heading = "Result")]
    pub(super) output: OutputArgs,
}

const EXAMPLES: &str = "\
Examples:
  echogate replay session.pcapng tcp://127.0.0.1:6379
  echogate replay browser.har ws://127.0.0.1:8080 --compare --ignore '\"time\":[0-9.]+'
  echogate replay --serve session.jsonl tcp://127.0.0.1:7000";

const LONG_EXAMPLES: &str = "\
The recording may be one of this program, a capture (tcpdump -w, Wireshark), or a HAR of Chrome or \
mitmproxy. Streams, WebSocket messages and datagrams need an endpoint of the same kind. A capture of \
TLS is encrypted, and cannot be replayed.

A WebSocket is opened with the recorded subprotocol, and with the recorded path and query unless the \
URL has a path. Other headers of the recording, such as cookies, are not sent: see --header. Pings are \
answered when they come, so that recorded answers to Pings are not sent.

At any speed, an end (half-close, Close, reset) waits until the other side has sent what it had sent \
before. A connection whose end is not in the recording is ended regularly.

With --serve, the first client gets the first connection of the recording, the second client the second \
one, and so on; then this program exits, or begins again (--loop). What clients send is compared with \
the recording.

Examples:
  tcpdump -i lo -w session.pcap port 6379
  echogate replay session.pcap tcp://127.0.0.1:6380 --paced-by-peer --compare
      A capture of a client of Redis, played against another server.
  echogate replay browser.har ws://127.0.0.1:8080 --speed max --compare --junit result.xml
      WebSocket messages of a browser as a test in CI.
  echogate replay session.jsonl wss://echo.example/ -H 'Authorization: Bearer x' --connection 2
      One connection, with a token that recordings do not have.
  echogate replay --serve session.jsonl ws://127.0.0.1:9000 --loop
      A mock server from a recording.

Exit status: 0 success; 1 failure, including a difference (--compare) and a client that has sent \
something else (--serve); 2 invalid usage, or a file that cannot be read.";

/// The times of the steps.
#[derive(Clone, Copy, Debug)]
pub(super) enum Pace {
    /// As recorded, this many times as fast.
    Recorded(f64),
    /// At once.
    Immediate,
    /// When the peer has sent as much as before the step in the recording.
    ByPeer,
}

/// Parses `--speed`.
fn parse_speed(text: &str) -> Result<Pace, String> {
    if text == "max" {
        return Ok(Pace::Immediate);
    }
    let times = text.parse().ok().filter(|times| (1e-3..=1e6).contains(times));
    let expected = || "expected a number from 0.001 to 1000000, or max".to_owned();
    times.map(Pace::Recorded).ok_or_else(expected)
}

impl ReplayArgs {
    pub(super) fn pace(&self) -> Pace {
        let by_peer = self.paced_by_peer || self.serve;
        self.speed.unwrap_or(if by_peer { Pace::ByPeer } else { Pace::Recorded(1.0) })
    }

    /// The limit of the peer's silence, in addition to the longest one in the recording.
    pub(super) fn silence(&self) -> Option<Duration> {
        self.timeout.or((!self.serve).then_some(Duration::from_secs(5)))
    }

    /// The file of `--record`.
    pub(super) fn output(&self, traffic: Traffic) -> Result<Option<Arc<FileWriter>>, Error> {
        let file = self.record.as_deref().map(|path| FileWriter::open(path, traffic));
        file.transpose().map_err(Error::Usage)
    }

    /// Whether the replayed connections are compared with the recording.
    pub(super) fn compares(&self) -> bool {
        self.compare || self.serve
    }

    /// Rejects options that have no effect.
    pub(super) fn check(&self) -> Result<(), Error> {
        let output = [
            ("--ignore", !self.output.ignore.is_empty() && !self.serve),
            ("--json", self.output.json),
            ("--junit", self.output.junit.is_some()),
        ];
        match output.iter().find(|(_, given)| *given && !self.compare) {
            Some((flag, _)) => Err(Error::Usage(format!("{flag} requires --compare"))),
            None => Ok(()),
        }
    }

    /// The target for a recorded connection. The recorded path and subprotocol are used unless the
    /// command line has others.
    pub(super) fn target(
        &self,
        endpoint: &Endpoint,
        connection: &RecordedConnection,
    ) -> Result<Target, String> {
        let (mut endpoint, mut args) = (endpoint.clone(), self.target.clone());
        if let Address::Ws(_, path) | Address::Wss(_, path) = &mut endpoint.address {
            let recorded = connection.opened.request.as_deref().and_then(head::target);
            if let Some(recorded) = recorded.filter(|recorded| path == "/" && is_target(recorded)) {
                recorded.clone_into(path);
            }
            if args.protocol.is_empty() {
                args.protocol.extend(connection.opened.protocol.clone());
            }
        }
        Target::new(&endpoint, &args)
    }

    /// Rejects connections whose traffic is not that of the endpoint.
    pub(super) fn check_traffic(
        &self,
        connections: &[RecordedConnection],
        traffic: Traffic,
    ) -> Result<(), Error> {
        for connection in connections {
            let what = match connection.traffic {
                Traffic::Bytes => "is a byte stream",
                Traffic::Messages => "is a WebSocket",
                Traffic::Datagrams => "has datagrams",
            };
            if connection.traffic != traffic {
                let (file, number) = (self.file.display(), connection.number);
                let target = first_line(&connection.opened.target, MAX_TARGET);
                return Err(Error::Usage(format!(
                    "{file}: connection {number} (to {target}) {what}: give an endpoint of {}, or \
                     select other connections with --connection",
                    schemes(connection.traffic)
                )));
            }
        }
        Ok(())
    }
}

/// Whether a recorded request target can be sent again.
fn is_target(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use echogate_proto::recording::Opened;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: ReplayArgs,
    }

    #[test]
    fn the_recorded_path_is_that_of_any_version_of_http() {
        let args = Line::parse_from(["replay", "a.jsonl", "ws://a.example"]).args;
        let endpoint: Endpoint = "ws://a.example".parse().unwrap();
        for request in ["GET /ws?x=1 HTTP/1.1\r\n", "CONNECT /ws?x=1 HTTP/2\r\n"] {
            let opened = Opened { request: Some(request.to_owned()), ..Opened::default() };
            let connection = RecordedConnection {
                number: 1,
                opened,
                start: 0,
                traffic: Traffic::Messages,
                events: Vec::new(),
                defects: Vec::new(),
                refusal: None,
            };
            let target = args.target(&endpoint, &connection).unwrap();
            assert!(format!("{target:?}").contains("/ws?x=1"), "{target:?}");
        }
    }
}
