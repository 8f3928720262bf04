//! Clients of every kind that connect, exchange a message and end, one time after the other.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream, UdpSocket},
    os::unix::net::{UnixDatagram, UnixStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use echogate_tests::{http, server::WAIT_TIMEOUT};
use tokio_tungstenite::tungstenite::{self, Message};

const MESSAGE: &[u8] = b"0123456789";

/// Clients in threads of their own. A client ends at its first error.
pub(super) struct Clients {
    stop: Arc<AtomicBool>,
    clients: Vec<(String, Arc<AtomicU64>, JoinHandle<io::Result<()>>)>,
}

impl Clients {
    /// Starts a client for each kind and address.
    pub(super) fn start(addresses: &[(&'static str, &str)]) -> Clients {
        let stop = Arc::<AtomicBool>::default();
        let client = |(kind, address): &(&'static str, &str)| {
            let (kind, address, stop) = (*kind, (*address).to_owned(), stop.clone());
            let name = format!("{kind}://{address}");
            let done = Arc::<AtomicU64>::default();
            let counter = done.clone();
            let thread = thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    exchange(kind, &address)?;
                    counter.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
            (name, done, thread)
        };
        let clients = addresses.iter().map(client).collect();
        Clients { stop, clients }
    }

    /// Waits until each client has made so many more exchanges, or has ended.
    pub(super) fn wait_for_exchanges(&self, count: u64) {
        let start = Instant::now();
        for (name, done, thread) in &self.clients {
            let before = done.load(Ordering::Relaxed);
            while done.load(Ordering::Relaxed) < before + count && !thread.is_finished() {
                assert!(start.elapsed() < WAIT_TIMEOUT, "{name} makes no progress");
                thread::sleep(Duration::from_millis(2));
            }
        }
    }

    /// Stops the clients.
    pub(super) fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        for (name, done, thread) in self.clients {
            let result = thread.join().unwrap();
            assert!(result.is_ok(), "{name}: {result:?} after {done:?} exchanges");
        }
    }
}

fn exchange(kind: &str, address: &str) -> io::Result<()> {
    match kind {
        "tcp" => {
            let stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(WAIT_TIMEOUT))?;
            over_stream(&stream, |how| stream.shutdown(how))
        }
        "unix" => {
            let stream = UnixStream::connect(address)?;
            stream.set_read_timeout(Some(WAIT_TIMEOUT))?;
            over_stream(&stream, |how| stream.shutdown(how))
        }
        "udp" => {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.set_read_timeout(Some(WAIT_TIMEOUT))?;
            socket.connect(address)?;
            over_datagrams(|bytes| socket.send(bytes), |buffer| socket.recv(buffer))
        }
        "unixgram" => {
            let folder = tempfile::tempdir()?;
            let socket = UnixDatagram::bind(folder.path().join("client"))?;
            socket.set_read_timeout(Some(WAIT_TIMEOUT))?;
            socket.connect(address)?;
            over_datagrams(|bytes| socket.send(bytes), |buffer| socket.recv(buffer))
        }
        "ws" => over_websocket(address),
        "http" => {
            let mut stream = TcpStream::connect(address)?;
            stream.set_read_timeout(Some(WAIT_TIMEOUT))?;
            let host = format!("Host: {address}");
            stream.write_all(
                format!("GET /readyz HTTP/1.1\r\n{host}\r\nConnection: close\r\n\r\n").as_bytes(),
            )?;
            match http::Response::read(&mut stream)?.status {
                200 => Ok(()),
                status => Err(io::Error::other(format!("status {status}"))),
            }
        }
        other => panic!("unknown kind {other}"),
    }
}

fn check(is_answer: bool, answer: &[u8]) -> io::Result<()> {
    if is_answer { Ok(()) } else { Err(io::Error::other(format!("answer {answer:?}"))) }
}

/// A message over a byte stream, the end of the input, and the end of the output.
fn over_stream<S>(mut stream: S, shutdown: impl Fn(Shutdown) -> io::Result<()>) -> io::Result<()>
where
    S: Read + Write,
{
    stream.write_all(MESSAGE)?;
    shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    check(answer == MESSAGE, &answer)
}

fn over_datagrams(
    send: impl Fn(&[u8]) -> io::Result<usize>,
    receive: impl Fn(&mut [u8]) -> io::Result<usize>,
) -> io::Result<()> {
    let mut buffer = [0; 64];
    send(MESSAGE)?;
    let len = receive(&mut buffer)?;
    check(&buffer[..len] == MESSAGE, &buffer[..len])
}

/// A message over a WebSocket, and the closing handshake.
fn over_websocket(address: &str) -> io::Result<()> {
    let (host, _) = address.split_once('/').unwrap_or((address, ""));
    let stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(WAIT_TIMEOUT))?;
    let opened = tungstenite::client(format!("ws://{address}"), stream);
    let (mut ws, _) = opened.map_err(|e| io::Error::other(e.to_string()))?;
    let mut exchange = || {
        ws.send(Message::binary(MESSAGE))?;
        let answer = ws.read()?;
        ws.close(None)?;
        loop {
            match ws.read() {
                Ok(_) => {}
                Err(tungstenite::Error::ConnectionClosed) => return Ok(answer),
                Err(e) => return Err(e),
            }
        }
    };
    match exchange() {
        Ok(Message::Binary(answer)) => check(answer == MESSAGE, &answer),
        Ok(other) => Err(io::Error::other(format!("{other:?}"))),
        Err(e) => Err(io::Error::other(e)),
    }
}
