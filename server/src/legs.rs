//! Connections that bridges make to this server's own listeners. Each is a part of its
//! client's connection: it needs no place beside it, and no proxy tells who it is from.

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use nix::errno::Errno;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

/// Those that are under way, by the address that they come from. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Legs(Arc<Mutex<HashMap<SocketAddr, Leg>>>);

/// What is known of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leg {
    /// It begins with a PROXY header.
    pub(crate) is_introduced: bool,
}

impl Legs {
    /// Connects to a listener of this server, which knows it by [`Legs::take`].
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) async fn connect(&self, to: SocketAddr, leg: Leg) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let from = {
            // Before it is known it cannot be asked for.
            let mut legs = self.lock();
            match socket.connect(&to.into()) {
                Err(e) if e.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(e),
                _ => {}
            }
            let from = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
            legs.insert(from, leg);
            from
        };
        let connecting = async {
            let stream = TcpStream::from_std(socket.into())?;
            stream.writable().await?;
            stream.take_error()?.map_or(Ok(stream), Err)
        };
        connecting.await.inspect_err(|_| {
            self.take(&from);
        })
    }

    /// Whether the connection that has come from there is one; asked once.
    pub(crate) fn take(&self, from: &SocketAddr) -> Option<Leg> {
        self.lock().remove(from)
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, Leg>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
