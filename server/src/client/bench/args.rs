//! The command line of `echogate bench`.

use std::time::Duration;

use clap::ValueEnum;

use crate::{
    client::{target::Target, target_args::TargetArgs},
    config::{parse_count, parse_duration},
    net::connected_datagrams::MAX_UDP,
    recording::model::Traffic,
};

/// The most bytes in flight on one connection. The messages and replies that
/// [`Payload`](super::payload::Payload) holds take several times as much memory.
const MAX_IN_FLIGHT: u64 = 64 << 20;

/// The command line of `echogate bench`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(super) target: TargetArgs,

    /// The number of connections, all made before the first message is sent. With --once, the
    /// number of connections at the same time
    #[arg(long, short, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = parse_count::<u32>)]
    pub(super) connections: u32,

    /// The size of a message in bytes
    #[arg(long, short, value_name = "BYTES", default_value_t = 64)]
    #[arg(value_parser = parse_count::<u64>)]
    pub(super) size: u64,

    /// The duration of the measurement, such as 10s or 500ms
    #[arg(long, short, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    pub(super) duration: Duration,

    /// The duration of the load before the measurement
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pub(super) warm_up: Duration,

    /// Messages in flight on each connection: this many are sent together, and the next ones when
    /// all replies have come. Over datagrams the next one is sent when one is answered, or lost (no
    /// reply within 1 s). With --rate, this is the limit
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = parse_count::<u64>)]
    pub(super) in_flight: u64,

    /// Messages per second over all connections, each due at a fixed time, however slow the
    /// replies are. Latency then counts from the time a message was due, not from when it could be
    /// sent, so that a stall shows in every message that it delayed (no "coordinated omission")
    /// [default: the next message follows the reply]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = parse_count::<u64>)]
    pub(super) rate: Option<u64>,

    /// Make a new connection for each message, and close it after the reply. Latency then counts
    /// from the start of the connection. Beyond loopback the client's TCP ports stay in TIME_WAIT
    /// for a minute, which limits the rate (28,000 ports on Linux)
    #[arg(long, conflicts_with_all = ["rate", "in_flight"])]
    pub(super) once: bool,

    /// The replies to expect
    #[arg(long, value_enum, default_value_t = Expect::Upper)]
    pub(super) expect: Expect,

    /// Print the results as one JSON object
    #[arg(long)]
    pub(super) json: bool,
}

impl Args {
    /// Rejects invalid combinations of options.
    pub(super) fn check(&self, target: &Target) -> Result<(), String> {
        if matches!(target, Target::Udp(..)) && self.size > MAX_UDP as u64 {
            return Err(format!("--size exceeds the largest UDP datagram: {MAX_UDP} bytes"));
        }
        if self.once && target.traffic() == Traffic::Datagrams {
            return Err(
                "--once requires connections, which datagram sockets do not have".to_owned()
            );
        }
        if self.duration.is_zero() {
            return Err(
                "--duration 0 is invalid: the measurement must take longer than 0".to_owned()
            );
        }
        if self.size.saturating_mul(self.in_flight) > MAX_IN_FLIGHT {
            let most = MAX_IN_FLIGHT >> 20;
            return Err(format!("--size times --in-flight exceeds {most} MiB"));
        }
        Ok(())
    }
}

/// The expected replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Expect {
    /// The message in ASCII upper case
    Upper,
    /// The unchanged message
    Echo,
    /// Any bytes, as many as in the message
    Any,
}
