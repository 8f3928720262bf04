//! The TCP segments and UDP datagrams of packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};

use super::ReadError;

/// The link-layer header of a packet (<https://www.tcpdump.org/linktypes.html>).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Ethernet,
    /// The address family of the IP packet that follows.
    Loopback,
    /// No link-layer header.
    Ip,
    /// `tcpdump -i any`, version 1.
    LinuxCooked,
    /// `tcpdump -i any`, version 2.
    LinuxCooked2,
}

/// The length of the header of [`Link::LinuxCooked`], with the protocol at its end.
const COOKED: usize = 16;
/// The length of the header of [`Link::LinuxCooked2`], with the protocol at its start.
const COOKED_2: usize = 20;

/// The names of the link types.
pub(super) const LINK_TYPES: &str = "Ethernet, IP, loopback or Linux (-i any)";

impl Link {
    /// The link type with this number, which the file has at `offset`.
    pub(super) fn new(number: u32, offset: u64) -> Result<Link, ReadError> {
        Ok(match number {
            1 => Link::Ethernet,
            0 | 108 => Link::Loopback,
            12 | 14 | 101 | 228 | 229 => Link::Ip,
            113 => Link::LinuxCooked,
            276 => Link::LinuxCooked2,
            other => {
                let text = format!("expected packets of {LINK_TYPES}, found link type {other}");
                return Err(ReadError::new(offset, text));
            }
        })
    }
}

/// A segment of TCP, or a datagram of UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    pub(super) source: SocketAddr,
    pub(super) destination: SocketAddr,
    /// `None` for UDP.
    pub(super) tcp: Option<TcpHeader>,
    pub(super) payload: &'a [u8],
    /// Whether the capture has only the start of the packet.
    pub(super) is_cut: bool,
}

/// The fields of a TCP header that reassembly needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TcpHeader {
    pub(super) sequence: u32,
    pub(super) syn: bool,
    pub(super) ack: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
}

/// The recognized layers of a packet.
pub(super) fn layers(link: Link, bytes: &[u8]) -> Option<LaxSlicedPacket<'_>> {
    Some(match link {
        Link::Ethernet => LaxSlicedPacket::from_ethernet(bytes).ok()?,
        Link::Loopback => LaxSlicedPacket::from_ip(bytes.get(4..)?).ok()?,
        Link::Ip => LaxSlicedPacket::from_ip(bytes).ok()?,
        Link::LinuxCooked => {
            let (header, rest) = bytes.split_first_chunk::<COOKED>()?;
            LaxSlicedPacket::from_ether_type(ether_type(*header.last_chunk()?), rest)
        }
        Link::LinuxCooked2 => {
            let (header, rest) = bytes.split_first_chunk::<COOKED_2>()?;
            LaxSlicedPacket::from_ether_type(ether_type(*header.first_chunk()?), rest)
        }
    })
}

/// Whether a packet is a fragment of an IP packet.
pub(super) fn is_fragment(packet: &LaxSlicedPacket<'_>) -> bool {
    let payload = packet.net.as_ref().and_then(LaxNetSlice::ip_payload_ref);
    payload.is_some_and(|payload| payload.fragmented)
}

/// The segment of a packet; `None` for other protocols and for fragments of IP packets.
pub(super) fn segment<'a>(packet: &LaxSlicedPacket<'a>) -> Option<Segment<'a>> {
    let net = packet.net.as_ref()?;
    let (source, destination): (IpAddr, IpAddr) = match net {
        LaxNetSlice::Ipv4(ip) => {
            let header = ip.header();
            (Ipv4Addr::from(header.source()).into(), Ipv4Addr::from(header.destination()).into())
        }
        LaxNetSlice::Ipv6(ip) => {
            let header = ip.header();
            (Ipv6Addr::from(header.source()).into(), Ipv6Addr::from(header.destination()).into())
        }
        LaxNetSlice::Arp(_) => return None,
    };
    let is_cut = net.ip_payload_ref().is_some_and(|payload| payload.incomplete);
    let (ports, tcp, payload) = match packet.transport.as_ref()? {
        TransportSlice::Tcp(tcp) => {
            let header = TcpHeader {
                sequence: tcp.sequence_number(),
                syn: tcp.syn(),
                ack: tcp.ack(),
                fin: tcp.fin(),
                rst: tcp.rst(),
            };
            ([tcp.source_port(), tcp.destination_port()], Some(header), tcp.payload())
        }
        TransportSlice::Udp(udp) => {
            ([udp.source_port(), udp.destination_port()], None, udp.payload())
        }
        _ => return None,
    };
    let [source, destination] = [(source, ports[0]), (destination, ports[1])].map(SocketAddr::from);
    Some(Segment { source, destination, tcp, payload, is_cut })
}

fn ether_type(bytes: [u8; 2]) -> EtherType {
    EtherType(u16::from_be_bytes(bytes))
}
