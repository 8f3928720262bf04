//! The server's side of a recording: a mock server.

use std::{
    io::{self, Write},
    pin::pin,
    sync::Arc,
};

use echogate_proto::{
    endpoint::Endpoint,
    recording::{Direction, Opened},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio_util::sync::CancellationToken;

use super::{Player, ReplayArgs, notice, recorded, stop_signal};
use crate::{
    client::{
        Error,
        compare::{Comparison, of_clients},
        listen::{
            acceptor::{Acceptor, Arrived, client_name},
            datagrams,
            listener::{listen_address, tls_handshake},
            websocket::{self, Rules},
        },
        open::RawConnection,
        recording_file::FileWriter,
        server_tls,
        target::traffic_of,
        target_args::TargetArgs,
        warn_of_key_log,
    },
    connections::registry::Peer,
    net::{stream::Stream, tls::server::ServerTls},
    recording::{
        model::{RecordedConnection, Recording, Traffic},
        wire::WireRecord,
    },
    text::{counted, io_error::describe},
};

/// A mock server.
struct MockServer<'a> {
    args: &'a ReplayArgs,
    connections: &'a [RecordedConnection],
    tls: Option<ServerTls>,
    /// The WebSocket clients that are accepted; `None` for other endpoints.
    rules: Option<Rules>,
    output: Option<Arc<FileWriter>>,
    /// Cancelled by a signal. What clients have not sent by then is reported as missing.
    stopped: CancellationToken,
    url: String,
}

/// A client that was served.
struct ServedClient {
    client: String,
    /// The index of the recorded connection.
    index: usize,
    records: Vec<WireRecord>,
    result: Result<(), String>,
}

/// Rejects options that are valid for clients only.
fn check(args: &TargetArgs, endpoint: &Endpoint) -> Result<(), String> {
    // With --serve, --cert is the certificate of the server.
    let mut given = args.given().map(|(_, flag)| flag).chain(args.address.flag());
    if let Some(flag) = given.find(|flag| *flag != "--cert") {
        return Err(format!("{flag} is not valid with --serve: only clients use it"));
    }
    if let Some((key, _)) = endpoint.options.first() {
        return Err(format!("unknown option \"{key}\": a URL to listen on has no options"));
    }
    if endpoint.credentials.is_some() {
        return Err("a URL to listen on has no user name: only clients send one".to_owned());
    }
    Ok(())
}

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
            return Err(usage(
                "--loop requires connections, which datagram sockets do not have".to_owned(),
            ));
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
    warn_of_key_log();
    let acceptor = Acceptor::bind(&at).await.map_err(failed)?;
    let url = acceptor.bound(&endpoint.address).to_string();
    let server = MockServer {
        args,
        connections: &recording.connections,
        tls: tls.map(ServerTls::without_tickets),
        rules,
        output: args.output(traffic)?,
        stopped: CancellationToken::new(),
        url,
    };
    let all = recording.connections.len();
    let connections = counted(all, "recorded connection");
    notice(&format!("listening on {} for {connections}", server.url));
    let ended = server.run(acceptor).await.map_err(failed);
    let recorded = server.output.as_ref().map_or(Ok(()), |output| output.finish());
    match ended? {
        (0, _) => recorded.map_err(Error::Failed),
        (count, clients) => {
            let text = format!("{count} of {clients} clients did not behave as recorded");
            Err(Error::Failed(format!("{}: {text}", server.url)))
        }
    }
}

impl MockServer<'_> {
    /// Serves clients until all recorded connections were played, or until a signal. Returns the
    /// number of clients that did not behave as recorded, and the number of all clients.
    async fn run<'a>(
        &'a self,
        mut acceptor: Acceptor<'a, RawConnection>,
    ) -> io::Result<(usize, usize)> {
        let mut signalled = pin!(stop_signal()?);
        let mut serving = FuturesUnordered::new();
        let (mut deviations, mut clients, mut left) = (0, 0, self.connections.len());
        let is_stopped = || self.stopped.is_cancelled();
        while left > 0 && !(is_stopped() && serving.is_empty() && acceptor.is_idle()) {
            let has_next = self.args.repeat || clients < self.connections.len();
            let new = tokio::select! {
                Some(served) = serving.next() => {
                    left -= usize::from(!self.args.repeat);
                    deviations += usize::from(!self.report(&served));
                    None
                }
                arrived = acceptor.next(has_next && !is_stopped(), |stream| self.open(stream)) => match arrived? {
                    Arrived::Client(peer, Ok(wire)) if has_next => Some((peer, wire)),
                    Arrived::Client(peer, opened) => {
                        let other = "the recording has no other connection".to_owned();
                        notice(&format!("{}: {}", client_name(&peer), opened.err().unwrap_or(other)));
                        None
                    }
                    Arrived::Datagrams(socket) => {
                        let (peer, socket) = datagrams::connect(socket).await?;
                        Some((peer, RawConnection::Datagrams(socket)))
                    }
                },
                () = &mut signalled, if !is_stopped() => {
                    self.stopped.cancel();
                    None
                }
            };
            if let Some((peer, wire)) = new {
                clients += 1;
                serving.push(self.play(clients, peer, wire));
            }
        }
        Ok((deviations, clients))
    }

    /// Performs the handshakes with a client.
    async fn open(&self, stream: Stream) -> Result<RawConnection, String> {
        let opened = async {
            let stream = tls_handshake(self.tls.as_ref(), self.rules.is_some(), stream).await?;
            let Some(rules) = &self.rules else {
                return Ok(RawConnection::Stream(stream, Vec::new()));
            };
            let accepted = websocket::accept(stream, self.tls.is_some(), rules).await?;
            Ok(RawConnection::Stream(accepted.stream, accepted.early))
        };
        let opened = self.stopped.run_until_cancelled(opened).await;
        opened.unwrap_or_else(|| Err("stopped during the handshake".to_owned()))
    }

    /// Plays a recorded connection to the client with this number.
    async fn play(&self, number: usize, peer: Peer, wire: RawConnection) -> ServedClient {
        let index = (number - 1) % self.connections.len();
        let connection = &self.connections[index];
        let (target, client) = (self.url.clone(), client_name(&peer));
        let opened = Opened { target, peer: peer.description(), ..Opened::default() };
        let (own, output) = (Direction::ToClient, self.output.clone());
        let player = Player::new(self.args, connection, own, number, opened, output);
        let result = self.stopped.run_until_cancelled(player.play(wire)).await;
        let result = result.unwrap_or_else(|| player.stopped());
        ServedClient { client, index, records: player.take(), result }
    }

    /// Prints whether a client has behaved as recorded, and returns it.
    fn report(&self, served: &ServedClient) -> bool {
        let ServedClient { client, index, records, result } = served;
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
