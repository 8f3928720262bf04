//! Hairpins: TCP connections of the gateway to listeners of the same process.
//!
//! A route whose upstream is a listener of this process (`/ws` by default) reaches it over loopback
//! TCP, like any upstream. The limits count a WebSocket client and its hairpin as one connection, so
//! the hairpin is covered by the client's permit; and a PROXY header is expected on a hairpin only if
//! the gateway sends one. The accept loop therefore has to recognise hairpins: [`Hairpins::connect`]
//! registers both addresses of the connection before the listener can accept it, and
//! [`Hairpins::take`] looks them up.
//!
//! A socketpair would take about a third less CPU time, but neither the page nor a packet capture could
//! show a TCP connection. `service:NAME` is an upstream without a socket, and takes less time than both.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc};

use nix::errno::Errno;
use parking_lot::Mutex;
use socket2::{Domain, Socket, Type};
use tokio::net::TcpStream;

use super::canonical;
use crate::connections::limits::descriptors::outside_reserve;

/// The hairpins that no listener has accepted yet. An entry stays if its listener is closed before it
/// accepts; the ports of the machine bound the number of entries. Clones share the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hairpins(Arc<Mutex<HashMap<AddressPair, Hairpin>>>);

/// The local and the remote address, from the connecting side.
type AddressPair = (SocketAddr, SocketAddr);

/// The pair in canonical form, which is the same at both ends.
fn address_pair(from: SocketAddr, to: SocketAddr) -> AddressPair {
    (canonical(from), canonical(to))
}

/// The properties of a hairpin that its listener needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hairpin {
    /// The gateway sends a PROXY header first.
    pub(crate) has_proxy_header: bool,
}

impl Hairpins {
    /// Connects to a listener of this process.
    ///
    /// # Errors
    ///
    /// The errors of socket(2) and connect(2).
    pub(crate) async fn connect(&self, to: SocketAddr, hairpin: Hairpin) -> io::Result<TcpStream> {
        let socket = outside_reserve(Socket::new(Domain::for_address(to), Type::STREAM, None)?)?;
        // Fails unless a descriptor is left for the listener's end.
        drop(outside_reserve(socket.try_clone()?)?);
        socket.set_nonblocking(true)?;
        let entry = {
            // Locked across connect(2): `take` must not look the hairpin up before it is inserted.
            let mut hairpins = self.0.lock();
            match socket.connect(&to.into()) {
                Err(e) if e.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(e),
                _ => {}
            }
            let from = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::Unsupported)?;
            let pair = address_pair(from, to);
            hairpins.insert(pair, hairpin);
            PendingEntry { hairpins: self, pair }
        };
        let stream = TcpStream::from_std(socket.into())?;
        // Declared after the stream, hence dropped before it: the entry is removed while the port
        // is still taken.
        let entry = entry;
        stream.writable().await?;
        if let Some(e) = stream.take_error()? {
            return Err(e);
        }
        // The listener removes the entry.
        std::mem::forget(entry);
        Ok(stream)
    }

    /// Removes and returns the hairpin between `from` and the local address `to` of an accepted
    /// connection; None if the connection is not a hairpin.
    pub(crate) fn take(
        &self,
        from: SocketAddr,
        to: impl FnOnce() -> io::Result<SocketAddr>,
    ) -> Option<Hairpin> {
        let mut hairpins = self.0.lock();
        if hairpins.is_empty() {
            return None;
        }
        hairpins.remove(&address_pair(from, to().ok()?))
    }
}

/// Removes the entry of a connection attempt that fails or is cancelled.
struct PendingEntry<'a> {
    hairpins: &'a Hairpins,
    pair: AddressPair,
}

impl Drop for PendingEntry<'_> {
    fn drop(&mut self) {
        self.hairpins.0.lock().remove(&self.pair);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, net::Ipv4Addr, pin::pin, task::Poll};

    use tokio::net::TcpListener;

    use super::*;

    const HAIRPIN: Hairpin = Hairpin { has_proxy_header: false };

    async fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let at = listener.local_addr().unwrap();
        (listener, at)
    }

    #[tokio::test]
    async fn a_hairpin_is_recognised_once_and_another_connection_never() {
        let (hairpins, (listener, at)) = (Hairpins::default(), listener().await);
        let _hairpin = hairpins.connect(at, HAIRPIN).await.unwrap();
        let (_accepted, from) = listener.accept().await.unwrap();
        assert!(hairpins.take(from, || Ok(SocketAddr::from(([127, 0, 0, 1], 1)))).is_none());
        let ipv4_mapped = "::ffff:127.0.0.1".parse().unwrap();
        let from = SocketAddr::new(ipv4_mapped, from.port());
        assert!(hairpins.take(from, || Ok(at)).is_some());
        assert!(hairpins.take(from, || Ok(at)).is_none());
        let _other = hairpins.connect(at, HAIRPIN).await.unwrap();
        listener.accept().await.unwrap();
        let _other_connection = TcpStream::connect(at).await.unwrap();
        let (_accepted, from) = listener.accept().await.unwrap();
        assert!(hairpins.take(from, || Ok(at)).is_none());
    }

    #[tokio::test]
    async fn a_failed_or_cancelled_hairpin_is_removed() {
        let (hairpins, (listener, at)) = (Hairpins::default(), listener().await);
        {
            let mut cancelled = pin!(hairpins.connect(at, HAIRPIN));
            let polled = poll_fn(|cx| Poll::Ready(cancelled.as_mut().poll(cx).is_pending())).await;
            assert!(polled, "the attempt is under way");
            assert_eq!(hairpins.0.lock().len(), 1);
        }
        assert_eq!(hairpins.0.lock().len(), 0);
        drop(listener);
        hairpins.connect(at, HAIRPIN).await.unwrap_err();
        assert_eq!(hairpins.0.lock().len(), 0);
    }
}
