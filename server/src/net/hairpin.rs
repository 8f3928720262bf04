//! Hairpins: connections that bridges make to this server's own listeners. Each is a part of its
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
/// gone by then stays; of each listener there are never more than a machine has ports.)
/// Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hairpins(Arc<Mutex<HashMap<Ends, Hairpin>>>);

/// Where one comes from and where it leads.
type Ends = (SocketAddr, SocketAddr);

/// The same whether IPv4 is written as such, or as a listener for both families sees it.
fn ends(from: SocketAddr, to: SocketAddr) -> Ends {
    let plain = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
    (plain(from), plain(to))
}

/// What is known of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hairpin {
    /// It begins with a PROXY header.
    pub(crate) is_introduced: bool,
}

impl Hairpins {
    /// Connects to a listener of this server, which knows it by [`Hairpins::take`].
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) async fn connect(&self, to: SocketAddr, hairpin: Hairpin) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        let known = {
            // Before it is known it cannot be asked for.
            let mut hairpins = self.lock();
            match socket.connect(&to.into()) {
                Err(e) if e.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(e),
                _ => {}
            }
            let from = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
            let ends = ends(from, to);
            hairpins.insert(ends, hairpin);
            Known { hairpins: self, ends }
        };
        let stream = TcpStream::from_std(socket.into())?;
        // Declared behind the stream: it is forgotten before its port is free.
        let known = known;
        stream.writable().await?;
        if let Some(e) = stream.take_error()? {
            return Err(e);
        }
        // From now on the listener has it.
        std::mem::forget(known);
        Ok(stream)
    }

    /// Whether a connection that has come from there is one, and which; asked once. `to`
    /// says what it has called.
    pub(crate) fn take(
        &self,
        from: SocketAddr,
        to: impl FnOnce() -> io::Result<SocketAddr>,
    ) -> Option<Hairpin> {
        let mut hairpins = self.lock();
        if hairpins.is_empty() {
            return None;
        }
        hairpins.remove(&ends(from, to().ok()?))
    }

    /// No code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, HashMap<Ends, Hairpin>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that may come to nothing, and then is forgotten.
struct Known<'a> {
    hairpins: &'a Hairpins,
    ends: Ends,
}

impl Drop for Known<'_> {
    fn drop(&mut self) {
        self.hairpins.lock().remove(&self.ends);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, net::Ipv4Addr, pin::pin, task::Poll};

    use tokio::net::TcpListener;

    use super::*;

    const HAIRPIN: Hairpin = Hairpin { is_introduced: false };

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        (listener, at)
    }

    #[tokio::test]
    async fn its_listener_knows_it_once_and_a_stranger_never() {
        let (hairpins, (listener, at)) = (Hairpins::default(), listener().await);
        let _hairpin = hairpins.connect(at, HAIRPIN).await.unwrap();
        let (_accepted, from) = listener.accept().await.unwrap();
        assert!(hairpins.take(from, || Ok(SocketAddr::from(([127, 0, 0, 1], 1)))).is_none());
        let as_both_see_it = "::ffff:127.0.0.1".parse().unwrap();
        let from = SocketAddr::new(as_both_see_it, from.port());
        assert!(hairpins.take(from, || Ok(at)).is_some());
        assert!(hairpins.take(from, || Ok(at)).is_none());
        let _other = hairpins.connect(at, HAIRPIN).await.unwrap();
        listener.accept().await.unwrap();
        let _stranger = TcpStream::connect(at).await.unwrap();
        let (_accepted, from) = listener.accept().await.unwrap();
        assert!(hairpins.take(from, || Ok(at)).is_none());
    }

    #[tokio::test]
    async fn what_comes_to_nothing_is_forgotten() {
        let (hairpins, (listener, at)) = (Hairpins::default(), listener().await);
        {
            let mut given_up = pin!(hairpins.connect(at, HAIRPIN));
            let polled = poll_fn(|cx| Poll::Ready(given_up.as_mut().poll(cx).is_pending())).await;
            assert!(polled, "it is under way");
            assert_eq!(hairpins.lock().len(), 1);
        }
        assert_eq!(hairpins.lock().len(), 0);
        drop(listener);
        hairpins.connect(at, HAIRPIN).await.unwrap_err();
        assert_eq!(hairpins.lock().len(), 0);
    }
}
