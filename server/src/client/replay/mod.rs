//! `echogate replay`: one side of a recording, played against an endpoint or a client.
//!
//! - `args`: the command line
//! - `script`: what one end of a connection does, and when; `order`: the order of connections
//! - `player`: a script, played over a connection; `live`: what passes on it
//! - `wire`: the halves of an open connection
//! - `serve`: the server's side

mod args;
mod live;
mod order;
mod player;
mod script;
mod serve;
mod wire;

use std::{fs::OpenOptions, path::Path, time::Duration};

use echogate_proto::{
    endpoint::Endpoint,
    recording::{Direction, Opened},
};
use futures_util::future::join_all;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio::time::sleep;

pub(crate) use self::args::ReplayArgs;
use self::{args::Pace, live::recorded, order::Order, player::Player};
use super::{Error, compare::Comparison, notice, open, shown_url, target::Target};
use crate::{
    recording::{
        file::{Format, RecordingFile},
        model::{RecordedConnection, Recording},
        wire::WireRecord,
    },
    text::io_error::describe,
};

/// A connection that was played.
struct Played {
    records: Vec<WireRecord>,
    result: Result<(), String>,
}

/// Runs `echogate replay`.
pub(crate) async fn run(args: ReplayArgs) -> Result<(), Error> {
    args.check()?;
    let endpoint = args.target.endpoint().map_err(Error::Usage)?;
    let recording = args.selection.read(&args.file)?;
    let output = args.record.as_deref().map(open_record).transpose()?;
    warn_of_defects(&args.file, &recording);
    if args.serve {
        return serve::run(&args, &endpoint, &recording, output).await;
    }
    let url = shown_url(&endpoint);
    let usage = |text| Error::Usage(format!("{url}: {text}"));
    // The connections are checked before the first one is made.
    let first = args.target(&endpoint, &recording.connections[0]).map_err(usage)?;
    args.check_traffic(&recording.connections, first.traffic())?;
    args.target.warn();
    let order = Order::new(&recording.connections);
    let plays = (0..recording.connections.len())
        .map(|index| play(&args, &endpoint, &recording.connections, index, &order));
    let played = join_all(plays).await;
    let records: Vec<&WireRecord> = played.iter().flat_map(|played| &played.records).collect();
    if let Some(output) = output {
        write_record(args.record.as_deref(), output, &records)?;
    }
    report(&args, &url, &recording, &played)
}

/// Prints the comparison, or what has failed.
fn report(
    args: &ReplayArgs,
    url: &str,
    recording: &Recording,
    played: &[Played],
) -> Result<(), Error> {
    let all = played.len();
    if args.compare {
        let connections: Vec<_> = played.iter().map(|played| recorded(&played.records)).collect();
        let replayed = Recording::from(connections);
        let mut comparison = Comparison::new([recording, &replayed], &args.output.ignore);
        for (index, played) in played.iter().enumerate() {
            if let Err(text) = &played.result {
                comparison.add_failure(index, text.clone());
            }
        }
        return args.output.print(&comparison, [&args.file.display().to_string(), url]);
    }
    let mut failed = 0;
    for (connection, played) in recording.connections.iter().zip(played) {
        if let Err(text) = &played.result {
            failed += 1;
            notice(&format!("connection {}: {text}", connection.number));
        }
    }
    match failed {
        0 => {
            notice(&format!("{all} connection{} replayed", if all == 1 { "" } else { "s" }));
            Ok(())
        }
        failed => Err(Error::Failed(format!("{url}: {failed} of {all} connections failed"))),
    }
}

/// Plays the client's side of the connection at `index`, when it is to begin.
async fn play(
    args: &ReplayArgs,
    endpoint: &Endpoint,
    connections: &[RecordedConnection],
    index: usize,
    order: &Order,
) -> Played {
    let connection = &connections[index];
    match args.pace() {
        Pace::Recorded(speed) => {
            let first = connections.iter().map(|connection| connection.start).min();
            let offset = connection.start - first.unwrap_or_default();
            sleep(Duration::from_nanos(offset).div_f64(speed)).await;
        }
        Pace::Immediate | Pace::ByPeer => order.may_begin(index).await,
    }
    let target = args.target(endpoint, connection);
    let opened = Opened { target: shown_url(endpoint), ..handshake(&target) };
    let player = Player::new(args, connection, Direction::ToServer, connection.number, opened);
    let result = async {
        let wire = open::open(&target?).await.map_err(|error| describe(&error))?;
        player.play(wire).await
    };
    let result = result.await;
    order.set_ended(index);
    Played { records: player.take(), result }
}

/// The opening handshake of a connection to `target`, as a recording describes it.
fn handshake(target: &Result<Target, String>) -> Opened {
    let Ok(Target::WebSocket(upgrade)) = target else { return Opened::default() };
    let protocol = upgrade.headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|name| name.to_str().ok());
    Opened {
        request: Some(format!("GET {} HTTP/1.1\r\n", upgrade.path)),
        // Several are offered by --protocol only.
        protocol: protocol.filter(|name| !name.contains(',')).map(str::to_owned),
        ..Opened::default()
    }
}

/// Warns of what is missing in the recording.
fn warn_of_defects(file: &Path, recording: &Recording) {
    for connection in &recording.connections {
        let place = format!("{}: connection {}", file.display(), connection.number);
        for defect in &connection.defects {
            notice(&format!("warning: {place}: {defect}"));
        }
    }
}

/// Creates the file of `--record`.
fn open_record(path: &Path) -> Result<RecordingFile, Error> {
    let format = Format::of_file(path).map_err(Error::Usage)?;
    let options = &mut OpenOptions::new();
    let opened = RecordingFile::open(path, format, options.create(true).truncate(true));
    opened.map_err(|error| Error::Usage(format!("{}: {}", path.display(), describe(&error))))
}

/// Writes the records of all connections in the order of their times.
fn write_record(
    path: Option<&Path>,
    mut output: RecordingFile,
    records: &[&WireRecord],
) -> Result<(), Error> {
    let mut records = records.to_vec();
    records.sort_by_key(|record| record.time);
    for record in records {
        output.add(record.clone());
    }
    let name = path.unwrap_or(Path::new("-")).display();
    let written = output.flush();
    written.map(drop).map_err(|error| Error::Failed(format!("{name}: {}", describe(&error))))
}
