//! A case played on a connection of its own.

use std::sync::Arc;

use echogate_tests::{
    http::Response,
    server::{Server, WAIT_TIMEOUT},
    tls::Authority,
    ws,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, split},
    net::TcpStream,
    runtime, time,
};
use tokio_rustls::{TlsConnector, rustls::pki_types::ServerName};

use super::{
    case::{Case, Event, Octets, Round},
    replies::{Replies, Reply},
};
use crate::ECHOGATE;

/// A default route, with the reply of its service.
pub(super) struct Service {
    pub(super) path: &'static str,
    reply: fn(&[u8]) -> Vec<u8>,
}

impl Service {
    /// `upper`, over a TCP connection.
    pub(super) const UPPER: Service = Service { path: "/ws", reply: <[u8]>::to_ascii_uppercase };
    /// `echo`, in memory.
    pub(super) const ECHO: Service = Service { path: "/ws/echo", reply: <[u8]>::to_vec };

    fn reply(&self, sent: &Event) -> Event {
        match sent {
            Event::Text(payload) => Event::Text((self.reply)(payload)),
            Event::Binary(payload) => Event::Binary((self.reply)(payload)),
            Event::Pong(payload) => Event::Pong(payload.clone()),
        }
    }
}

/// The client's transport.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Plain,
    Tls,
    /// Plain, to another server whose routes lead to the server by WebSocket.
    Relayed,
}

/// Plays all cases, and fails when one fails.
pub(super) fn run(service: &Service, transport: Transport, cases: impl IntoIterator<Item = Case>) {
    let authority =
        (transport == Transport::Tls).then(|| Authority::with_certificate(&["127.0.0.1"]));
    let flags = authority.as_ref().map(Authority::flags);
    let flags: Vec<_> = flags.iter().flatten().map(String::as_str).collect();
    let server = Server::start(ECHOGATE, &flags);
    let relay = (transport == Transport::Relayed).then(|| {
        let route = format!("{}={}", service.path, server.ws(service.path));
        Server::start(ECHOGATE, &["--route", &route])
    });
    let server = relay.as_ref().unwrap_or(&server);
    let connector = authority.map(|authority| TlsConnector::from(Arc::clone(&authority.trusted())));

    let runtime = runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (mut count, mut failed) = (0, Vec::new());
    for case in cases {
        let played = runtime.block_on(async {
            let playing = play(server, service, connector.as_ref(), &case);
            time::timeout(WAIT_TIMEOUT, playing).await
        });
        count += 1;
        match played {
            Ok(Ok(())) => {}
            Ok(Err(why)) => failed.push(format!("{} {}: {why}", case.number, case.title)),
            Err(_) => {
                failed.push(format!("{} {}: no end in time", case.number, case.title));
                failed.push("the cases behind it were not played".to_owned());
                break;
            }
        }
    }
    let path = service.path;
    assert!(failed.is_empty(), "of {count} cases on {path} failed:\n{}", failed.join("\n"));
}

/// Plays a case on a new connection.
async fn play(
    server: &Server,
    service: &Service,
    tls: Option<&TlsConnector>,
    case: &Case,
) -> Result<(), String> {
    let address = server.address("http");
    let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
    stream.set_nodelay(true).map_err(|e| e.to_string())?;
    let Some(connector) = tls else {
        return play_on(stream, address, service, case).await;
    };
    let name = ServerName::try_from("127.0.0.1").map_err(|e| e.to_string())?;
    let stream = connector.connect(name, stream).await.map_err(|e| e.to_string())?;
    play_on(stream, address, service, case).await
}

async fn play_on(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    address: &str,
    service: &Service,
    case: &Case,
) -> Result<(), String> {
    upgrade(&mut stream, address, service.path, case.subprotocol).await?;
    let (read, mut write) = split(stream);
    let mut replies = Replies::new(read);
    let (last, rounds) = case.rounds.split_last().ok_or("a case without a round")?;
    for round in rounds {
        let received = receive(&mut replies, service, case, round);
        tokio::try_join!(send(&mut write, &round.sent), received)?;
    }
    let received = async {
        receive(&mut replies, service, case, last).await?;
        receive_end(&mut replies, service, case).await
    };
    tokio::try_join!(send(&mut write, &last.sent), received)?;
    Ok(())
}

/// Sends the opening handshake and reads its answer, and nothing after it.
async fn upgrade(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    address: &str,
    path: &str,
    subprotocol: Option<&str>,
) -> Result<(), String> {
    let start = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n{}", ws::UPGRADE.join("\r\n"));
    let offer = subprotocol.map(|name| format!("\r\nSec-WebSocket-Protocol: {name}"));
    let request = format!("{start}{}\r\n\r\n", offer.unwrap_or_default());
    let failed = |e: std::io::Error| format!("the opening handshake: {e}");
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.map_err(failed)?);
    }
    let response = Response::read(&mut &head[..]).map_err(failed)?;
    let chosen = response.header("sec-websocket-protocol");
    if response.status == 101 && chosen == subprotocol {
        Ok(())
    } else {
        Err(format!("the opening handshake: {response:?}"))
    }
}

async fn send(stream: &mut (impl AsyncWrite + Unpin), sent: &[Octets]) -> Result<(), String> {
    let failed = |e: std::io::Error| format!("the server does not take all octets: {e}");
    for Octets { octets, chop } in sent {
        for chop in octets.chunks(*chop) {
            stream.write_all(chop).await.map_err(failed)?;
            stream.flush().await.map_err(failed)?;
        }
    }
    Ok(())
}

/// Receives a round's replies: these events in this order, and no other.
async fn receive(
    replies: &mut Replies<impl AsyncRead + Unpin>,
    service: &Service,
    case: &Case,
    round: &Round,
) -> Result<(), String> {
    for sent in &round.expected {
        let expected = Reply::Event(service.reply(sent));
        let got = replies.next().await?;
        if got != expected {
            return Err(format!("{got:?} instead of {expected:?}"));
        }
    }
    if round.begun > 0 {
        replies.begun(round.begun).await?;
        check_unfinished(replies, service, case)?;
    }
    Ok(())
}

/// Receives the Close frame, and the end of the stream right after it.
async fn receive_end(
    replies: &mut Replies<impl AsyncRead + Unpin>,
    service: &Service,
    case: &Case,
) -> Result<(), String> {
    match replies.next().await? {
        Reply::Close(code, _) if code == case.close_code => match replies.next().await? {
            Reply::End => {}
            other => return Err(format!("{other:?} behind the Close frame")),
        },
        Reply::Cut if case.may_be_cut => {}
        other => return Err(format!("{other:?} instead of a Close frame {:?}", case.close_code)),
    }
    check_unfinished(replies, service, case)
}

/// Checks the received part of the reply to an incomplete message.
fn check_unfinished(
    replies: &Replies<impl AsyncRead + Unpin>,
    service: &Service,
    case: &Case,
) -> Result<(), String> {
    match (replies.unfinished(), &case.unfinished) {
        (None, _) => Ok(()),
        (Some((got, part)), Some((opcode, sent)))
            if got == opcode && (service.reply)(sent).starts_with(part) =>
        {
            Ok(())
        }
        (Some((opcode, part)), _) => Err(format!(
            "a message of opcode {opcode} was begun: \"{}\"",
            part[..part.len().min(40)].escape_ascii()
        )),
    }
}
