//! The server's side of a recording: a mock server. Its endpoint and options are in options.rs.

mod options;

use std::{cell::Cell, io, io::Write, pin::Pin, time::Duration};

use echogate_proto::{
    endpoint::Endpoint,
    recording::{Direction, Opened},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use self::options::{check, listen_address, tls};
use super::{Live, Player, ReplayArgs, Script, Wire, kind, notice, recorded, write_record};
use crate::{
    client::{
        Error,
        compare::{Comparison, of_clients},
        listen::{
            datagrams,
            listener::{Accepted, accept, bound},
            websocket::{self, Rules},
        },
        target::TransportKind,
    },
    net::{
        listener::belongs_to_connection,
        stream::Stream,
        tls::{AppProtocol, server::ServerTls},
    },
    recording::{
        file::RecordingFile,
        model::{RecordedConnection, Recording, Traffic},
        wire::WireRecord,
    },
    server::sockets::bind::{BindAddr, Socket},
    text::io_error::describe,
};

/// The listen backlog.
const BACKLOG: u32 = 128;

/// The time that a client has for the TLS and the WebSocket handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A mock server.
struct MockServer<'a> {
    args: &'a ReplayArgs,
    connections: &'a [RecordedConnection],
    tls: Option<ServerTls>,
    rules: Rules,
    /// The number of clients so far.
    clients: Cell<usize>,
    /// Cancelled by a signal: what clients have not sent by then is reported as missing.
    stopped: CancellationToken,
    url: String,
}

/// A client that was served.
struct Served {
    client: String,
    /// None if the client had none of the recorded connections.
    played: Option<(usize, Vec<WireRecord>, Result<(), String>)>,
    /// Why it had none.
    reason: String,
}

type Serving<'a> = Pin<Box<dyn Future<Output = Served> + 'a>>;

/// Runs `echogate replay --serve`: plays the connections of `recording` to clients in turn.
pub(super) async fn run(
    args: &ReplayArgs,
    endpoint: &Endpoint,
    recording: &Recording,
    output: Option<RecordingFile>,
) -> Result<(), Error> {
    let usage = |text| Error::Usage(format!("{}: {text}", endpoint.address));
    let failed =
        |error: io::Error| Error::Failed(format!("{}: {}", endpoint.address, describe(&error)));
    check(&args.target, endpoint).map_err(usage)?;
    args.check_traffic(&recording.connections, kind(endpoint))?;
    if kind(endpoint) == TransportKind::Datagram {
        if args.repeat {
            return Err(usage("--loop requires connections, which datagrams have not".to_owned()));
        }
        if recording.connections.len() > 1 {
            let text = "a datagram socket has one client: select a connection with --connection";
            return Err(usage(text.to_owned()));
        }
    }
    let (at, path) = listen_address(&endpoint.address).map_err(usage)?;
    let protocol = recording.connections[0].opened.protocol.clone();
    let rules = Rules { path, allowed_origins: args.allow_origin.clone(), binary: false, protocol };
    let mut sockets = Vec::new();
    for address in BindAddr::all(&at).await.map_err(failed)? {
        sockets.push(address.bind(BACKLOG).await.map_err(failed)?);
    }
    let url = bound(&endpoint.address, &sockets).to_string();
    let server = MockServer {
        args,
        connections: &recording.connections,
        tls: tls(&args.target, &endpoint.address).map_err(usage)?,
        rules,
        clients: Cell::new(0),
        stopped: CancellationToken::new(),
        url,
    };
    let all = recording.connections.len();
    notice(&format!("listening on {} for {all} recorded connections", server.url));
    let (records, deviations) = server.run(sockets).await.map_err(failed)?;
    if let Some(output) = output {
        let records: Vec<_> = records.iter().collect();
        write_record(args.record.as_deref(), output, &records)?;
    }
    match deviations {
        0 => Ok(()),
        count => {
            let clients = server.clients.get();
            let text = format!("{count} of {clients} clients did not behave as recorded");
            Err(Error::Failed(format!("{}: {text}", server.url)))
        }
    }
}

impl MockServer<'_> {
    /// Serves clients until all recorded connections were played, or until Ctrl-C. Returns what has
    /// passed, and the number of clients that have sent something else.
    async fn run(&self, mut sockets: Vec<Socket>) -> io::Result<(Vec<WireRecord>, usize)> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut serving: FuturesUnordered<Serving<'_>> = FuturesUnordered::new();
        let (mut records, mut deviations, mut left) = (Vec::new(), 0, self.connections.len());
        while left > 0 && !(self.stopped.is_cancelled() && serving.is_empty()) {
            let accepts = !sockets.is_empty() && self.has_next() && !self.stopped.is_cancelled();
            tokio::select! {
                Some(served) = serving.next() => {
                    if served.played.is_some() && !self.args.repeat {
                        left -= 1;
                    }
                    deviations += usize::from(!self.report(&served));
                    if let Some((_, new, _)) = served.played.filter(|_| self.args.record.is_some()) {
                        records.extend(new);
                    }
                }
                accepted = accept(&sockets), if accepts => match accepted {
                    Ok(Accepted::Stream(stream, peer)) => {
                        serving.push(Box::pin(self.serve_stream(stream, peer.to_string())));
                    }
                    Ok(Accepted::Datagrams(index)) => {
                        let Socket::Datagram(socket) = sockets.swap_remove(index) else { continue };
                        let (peer, socket) = datagrams::connect_socket(socket).await?;
                        serving.push(Box::pin(self.play(Wire::Datagrams(socket), peer)));
                    }
                    Err(error) if belongs_to_connection(&error) => {}
                    Err(error) => return Err(error),
                },
                _ = interrupt.recv() => self.stopped.cancel(),
                _ = terminate.recv() => self.stopped.cancel(),
            }
        }
        Ok((records, deviations))
    }

    /// Whether there is a recorded connection for another client.
    fn has_next(&self) -> bool {
        self.args.repeat || self.clients.get() < self.connections.len()
    }

    async fn serve_stream(&self, stream: Stream, client: String) -> Served {
        let limit = HANDSHAKE_TIMEOUT.as_secs();
        let opened = tokio::select! {
            opened = timeout(HANDSHAKE_TIMEOUT, self.handshakes(stream)) => opened.unwrap_or_else(|_| {
                Err(format!("the handshake was not completed within {limit} seconds"))
            }),
            () = self.stopped.cancelled() => Err("stopped within the handshake".to_owned()),
        };
        match opened {
            Ok(wire) => self.play(wire, client).await,
            Err(reason) => Served { client, played: None, reason },
        }
    }

    async fn handshakes(&self, stream: Stream) -> Result<Wire, String> {
        let is_websocket = self.connections[0].traffic == Traffic::Messages;
        let stream = match (&self.tls, stream) {
            (Some(tls), Stream::Plain(socket)) => {
                let websocket = AppProtocol::WebSocket;
                let app = if is_websocket { websocket } else { AppProtocol::Bytes };
                Stream::from(tls.handshake(app, socket).await?)
            }
            (_, stream) => stream,
        };
        if !is_websocket {
            return Ok(Wire::Stream(stream, Vec::new()));
        }
        let accepted = websocket::accept(stream, self.tls.is_some(), &self.rules).await?;
        Ok(Wire::Stream(accepted.stream, accepted.early))
    }

    /// Plays the next recorded connection.
    async fn play(&self, wire: Wire, client: String) -> Served {
        if !self.has_next() {
            let reason = "the recording has no other connection".to_owned();
            return Served { client, played: None, reason };
        }
        let number = self.clients.get();
        self.clients.set(number + 1);
        let index = number % self.connections.len();
        let connection = &self.connections[index];
        let script = Script::new(connection, Direction::ToClient);
        let live = Live::new(
            number as u64 + 1,
            Direction::ToClient,
            connection.traffic,
            Opened { target: self.url.clone(), peer: Some(client.clone()), ..Opened::default() },
        );
        let player = Player {
            script: &script,
            own: Direction::ToClient,
            pace: self.args.timing().pace(),
            timeout: self.args.silence(),
            live: &live,
        };
        let result = tokio::select! {
            result = player.play(wire) => result,
            () = self.stopped.cancelled() => player.stopped(),
        };
        Served { client, played: Some((index, live.take(), result)), reason: String::new() }
    }

    /// Prints how a client has behaved. Returns whether it was as recorded.
    fn report(&self, served: &Served) -> bool {
        let Served { client, played, reason } = served;
        let Some((index, records, result)) = played else {
            notice(&format!("{client}: {reason}"));
            return true;
        };
        let [a, b] = [self.connections[*index].clone(), recorded(records)]
            .map(|connection| Recording::from(vec![connection]));
        let comparison = Comparison::new([&a, &b], &self.args.output.ignore);
        let lines = of_clients(&comparison);
        let mut text = format!("{client}: connection {}: ", a.connections[0].number);
        text += match (lines.is_empty(), result.is_ok()) {
            (true, true) => "as recorded",
            (true, false) => "not as recorded",
            (false, _) => "something else was sent",
        };
        for line in &lines {
            text += &format!("\n  {line}");
        }
        if let Err(error) = result {
            text += &format!("\n  {error}");
        }
        writeln!(io::stdout(), "{text}").ok();
        lines.is_empty() && result.is_ok()
    }
}
