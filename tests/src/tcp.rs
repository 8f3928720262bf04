//! What `TcpStream` lacks: resets, small buffers, floods, streams that can be told
//! apart from any other.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::Duration,
};

use socket2::{Domain, SockRef, Socket, Type};

use crate::server::PATIENCE;

/// Drops the connection so that the peer sees a reset.
///
/// # Panics
///
/// When the socket is broken.
pub fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("a live socket");
    drop(stream);
}

/// Connects with buffers so small that a peer soon finds them full.
///
/// # Panics
///
/// When nothing listens at `address`.
pub fn connect_narrow(address: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(8 * 1024).expect("a live socket");
    socket.set_send_buffer_size(8 * 1024).expect("a live socket");
    let address: SocketAddr = address.parse().expect("an IPv4 address and a port");
    socket.connect(&address.into()).unwrap_or_else(|e| panic!("{address}: {e}"));
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout that is not 0");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout that is not 0");
    stream
}

/// Writes `bytes` until the peer takes no more for a while, and says how many went.
/// (A hiccup of the machine ends it early, which a test must not mind.)
///
/// # Panics
///
/// When the connection is broken.
pub fn write_until_held_back(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(300))).expect("a live socket");
    let mut sent = 0;
    while sent < bytes.len() {
        match stream.write(&bytes[sent..]) {
            Ok(n) => sent += n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => break,
            Err(e) => panic!("after {sent} bytes: {e}"),
        }
    }
    stream.set_write_timeout(Some(PATIENCE)).expect("a live socket");
    sent
}

/// `len` bytes of every value in an order that no shift, loss or repetition leaves
/// the same.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let words = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.flatten().take(len).collect()
}

/// Everything up to the end of the stream.
///
/// # Panics
///
/// When it ends by a reset.
pub fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("an orderly end");
    bytes
}

/// Exactly `len` bytes.
///
/// # Panics
///
/// When fewer come.
pub fn read_exactly(stream: &mut impl Read, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    stream.read_exact(&mut bytes).expect("as many bytes");
    bytes
}

/// Waits until the peer has read everything, so that what is written next is a read
/// of its own. (The kernel's table tells how much lies in both ends' queues.)
///
/// # Panics
///
/// When the socket is broken.
pub fn wait_until_taken(stream: &TcpStream) {
    let port = |address: SocketAddr| format!(":{:04X}", address.port());
    let ours = port(stream.local_addr().expect("a live socket"));
    let theirs = port(stream.peer_addr().expect("a live socket"));
    loop {
        let table = fs::read_to_string("/proc/net/tcp").expect("Linux");
        // Both directions of the connection: what each end has not sent, and not read.
        let waiting = table.lines().skip(1).any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let between = |a: &str, b: &str| words[1].ends_with(a) && words[2].ends_with(b);
            (between(&ours, &theirs) || between(&theirs, &ours)) && words[4] != "00000000:00000000"
        });
        if !waiting {
            return;
        }
        thread::yield_now();
    }
}
