//! The recording of a stream, from the end of an opening handshake on.

use std::io;

use bytes::Bytes;
use echogate_proto::recording::Opened;

use super::{observed::StreamObserver, trace::head_lines};
use crate::{
    client::recording::{RecordedConnection, TO_CLIENT, TO_SERVER},
    net::stream::is_end,
    recording::wire::WireEvent,
};

/// The longest head that is recorded.
const MAX_HEAD: usize = 64 * 1024;

/// An observer that records a stream.
#[derive(Debug)]
pub(super) struct StreamRecorder {
    connection: RecordedConnection,
    phase: Phase,
    /// A write has failed with the connection. The system reports that once: reads then see what
    /// looks like a regular end.
    output_failed: bool,
}

#[derive(Debug)]
enum Phase {
    /// The opening handshake of a WebSocket, as far as it has passed.
    Opening(Box<Opening>),
    /// The handshake was refused: the body of the response is not recorded.
    Refused,
    /// All bytes are recorded.
    Open,
}

#[derive(Debug)]
struct Opening {
    opened: Opened,
    request: Vec<u8>,
    response: Vec<u8>,
}

impl StreamRecorder {
    /// The recorder of a byte stream.
    pub(super) fn bytes(mut connection: RecordedConnection, opened: Opened) -> StreamRecorder {
        connection.add(WireEvent::Opened(opened.into()));
        StreamRecorder { connection, phase: Phase::Open, output_failed: false }
    }

    /// The recorder of a stream that begins with an opening handshake.
    pub(super) fn websocket(connection: RecordedConnection, opened: Opened) -> StreamRecorder {
        let opening = Opening { opened, request: Vec::new(), response: Vec::new() };
        StreamRecorder { connection, phase: Phase::Opening(opening.into()), output_failed: false }
    }

    fn ended(&mut self, event: WireEvent) {
        if matches!(self.phase, Phase::Open) {
            self.connection.add(event);
        }
    }
}

impl StreamObserver for StreamRecorder {
    fn received(&mut self, bytes: &mut [u8]) {
        let mut bytes = &*bytes;
        if let Phase::Opening(opening) = &mut self.phase {
            let (opened, rest) = match opening.received(bytes) {
                Some((opened, rest)) => (opened, &bytes[rest..]),
                None => return,
            };
            bytes = rest;
            self.phase = if opened.client_has_frames { Phase::Open } else { Phase::Refused };
            self.connection.add(WireEvent::Opened(opened.into()));
        }
        if matches!(self.phase, Phase::Open) && !bytes.is_empty() {
            self.connection.add(WireEvent::Bytes(TO_CLIENT, Bytes::copy_from_slice(bytes)));
        }
    }

    fn sent(&mut self, bytes: &[u8]) {
        match &mut self.phase {
            Phase::Opening(opening) => opening.request.extend(bytes),
            Phase::Open if !bytes.is_empty() => {
                self.connection.add(WireEvent::Bytes(TO_SERVER, Bytes::copy_from_slice(bytes)));
            }
            Phase::Refused | Phase::Open => {}
        }
    }

    fn input_ended(&mut self) {
        let has_failed = std::mem::take(&mut self.output_failed);
        let end = if has_failed { WireEvent::Reset } else { WireEvent::EndOfInput };
        self.ended(end(TO_CLIENT));
    }

    fn input_failed(&mut self, error: &io::Error) {
        self.output_failed |= !is_end(error);
        self.input_ended();
    }

    fn output_failed(&mut self, error: &io::Error) {
        // A broken pipe is the consequence of an end that reads see.
        self.output_failed |= error.kind() != io::ErrorKind::BrokenPipe;
    }

    fn output_ended(&mut self) {
        self.ended(WireEvent::EndOfInput(TO_SERVER));
    }
}

impl Opening {
    /// Takes received bytes. With the end of the response, returns the description of the connection,
    /// and the number of bytes that belong to the response.
    fn received(&mut self, bytes: &[u8]) -> Option<(Opened, usize)> {
        for (i, byte) in bytes.iter().enumerate() {
            self.response.push(*byte);
            let is_head = self.response.ends_with(b"\r\n\r\n");
            if !is_head && self.response.len() <= MAX_HEAD {
                continue;
            }
            match self.response.split(|byte| *byte == b' ').nth(1).unwrap_or_default() {
                b"101" if is_head => return Some((self.opened(true), i + 1)),
                [b'1', ..] if is_head => self.response.clear(),
                _ => return Some((self.opened(false), i + 1)),
            }
        }
        None
    }

    /// The connection with the heads of the handshake, without secrets.
    fn opened(&self, client_has_frames: bool) -> Opened {
        let head = |bytes| head_lines(bytes).map(|line| line + "\r\n").collect::<String>() + "\r\n";
        let (request, response) = (head(&self.request), head(&self.response));
        let protocol = response.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            let is_protocol = name.eq_ignore_ascii_case("sec-websocket-protocol");
            is_protocol.then(|| value.trim().to_owned())
        });
        Opened {
            client_has_frames,
            protocol,
            request: Some(request),
            response: Some(response),
            ..self.opened.clone()
        }
    }
}

impl Drop for StreamRecorder {
    fn drop(&mut self) {
        if let Phase::Opening(opening) = &self.phase {
            let opened = opening.opened(false);
            self.connection.add(WireEvent::Opened(opened.into()));
        }
        if self.output_failed {
            self.input_ended();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, io::ErrorKind};

    use echogate_proto::endpoint::{Address, Endpoint};

    use super::*;
    use crate::client::{recording::Recording, target::Target};

    #[tokio::test]
    async fn a_failure_of_the_connection_is_a_reset_also_where_only_a_write_has_seen_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.jsonl");
        let Endpoint { address: Address::Unix(socket), .. } = "unix:///s".parse().unwrap() else {
            panic!("another address");
        };
        let target = Target::Unix(socket);
        let (failed, broken) = (ErrorKind::TimedOut, ErrorKind::BrokenPipe);
        let (reset, end) = ("\"event\":\"reset\"", "\"event\":\"end-of-input\"");
        for (case, read, write, expected) in [
            (1, Some(failed), None, reset),
            (2, Some(ErrorKind::UnexpectedEof), None, end),
            (3, None, Some(failed), reset),
            (4, None, Some(broken), end),
        ] {
            let recording = Recording::start(&path, &target, "unix:///s").unwrap();
            let mut stream = StreamRecorder::bytes(recording.connection(), Opened::default());
            if let Some(error) = write {
                stream.output_failed(&error.into());
            }
            match read {
                Some(error) => stream.input_failed(&error.into()),
                None => stream.input_ended(),
            }
            drop(stream);
            recording.finish().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let lines: Vec<_> = text.lines().collect();
            assert!(lines.len() == 3 && lines[1].contains(expected), "{case}: {text}");
        }
    }

    #[test]
    fn the_heads_of_a_handshake_are_known_without_secrets_and_frames_follow_them() {
        let request = b"GET / HTTP/1.1\r\nCookie: a=b\r\n\r\n".to_vec();
        let response = b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 101 Switching\r\n\
            Sec-WebSocket-Protocol: mqtt\r\n\r\n\x81\0";
        let opening = || Opening {
            opened: Opened::default(),
            request: request.clone(),
            response: Vec::new(),
        };
        for size in [1, response.len()] {
            let mut opening = opening();
            let mut found = response.chunks(size).filter_map(|piece| opening.received(piece));
            let (opened, _) = found.next().unwrap();
            assert!(opened.client_has_frames);
            assert_eq!(opened.request.unwrap(), "GET / HTTP/1.1\r\nCookie: ***\r\n\r\n");
            assert!(opened.response.unwrap().starts_with("HTTP/1.1 101 "));
            assert_eq!(opened.protocol.unwrap(), "mqtt");
        }
        assert_eq!(opening().received(response).unwrap().1, response.len() - 2);
        let (opened, _) = opening().received(b"HTTP/1.1 404 \r\n\r\n").unwrap();
        assert!(!opened.client_has_frames);
    }
}
