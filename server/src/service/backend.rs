//! A service that can run, and its side of one connection.

use std::{
    io,
    sync::Arc,
    task::{Context, Poll},
};

use jiff::tz::TimeZone;
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    bytes::ByteConnection,
    chat::{Client, Hub, Operator},
    end::End,
    lines::{LineConnection, LineService},
    time::{self, Time},
};
use crate::{
    connections::registry::{Entry, Peer},
    runtime::drain::Stage,
};

/// A service with the state that its connections share. Clones share that state too.
#[derive(Clone, Debug)]
pub(crate) enum ServiceInstance {
    Upper,
    Echo,
    /// [`Service::Time`](super::Service::Time), with the time zone of its answers.
    Time(TimeZone),
    Chat(Arc<Hub>),
    Operator(Arc<Hub>),
}

impl ServiceInstance {
    /// Opens a connection for a client. With `once` the connection ends after one answered message.
    pub(crate) fn open(&self, peer: Peer, once: bool) -> ServiceConnection {
        match self {
            ServiceInstance::Upper => bytes(<[u8]>::make_ascii_uppercase, once),
            ServiceInstance::Echo => bytes(|_| (), once),
            ServiceInstance::Time(zone) => lines(Time::new(zone.clone()), once),
            ServiceInstance::Chat(hub) => lines(Client::new(hub, &peer), once),
            ServiceInstance::Operator(hub) => lines(Operator::new(hub, peer), once),
        }
    }

    /// Replaces the datagram in `bytes[..len]` with its answer and returns the answer's length;
    /// none if the service does not answer the datagram.
    pub(crate) fn answer(&self, bytes: &mut [u8], len: usize) -> Option<usize> {
        match self {
            ServiceInstance::Upper => bytes[..len].make_ascii_uppercase(),
            ServiceInstance::Echo => {}
            ServiceInstance::Time(_) if time::is_error(&bytes[..len]) => return None,
            ServiceInstance::Time(zone) => {
                let answer = time::answer(&bytes[..len], zone);
                bytes[..answer.len()].copy_from_slice(&answer);
                return Some(answer.len());
            }
            ServiceInstance::Chat(_) | ServiceInstance::Operator(_) => return None,
        }
        Some(len)
    }
}

fn bytes(transform: fn(&mut [u8]), once: bool) -> ServiceConnection {
    ServiceConnection::Bytes(ByteConnection::new(transform, once))
}

fn lines(service: impl LineService + 'static, once: bool) -> ServiceConnection {
    ServiceConnection::Lines(Box::new(LineConnection::new(service, once)))
}

/// The service's side of one connection.
#[derive(Debug)]
pub(crate) enum ServiceConnection {
    Bytes(ByteConnection),
    Lines(Box<LineConnection>),
}

impl ServiceConnection {
    /// Tells the service that the client's connection has failed. The service must not be polled
    /// afterwards.
    pub(crate) fn failed(&mut self, error: io::Error) {
        match self {
            ServiceConnection::Bytes(_) => {}
            ServiceConnection::Lines(lines) => lines.failed(error),
        }
    }

    /// The number of bytes of answers that are not written to the client's connection yet.
    pub(crate) fn unsent(&self) -> usize {
        match self {
            ServiceConnection::Bytes(bytes) => bytes.unsent(),
            ServiceConnection::Lines(lines) => lines.unsent(),
        }
    }

    /// Answers received bytes, counted in `entry`, until the client, the service or, by `stage`,
    /// the server ends the connection. Reads only when all answers are written, so that a client
    /// that does not read is not read either.
    pub(crate) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        entry: Option<&Entry>,
        stage: Stage,
    ) -> Poll<io::Result<End>> {
        match self {
            ServiceConnection::Bytes(bytes) => bytes.poll(cx, stream, entry, stage),
            ServiceConnection::Lines(lines) => lines.poll(cx, stream, entry, stage),
        }
    }
}
