//! The server's side of a recording: a mock server.

use std::{
    cell::Cell,
    io,
    io::Write,
    pin::{Pin, pin},
    sync::Arc,
};

use echogate_proto::{
    endpoint::Endpoint,
    recording::{self, Direction},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use super::{Player, ReplayArgs, notice, recorded, stop_signal};
use crate::{
    client::{
        Error,
        compare::{Comparison, of_clients},
        listen::{
            datagrams,
            listener::{
                Accepted, MAX_HANDSHAKES, accept, bind, bound, listen_address, tls_handshake,
                within_handshake_timeout,
            },
            websocket::{self, Rules},
        },
        open::Opened,
        recording_file::FileWriter,
        server_tls,
        target::traffic_of,
        target_args::TargetArgs,
    },
    net::{stream::Stream, tls::server::ServerTls},
    recording::{
        model::{RecordedConnection, Recording, Traffic},
        wire::WireRecord,
    },
    server::sockets::bind::Socket,
    text::{counted, io_error::describe},
};

/// A mock server.
struct MockServer<'a> {
    args: &'a ReplayArgs,
    connections: &'a [RecordedConnection],
    tls: Option<ServerTls>,
    /// The WebSocket clients that are accepted; none for other endpoints.
    rules: Option<Rules>,
    output: Option<Arc<FileWriter>>,
    /// The number of clients so far.
    clients: Cell<usize>,
    /// The number of clients in a handshake.
    handshakes: Cell<usize>,
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

/// Refuses options that only a client has.
fn check(args: &TargetArgs, endpoint: &Endpoint) -> Result<(), String> {
    // The certificate is that of the server.
    let mut given = args.given().map(|(_, flag)| flag).chain(args.address.flag());
    if let Some(flag) = given.find(|flag| *flag != "--cert") {
        return Err(format!("{flag} is for clients, not for --serve"));
    }
    if let Some((key, _)) = endpoint.options.first() {
        return Err(format!("unknown option \"{key}\": the URL of --serve has none"));
    }
    if endpoint.credentials.is_some() {
        return Err("a user name is for clients, not for --serve".to_owned());
    }
    Ok(())
}

type Serving<'a> = Pin<Box<dyn Future<Output = Served> + 'a>>;

/// Runs `echogate replay --serve`: plays the connections of `recording` to clients in turn.
pub(super) async fn run(
    args: &ReplayArgs,
    endpoint: &Endpoint,
    recording: &Recording,
) -> Result<(), Error> {
    let usage = |text| Error::Usage(format!("{}: {text}", endpoint.address));
    let failed =
        |error: io::Error| Error::Failed(format!("{}: {}", endpoint.address, describe(&error)));
    check(&args.target, endpoint).map_err(usage)?;
    let traffic = traffic_of(&endpoint.address);
    args.check_traffic(&recording.connections, traffic)?;
    if traffic == Traffic::Datagrams {
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
    let allowed_origins = args.allow_origin.clone();
    let rules = path.map(|path| Rules { path, allowed_origins, binary: false, protocol });
    let (cert, key) = (args.target.cert.as_deref(), args.target.key.as_deref());
    let tls = server_tls::read(cert, key, &endpoint.address).map_err(usage)?;
    let sockets = bind(&at).await.map_err(failed)?;
    let url = bound(&endpoint.address, &sockets).to_string();
    let server = MockServer {
        args,
        connections: &recording.connections,
        tls: tls.map(ServerTls::without_tickets),
        rules,
        output: args.output(traffic)?,
        clients: Cell::new(0),
        handshakes: Cell::new(0),
        stopped: CancellationToken::new(),
        url,
    };
    let all = recording.connections.len();
    let connections = counted(all, "recorded connection");
    notice(&format!("listening on {} for {connections}", server.url));
    let ended = server.run(sockets).await.map_err(failed);
    let recorded = server.output.as_ref().map_or(Ok(()), |output| output.finish());
    match ended? {
        0 => recorded.map_err(Error::Failed),
        count => {
            let clients = server.clients.get();
            let text = format!("{count} of {clients} clients did not behave as recorded");
            Err(Error::Failed(format!("{}: {text}", server.url)))
        }
    }
}

impl MockServer<'_> {
    /// Serves clients until all recorded connections were played, or until Ctrl-C. Returns the number
    /// of clients that have sent something else.
    async fn run(&self, mut sockets: Vec<Socket>) -> io::Result<usize> {
        let mut signalled = pin!(stop_signal()?);
        let mut serving: FuturesUnordered<Serving<'_>> = FuturesUnordered::new();
        let (mut deviations, mut left) = (0, self.connections.len());
        while left > 0 && !(self.stopped.is_cancelled() && serving.is_empty()) {
            let is_stopped = self.stopped.is_cancelled();
            let has_room = self.has_next() && self.handshakes.get() < MAX_HANDSHAKES;
            let accepts = !sockets.is_empty() && has_room && !is_stopped;
            tokio::select! {
                Some(served) = serving.next() => {
                    if served.played.is_some() && !self.args.repeat {
                        left -= 1;
                    }
                    deviations += usize::from(!self.report(&served));
                }
                accepted = accept(&sockets), if accepts => match accepted? {
                    Accepted::Stream(stream, peer) => {
                        self.handshakes.update(|count| count + 1);
                        serving.push(Box::pin(self.serve_stream(stream, peer.to_string())));
                    }
                    Accepted::Datagrams(index) => {
                        let Socket::Datagram(socket) = sockets.swap_remove(index) else { continue };
                        let (peer, socket) = datagrams::connect_socket(socket).await?;
                        serving.push(Box::pin(self.play(Opened::Datagrams(socket), peer)));
                    }
                },
                () = &mut signalled, if !is_stopped => self.stopped.cancel(),
            }
        }
        Ok(deviations)
    }

    /// Whether there is a recorded connection for another client.
    fn has_next(&self) -> bool {
        self.args.repeat || self.clients.get() < self.connections.len()
    }

    async fn serve_stream(&self, stream: Stream, client: String) -> Served {
        let opened = tokio::select! {
            opened = within_handshake_timeout(self.handshakes(stream)) => opened,
            () = self.stopped.cancelled() => Err("stopped within the handshake".to_owned()),
        };
        self.handshakes.update(|count| count - 1);
        match opened {
            Ok(wire) => self.play(wire, client).await,
            Err(reason) => Served { client, played: None, reason },
        }
    }

    async fn handshakes(&self, stream: Stream) -> Result<Opened, String> {
        let stream = tls_handshake(self.tls.as_ref(), self.rules.is_some(), stream).await?;
        let Some(rules) = &self.rules else { return Ok(Opened::Stream(stream, Vec::new())) };
        let accepted = websocket::accept(stream, self.tls.is_some(), rules).await?;
        Ok(Opened::Stream(accepted.stream, accepted.early))
    }

    /// Plays the next recorded connection.
    async fn play(&self, wire: Opened, client: String) -> Served {
        if !self.has_next() {
            let reason = "the recording has no other connection".to_owned();
            return Served { client, played: None, reason };
        }
        let number = self.clients.get();
        self.clients.set(number + 1);
        let index = number % self.connections.len();
        let connection = &self.connections[index];
        let (target, peer) = (self.url.clone(), Some(client.clone()));
        let opened = recording::Opened { target, peer, ..recording::Opened::default() };
        let (own, output) = (Direction::ToClient, self.output.clone());
        let player = Player::new(self.args, connection, own, number + 1, opened, output);
        let result = tokio::select! {
            result = player.play(wire) => result,
            () = self.stopped.cancelled() => player.stopped(),
        };
        Served { client, played: Some((index, player.take(), result)), reason: String::new() }
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
            (false, _) => "the client sent other data than recorded",
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
