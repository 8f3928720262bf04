//! `echogate bench`: a load generator for an endpoint whose replies have the length of the
//! messages. Every byte of a reply is checked.
//!
//! In reading order:
//!
//! - `args`: the command line
//! - `payload`: the messages and the expected replies
//! - `schedule`: the times at which messages are sent
//! - `stream_worker`: one stream connection under load
//! - `datagram_worker`: one datagram socket under load; `sequence`: the sequence numbers of its
//!   messages; `window`: the messages in flight
//! - `stats`: the statistics of the measurement
//! - `report`: the report and the progress line

mod args;
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

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{
    pin,
    signal::unix::{Signal, SignalKind, signal},
    task::{JoinError, JoinSet},
    time::{interval, sleep},
};

pub(crate) use self::args::Args;
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
    warn_of_unsafe_tls,
};
use crate::{recording::model::Traffic, text::io_error::describe};

/// The most connection attempts at once.
const MAX_DIALS: usize = 128;

/// The time limit of the replies when no more messages are sent.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);

/// The interval at which the progress line is updated.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

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
    args.check(&target).map_err(usage)?;
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
