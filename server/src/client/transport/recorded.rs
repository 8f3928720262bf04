//! The recording of a stream, and of the opening handshake of a WebSocket.

use std::io;

use bytes::Bytes;
use echogate_proto::recording::Opened;

use super::{observed::StreamObserver, trace::head_lines};
use crate::{
    client::recording::{ConnectionRecorder, TO_CLIENT, TO_SERVER},
    net::{
        stream::is_end,
        websocket::{Established, Heads},
    },
    recording::wire::WireEvent,
};

/// The recorder of an opening handshake. It records the heads of a handshake that fails, or whose
/// future is dropped, when it is dropped itself.
#[derive(Debug)]
pub(super) struct HandshakeRecorder {
    /// The connection, if it is recorded, and its description without the handshake.
    connection: Option<(ConnectionRecorder, Opened)>,
    pub(super) heads: Heads,
}

impl HandshakeRecorder {
    pub(super) fn new(connection: Option<(ConnectionRecorder, Opened)>) -> HandshakeRecorder {
        HandshakeRecorder { connection, heads: Heads::default() }
    }

    /// The recorder of the stream after a successful handshake; `None` if it is not recorded.
    pub(super) fn opened(mut self, agreed: &mut Established) -> Option<StreamRecorder> {
        let (connection, opened) = self.take()?;
        let protocol = agreed.protocol.clone();
        let opened = Opened { client_has_frames: true, protocol, ..opened };
        let mut recorder = StreamRecorder::new(connection, opened);
        if !agreed.early.is_empty() {
            recorder.received(&mut agreed.early);
        }
        Some(recorder)
    }

    /// The connection with the heads of the handshake, without secrets.
    fn take(&mut self) -> Option<(ConnectionRecorder, Opened)> {
        let (connection, opened) = self.connection.take()?;
        let head = |bytes| head_lines(bytes).map(|line| line + "\r\n").collect::<String>() + "\r\n";
        let (request, response) = (head(&self.heads.request), head(&self.heads.response));
        Some((connection, Opened { request: Some(request), response: Some(response), ..opened }))
    }
}

impl Drop for HandshakeRecorder {
    fn drop(&mut self) {
        if let Some((mut connection, opened)) = self.take() {
            connection.add(WireEvent::Opened(opened.into()));
        }
    }
}

/// An observer that records a stream.
#[derive(Debug)]
pub(super) struct StreamRecorder {
    connection: ConnectionRecorder,
    /// Whether a write has failed with the connection. The system reports the failure once, so that
    /// reads then see a regular end.
    output_failed: bool,
}

impl StreamRecorder {
    pub(super) fn new(mut connection: ConnectionRecorder, opened: Opened) -> StreamRecorder {
        connection.add(WireEvent::Opened(opened.into()));
        StreamRecorder { connection, output_failed: false }
    }
}

impl StreamObserver for StreamRecorder {
    fn received(&mut self, bytes: &mut [u8]) {
        self.connection.add(WireEvent::Bytes(TO_CLIENT, Bytes::copy_from_slice(bytes)));
    }

    fn sent(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.connection.add(WireEvent::Bytes(TO_SERVER, Bytes::copy_from_slice(bytes)));
        }
    }

    fn input_ended(&mut self) {
        let has_failed = std::mem::take(&mut self.output_failed);
        let end = if has_failed { WireEvent::Reset } else { WireEvent::EndOfInput };
        self.connection.add(end(TO_CLIENT));
    }

    fn input_failed(&mut self, error: &io::Error) {
        self.output_failed |= !is_end(error);
        self.input_ended();
    }

    fn output_failed(&mut self, error: &io::Error) {
        // The cause of a broken pipe is an end that reads see as well.
        self.output_failed |= error.kind() != io::ErrorKind::BrokenPipe;
    }

    fn output_ended(&mut self) {
        self.connection.add(WireEvent::EndOfInput(TO_SERVER));
    }
}

impl Drop for StreamRecorder {
    fn drop(&mut self) {
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
    use crate::client::{recording::SessionRecorder, target::Target};

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
            let recorder = SessionRecorder::start(&path, &target, "unix:///s").unwrap();
            let mut stream = StreamRecorder::new(recorder.connection(), Opened::default());
            if let Some(error) = write {
                stream.output_failed(&error.into());
            }
            match read {
                Some(error) => stream.input_failed(&error.into()),
                None => stream.input_ended(),
            }
            drop(stream);
            recorder.finish().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let lines: Vec<_> = text.lines().collect();
            assert!(lines.len() == 3 && lines[1].contains(expected), "{case}: {text}");
        }
    }
}
