//! The opening handshake and the frames of a WebSocket, shown for `--verbose`.

use bytes::Bytes;
use echogate_proto::{
    close::CloseCode,
    recording::{Direction, Frame},
    ws::OpCode,
};

use super::{PeerRole, observed::StreamObserver};
use crate::{
    client::verbose,
    recording::decode::{FrameDirection, Part},
    text::{counted, escape, secrets},
};

/// The longest head that is shown.
const MAX_HEAD: usize = 64 * 1024;

/// An observer that shows heads and frames as they pass.
#[derive(Debug)]
pub(super) struct Trace {
    sent: Tracer,
    received: Tracer,
}

impl Trace {
    pub(super) fn new(peer_role: PeerRole) -> Trace {
        let [to_server, to_client] = [Direction::ToServer, Direction::ToClient].map(Tracer::new);
        match peer_role {
            PeerRole::Server => Trace { sent: to_server, received: to_client },
            PeerRole::Client => Trace { sent: to_client, received: to_server },
        }
    }
}

impl StreamObserver for Trace {
    fn received(&mut self, bytes: &mut [u8]) {
        self.received.pass(bytes, |line| verbose::show(&format!("< {line}")));
    }

    fn sent(&mut self, bytes: &[u8]) {
        self.sent.pass(bytes, |line| verbose::show(&format!("> {line}")));
    }
}

/// The tracer of one direction.
#[derive(Debug)]
struct Tracer {
    direction: Direction,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A head, of which these bytes have passed.
    Head(Vec<u8>),
    /// The frames after the handshake.
    Frames(FrameDirection),
    /// The body of a response that rejects the handshake, or what follows a head that is too long.
    Body,
}

impl Tracer {
    fn new(direction: Direction) -> Tracer {
        Tracer { direction, state: State::Head(Vec::new()) }
    }

    /// Passes bytes, and calls `show` with a line for each line of a head, for each control frame
    /// and for the beginning of each data frame.
    fn pass(&mut self, mut bytes: &[u8], mut show: impl FnMut(&str)) {
        while let State::Head(head) = &mut self.state {
            let Some((first, rest)) = bytes.split_first() else { return };
            head.push(*first);
            bytes = rest;
            if head.ends_with(b"\r\n\r\n") {
                head_lines(head).for_each(|line| show(&line));
                self.state = after(self.direction, head);
            } else if head.len() > MAX_HEAD {
                self.state = State::Body;
            }
        }
        if let State::Frames(frames) = &mut self.state {
            frames.decode(Bytes::copy_from_slice(bytes), |part| match part {
                Part::Control { frame, payload, .. } => show(&frame_line(frame, payload)),
                Part::Data { frame: Some(frame @ Frame { offset: 0, .. }), .. } => {
                    show(&frame_line(frame, &[]));
                }
                Part::Data { .. } => {}
            });
        }
    }
}

/// The state after a head.
fn after(direction: Direction, head: &[u8]) -> State {
    let status = head.split(|byte| *byte == b' ').nth(1).unwrap_or_default();
    match (direction, status) {
        (Direction::ToServer, _) | (_, b"101") => State::Frames(FrameDirection::default()),
        (_, [b'1', ..]) => State::Head(Vec::new()),
        _ => State::Body,
    }
}

/// The lines of a head, without the values that are secrets.
pub(super) fn head_lines(head: &[u8]) -> impl Iterator<Item = String> {
    let lines = head.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
    lines.map(|line| {
        let line = escape::bytes(line.trim_ascii());
        match line.split_once(':') {
            Some((name, _)) if secrets::is_secret(name) => format!("{name}: ***"),
            _ => line,
        }
    })
}

/// The line of a frame, with the payload of a control frame.
fn frame_line(frame: Frame, control: &[u8]) -> String {
    let opcode = OpCode::from_bits(frame.opcode);
    let mut line = match opcode {
        Some(OpCode::Continuation) => "continuation".to_owned(),
        Some(OpCode::Text) => "text".to_owned(),
        Some(OpCode::Binary) => "binary".to_owned(),
        Some(OpCode::Close) => "Close".to_owned(),
        Some(OpCode::Ping) => "Ping".to_owned(),
        Some(OpCode::Pong) => "Pong".to_owned(),
        None => format!("opcode {:#x}", frame.opcode),
    };
    let bits = u8::from(frame.fin) << 3 | frame.rsv;
    for (bit, name) in [(8, " FIN"), (4, " RSV1"), (2, " RSV2"), (1, " RSV3")] {
        if bits & bit != 0 {
            line += name;
        }
    }
    line += &format!(", {}", counted(frame.length, "byte"));
    match (opcode, control) {
        (_, []) => {}
        (Some(OpCode::Close), [high, low, reason @ ..]) => {
            let code = CloseCode(u16::from_be_bytes([*high, *low]));
            line += &format!(": {} ({})", code.0, code.description());
            if !reason.is_empty() {
                line.extend([" ", &quoted(reason)]);
            }
        }
        (_, payload) => line.extend([": ", &quoted(payload)]),
    }
    line
}

fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", escape::bytes(bytes))
}

#[cfg(test)]
mod tests {
    use echogate_proto::ws::frame::masked_frame;
    use proptest::prelude::*;

    use super::*;

    fn lines(direction: Direction, pieces: &[&[u8]]) -> Vec<String> {
        let (mut tracer, mut lines) = (Tracer::new(direction), Vec::new());
        pieces.iter().for_each(|piece| tracer.pass(piece, |line| lines.push(line.to_owned())));
        lines
    }

    #[test]
    fn the_head_of_a_request_is_shown_without_secrets_and_then_the_frames() {
        let request = b"GET /a HTTP/1.1\r\nAuthorization: Basic abc\r\nCOOKIE: a=b\r\nX: y\r\n\r\n";
        let key = [1, 2, 3, 4];
        let frames = [
            masked_frame(OpCode::Text, b"hello", key),
            masked_frame(OpCode::Ping, b"there?", key),
            masked_frame(OpCode::Close, b"\x10\xe1enough\x07", key),
        ];
        let bytes = [&request[..], &frames.concat()].concat();
        let expected = [
            "GET /a HTTP/1.1",
            "Authorization: ***",
            "COOKIE: ***",
            "X: y",
            "text FIN, 5 bytes",
            "Ping FIN, 6 bytes: \"there?\"",
            "Close FIN, 9 bytes: 4321 (a code private to the application) \"enough\\x07\"",
        ];
        assert_eq!(lines(Direction::ToServer, &[&bytes]), expected);
        let single: Vec<&[u8]> = bytes.chunks(1).collect();
        assert_eq!(lines(Direction::ToServer, &single), expected);
    }

    #[test]
    fn interim_responses_and_the_accepting_one_are_shown_and_the_body_of_a_refusal_is_not() {
        let interim = b"HTTP/1.1 103 Early Hints\r\n\r\n";
        let accepted = b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x02\x01a\xc0\x00\x88\x00";
        let refused = b"HTTP/1.1 404 Not Found\r\nSet-Cookie: x\r\n\r\nno such route\r\n\r\n";
        assert_eq!(
            lines(Direction::ToClient, &[interim, accepted]),
            [
                "HTTP/1.1 103 Early Hints",
                "HTTP/1.1 101 Switching Protocols",
                "binary, 1 byte",
                "continuation FIN RSV1, 0 bytes",
                "Close FIN, 0 bytes"
            ]
        );
        assert_eq!(
            lines(Direction::ToClient, &[refused]),
            ["HTTP/1.1 404 Not Found", "Set-Cookie: ***"]
        );
    }

    #[test]
    fn long_frames_are_passed_by_their_length() {
        let head = b"HTTP/1.1 101 \r\n\r\n";
        let long = [&b"\x82\x7e\x01\x2c"[..], &[b'x'; 300], b"\x81\x7f\0\0\0\0\0\x01\0\0"].concat();
        let rest = [&[b'x'; 65536][..], b"\x8a\0"].concat();
        assert_eq!(
            lines(Direction::ToClient, &[head, &long, &rest])[1..],
            ["binary FIN, 300 bytes", "text FIN, 65536 bytes", "Pong FIN, 0 bytes"]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let head = &b"HTTP/1.1 101 \r\n\r\n"[..];
            lines(Direction::ToClient, &[head, &bytes]);
        }
    }
}
