//! `echogate replay`: one side of a recording, played against an endpoint or a client.
//!
//! - `args`: the command line
//! - `script`: the steps of one end of a connection; `order`: the order of connections
//! - `player`: plays a script over a connection; `encode`: the bytes of actions; `connection`: the
//!   connection with its events so far
//! - `wire`: the halves of an open connection
//! - `serve`: the server's side

mod args;
mod connection;
mod encode;
mod order;
mod player;
mod script;
mod serve;
mod wire;

use std::{io, path::Path, sync::Arc, time::Duration};

use echogate_proto::{
    endpoint::Endpoint,
    recording::{Direction, Opened},
};
use futures_util::future::join_all;
use http::header::SEC_WEBSOCKET_PROTOCOL;
use tokio::{
    pin,
    signal::unix::{SignalKind, signal},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::args::ReplayArgs;
use self::{args::Pace, connection::recorded, order::Order, player::Player};
use super::{
    Error, compare::Comparison, notice, open, recording_file::FileWriter, shown_url,
    target::Target, warn, warn_of_unsafe_tls,
};
use crate::{
    recording::{
        model::{RecordedConnection, Recording},
        wire::WireRecord,
    },
    text::{counted, io_error::describe},
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
    warn_of_defects(&args.file, &recording);
    if args.serve {
        return serve::run(&args, &endpoint, &recording).await;
    }
    let url = shown_url(&endpoint);
    let usage = |text| Error::Usage(format!("{url}: {text}"));
    // The connections are checked before the first one is made, and before a file is replaced.
    let first = args.target(&endpoint, &recording.connections[0]).map_err(usage)?;
    args.check_traffic(&recording.connections, first.traffic())?;
    warn_of_unsafe_tls(args.target.insecure);
    let replay = Replay {
        args: &args,
        endpoint: &endpoint,
        connections: &recording.connections,
        order: Order::new(&recording.connections),
        output: args.output(first.traffic())?,
        stopped: CancellationToken::new(),
    };
    let played = join_all((0..recording.connections.len()).map(|index| replay.play(index)));
    let signalled =
        stop_signal().map_err(|error| Error::Failed(format!("signals: {}", describe(&error))))?;
    pin!(played);
    let played = tokio::select! {
        played = &mut played => played,
        () = signalled => {
            replay.stopped.cancel();
            played.await
        }
    };
    let recorded = replay.output.as_ref().map_or(Ok(()), |output| output.finish());
    report(&args, &url, &recording, &played).and(recorded.map_err(Error::Failed))
}

/// Waits for SIGINT or SIGTERM, which from now on do not end the process.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Prints the comparison or, without `--compare`, the failures.
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
            notice(&format!("{} replayed", counted(all, "connection")));
            Ok(())
        }
        failed => Err(Error::Failed(format!("{url}: {failed} of {all} connections failed"))),
    }
}

/// The clients' side of a recording.
struct Replay<'a> {
    args: &'a ReplayArgs,
    endpoint: &'a Endpoint,
    connections: &'a [RecordedConnection],
    order: Order,
    output: Option<Arc<FileWriter>>,
    /// Cancelled by a signal. Each connection then ends at once.
    stopped: CancellationToken,
}

impl Replay<'_> {
    /// Waits for the beginning of the connection at `index`, and plays it.
    async fn play(&self, index: usize) -> Played {
        let connection = &self.connections[index];
        // The signal may also have ended the connections that this one waited for.
        self.stopped.run_until_cancelled(self.begin(index)).await;
        let has_begun = !self.stopped.is_cancelled();
        let target = self.args.target(self.endpoint, connection);
        let opened = Opened { target: shown_url(self.endpoint), ..handshake(&target) };
        let (number, own) = (connection.number, Direction::ToServer);
        let output = self.output.clone().filter(|_| has_begun);
        let player = Player::new(self.args, connection, own, number, opened, output);
        let played = async {
            let wire = open::open(&target?).await.map_err(|error| describe(&error))?;
            player.play(wire).await
        };
        let result = match self.stopped.run_until_cancelled(played).await {
            Some(result) => result,
            None if has_begun => player.stopped().and(Err("stopped before its end".to_owned())),
            None => Err("stopped before it began".to_owned()),
        };
        self.order.set_ended(index);
        Played { records: player.take(), result }
    }

    /// Waits for the beginning of the connection at `index`.
    async fn begin(&self, index: usize) {
        match self.args.pace() {
            Pace::Recorded(speed) => {
                let first = self.connections.iter().map(|connection| connection.start).min();
                let offset = self.connections[index].start - first.unwrap_or_default();
                sleep(Duration::from_nanos(offset).div_f64(speed)).await;
            }
            Pace::Immediate | Pace::ByPeer => self.order.may_begin(index).await,
        }
    }
}

/// The opening handshake of a connection to `target`, as a recording describes it.
fn handshake(target: &Result<Target, String>) -> Opened {
    let Ok(Target::WebSocket(upgrade)) = target else { return Opened::default() };
    let protocol = upgrade.headers.get(SEC_WEBSOCKET_PROTOCOL).and_then(|name| name.to_str().ok());
    Opened {
        request: Some(format!("GET {} HTTP/1.1\r\n", upgrade.path)),
        // A recording has one subprotocol; a list comes from --protocol.
        protocol: protocol.filter(|name| !name.contains(',')).map(str::to_owned),
        ..Opened::default()
    }
}

/// Warns of the defects of the recording.
fn warn_of_defects(file: &Path, recording: &Recording) {
    for connection in &recording.connections {
        let position = format!("{}: connection {}", file.display(), connection.number);
        for defect in &connection.defects {
            warn(&format!("{position}: {defect}"));
        }
    }
}
