//! The halves of an open connection.

use std::{
    convert::Infallible,
    future::{pending, poll_fn},
    io,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf, split},
    time::{sleep, timeout},
};

use super::connection::ReplayedConnection;
use crate::{
    client::{open::RawConnection, transport::CHUNK},
    net::{
        connected_datagrams::ConnectedSocket,
        stream::{Stream, Transport, is_end},
    },
};

/// The size of the buffer for datagrams, in bytes.
const MAX_DATAGRAM: usize = 256 * 1024;

/// The time limit of a write.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The time for bytes in flight to arrive before a reset, which would discard them.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(1);

/// The interval at which the system is asked whether bytes are in flight.
const DELIVERY_INTERVAL: Duration = Duration::from_millis(2);

/// The reading half.
pub(super) enum Source {
    Stream(ReadHalf<Stream>, Box<[u8]>),
    Datagrams(Rc<ConnectedSocket>, Box<[u8]>),
}

/// The writing half.
pub(super) enum Sink {
    Stream(WriteHalf<Stream>),
    Datagrams(Rc<ConnectedSocket>),
}

/// The halves of `raw`. The bytes that were read with the opening handshake are added to
/// `connection`.
pub(super) fn halves(raw: RawConnection, connection: &ReplayedConnection) -> (Source, Sink) {
    match raw {
        RawConnection::Stream(stream, early) => {
            if !early.is_empty() {
                connection.received(early.into());
            }
            let (source, sink) = split(stream);
            (Source::Stream(source, vec![0; CHUNK].into()), Sink::Stream(sink))
        }
        RawConnection::Datagrams(socket) => {
            let socket = Rc::new(socket);
            let buffer = vec![0; MAX_DATAGRAM].into();
            (Source::Datagrams(socket.clone(), buffer), Sink::Datagrams(socket))
        }
    }
}

impl Source {
    /// Reads until the peer ends or has sent `limit` bytes, and then waits forever.
    pub(super) async fn read_all(
        &mut self,
        connection: &ReplayedConnection,
        mut limit: u64,
    ) -> Infallible {
        while limit > 0 {
            let bytes = match self.read().await {
                Ok(Some(bytes)) => bytes,
                end => {
                    connection.peer_ended(end.is_err_and(|error| !is_end(&error)));
                    break;
                }
            };
            limit = limit.saturating_sub(bytes.len() as u64);
            connection.received(bytes);
        }
        pending().await
    }

    /// Reads the next bytes or datagram; `None` at the end of a stream.
    async fn read(&mut self) -> io::Result<Option<Bytes>> {
        match self {
            Source::Stream(half, buffer) => {
                let read = half.read(buffer).await?;
                // A slice of the buffer would keep all of it in memory.
                let bytes = Bytes::copy_from_slice(&buffer[..read]);
                Ok(Some(bytes).filter(|bytes| !bytes.is_empty()))
            }
            Source::Datagrams(socket, buffer) => {
                let mut buffer = ReadBuf::new(buffer);
                poll_fn(|cx| socket.poll_receive(cx, &mut buffer)).await?;
                Ok(Some(Bytes::copy_from_slice(buffer.filled())))
            }
        }
    }
}

impl Sink {
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Sink::Stream(half) => {
                for chunk in bytes.chunks(CHUNK) {
                    timeout(WRITE_TIMEOUT, half.write_all(chunk)).await??;
                }
                timeout(WRITE_TIMEOUT, half.flush()).await?
            }
            Sink::Datagrams(socket) => {
                timeout(WRITE_TIMEOUT, poll_fn(|cx| socket.poll_send(cx, bytes))).await?
            }
        }
    }

    /// Ends the direction. An error is ignored: the connection has then ended already.
    pub(super) async fn shutdown(&mut self) {
        if let Sink::Stream(half) = self {
            timeout(WRITE_TIMEOUT, half.shutdown()).await.ok();
        }
    }
}

/// Resets a connection after its last bytes have arrived.
pub(super) async fn reset(mut stream: Stream) {
    // An error means that the peer has reset the connection already.
    delivered(&stream).await.ok();
    stream.reset_on_drop();
}

/// Waits until the peer has acknowledged everything, at most [`DELIVERY_TIMEOUT`].
///
/// # Errors
///
/// The peer has reset the connection.
pub(super) async fn delivered(stream: &Stream) -> io::Result<()> {
    let acknowledged = async {
        loop {
            stream.check()?;
            if stream.in_flight().is_none_or(|bytes| bytes.is_nothing()) {
                return Ok(());
            }
            sleep(DELIVERY_INTERVAL).await;
        }
    };
    timeout(DELIVERY_TIMEOUT, acknowledged).await.unwrap_or(Ok(()))
}
