//! `echogate bench`: a load generator for an endpoint whose replies have the length of the
//! messages. Every byte of a reply is checked.
//!
//! In reading order:
//!
//! - `payload`: the messages and the expected replies
//! - `schedule`: the times at which messages are sent
//! - `stream_worker`: one stream connection under load
//! - `datagram_worker`: one datagram socket under load; `sequence`: the sequence numbers of its
//!   messages; `window`: the messages in flight
//! - `stats`: the statistics of the measurement
//! - `report`: the report and the progress line

mod datagram_worker;
mod payload;
mod report;
mod schedule;
mod sequence;
mod stats;
mod stream_worker;
mod window;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use clap::ValueEnum;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{
    pin,
    signal::unix::{Signal, SignalKind, signal},
    task::{JoinError, JoinSet},
    time::{interval, sleep},
};

use self::{
    datagram_worker::DatagramWorker,
    payload::Payload,
    report::{Progress, Report},
    schedule::{LoadPhase, Schedule},
    stats::ShardedStats,
    stream_worker::StreamWorker,
};
use super::{
    Error,
    open::{self, RawConnection},
    shown_url,
    target::Target,
    target_args::TargetArgs,
    warn_of_unsafe_tls,
};
use crate::{
    config::{parse_count, parse_duration},
    net::connected_datagrams::MAX_UDP,
    recording::model::Traffic,
    text::io_error::describe,
};

/// The most connection attempts at once.
const MAX_DIALS: usize = 128;

/// The time limit of the replies when no more messages are sent.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// The interval at which the progress line is updated.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// The most bytes in flight on one connection. The messages and replies that [`Payload`] holds take
/// several times as much memory.
const MAX_IN_FLIGHT: u64 = 64 << 20;

/// The command line of `echogate bench`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    target: TargetArgs,

    /// The number of connections, all made before the first message is sent. With --once, the
    /// number of connections at the same time
    #[arg(long, short, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = parse_count::<u32>)]
    connections: u32,

    /// The size of a message in bytes
    #[arg(long, short, value_name = "BYTES", default_value_t = 64)]
    #[arg(value_parser = parse_count::<u64>)]
    size: u64,

    /// The duration of the measurement, such as 10s or 500ms
    #[arg(long, short, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,

    /// The duration of the load before the measurement
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    warm_up: Duration,

    /// Messages in flight on each connection: this many are sent together, and the next ones when
    /// all replies have come. Over datagrams the next one is sent when one is answered, or lost (no
    /// reply within 1 s). With --rate, this is the limit
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = parse_count::<u64>)]
    in_flight: u64,

    /// Messages per second over all connections, each due at a fixed time, however slow the
    /// replies are. Latency then counts from the time a message was due, not from when it could be
    /// sent, so that a stall shows in every message that it delayed (no "coordinated omission")
    /// [default: the next message follows the reply]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = parse_count::<u64>)]
    rate: Option<u64>,

    /// Make a new connection for each message, and close it after the reply. Latency then counts
    /// from the start of the connection. Beyond loopback the client's TCP ports stay in TIME_WAIT
    /// for a minute, which limits the rate (28,000 ports on Linux)
    #[arg(long, conflicts_with_all = ["rate", "in_flight"])]
    once: bool,

    /// The replies to expect
    #[arg(long, value_enum, default_value_t = Expect::Upper)]
    expect: Expect,

    /// Print the results as one JSON object
    #[arg(long)]
    json: bool,
}

/// The expected replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Expect {
    /// The message in ASCII upper case
    Upper,
    /// The unchanged message
    Echo,
    /// Any bytes, as many as in the message
    Any,
}

/// The load: the state that all connections share.
struct Load {
    url: String,
    connections: u32,
    traffic: Traffic,
    in_flight: u64,
    rate: Option<u64>,
    once: bool,
    measured_from: Instant,
    payload: Payload,
    schedule: Schedule,
    stats: ShardedStats,
}

/// Runs `echogate bench`: loads the endpoint for the requested time, or until the first failure or
/// Ctrl-C, and prints the report.
pub(crate) async fn run(args: Args) -> Result<(), Error> {
    let endpoint = args.target.endpoint().map_err(Error::Usage)?;
    let url = shown_url(&endpoint);
    let usage = |text| Error::Usage(format!("{url}: {text}"));
    let failed = |text| Error::Failed(format!("{url}: {text}"));
    let target = Target::new(&endpoint, &args.target).map_err(usage)?;
    check(&args, &target).map_err(usage)?;
    warn_of_unsafe_tls(args.target.insecure);
    let opened = match args.once {
        true => None,
        false => Some(open_all(&target, args.connections).await.map_err(failed)?),
    };
    let interrupt = signal(SignalKind::interrupt())
        .map_err(|error| failed(format!("cannot handle signals: {}", describe(&error))))?;
    let load = Arc::new(Load::new(&args, &target, url.clone()));
    let workers = match opened {
        Some(opened) => spawn_workers(&load, opened),
        None => spawn_redialers(&load, target),
    };
    let mut failures = supervise(&load, workers, args.warm_up + args.duration, interrupt).await;
    if failures.is_empty() && load.stats.is_all_lost() {
        failures.push("no message was answered".to_owned());
    }
    let report = Report::new(&load, failures.len());
    report
        .print(args.json)
        .map_err(|error| failed(format!("standard output: {}", describe(&error))))?;
    match failures.into_iter().next() {
        Some(failure) => Err(failed(failure)),
        None => Ok(()),
    }
}

/// Rejects invalid combinations of options.
fn check(args: &Args, target: &Target) -> Result<(), String> {
    if matches!(target, Target::Udp(..)) && args.size > MAX_UDP as u64 {
        return Err(format!("--size exceeds the largest UDP datagram: {MAX_UDP} bytes"));
    }
    if args.once && target.traffic() == Traffic::Datagrams {
        return Err("--once requires connections, which datagram sockets do not have".to_owned());
    }
    if args.duration.is_zero() {
        return Err("--duration 0 is invalid: the measurement must take longer than 0".to_owned());
    }
    if args.size.saturating_mul(args.in_flight) > MAX_IN_FLIGHT {
        let most = MAX_IN_FLIGHT >> 20;
        return Err(format!("--size times --in-flight exceeds {most} MiB"));
    }
    Ok(())
}

impl Load {
    /// Creates the load, which begins now.
    fn new(args: &Args, target: &Target, url: String) -> Load {
        let traffic = target.traffic();
        let is_websocket = traffic == Traffic::Messages;
        let payload = Payload::new(args.size, args.in_flight, args.expect, is_websocket);
        let schedule = Schedule::new(args.connections as usize, args.rate);
        let measured_from = schedule.start + args.warm_up;
        Load {
            url,
            connections: args.connections,
            traffic,
            in_flight: args.in_flight,
            rate: args.rate,
            once: args.once,
            measured_from,
            payload,
            schedule,
            stats: ShardedStats::new(measured_from),
        }
    }
}

/// Makes all connections, or describes the first failure.
async fn open_all(target: &Target, count: u32) -> Result<Vec<RawConnection>, String> {
    let opening = (0..count as usize).map(|number| open(target, number));
    stream::iter(opening).buffered(MAX_DIALS).try_collect().await
}

/// Makes the connection `number`, counted from 0, or describes the failure.
async fn open(target: &Target, number: usize) -> Result<RawConnection, String> {
    let opened = open::open(target).await;
    opened.map_err(|error| format!("connection {}: {}", number + 1, describe(&error)))
}

/// The tasks of the connections.
type Workers = JoinSet<Result<(), String>>;

/// Spawns the workers of open connections.
fn spawn_workers(load: &Arc<Load>, opened: Vec<RawConnection>) -> Workers {
    let mut workers = JoinSet::new();
    for (number, opened) in opened.into_iter().enumerate() {
        let load = load.clone();
        match opened {
            RawConnection::Stream(stream, early) => {
                workers.spawn(StreamWorker::new(number, stream, load).run(early))
            }
            RawConnection::Datagrams(socket) => {
                workers.spawn(DatagramWorker::new(number, socket, load).run())
            }
        };
    }
    workers
}

/// Spawns tasks that make one connection after the other, each for one message.
fn spawn_redialers(load: &Arc<Load>, target: Target) -> Workers {
    let target = Arc::new(target);
    let redial = |number| {
        let (load, target) = (load.clone(), target.clone());
        async move {
            while load.schedule.phase() == LoadPhase::Send {
                let begun = Instant::now();
                let opened = tokio::select! {
                    opened = open(&target, number) => opened?,
                    () = load.schedule.given_up(number) => {
                        let why = "not established by the end of the run";
                        return Err(format!("connection {}: {why}", number + 1));
                    }
                };
                if let RawConnection::Stream(stream, early) = opened {
                    let worker = StreamWorker::new(number, stream, load.clone());
                    worker.begun_at(begun).run(early).await?;
                }
            }
            Ok(())
        }
    };
    (0..load.connections as usize).map(redial).collect()
}

/// Supervises the load for the time `total`, and returns the failures. The first failure ends it.
async fn supervise(
    load: &Arc<Load>,
    mut workers: Workers,
    total: Duration,
    mut interrupt: Signal,
) -> Vec<String> {
    let timer = load.clone();
    thread::spawn(move || timer.schedule.run());
    let mut progress = Progress::new();
    let mut draw = interval(PROGRESS_INTERVAL);
    draw.reset();
    let end = sleep(total);
    pin!(end);
    let mut failures = Vec::new();
    while failures.is_empty() {
        let phase = load.schedule.phase();
        tokio::select! {
            ended = workers.join_next() => match ended {
                Some(ended) => failures.extend(failure(ended)),
                None => break,
            },
            () = &mut end, if phase != LoadPhase::GiveUp => {
                let has_sent = phase != LoadPhase::Send;
                load.schedule.enter(if has_sent { LoadPhase::GiveUp } else { LoadPhase::Finish });
                end.set(sleep(FINISH_TIMEOUT));
            }
            _ = interrupt.recv() => {
                if phase != LoadPhase::Send {
                    drop(progress);
                    std::process::exit(1);
                }
                load.schedule.enter(LoadPhase::Finish);
                end.set(sleep(FINISH_TIMEOUT));
            }
            _ = draw.tick() => progress.draw(load, total),
        }
    }
    load.schedule.enter(LoadPhase::GiveUp);
    failures.extend(std::iter::from_fn(|| workers.try_join_next()).filter_map(failure));
    failures
}

fn failure(ended: Result<Result<(), String>, JoinError>) -> Option<String> {
    ended.expect("no connection panics, and none is aborted").err()
}
