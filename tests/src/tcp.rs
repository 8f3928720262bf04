//! Operations on TCP sockets that `TcpStream` does not have: resets, source addresses, small
//! buffers, writes until the peer blocks them, queue sizes; and pseudo-random bytes.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

use crate::server::{WAIT_TIMEOUT, wait_until};

/// Closes the connection with a reset.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a live socket");
    drop(stream);
}

/// Connects with a receive buffer of 8 KiB, which a peer fills fast.
pub fn connect_with_small_buffer(address: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(8 * 1024).expect("a live socket");
    let address: SocketAddr = address.parse().expect("an IPv4 address and a port");
    socket.connect(&address.into()).unwrap_or_else(|e| panic!("{address}: {e}"));
    let stream = TcpStream::from(socket);
    set_timeouts(&stream);
    stream
}

/// Connects from a free port of the local address `source`, with [`WAIT_TIMEOUT`] for reads and
/// writes.
pub fn connect_from(source: impl Into<IpAddr>, address: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(source.into(), 0).into()).expect("an address of this machine");
    let address: SocketAddr = address.parse().expect("an IPv4 address and a port");
    socket.connect(&address.into()).unwrap_or_else(|e| panic!("{address}: {e}"));
    let stream = TcpStream::from(socket);
    set_timeouts(&stream);
    stream.set_nodelay(true).expect("a live socket");
    stream
}

/// Waits until connections to `address` are refused.
#[track_caller]
pub fn wait_until_refused(address: &str) {
    wait_until(&format!("{address} still takes connections"), || {
        TcpStream::connect(address).is_err()
    });
}

/// Sets [`WAIT_TIMEOUT`] for reads and writes.
pub(crate) fn set_timeouts(stream: &TcpStream) {
    stream.set_read_timeout(Some(WAIT_TIMEOUT)).expect("a timeout that is not 0");
    stream.set_write_timeout(Some(WAIT_TIMEOUT)).expect("a timeout that is not 0");
}

/// Sets a receive buffer of 1 MiB, for fast reading after [`connect_with_small_buffer`].
pub fn enlarge_receive_buffer(stream: &TcpStream) {
    SockRef::from(stream).set_recv_buffer_size(1 << 20).expect("a live socket");
}

/// The time after which a write that has not ended counts as blocked.
pub const BLOCKED: Duration = Duration::from_millis(300);

/// Writes `bytes` until all are written or a write is [`BLOCKED`]; returns the number of
/// written bytes. A pause of the machine may end the writing early, which tests must tolerate.
pub fn write_until_blocked(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    let socket = stream.try_clone().expect("a free descriptor");
    write_over_until_blocked(stream, &socket, bytes)
}

/// As [`write_until_blocked`], to a stream over a socket. A TLS stream whose write blocks reads, so
/// that reads have the same timeout.
pub fn write_over_until_blocked(
    stream: &mut impl Write,
    socket: &TcpStream,
    bytes: &[u8],
) -> usize {
    socket.set_write_timeout(Some(BLOCKED)).expect("a live socket");
    socket.set_read_timeout(Some(BLOCKED)).expect("a live socket");
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(n) => sent += n,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(e) => panic!("after {sent} bytes: {e}"),
        }
    }
    set_timeouts(socket);
    sent
}

/// `len` pseudo-random bytes, always the same: bytes that are lost, repeated or moved show in a
/// comparison.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = vec![0; len];
    for word in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
    bytes
}

/// Reads up to the end of the stream.
pub fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an orderly end");
    bytes
}

/// Reads exactly `len` bytes.
pub fn read_exactly(stream: &mut impl Read, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("as many bytes");
    bytes
}

/// Writes `bytes` and reads as many.
pub fn round_trip(stream: &mut (impl Read + Write), bytes: &[u8]) -> Vec<u8> {
    stream.write_all(bytes).expect("the peer reads");
    stream.flush().expect("the peer reads");
    read_exactly(stream, bytes.len())
}

/// The number of written bytes that the peer's kernel has not acknowledged, from `/proc/net/tcp`.
pub fn unacknowledged(stream: &TcpStream) -> usize {
    let (ours, theirs) = port_suffixes(stream);
    let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
    let line = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .find(|words| words[1].ends_with(&ours) && words[2].ends_with(&theirs));
    let line = line.expect("a live socket");
    let (unsent, _) = line[4].split_once(':').expect("two queues");
    usize::from_str_radix(unsent, 16).expect("a number")
}

/// Waits until the peer has read everything, so that the next write is a separate read there. The
/// queue sizes of both ends are those of `/proc/net/tcp`.
pub fn wait_until_read(stream: &TcpStream) {
    let (ours, theirs) = port_suffixes(stream);
    wait_until("the peer does not read", || {
        let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
        !table.lines().skip(1).any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let (unsent, unread) = words[4].split_once(':').expect("two queues");
            let between = |a: &str, b: &str| words[1].ends_with(a) && words[2].ends_with(b);
            between(&ours, &theirs) && unsent != "00000000"
                || between(&theirs, &ours) && unread != "00000000"
        })
    });
}

/// The ports of both ends as `/proc/net/tcp` writes them after the addresses: `:1F90`.
fn port_suffixes(stream: &TcpStream) -> (String, String) {
    let port = |address: SocketAddr| format!(":{:04X}", address.port());
    let ours = stream.local_addr().expect("a live socket");
    (port(ours), port(stream.peer_addr().expect("a live socket")))
}
