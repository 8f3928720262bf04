//! Services on datagram sockets: each datagram is answered with one, from the address that it
//! was sent to. Their tasks run in the runtime, not on the event loops.
//!
//! Each socket has one task. Datagrams that could form a loop are not answered ([`loops`]). A
//! [`flow_table`] lists the senders as connections.

mod flow_table;
mod loops;

use std::{io, sync::Arc, time::Instant};

use echogate_proto::{reason, recording::Side};
use thiserror::Error;

use self::{
    flow_table::FlowTable,
    loops::{Loop, MAX_RETURNS, Returns, SILENCE, SenderHash},
};
use super::{
    admission::Admission,
    snapshot::{Served, Snapshot},
};
use crate::{
    connections::{
        registry::Registry,
        tap::{input, output},
    },
    net::{
        datagram_reception::{Receiver, receive_all},
        datagram_socket::{DatagramSocket, Sender},
        own_sockets::OwnSockets,
    },
    runtime::reception::Reception,
};

/// Answers datagrams until the reception is stopped, each by the service that the socket has when the
/// datagram is received.
pub(super) async fn serve(
    socket: Arc<DatagramSocket>,
    admission: Admission,
    registry: Registry,
    reception: Reception,
) {
    let flows = FlowTable::new(registry);
    let mut server = Server { socket: socket.clone(), admission, flows, returns: Returns::new() };
    receive_all(&socket, &reception, &mut server).await;
    server.flows.end_all(&reason::SOCKET_CLOSED);
}

/// A service on one datagram socket.
struct Server {
    socket: Arc<DatagramSocket>,
    admission: Admission,
    flows: FlowTable,
    returns: Returns,
}

/// The reason for which a datagram is not answered.
#[derive(Debug, Error)]
pub(super) enum Dropped {
    #[error("it is too long")]
    TooLong,
    #[error("it comes from a socket of this server")]
    OwnSocket,
    #[error("its sender's port is that of a service that answers any datagram")]
    AnsweringPort,
    #[error("its sender is not answered for {SILENCE:?}, because of a loop")]
    Loop,
    #[error("the service does not answer it")]
    Service,
    #[error("{0}")]
    Send(#[from] io::Error),
}

impl Receiver for Server {
    /// Answers the datagram, or counts it as dropped.
    async fn receive(&mut self, buffer: &mut [u8], len: usize, from: Sender) {
        let snapshot = self.admission.snapshot();
        if let Err(why) = self.answer(&snapshot, buffer, len, &from).await {
            snapshot.context.counters.datagram_dropped();
            tracing::debug!(peer = %from.peer(), "a datagram of {len} bytes is not answered: {why}");
        }
    }

    fn sweep(&mut self) {
        self.flows.sweep();
    }
}

impl Server {
    async fn answer(
        &mut self,
        snapshot: &Snapshot,
        buffer: &mut [u8],
        len: usize,
        from: &Sender,
    ) -> Result<(), Dropped> {
        if len == buffer.len() {
            return Err(Dropped::TooLong);
        }
        let Some(Served::Service(service)) = snapshot.served(self.admission.socket) else {
            return Ok(());
        };
        check_sender(from, &snapshot.own_datagram_sockets)?;
        let (sender, now) = (sender_hash(from, &self.returns), Instant::now());
        match self.returns.received(sender, &buffer[..len], now) {
            Loop::No => {}
            Loop::Silenced => return Err(Dropped::Loop),
            Loop::Found => {
                let peer = from.peer();
                tracing::warn!(%peer, "datagram loop: {MAX_RETURNS} datagrams in a row were equal \
                    to the answer just sent; the sender is not answered for {SILENCE:?}");
                return Err(Dropped::Loop);
            }
        }
        let peer = from.peer();
        let flow = self.flows.get(service, &peer);
        let mut received = None;
        match &flow {
            Some(flow) if flow.is_tapped() => flow.passed(input(Side::Client), &buffer[..len]),
            // The answer overwrites the datagram in the buffer.
            None if snapshot.context.observes(service.record) => {
                received = Some(buffer[..len].to_vec());
            }
            _ => {}
        }
        let answer = service.instance.answer(buffer, len).ok_or(Dropped::Service)?;
        let sent = self.socket.send(&buffer[..answer], from).await;
        let flow = match flow {
            Some(flow) => Some(flow),
            None => self.flows.begin(&snapshot.context, service, peer, now),
        };
        if let Some(flow) = flow {
            flow.count(len, sent.is_ok().then_some(answer), now);
            if flow.is_tapped() {
                if let Some(received) = received {
                    flow.passed(input(Side::Client), &received);
                }
                if sent.is_ok() {
                    flow.passed(output(Side::Client), &buffer[..answer]);
                }
            }
        }
        sent?;
        self.returns.answered(sender, &buffer[..answer]);
        Ok(())
    }
}

/// Checks that a datagram of this sender may be answered.
///
/// # Errors
///
/// Datagrams of this sender are never answered.
pub(super) fn check_sender(sender: &Sender, own: &OwnSockets) -> Result<(), Dropped> {
    let is_own = match sender {
        Sender::Udp(from, _) if loops::answers_anything(from.port()) => {
            return Err(Dropped::AnsweringPort);
        }
        Sender::Udp(from, _) => own.has_address(*from),
        Sender::UnixGram(from) => from.path().is_some_and(|path| own.has_path(path)),
    };
    if is_own { Err(Dropped::OwnSocket) } else { Ok(()) }
}

fn sender_hash(sender: &Sender, returns: &Returns) -> SenderHash {
    match sender {
        Sender::Udp(from, _) => returns.sender(from),
        Sender::UnixGram(from) => returns.sender(from),
    }
}
