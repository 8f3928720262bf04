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

/// Those that are under way, until their listener has accepted them. (One whose listener is
/// gone by then stays; there are never more than a machine has ports.) Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Legs(Arc<Mutex<HashMap<Ends, Leg>>>);

/// Where one comes from and where it leads.
type Ends = (SocketAddr, SocketAddr);

/// The same whether IPv4 is written as such, or as a listener for both families sees it.
fn ends(from: SocketAddr, to: SocketAddr) -> Ends {
    let plain = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    (plain(from), plain(to))
}

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
        let known = {
            // Before it is known it cannot be asked for.
            let mut legs = self.lock();
            match socket.connect(&to.into()) {
                Err(e) if e.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(e),
                _ => {}
            }
            let from = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
            let ends = ends(from, to);
            legs.insert(ends, leg);
            Known { legs: self, ends }
        };
        // Of a tuple the first is dropped first: it is forgotten before its port is free.
        let dialled = (known, TcpStream::from_std(socket.into())?);
        dialled.1.writable().await?;
        if let Some(e) = dialled.1.take_error()? {
            return Err(e);
        }
        // From now on the listener has it.
        let (known, stream) = dialled;
        std::mem::forget(known);
        Ok(stream)
    }

    /// Whether a connection that has come from there is one, and which; asked once. `to`
    /// says what it has called.
    pub(crate) fn take(
        &self,
        from: SocketAddr,
        to: impl FnOnce() -> io::Result<SocketAddr>,
    ) -> Option<Leg> {
        let mut legs = self.lock();
        if legs.is_empty() {
            return None;
        }
        legs.remove(&ends(from, to().ok()?))
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<Ends, Leg>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that may come to nothing, and then is forgotten.
struct Known<'a> {
    legs: &'a Legs,
    ends: Ends,
}

impl Drop for Known<'_> {
    fn drop(&mut self) {
        self.legs.lock().remove(&self.ends);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, net::Ipv4Addr, pin::pin, task::Poll};

    use tokio::net::TcpListener;

    use super::*;

    const LEG: Leg = Leg { is_introduced: false };

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        (listener, at)
    }

    #[tokio::test]
    async fn its_listener_knows_it_once_and_a_stranger_never() {
        let (legs, (listener, at)) = (Legs::default(), listener().await);
        let _leg = legs.connect(at, LEG).await.unwrap();
        let (_accepted, from) = listener.accept().await.unwrap();
        assert!(legs.take(from, || Ok(SocketAddr::from(([127, 0, 0, 1], 1)))).is_none());
        let as_both_see_it = "::ffff:127.0.0.1".parse().unwrap();
        let from = SocketAddr::new(as_both_see_it, from.port());
        assert!(legs.take(from, || Ok(at)).is_some());
        assert!(legs.take(from, || Ok(at)).is_none());
        let _other = legs.connect(at, LEG).await.unwrap();
        listener.accept().await.unwrap();
        let _stranger = TcpStream::connect(at).await.unwrap();
        let (_accepted, from) = listener.accept().await.unwrap();
        assert!(legs.take(from, || Ok(at)).is_none());
    }

    #[tokio::test]
    async fn what_comes_to_nothing_is_forgotten() {
        let (legs, (listener, at)) = (Legs::default(), listener().await);
        {
            let mut given_up = pin!(legs.connect(at, LEG));
            let polled = poll_fn(|cx| Poll::Ready(given_up.as_mut().poll(cx).is_pending())).await;
            assert!(polled, "it is under way");
            assert_eq!(legs.lock().len(), 1);
        }
        assert_eq!(legs.lock().len(), 0);
        drop(listener);
        legs.connect(at, LEG).await.unwrap_err();
        assert_eq!(legs.lock().len(), 0);
    }
}
