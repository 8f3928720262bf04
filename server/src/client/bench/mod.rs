//! `echogate bench`: load for an endpoint that answers each message with as many
//! bytes, every one of them checked.
//!
//! In reading order:
//!
//! - `open`: from an endpoint to a connection
//! - `script`: what is sent, and what has to come back
//! - `pace`: when it is sent
//! - `connection`: one connection under load; `frames`: WebSocket frames, written and read
//! - `exchange`: one socket of datagrams under load; `numbered`: what tells their replies
//!   apart; `window`: which are on their way
//! - `tally`: what has been measured
//! - `report`: what is said of it

mod connection;
mod exchange;
pub(super) mod frames;
mod numbered;
mod open;
mod pace;
mod report;
mod script;
mod tally;
mod window;

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use clap::{ValueEnum, value_parser};
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::{
    pin,
    signal::unix::{Signal, SignalKind, signal},
    task::{JoinError, JoinSet},
    time::{interval, sleep},
};

use self::{
    connection::Connection,
    exchange::Exchange,
    open::Opened,
    pace::{Pace, Stage},
    report::{Progress, Report},
    script::Script,
    tally::Tallies,
};
use super::{Call, Error, datagram::LARGEST_UDP, escape::words, target::Target};
use crate::config::parse_duration;

/// Connections that are being made at once, at most.
const OPENING: usize = 128;

/// How long answers are waited for when nothing more is sent.
const FINISH_TIME: Duration = Duration::from_secs(5);

/// How often the progress is drawn.
const DRAW_TIME: Duration = Duration::from_millis(250);

/// The most that is in flight on one connection, 64 MiB: some times that is held in memory.
const MAX_IN_FLIGHT: u64 = 64 << 20;

/// The command line of `echogate bench`.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Args {
    #[command(flatten)]
    call: Call,

    /// How many connections are made, all before the first message is sent; with --once, at
    /// the same time
    #[arg(long, short, value_name = "N", default_value_t = 50)]
    #[arg(value_parser = value_parser!(u32).range(1..))]
    connections: u32,

    /// The size of a message
    #[arg(long, short, value_name = "BYTES", default_value_t = 64)]
    #[arg(value_parser = value_parser!(u64).range(1..))]
    size: u64,

    /// How long it is measured, as 10s or 500ms
    #[arg(long, short, value_name = "TIME", default_value = "10s", value_parser = parse_duration)]
    duration: Duration,

    /// How long messages are sent before that
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    warm_up: Duration,

    /// Messages on their way on each connection: so many are sent together, and the next
    /// when all are answered; of datagrams, the next when one is answered, or lost: not
    /// answered within 1 s; with --rate, the most there may be
    #[arg(long, value_name = "N", default_value_t = 1)]
    #[arg(value_parser = value_parser!(u64).range(1..))]
    in_flight: u64,

    /// Messages per second over all connections, each due at a time of its own, however
    /// slow the answers are. Latency then counts from the moment a message was due, not
    /// from when it could be sent, so that a stall shows in every message that it held
    /// up (no "coordinated omission") [default: the next when the last is answered]
    #[arg(long, value_name = "N")]
    #[arg(value_parser = value_parser!(u64).range(1..))]
    rate: Option<u64>,

    /// Make a new connection for each message, and end it when that is answered. Latency then
    /// counts from the moment the connection was begun. (Beyond loopback each that this side
    /// ends first, as TCP is, leaves its port unusable for a minute: some 28,000 on Linux)
    #[arg(long, conflicts_with_all = ["rate", "in_flight"])]
    once: bool,

    /// What each reply must be
    #[arg(long, value_enum, default_value_t = Expect::Upper)]
    expect: Expect,

    /// Print the results as one JSON object
    #[arg(long)]
    json: bool,
}

/// What a reply must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Expect {
    /// The message with a-z as A-Z
    Upper,
    /// The message
    Echo,
    /// As many bytes as the message
    Any,
}

/// What all connections share.
struct Load {
    url: String,
    connections: u32,
    websocket: bool,
    datagrams: bool,
    in_flight: u64,
    rate: Option<u64>,
    once: bool,
    measured_from: Instant,
    script: Script,
    pace: Pace,
    tallies: Tallies,
}

/// Loads the endpoint for as long as was asked for, or until the first failure or
/// Ctrl-C, and prints what was measured.
///
/// # Errors
///
/// When a connection cannot be made or breaks, or a reply is not what it must be.
pub(crate) async fn run(args: Args) -> Result<(), Error> {
    let usage = |words| Error::Usage(args.call.url(), words);
    let failed = |words| Error::Failed(args.call.url(), words);
    let target = Target::new(&args.call).map_err(usage)?;
    check(&args, &target).map_err(usage)?;
    args.call.warn();
    let opened = match args.once {
        true => None,
        false => Some(open_all(&target, args.connections).await.map_err(failed)?),
    };
    let interrupt = signal(SignalKind::interrupt())
        .map_err(|error| failed(format!("cannot handle signals: {}", words(&error))))?;
    let load = Arc::new(Load::new(&args, &target));
    let connections = match opened {
        Some(opened) => put_under(&load, opened),
        None => call_over_and_over(&load, target),
    };
    let mut failures = attend(&load, connections, args.warm_up + args.duration, interrupt).await;
    if failures.is_empty() && load.tallies.is_all_lost() {
        failures.push("no message was answered".to_owned());
    }
    let report = Report::new(&load, failures.len());
    report
        .print(args.json)
        .map_err(|error| failed(format!("standard output: {}", words(&error))))?;
    match failures.into_iter().next() {
        Some(failure) => Err(failed(failure)),
        None => Ok(()),
    }
}

/// What each option allows and all of them together do not.
fn check(args: &Args, target: &Target) -> Result<(), String> {
    if matches!(target, Target::Udp(_)) && args.size > LARGEST_UDP as u64 {
        return Err(format!("--size is more than a datagram holds: {LARGEST_UDP} bytes"));
    }
    if args.once && matches!(target, Target::Udp(_) | Target::UnixGram(_)) {
        return Err("--once is for connections, and datagrams have none".to_owned());
    }
    if args.duration.is_zero() {
        return Err("--duration 0 measures nothing".to_owned());
    }
    if args.size.saturating_mul(args.in_flight) > MAX_IN_FLIGHT {
        let most = MAX_IN_FLIGHT >> 20;
        return Err(format!("--size times --in-flight is more than {most} MiB"));
    }
    Ok(())
}

impl Load {
    /// Begins now.
    fn new(args: &Args, target: &Target) -> Load {
        let websocket = matches!(target, Target::WebSocket(_));
        let datagrams = matches!(target, Target::Udp(_) | Target::UnixGram(_));
        let script = Script::new(args.size, args.in_flight, args.expect, websocket);
        let pace = Pace::new(args.connections as usize, args.rate);
        let measured_from = pace.start + args.warm_up;
        Load {
            url: args.call.url().to_string(),
            connections: args.connections,
            websocket,
            datagrams,
            in_flight: args.in_flight,
            rate: args.rate,
            once: args.once,
            measured_from,
            script,
            pace,
            tallies: Tallies::new(measured_from),
        }
    }
}

/// Makes all connections, or says which one cannot be made.
async fn open_all(target: &Target, count: u32) -> Result<Vec<Opened>, String> {
    let opening = (0..count as usize).map(|number| open(target, number));
    stream::iter(opening).buffered(OPENING).try_collect().await
}

/// Makes the connection `number`, counted from 0.
async fn open(target: &Target, number: usize) -> Result<Opened, String> {
    let opened = open::open(target).await;
    opened.map_err(|error| format!("connection {}: {}", number + 1, words(&error)))
}

/// What becomes of connections.
type Connections = JoinSet<Result<(), String>>;

/// Begins to send on connections that have been made.
fn put_under(load: &Arc<Load>, opened: Vec<Opened>) -> Connections {
    let mut connections = JoinSet::new();
    for (number, opened) in opened.into_iter().enumerate() {
        let load = load.clone();
        match opened {
            Opened::Stream(stream, early) => {
                connections.spawn(Connection::new(number, stream, load).run(early))
            }
            Opened::Datagrams(socket) => {
                connections.spawn(Exchange::new(number, socket, load).run())
            }
        };
    }
    connections
}

/// Begins to make connections for one message each, so many at a time.
fn call_over_and_over(load: &Arc<Load>, target: Target) -> Connections {
    let target = Arc::new(target);
    let call = |number| {
        let (load, target) = (load.clone(), target.clone());
        async move {
            while load.pace.stage() == Stage::Send {
                let begun = Instant::now();
                let opened = tokio::select! {
                    opened = open(&target, number) => opened?,
                    () = load.pace.given_up(number) => {
                        return Err(format!("connection {}: it has not been made", number + 1));
                    }
                };
                if let Opened::Stream(stream, early) = opened {
                    let connection = Connection::new(number, stream, load.clone());
                    connection.begun_at(begun).run(early).await?;
                }
            }
            Ok(())
        }
    };
    (0..load.connections as usize).map(call).collect()
}

/// Runs the load for the time `whole`, and gives what failed on which connection.
/// The first failure ends it.
async fn attend(
    load: &Arc<Load>,
    mut connections: Connections,
    whole: Duration,
    mut interrupt: Signal,
) -> Vec<String> {
    let keeper = load.clone();
    thread::spawn(move || keeper.pace.keep());
    let mut progress = Progress::new();
    let mut draw = interval(DRAW_TIME);
    draw.reset();
    let end = sleep(whole);
    pin!(end);
    let mut failures = Vec::new();
    while failures.is_empty() {
        let stage = load.pace.stage();
        tokio::select! {
            ended = connections.join_next() => match ended {
                Some(ended) => failures.extend(failure(ended)),
                None => break,
            },
            () = &mut end, if stage != Stage::GiveUp => {
                load.pace.enter(if stage == Stage::Send { Stage::Finish } else { Stage::GiveUp });
                end.set(sleep(FINISH_TIME));
            }
            _ = interrupt.recv() => {
                if stage != Stage::Send {
                    drop(progress);
                    std::process::exit(1);
                }
                load.pace.enter(Stage::Finish);
                end.set(sleep(FINISH_TIME));
            }
            _ = draw.tick() => progress.draw(load, whole),
        }
    }
    load.pace.enter(Stage::GiveUp);
    failures.extend(std::iter::from_fn(|| connections.try_join_next()).filter_map(failure));
    failures
}

fn failure(ended: Result<Result<(), String>, JoinError>) -> Option<String> {
    ended.expect("no connection panics, and none is aborted").err()
}
