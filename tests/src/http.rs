//! HTTP/1.1 on a stream: a request is written unchanged, and the response's head is read
//! byte by byte, so that the bytes after the response stay in the stream.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
};

use crate::tcp::set_timeouts;

/// A response: its head, and its body if it has a `Content-Length`.
#[derive(Clone, Debug)]
pub struct Response {
    /// The status code.
    pub status: u16,
    /// Header names in lower case, and values, in order.
    pub headers: Vec<(String, String)>,
    /// The body: `Content-Length` bytes.
    pub body: Vec<u8>,
}

impl Response {
    /// The value of the first header called `name` (in lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Reads one response from `stream`, and nothing after it.
    ///
    /// # Errors
    ///
    /// An I/O error, `UnexpectedEof` at the end of the stream, `InvalidData` for a response that
    /// is not HTTP.
    pub fn read(stream: &mut impl Read) -> io::Result<Response> {
        let bad = || io::Error::new(io::ErrorKind::InvalidData, "no HTTP answer");
        let head = read_head(stream)?;
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).ok_or_else(bad)?;
        let status = status.parse().map_err(|_| bad())?;
        let headers: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut response = Response { status, headers, body: Vec::new() };
        if let Some(length) = response.header("content-length") {
            response.body.resize(length.parse().map_err(|_| bad())?, 0);
            stream.read_exact(&mut response.body)?;
        }
        Ok(response)
    }
}

/// Reads the head of a request or a response, with the empty line after it and no further.
///
/// # Errors
///
/// An I/O error, `UnexpectedEof` at the end of the stream.
pub fn read_head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Connects to `address` (`HOST:PORT`), with [`WAIT_TIMEOUT`](crate::server::WAIT_TIMEOUT) for
/// reads and writes.
pub fn connect(address: &str) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap_or_else(|e| panic!("{address}: {e}"));
    set_timeouts(&stream);
    stream.set_nodelay(true).expect("a live socket");
    stream
}

/// Sends a request with the lines of `head`, which are joined by CRLF, and reads the response.
pub fn exchange(stream: &mut (impl Read + Write), head: &[&str]) -> Response {
    let request = format!("{}\r\n\r\n", head.join("\r\n"));
    stream.write_all(request.as_bytes()).expect("the server reads requests");
    Response::read(stream).expect("the server answers")
}

/// Sends a GET request for `path` to `address` on a new connection.
pub fn get(address: &str, path: &str) -> Response {
    let request = format!("GET {path} HTTP/1.1");
    let host = format!("Host: {address}");
    let mut stream = connect(address);
    let mut response = exchange(&mut stream, &[&request, &host, "Connection: close"]);
    if response.header("transfer-encoding") == Some("chunked") {
        response.body = read_chunks(&mut stream).expect("a whole body");
    }
    response
}

/// Reads a chunked body (RFC 9112 section 7.1).
///
/// # Errors
///
/// An I/O error, or a chunk size that is not hexadecimal.
pub fn read_chunks(stream: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        let size = String::from_utf8_lossy(&line);
        let size = usize::from_str_radix(size.trim(), 16).map_err(io::Error::other)?;
        let start = body.len();
        body.resize(start + size + 2, 0);
        stream.read_exact(&mut body[start..])?;
        body.truncate(start + size);
        if size == 0 {
            return Ok(body);
        }
    }
}
