//! Events of a connection as lines, like those of `socat -v`.

use std::{
    env,
    io::{self, IsTerminal},
};

use echogate_proto::{
    close::CloseCode,
    hex,
    recording::{Data, DataKind, Direction, Event, Frame, Opened, Record, Side, TapPoint},
};
use jiff::{Timestamp, tz::TimeZone};

use crate::text::{counted, escape};

/// The bytes per line of hexadecimal text.
const HEX_LINE: usize = 16;

/// The format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// A line for each event, followed by escaped lines of payload.
    Text,
    /// The same with payload in hexadecimal.
    Hex,
    /// JSON.
    Json,
}

/// A formatter of events.
pub(super) struct Output {
    format: Format,
    is_coloured: bool,
    zone: TimeZone,
}

impl Output {
    pub(super) fn new(format: Format) -> Output {
        let no_colour = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_coloured = io::stdout().is_terminal() && !no_colour;
        Output { format, is_coloured, zone: TimeZone::system() }
    }

    /// The lines of an event.
    pub(super) fn lines(&mut self, record: &Record) -> String {
        if self.format == Format::Json {
            return serde_json::to_string(record).expect("numbers and texts are JSON") + "\n";
        }
        let (point, text, payload) = described(&record.event);
        let sign = match point.map(|point| point.direction) {
            Some(Direction::ToServer) => '>',
            Some(Direction::ToClient) => '<',
            None => '*',
        };
        let side = point.map_or("", |point| match point.side {
            Side::Client => "",
            Side::Upstream => "upstream ",
        });
        let (begin, end) = match (self.is_coloured, sign) {
            (false, _) => ("", ""),
            (true, '>') => ("\x1b[36m", "\x1b[0m"),
            (true, '<') => ("\x1b[33m", "\x1b[0m"),
            (true, _) => ("\x1b[1m", "\x1b[0m"),
        };
        let time = self.time(record.time);
        let mut lines = format!("{begin}{sign} {time} {side}{text}{end}\n");
        match self.format {
            Format::Hex => hex_lines(&mut lines, payload),
            Format::Text | Format::Json => text_lines(&mut lines, payload),
        }
        lines
    }

    /// The time of day, with microseconds.
    fn time(&self, seconds: f64) -> String {
        let time = Timestamp::from_microsecond((seconds * 1e6).round() as i64);
        let zoned = time.unwrap_or_default().to_zoned(self.zone.clone());
        zoned.strftime("%H:%M:%S%.6f").to_string()
    }
}

/// The tap point of an event, its description and its payload.
fn described(event: &Event) -> (Option<TapPoint>, String, &[u8]) {
    match event {
        Event::Opened(opened) => (None, opened_line(opened), &[]),
        Event::Data(data) => {
            let payload = data.payload.as_bytes();
            (Some(data.point), data_line(data, payload.len()), payload)
        }
        Event::Ping(ping) => control("Ping", ping.point, ping.payload.as_bytes()),
        Event::Pong(pong) => control("Pong", pong.point, pong.payload.as_bytes()),
        Event::Close(close) => {
            let text = match close.code {
                Some(code) => format!("Close {code} ({})", CloseCode(code).description()),
                None => "Close".to_owned(),
            };
            (Some(close.point), text, close.reason.as_bytes())
        }
        Event::EndOfInput(point) => (Some(*point), "end of input".to_owned(), &[]),
        Event::Reset(point) => (Some(*point), "reset".to_owned(), &[]),
        Event::Lost(lost) => {
            let (events, bytes) = (counted(lost.events, "event"), counted(lost.bytes, "byte"));
            (None, format!("{events} with {bytes} lost"), &[])
        }
        Event::Closed { reason } => (None, format!("closed: {}", escape::escape(reason)), &[]),
    }
}

fn control<'a>(
    name: &str,
    point: TapPoint,
    payload: &'a [u8],
) -> (Option<TapPoint>, String, &'a [u8]) {
    (Some(point), format!("{name}, {}", counted(payload.len(), "byte")), payload)
}

fn opened_line(opened: &Opened) -> String {
    let peer = opened.peer.as_deref().unwrap_or("an unknown client");
    let mut line = format!("{} to {}", escape::escape(peer), escape::escape(&opened.target));
    if let Some(kind) = opened.kind {
        line.extend([", ", kind.name()]);
    }
    if let Some(upstream) = &opened.upstream {
        line.extend([", upstream ", &escape::escape(upstream)]);
    }
    if opened.bytes_before > 0 {
        line.extend(["; ", &counted(opened.bytes_before, "byte"), " passed before"]);
    }
    line
}

fn data_line(data: &Data, len: usize) -> String {
    let kind = match data.kind {
        DataKind::Bytes => "bytes",
        DataKind::Datagram => "datagram",
        DataKind::Text => "text",
        DataKind::Binary => "binary",
        DataKind::Continuation => "continuation",
        DataKind::Unknown => "unknown",
    };
    let mut line = kind.to_owned();
    if let Some(Frame { fin, rsv, opcode, length, offset, .. }) = data.frame {
        if data.kind == DataKind::Unknown {
            line += &format!(" (opcode {opcode:#x})");
        }
        for (is_set, name) in
            [(fin, "FIN"), (rsv & 4 != 0, "RSV1"), (rsv & 2 != 0, "RSV2"), (rsv & 1 != 0, "RSV3")]
        {
            if is_set {
                line.extend([" ", name]);
            }
        }
        if length != len as u64 {
            let end = offset + len as u64;
            return format!("{line}, bytes {offset} to {end} of {length}");
        }
    }
    format!("{line}, {}", counted(len, "byte"))
}

/// Appends the escaped lines of a payload.
fn text_lines(lines: &mut String, payload: &[u8]) {
    for line in payload.split_inclusive(|byte| *byte == b'\n') {
        lines.extend(["  ", &escape::bytes(line), "\n"]);
    }
}

/// Appends lines of hexadecimal text, each between its position and its characters.
fn hex_lines(lines: &mut String, payload: &[u8]) {
    for (number, line) in payload.chunks(HEX_LINE).enumerate() {
        let shown = line.iter().map(|byte| match byte {
            b' '..=b'~' => char::from(*byte),
            _ => '.',
        });
        let (at, shown) = (number * HEX_LINE, shown.collect::<String>());
        lines.push_str(&format!("  {at:08x}  {:47}  |{shown}|\n", hex::encode(line)));
    }
}

#[cfg(test)]
mod tests {
    use echogate_proto::recording::{Close, Control, Payload};

    use super::*;

    const TO_SERVER: TapPoint = TapPoint { side: Side::Client, direction: Direction::ToServer };
    const TO_CLIENT: TapPoint = TapPoint { side: Side::Upstream, direction: Direction::ToClient };

    fn lines(format: Format, event: Event) -> String {
        let mut output = Output { format, is_coloured: false, zone: TimeZone::UTC };
        output.lines(&Record { time: 1_790_000_000.25, connection: 1, event })
    }

    fn data(point: TapPoint, kind: DataKind, frame: Option<Frame>, payload: &[u8]) -> Event {
        Event::Data(Data { point, kind, frame, payload: Payload::from(payload) })
    }

    #[test]
    fn events_are_lines_followed_by_escaped_payload() {
        let frame = Frame { fin: true, opcode: 1, rsv: 4, masked: true, length: 13, offset: 0 };
        let text = data(TO_SERVER, DataKind::Text, Some(frame), b"one\r\n\x1b[31mtwo");
        assert_eq!(
            lines(Format::Text, text),
            "> 14:13:20.250000 text FIN RSV1, 13 bytes\n  one\\r\\n\n  \\x1b[31mtwo\n"
        );
        let part = Frame { fin: false, rsv: 0, length: 100, offset: 10, ..frame };
        let part = data(TO_CLIENT, DataKind::Binary, Some(part), b"x");
        assert_eq!(
            lines(Format::Text, part),
            "< 14:13:20.250000 upstream binary, bytes 10 to 11 of 100\n  x\n"
        );
        let ping = Event::Ping(Control { point: TO_SERVER, payload: Payload::from(&b""[..]) });
        assert_eq!(lines(Format::Text, ping), "> 14:13:20.250000 Ping, 0 bytes\n");
        let close = Close { point: TO_SERVER, code: Some(1000), reason: "bye".to_owned() };
        let shown = lines(Format::Text, Event::Close(close));
        assert!(shown.starts_with("> 14:13:20.250000 Close 1000 ("), "{shown}");
        assert!(shown.ends_with(")\n  bye\n"), "{shown}");
        let opened = Opened { target: "/x\x07".to_owned(), bytes_before: 1, ..Opened::default() };
        assert_eq!(
            lines(Format::Text, Event::Opened(opened.into())),
            "* 14:13:20.250000 an unknown client to /x\\x07; 1 byte passed before\n"
        );
    }

    #[test]
    fn hexadecimal_text_has_positions_and_characters() {
        let bytes = data(TO_SERVER, DataKind::Bytes, None, b"0123456789abcdef\0");
        assert_eq!(
            lines(Format::Hex, bytes),
            "> 14:13:20.250000 bytes, 17 bytes\n  \
             00000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  |0123456789abcdef|\n  \
             00000010  00                                               |.|\n"
        );
    }
}
