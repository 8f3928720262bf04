//! WebSocket without a library: frames are written byte by byte, valid or not, and read one by
//! one.

use std::{
    io::{self, Read, Write},
    net::{Shutdown, TcpStream},
};

use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::{
    http::{self, Response},
    server::Server,
};

/// First bytes of frames: FIN and an opcode.
pub mod first {
    /// A whole text message.
    pub const TEXT: u8 = 0x81;
    /// A whole binary message.
    pub const BINARY: u8 = 0x82;
    /// The last fragment of a message.
    pub const LAST: u8 = 0x80;
    /// The first fragment of a text message.
    pub const TEXT_BEGINS: u8 = 0x01;
    /// The first fragment of a binary message.
    pub const BINARY_BEGINS: u8 = 0x02;
    /// A fragment in the middle.
    pub const MORE: u8 = 0x00;
    /// Close.
    pub const CLOSE: u8 = 0x88;
    /// Ping.
    pub const PING: u8 = 0x89;
    /// Pong.
    pub const PONG: u8 = 0x8a;
}

/// The header lines of a valid opening handshake except `Host`.
pub const UPGRADE: [&str; 4] = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
];

/// A browser's `User-Agent` line: with it and an `Origin` a handshake counts as a page's.
pub const BROWSER: &str = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 \
    (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36";

/// A frame from the server.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    /// FIN, the reserved bits and the opcode.
    pub first: u8,
    /// The payload.
    pub payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shown = self.payload[..self.payload.len().min(60)].escape_ascii();
        write!(f, "{:#04x} [{}] \"{shown}\"", self.first, self.payload.len())
    }
}

impl Frame {
    /// The status code and the reason of a Close frame.
    pub fn close(&self) -> (Option<u16>, &str) {
        assert_eq!(self.first, first::CLOSE, "a Close: {self:?}");
        match &self.payload[..] {
            [] => (None, ""),
            [a, b, reason @ ..] => (
                Some(u16::from_be_bytes([*a, *b])),
                std::str::from_utf8(reason).expect("the reason is UTF-8"),
            ),
            [_] => panic!("half a code"),
        }
    }
}

/// A client's frame: masked, its length in the shortest form.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = head(first, payload.len() as u64);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    mask(&mut bytes[start..]);
    bytes
}

/// Masks a payload with [`KEY`], eight bytes at a time: unoptimised tests mask many MiB.
fn mask(payload: &mut [u8]) {
    let [a, b, c, d] = KEY;
    let key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    for (byte, k) in rest.iter_mut().zip(KEY.iter().cycle()) {
        *byte ^= k;
    }
}

/// The header of a client's frame with `len` bytes of payload, the masking key [`KEY`] included.
pub fn head(first: u8, len: u64) -> Vec<u8> {
    let mut bytes = vec![first];
    match len {
        0..126 => bytes.push(0x80 | u8::try_from(len).expect("it is small")),
        126..0x1_0000 => {
            bytes.push(0xfe);
            bytes.extend(u16::try_from(len).expect("it fits").to_be_bytes());
        }
        _ => {
            bytes.push(0xff);
            bytes.extend(len.to_be_bytes());
        }
    }
    bytes.extend(KEY);
    bytes
}

/// The masking key of all frames of this module.
pub const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A Close frame.
pub fn close(code: u16, reason: &str) -> Vec<u8> {
    frame(first::CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat())
}

/// A client behind its opening handshake.
#[derive(Debug)]
pub struct RawWs<S = TcpStream> {
    /// The connection.
    pub stream: S,
}

impl RawWs {
    /// Connects to `path`.
    pub fn connect(server: &Server, path: &str) -> RawWs {
        Self::connect_with(server, path, &[])
    }

    /// Connects to `path` with additional header lines.
    pub fn connect_with(server: &Server, path: &str, more: &[&str]) -> RawWs {
        Self::over(http::connect(server.address("http")), server, path, more)
    }

    /// Ends the client's side of the connection without a Close frame.
    pub fn shutdown(&self) {
        self.stream.shutdown(Shutdown::Write).expect("a live connection");
    }
}

impl<S: Read + Write> RawWs<S> {
    /// Upgrades an existing connection.
    pub fn over(mut stream: S, server: &Server, path: &str, more: &[&str]) -> RawWs<S> {
        let response = handshake_over(&mut stream, server, path, more);
        assert_eq!(response.status, 101, "{response:?}");
        RawWs { stream }
    }

    /// Sends raw bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server reads");
    }

    /// Sends a frame.
    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        self.send(&frame(first, payload));
    }

    /// Sends a text message, and returns the payload of the next frame.
    pub fn exchange(&mut self, text: &[u8]) -> Vec<u8> {
        self.send_frame(first::TEXT, text);
        self.read().payload
    }

    /// Sends a Close frame, and reads the reply and the end of the stream after it.
    pub fn end(&mut self, code: u16, reason: &str) -> (Option<u16>, String) {
        self.send(&close(code, reason));
        self.read_close()
    }

    /// The next frame; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// An I/O error, such as a reset, or `InvalidData` for a masked frame.
    pub fn try_read(&mut self) -> io::Result<Option<Frame>> {
        read_frame(&mut self.stream, false)
    }

    /// The next frame.
    pub fn read(&mut self) -> Frame {
        self.try_read().expect("no reset").expect("a frame, not the end")
    }

    /// The next message, its fragments put together as one frame.
    pub fn read_message(&mut self) -> Frame {
        let mut message = self.read();
        while message.first & 0x80 == 0 {
            let Frame { first, payload } = self.read();
            assert_eq!(first & 0x7f, 0, "a continuation");
            message.first |= first;
            message.payload.extend(payload);
        }
        message
    }

    /// Reads a Close frame, then the end of the stream.
    pub fn read_close(&mut self) -> (Option<u16>, String) {
        let frame = self.read();
        let (code, reason) = frame.close();
        let reason = reason.to_owned();
        assert_eq!(self.try_read().expect("an orderly end"), None, "nothing follows a Close");
        (code, reason)
    }
}

/// The next frame of a peer, whose frames are masked if it is a client; `None` at the end of the
/// stream.
fn read_frame(stream: &mut impl Read, from_client: bool) -> io::Result<Option<Frame>> {
    let mut head = [0; 2];
    match stream.read(&mut head[..1]) {
        Ok(0) => return Ok(None),
        Ok(_) => {}
        Err(e) if e.kind() == io::ErrorKind::Interrupted => {
            return read_frame(stream, from_client);
        }
        Err(e) => return Err(e),
    }
    stream.read_exact(&mut head[1..])?;
    if (head[1] & 0x80 != 0) != from_client {
        let wrong = if from_client { "a frame that is not masked" } else { "a masked frame" };
        return Err(io::Error::new(io::ErrorKind::InvalidData, wrong));
    }
    let len = match head[1] & 0x7f {
        126 => {
            let mut len = [0; 2];
            stream.read_exact(&mut len)?;
            u64::from(u16::from_be_bytes(len))
        }
        127 => {
            let mut len = [0; 8];
            stream.read_exact(&mut len)?;
            u64::from_be_bytes(len)
        }
        len => u64::from(len),
    };
    let mut key = [0; 4];
    if from_client {
        stream.read_exact(&mut key)?;
    }
    let mut payload = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    stream.read_exact(&mut payload)?;
    payload.iter_mut().zip(key.iter().cycle()).for_each(|(byte, k)| *byte ^= k);
    Ok(Some(Frame { first: head[0], payload }))
}

/// A WebSocket server after the opening handshake of one client.
#[derive(Debug)]
pub struct RawWsServer<S = TcpStream> {
    /// The connection.
    pub stream: S,
    /// The lines of the request.
    pub request: Vec<String>,
}

impl<S: Read + Write> RawWsServer<S> {
    /// Reads a client's opening handshake from `stream` and accepts it, with the header lines
    /// `more`.
    pub fn accept(mut stream: S, more: &[&str]) -> RawWsServer<S> {
        let request = read_request(&mut stream);
        let key = request.iter().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: "));
        let accept = derive_accept_key(key.expect("a key").as_bytes());
        let accept = format!("Sec-WebSocket-Accept: {accept}");
        let head =
            ["HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket"];
        let head = [&head[..], &[&accept], more, &["\r\n"]].concat().join("\r\n");
        stream.write_all(head.as_bytes()).expect("the client reads");
        stream.flush().expect("the client reads");
        RawWsServer { stream, request }
    }

    /// The value of a header field of the request.
    pub fn header(&self, name: &str) -> Option<&str> {
        let fields = self.request.iter().filter_map(|line| line.split_once(": "));
        fields.into_iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, it)| it)
    }

    /// Sends an unmasked frame of at most 65,535 bytes.
    pub fn send_frame(&mut self, first: u8, payload: &[u8]) {
        let mut bytes = vec![first];
        match payload.len() {
            len @ 0..126 => bytes.push(u8::try_from(len).expect("it is small")),
            len => {
                bytes.push(126);
                bytes.extend(u16::try_from(len).expect("a short frame").to_be_bytes());
            }
        }
        bytes.extend_from_slice(payload);
        self.stream.write_all(&bytes).expect("the client reads");
        self.stream.flush().expect("the client reads");
    }

    /// Sends a Close frame.
    pub fn close(&mut self, code: u16, reason: &str) {
        let payload = [&code.to_be_bytes(), reason.as_bytes()].concat();
        self.send_frame(first::CLOSE, &payload);
    }

    /// The client's next frame; `None` at the end of the stream.
    ///
    /// # Errors
    ///
    /// An I/O error, such as a reset, or `InvalidData` for a frame that is not masked.
    pub fn try_read(&mut self) -> io::Result<Option<Frame>> {
        read_frame(&mut self.stream, true)
    }

    /// The client's next frame.
    pub fn read(&mut self) -> Frame {
        self.try_read().expect("no reset").expect("a frame, not the end")
    }
}

/// Reads the head of a request: its lines.
pub fn read_request(stream: &mut impl Read) -> Vec<String> {
    let head = http::read_head(stream).expect("a whole request");
    head.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Sends an opening handshake for `path` with additional header lines `more` on a new connection, and
/// reads the response.
pub fn handshake(server: &Server, path: &str, more: &[&str]) -> Response {
    handshake_over(&mut http::connect(server.address("http")), server, path, more)
}

/// As [`handshake`], on an existing connection.
pub fn handshake_over(
    stream: &mut (impl Read + Write),
    server: &Server,
    path: &str,
    more: &[&str],
) -> Response {
    let request = format!("GET {path} HTTP/1.1");
    let host = format!("Host: {}", server.address("http"));
    http::exchange(stream, &[&[&*request, &*host], &UPGRADE[..], more].concat())
}
