//! The connections of a capture, from its segments.

use std::{
    collections::{HashMap, HashSet},
    net::SocketAddr,
};

use bytes::Bytes;
use echogate_proto::{
    api::Kind,
    recording::{Direction, Lost, Opened, Side, TapPoint},
};

use super::{
    Packet,
    packet::{LINK_TYPES, Segment, TcpHeader, is_fragment, layers, segment},
    reassembly::{Next, Reassembly},
};
use crate::recording::{pcapng::loss, wire::WireEvent};

/// Both ends of a connection, the lower address first, and whether it is TCP.
type Key = (bool, SocketAddr, SocketAddr);

/// The end of the name of the upstream's side of a connection.
const UPSTREAM_SIDE: &str = ", upstream side";

/// The connections of a capture so far.
#[derive(Debug, Default)]
pub(super) struct CapturedConnections {
    /// The latest connection between two ends.
    latest: HashMap<Key, usize>,
    connections: Vec<CapturedConnection>,
    /// The number of fragments of IP packets, which are skipped.
    fragments: u64,
    /// The number of packets with a link type that is not supported, which are skipped.
    unsupported: u64,
    /// The number of packets that were not captured; in a file of this program, of connections.
    dropped: u64,
    /// The losses by the name of the connection, from packets of the upstream's side and from
    /// packets without a segment.
    losses: HashMap<String, Lost>,
}

/// A TCP connection, or the datagrams between two ends.
#[derive(Debug)]
pub(super) struct CapturedConnection {
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    is_tcp: bool,
    /// The TCP streams from and to the client.
    directions: [Option<Reassembly>; 2],
    pub(super) events: Vec<(u64, WireEvent)>,
    /// Descriptions of missing data.
    pub(super) defects: Vec<&'static str>,
    has_end: bool,
    /// The name of the connection and of its side, in a capture of this program.
    own_name: Option<String>,
    /// The losses that comments of this program name.
    pub(super) lost: Lost,
}

/// The defect of a connection whose beginning the capture does not have.
const BEGINS_BEFORE: &str = "it begins before the capture";

/// The defect of a connection whose packets the capture has in part.
const CUT: &str = "its packets are cut: capture whole packets (tcpdump -s 0)";

impl CapturedConnections {
    pub(super) fn is_empty(&self) -> bool {
        self.connections.iter().all(|connection| connection.events.is_empty())
    }

    /// Descriptions of the packets that are missing, with their numbers.
    pub(super) fn warnings(&self) -> Vec<String> {
        let fragments = "IP fragments that were skipped, whose datagrams are missing".to_owned();
        let unsupported = format!("packets that were skipped, which are not of {LINK_TYPES}");
        let dropped = "packets or connections that were not captured, according to the file";
        let warnings = [
            (self.fragments, fragments),
            (self.unsupported, unsupported),
            (self.dropped, dropped.to_owned()),
        ];
        let warnings = warnings.into_iter().filter(|(count, _)| *count > 0);
        warnings.map(|(count, text)| format!("{text}: {count}")).collect()
    }

    /// Counts packets that were not captured.
    pub(super) fn add_dropped(&mut self, count: u64) {
        self.dropped = self.dropped.saturating_add(count);
    }

    pub(super) fn add(&mut self, packet: &Packet<'_>) {
        let Some(link) = packet.link else {
            self.unsupported += 1;
            return;
        };
        let Some(layers) = layers(link, packet.bytes) else { return };
        self.fragments += u64::from(is_fragment(&layers));
        let comment = packet.comment.unwrap_or_default();
        let Some(segment) = segment(&layers) else {
            self.note(comment);
            return;
        };
        let (a, b) = (segment.source, segment.destination);
        let key = (segment.tcp.is_some(), a.min(b), a.max(b));
        let known = self.latest.get(&key).map(|index| &self.connections[*index]);
        let index = match known {
            Some(connection) if !connection.is_replaced_by(&segment) => self.latest[&key],
            _ if !segment.may_begin() && own_name(comment).is_none() => return,
            _ => {
                self.connections.push(CapturedConnection::new(&segment, comment));
                self.latest.insert(key, self.connections.len() - 1);
                self.connections.len() - 1
            }
        };
        let connection = &mut self.connections[index];
        let is_own = connection.own_name.is_some();
        let frames_continue =
            is_own && comment.split("; ").any(|part| part == loss::FRAMES_CONTINUE);
        connection.add(packet.time, &segment, frames_continue);
        if is_own {
            connection.lost += loss::parse(comment);
        }
    }

    /// Adds the losses that the comment of a packet without a segment names. This program writes
    /// such a packet if no segment can follow the loss.
    fn note(&mut self, comment: &str) {
        let name = comment.split("; ").find_map(|part| part.strip_prefix("connection "));
        if let Some(name) = name.and_then(|name| name.split([' ', ',', ':']).next()) {
            *self.losses.entry(name.to_owned()).or_default() += loss::parse(comment);
        }
    }

    /// The connections that have events, and the number of connections of which the capture has
    /// only losses. The upstream's side of a connection is left out if the client's side has
    /// events.
    pub(super) fn finish(mut self) -> (Vec<CapturedConnection>, usize) {
        for connection in &mut self.connections {
            connection.finish(connection.events.last().map_or(0, |(time, _)| *time));
        }
        let with_events =
            self.connections.iter().filter(|connection| !connection.events.is_empty());
        let clients: HashSet<String> = with_events
            .filter_map(|connection| connection.own_client().map(str::to_owned))
            .collect();
        let losses = &mut self.losses;
        self.connections.retain(|connection| {
            let other_side = connection.own_upstream().filter(|name| clients.contains(*name));
            let is_kept = !connection.events.is_empty() && other_side.is_none();
            let name = connection.own_client().or(connection.own_upstream());
            if let Some(name) = name.filter(|_| !is_kept) {
                *losses.entry(name.to_owned()).or_default() += connection.lost;
            }
            is_kept
        });
        for connection in &mut self.connections {
            let name = connection.own_client().or(connection.own_upstream());
            if let Some(lost) = name.and_then(|name| losses.remove(name)) {
                connection.lost += lost;
            }
        }
        let missing = losses.values().filter(|lost| lost.events > 0).count();
        (self.connections, missing)
    }
}

impl Segment<'_> {
    /// Whether a connection can begin with this segment: a SYN, or payload of a connection that is
    /// older than the capture.
    fn may_begin(&self) -> bool {
        self.tcp.is_none_or(|tcp| tcp.syn || !self.payload.is_empty())
    }
}

impl CapturedConnection {
    fn new(segment: &Segment<'_>, comment: &str) -> CapturedConnection {
        // The source of a SYN is the client. Without a SYN, the client is the one that a comment of
        // this program names, or else the end with the higher port.
        let client = own_client_address(comment);
        let is_server = match segment.tcp {
            Some(tcp) if tcp.syn => tcp.ack,
            Some(_) if client == Some(segment.source) => false,
            Some(_) if client == Some(segment.destination) => true,
            Some(_) => segment.source.port() < segment.destination.port(),
            None => false,
        };
        let (mut client, mut server) = (segment.source, segment.destination);
        if is_server {
            std::mem::swap(&mut client, &mut server);
        }
        let (is_tcp, own_name) = (segment.tcp.is_some(), own_name(comment).map(str::to_owned));
        let (events, directions) = (Vec::new(), [None, None]);
        CapturedConnection {
            client,
            server,
            is_tcp,
            directions,
            events,
            defects: Vec::new(),
            has_end: false,
            own_name,
            lost: Lost::default(),
        }
    }

    /// Whether a segment begins another connection between the same ends.
    fn is_replaced_by(&self, segment: &Segment<'_>) -> bool {
        let Some(TcpHeader { syn: true, ack: false, sequence, .. }) = segment.tcp else {
            return false;
        };
        let known = &self.directions[self.direction(segment) as usize];
        known.as_ref().is_none_or(|known| !known.begins_with(sequence.wrapping_add(1)))
            || self.client != segment.source
    }

    fn direction(&self, segment: &Segment<'_>) -> Direction {
        if segment.source == self.client { Direction::ToServer } else { Direction::ToClient }
    }

    /// Adds a segment. With `frames_continue`, a frame begins with this segment, which follows a
    /// loss.
    fn add(&mut self, time: u64, segment: &Segment<'_>, frames_continue: bool) {
        let direction = self.direction(segment);
        let point = TapPoint { side: Side::Client, direction };
        if segment.is_cut {
            self.add_defect(CUT);
        }
        let Some(tcp) = segment.tcp else {
            let payload = Bytes::copy_from_slice(segment.payload);
            self.events.push((time, WireEvent::Datagram(point, payload)));
            return;
        };
        let sequence = if tcp.syn { tcp.sequence.wrapping_add(1) } else { tcp.sequence };
        if self.directions[direction as usize].is_none() && (tcp.syn || !segment.payload.is_empty())
        {
            if !tcp.syn {
                self.add_defect(BEGINS_BEFORE);
            }
            self.directions[direction as usize] = Some(Reassembly::new(sequence));
        }
        let CapturedConnection { directions, events, .. } = self;
        if let Some(reassembly) = &mut directions[direction as usize] {
            let mut emit = |next| events.push((time, event(point, next)));
            if frames_continue && reassembly.resume_at(sequence, &mut emit) {
                events.push((time, WireEvent::Position(point, Box::default())));
            }
            let emit = &mut |next| events.push((time, event(point, next)));
            reassembly.add(sequence, segment.payload, tcp.fin, emit);
        } else if tcp.fin {
            events.push((time, WireEvent::EndOfInput(point)));
        }
        let is_over = self.directions.iter().flatten().filter(|d| d.has_ended()).count() == 2;
        if tcp.rst && !self.has_end && !is_over {
            self.has_end = true;
            self.finish(time);
            self.events.push((time, WireEvent::Reset(point)));
        }
    }

    /// Emits the bytes that wait for missing segments.
    fn finish(&mut self, time: u64) {
        for direction in [Direction::ToServer, Direction::ToClient] {
            let point = TapPoint { side: Side::Client, direction };
            let CapturedConnection { directions, events, .. } = self;
            if let Some(reassembly) = &mut directions[direction as usize] {
                reassembly.finish(&mut |next| events.push((time, event(point, next))));
            }
        }
    }

    fn add_defect(&mut self, defect: &'static str) {
        if !self.defects.contains(&defect) {
            self.defects.push(defect);
        }
    }

    /// The description of the connection, without what its contents say.
    pub(super) fn opened(&self) -> Opened {
        Opened {
            kind: Some(if self.is_tcp { Kind::Tcp } else { Kind::Udp }),
            target: self.server.to_string(),
            peer: Some(self.client.to_string()),
            local: Some(self.server.to_string()),
            ..Opened::default()
        }
    }

    /// The name of the connection, if this is the client's side of one in a capture of this
    /// program.
    fn own_client(&self) -> Option<&str> {
        self.own_name.as_deref().filter(|name| !name.contains(UPSTREAM_SIDE))
    }

    /// The name of the connection, if this is the upstream's side of one in a capture of this
    /// program.
    fn own_upstream(&self) -> Option<&str> {
        self.own_name.as_deref()?.strip_suffix(UPSTREAM_SIDE)
    }
}

/// The name of a connection and of its side, with which this program begins the comment of a first
/// packet. Comments of last packets and of losses have the name without a colon after it.
fn own_name(comment: &str) -> Option<&str> {
    let (name, _) = comment.strip_prefix("connection ")?.split_once(':')?;
    let number = name.strip_suffix(UPSTREAM_SIDE).unwrap_or(name);
    number.parse::<u64>().is_ok().then_some(name)
}

/// The address of the client, from the comment of a first packet of this program.
fn own_client_address(comment: &str) -> Option<SocketAddr> {
    let (_, client) = comment.strip_prefix("connection ")?.split_once(", client ")?;
    let client: SocketAddr = client.split([',', ';']).next()?.parse().ok()?;
    Some(SocketAddr::new(client.ip().to_canonical(), client.port()))
}

fn event(point: TapPoint, next: Next) -> WireEvent {
    match next {
        Next::Bytes(bytes) => WireEvent::Bytes(point, bytes),
        Next::Missing(bytes) => WireEvent::Lost(Lost { events: 1, bytes }),
        Next::End => WireEvent::EndOfInput(point),
    }
}
