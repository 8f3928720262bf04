//! An entry of a HAR file, and its JSON.

use std::net::SocketAddr;

use data_encoding::BASE64;
use echogate_proto::recording::{Direction, Lost, Opened, Side};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Message;
use crate::recording::{self, head, json};

/// The bytes of messages after which another chunk begins.
const CHUNK: usize = 64 * 1024;

/// An entry of a connection that is open.
#[derive(Debug)]
pub(super) struct Entry {
    side: Side,
    /// The number of this entry among those of the connection, from 1.
    part: u32,
    started: f64,
    ended: f64,
    /// The elements of the array, each followed by a comma and a line feed. Chunks let a long entry
    /// grow without copies.
    messages: Vec<Vec<u8>>,
    /// The comments of [`Entry::comment`], joined.
    comment: String,
    /// The events that are missing in this entry.
    lost: Lost,
}

impl Entry {
    pub(super) fn new(time: f64, side: Side, part: u32) -> Entry {
        Entry {
            side,
            part,
            started: time,
            ended: time,
            messages: Vec::new(),
            comment: String::new(),
            lost: Lost::default(),
        }
    }

    /// The approximate length of the JSON, in bytes.
    pub(super) fn len(&self) -> usize {
        1024 + self.messages.iter().map(Vec::len).sum::<usize>()
    }

    /// Adds a message whose element of the array begins with `start` (see [`message_start`]): text
    /// as it is, and everything else in base64. Returns the number of bytes by which the entry has
    /// grown.
    pub(super) fn add(&mut self, time: f64, start: &[u8], message: &Message<'_>) -> usize {
        let Message { opcode, fin, payload } = *message;
        if self.messages.last().is_none_or(|chunk| chunk.len() >= CHUNK) {
            let capacity = if self.messages.is_empty() { 0 } else { CHUNK + CHUNK / 4 };
            self.messages.push(Vec::with_capacity(capacity));
        }
        let out = self.messages.last_mut().expect("a chunk was added above");
        let before = out.len();
        out.extend_from_slice(start);
        json::value(out, &opcode);
        out.extend_from_slice(br#","data":"#);
        if opcode != 1 {
            json::encoded_string(out, &BASE64, payload);
        } else if !json::plain_string(out, payload) {
            json::value(out, &String::from_utf8_lossy(payload));
        }
        out.extend_from_slice(if fin { b"},\n" } else { b",\"_fin\":false},\n" });
        self.ended = time;
        out.len() - before
    }

    /// Counts events that are missing.
    pub(super) fn lose(&mut self, lost: Lost) {
        self.lost += lost;
    }

    /// Adds a comment.
    pub(super) fn comment(&mut self, text: &str) {
        if !self.comment.is_empty() {
            self.comment.push_str("; ");
        }
        self.comment.push_str(text);
    }

    /// Appends the JSON of the entry, in its present state, to `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>, connection: u64, opened: &Opened) {
        let request = Head::new(opened.request.as_deref(), self.side);
        let response = Head::new(opened.response.as_deref(), self.side);
        let url = url(opened, self.side, &request);
        let query = url.split_once('?').map_or(Value::Array(Vec::new()), |(_, query)| {
            query
                .split('&')
                .map(|pair| {
                    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                    json!({ "name": name, "value": value })
                })
                .collect()
        });
        let milliseconds = ((self.ended - self.started) * 1e3).max(0.0);
        let mut entry = json!({
            "startedDateTime": date_time(self.started),
            "time": milliseconds,
            "request": {
                "method": "GET", "url": url, "httpVersion": "HTTP/1.1", "cookies": [],
                "headers": request.headers, "queryString": query, "headersSize": -1, "bodySize": 0,
            },
            "response": {
                "status": 101, "statusText": "Switching Protocols", "httpVersion": "HTTP/1.1",
                "cookies": [], "headers": response.headers,
                "content": { "size": 0, "mimeType": "x-unknown" },
                "redirectURL": "", "headersSize": -1, "bodySize": -1,
            },
            "cache": {},
            "timings": { "send": 0, "wait": 0, "receive": milliseconds },
            "connection": match self.side {
                Side::Client => connection.to_string(),
                Side::Upstream => format!("{connection} upstream"),
            },
            "_resourceType": "websocket",
        });
        if let Some(ip) = server_ip(opened, self.side) {
            entry["serverIPAddress"] = ip.into();
        }
        let comment = self.description(opened);
        if !comment.is_empty() {
            entry["comment"] = comment.into();
        }
        if self.part > 1 {
            entry["_part"] = self.part.into();
        } else if opened.bytes_before > 0 {
            entry["_bytesBefore"] = opened.bytes_before.into();
        }
        if self.lost.events > 0 {
            entry["_lost"] = json!(self.lost);
        }
        json::value(out, &entry);
        // The messages are the last member.
        out.pop();
        out.extend_from_slice(b",\"_webSocketMessages\":[\n");
        self.messages.iter().for_each(|chunk| out.extend_from_slice(chunk));
        // JSON has no comma after the last element.
        out.truncate(out.len() - if self.messages.is_empty() { 0 } else { 2 });
        out.extend_from_slice(b"]}");
    }

    fn description(&self, opened: &Opened) -> String {
        let mut parts = Vec::new();
        if self.part > 1 {
            parts.push("continues the previous entry of the same connection".to_owned());
        } else if opened.bytes_before > 0 {
            parts.push(recording::earlier_bytes(opened.bytes_before));
        }
        if let (Some(peer), Side::Client) = (&opened.peer, self.side) {
            parts.push(format!("client {peer}"));
        }
        if let Some(upstream) = &opened.upstream {
            parts.push(format!("upstream {upstream}"));
        }
        if self.lost.events > 0 {
            parts.push(recording::lost(self.lost));
        }
        if !self.comment.is_empty() {
            parts.push(self.comment.clone());
        }
        parts.join("; ")
    }
}

/// The beginning of the elements for messages of one event, up to their opcodes.
pub(super) fn message_start(time: f64, direction: Direction) -> Vec<u8> {
    let kind = if direction == Direction::ToServer { "send" } else { "receive" };
    format!(r#"{{"type":"{kind}","time":{},"opcode":"#, json!(time)).into()
}

/// The head of a request or response.
struct Head<'a> {
    target: Option<&'a str>,
    host: Option<&'a str>,
    headers: Value,
}

impl<'a> Head<'a> {
    /// The head on the client's side. The one on the upstream's side is not known.
    fn new(text: Option<&'a str>, side: Side) -> Head<'a> {
        let text = text.filter(|_| side == Side::Client).unwrap_or_default();
        let fields = text.lines().skip(1).filter_map(|line| line.split_once(':'));
        let fields: Vec<_> = fields.map(|(name, value)| (name, value.trim())).collect();
        let host = fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
        let headers = fields.iter().map(|(name, value)| json!({ "name": name, "value": value }));
        Head {
            target: head::target(text),
            host: host.map(|(_, host)| *host),
            headers: headers.collect(),
        }
    }
}

fn url(opened: &Opened, side: Side, request: &Head<'_>) -> String {
    let is_url = |text: &str| text.starts_with("ws://") || text.starts_with("wss://");
    match (side, &opened.upstream) {
        (Side::Upstream, Some(url)) => return url.clone(),
        _ if is_url(&opened.target) => return opened.target.clone(),
        _ => {}
    }
    let host = request.host.or(opened.local.as_deref()).unwrap_or("localhost");
    let path = request.target.unwrap_or(&opened.target);
    let slash = if path.starts_with('/') { "" } else { "/" };
    let scheme = if opened.client_has_tls { "wss" } else { "ws" };
    format!("{scheme}://{host}{slash}{path}")
}

fn server_ip(opened: &Opened, side: Side) -> Option<String> {
    let local = opened.local.as_ref().filter(|_| side == Side::Client)?;
    Some(local.parse::<SocketAddr>().ok()?.ip().to_string())
}

/// The time as in ISO 8601, with milliseconds.
fn date_time(seconds: f64) -> String {
    let timestamp = Timestamp::from_millisecond((seconds * 1e3) as i64).unwrap_or_default();
    format!("{timestamp:.3}")
}
