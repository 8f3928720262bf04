//! UDP to a host that may have several addresses. No handshake tells which of them is
//! served, but a refusal (ICMP) before the first reply tells of one that is not: then the
//! next has its turn, and what was sent is sent again.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    future::Future,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use socket2::SockRef;
use tokio::{
    io::{Interest, ReadBuf},
    net::UdpSocket,
};

/// Datagrams that may be sent again. An address that has taken so many without a word is
/// not left any more.
const KEPT: usize = 32;

/// A socket that sends to one of a host's addresses and hears it alone.
pub(super) struct Udp(RefCell<State>);

struct State {
    socket: Arc<UdpSocket>,
    /// The next refusal of what this socket sends.
    refusal: Pin<Box<dyn Future<Output = io::Error> + Send>>,
    /// The host's addresses behind this one, as long as it may be left.
    others: VecDeque<SocketAddr>,
    /// What was sent, for as long.
    sent: Vec<Vec<u8>>,
    /// Who waits for a datagram.
    reader: Option<Waker>,
}

impl Udp {
    /// A socket for the first of `addresses` that this machine has a way to, the others
    /// kept in reserve.
    ///
    /// # Errors
    ///
    /// The last address's, if there is a way to none.
    pub(super) fn new(addresses: impl IntoIterator<Item = SocketAddr>) -> io::Result<Udp> {
        let mut others = addresses.into_iter().collect();
        let socket = open_next(&mut others)?;
        let refusal = Box::pin(refusal(socket.clone()));
        Ok(Udp(RefCell::new(State { socket, refusal, others, sent: Vec::new(), reader: None })))
    }

    /// Our own address, if it is sure to stay.
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        let state = self.0.borrow();
        state.others.is_empty().then(|| state.socket.local_addr().ok()).flatten()
    }

    /// Sends a datagram. Only the latest caller is woken.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        loop {
            match ready!(state.socket.poll_send(cx, bytes)) {
                Ok(_) => break,
                Err(error) => state.leave(error)?,
            }
        }
        state.keep(bytes);
        Poll::Ready(Ok(()))
    }

    /// Receives a datagram. Only the latest caller is woken.
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut state = self.0.borrow_mut();
        loop {
            match state.socket.poll_recv(cx, buffer) {
                Poll::Ready(Ok(())) => break,
                Poll::Ready(Err(error)) => state.leave(error)?,
                Poll::Pending => {
                    if !state.others.is_empty() {
                        state.reader = Some(cx.waker().clone());
                    }
                    let error = ready!(state.refusal.as_mut().poll(cx));
                    state.refusal = Box::pin(refusal(state.socket.clone()));
                    state.leave(error)?;
                }
            }
        }
        state.stay();
        Poll::Ready(Ok(()))
    }
}

impl State {
    /// Goes on to the next address, if `error` is a refusal and there is one.
    fn leave(&mut self, mut error: io::Error) -> io::Result<()> {
        while error.kind() == io::ErrorKind::ConnectionRefused {
            let Ok(socket) = open_next(&mut self.others) else {
                return Err(io::Error::new(error.kind(), "port unreachable: nobody listens there"));
            };
            self.refusal = Box::pin(refusal(socket.clone()));
            self.socket = socket;
            match self.send_again() {
                Ok(()) => {
                    if let Some(reader) = self.reader.take() {
                        reader.wake();
                    }
                    return Ok(());
                }
                Err(refusal) => error = refusal,
            }
        }
        Err(error)
    }

    fn send_again(&self) -> io::Result<()> {
        for datagram in &self.sent {
            match SockRef::from(&self.socket).send(datagram) {
                // Without room it is lost, as any datagram may be.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                sent => drop(sent?),
            }
        }
        Ok(())
    }

    /// Keeps what was sent, if it may have to be sent again.
    fn keep(&mut self, bytes: &[u8]) {
        if self.others.is_empty() {
            return;
        }
        if self.sent.len() == KEPT {
            return self.stay();
        }
        self.sent.push(bytes.to_vec());
    }

    /// Keeps to this address from now on.
    fn stay(&mut self) {
        if !self.others.is_empty() || !self.sent.is_empty() {
            (self.others, self.sent) = Default::default();
        }
    }
}

impl fmt::Debug for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Udp").field(&self.0.borrow().socket).finish()
    }
}

/// Waits until what `socket` has sent is refused: who only polls it to receive is not woken
/// for that.
async fn refusal(socket: Arc<UdpSocket>) -> io::Error {
    let ask = || socket.take_error()?.ok_or_else(|| io::ErrorKind::WouldBlock.into());
    socket.async_io(Interest::ERROR, ask).await.unwrap_or_else(|error| error)
}

/// A socket for the next address that this machine has a way to.
fn open_next(addresses: &mut VecDeque<SocketAddr>) -> io::Result<Arc<UdpSocket>> {
    let mut last = io::Error::other("the host's name has no address");
    while let Some(address) = addresses.pop_front() {
        match open(address) {
            Ok(socket) => return Ok(socket.into()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn open(address: SocketAddr) -> io::Result<UdpSocket> {
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = std::net::UdpSocket::bind((any, 0))?;
    socket.connect(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, time::Duration};

    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);

    async fn listen() -> (UdpSocket, SocketAddr) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    /// An address whose port is another's at `127.0.0.1`, so that nobody gets it.
    async fn nobody() -> (UdpSocket, SocketAddr) {
        let (holder, address) = listen().await;
        (holder, (Ipv4Addr::new(127, 0, 0, 2), address.port()).into())
    }

    async fn send(udp: &Udp, text: &str) -> io::Result<()> {
        poll_fn(|cx| udp.poll_send(cx, text.as_bytes())).await
    }

    async fn receive(udp: &Udp) -> io::Result<String> {
        let mut bytes = [0; 64];
        let mut buffer = ReadBuf::new(&mut bytes);
        timeout(PATIENCE, poll_fn(|cx| udp.poll_receive(cx, &mut buffer))).await??;
        Ok(String::from_utf8_lossy(buffer.filled()).into_owned())
    }

    async fn next(socket: &UdpSocket) -> (String, SocketAddr) {
        let mut bytes = [0; 64];
        let (n, from) = timeout(PATIENCE, socket.recv_from(&mut bytes)).await.unwrap().unwrap();
        (String::from_utf8_lossy(&bytes[..n]).into_owned(), from)
    }

    #[tokio::test]
    async fn what_one_address_refuses_is_sent_to_the_next() {
        let (server, address) = listen().await;
        let nobody = [nobody().await, nobody().await];
        let udp = Udp::new([nobody[0].1, nobody[1].1, address]).unwrap();
        assert_eq!(udp.local_addr(), None, "it may change");
        send(&udp, "one").await.unwrap();
        send(&udp, "two").await.unwrap();
        let answer = async {
            assert_eq!(next(&server).await.0, "one");
            let (second, from) = next(&server).await;
            server.send_to(second.to_uppercase().as_bytes(), from).await.unwrap();
        };
        let (received, ()) = tokio::join!(receive(&udp), answer);
        assert_eq!(received.unwrap(), "TWO");
        assert!(udp.local_addr().is_some());
    }

    #[tokio::test]
    async fn an_address_that_has_answered_is_not_left() {
        let (server, address) = listen().await;
        let (_other, next_address) = listen().await;
        let udp = Udp::new([address, next_address]).unwrap();
        send(&udp, "one").await.unwrap();
        let (_, from) = next(&server).await;
        server.send_to(b"ONE", from).await.unwrap();
        assert_eq!(receive(&udp).await.unwrap(), "ONE");
        drop(server);
        send(&udp, "two").await.unwrap();
        let error = receive(&udp).await.unwrap_err();
        assert_eq!(error.to_string(), "port unreachable: nobody listens there");
    }

    #[tokio::test]
    async fn an_address_that_has_taken_many_is_not_left_either_and_no_more_are_kept() {
        let (server, address) = listen().await;
        let (_other, next_address) = listen().await;
        let udp = Udp::new([address, next_address]).unwrap();
        for _ in 0..=KEPT {
            send(&udp, "one way").await.unwrap();
        }
        assert_eq!(udp.0.borrow().sent.len(), 0);
        drop(server);
        send(&udp, "one more").await.unwrap();
        receive(&udp).await.unwrap_err();
    }

    #[tokio::test]
    async fn where_all_refuse_it_is_a_failure_however_many_were_sent() {
        let nobody = [nobody().await, nobody().await, nobody().await];
        for count in 1..4 {
            let udp = Udp::new(nobody.each_ref().map(|(_, address)| *address)).unwrap();
            let mut failed = None;
            for _ in 0..count {
                failed = failed.or(send(&udp, "hello").await.err());
            }
            let error = match failed {
                Some(error) => error,
                None => receive(&udp).await.unwrap_err(),
            };
            assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused, "{count}");
        }
    }
}
