//! IP packets with a TCP segment or a UDP datagram.

use std::net::{IpAddr, SocketAddr};

/// TCP flags.
pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;

/// The most payload of a segment, in bytes: its headers have room below 64 KiB.
pub(super) const MAX_PAYLOAD: usize = 60 * 1024;

/// The most payload of a datagram over UDP and IPv4, in bytes: 65,535 less both headers.
pub(super) const MAX_DATAGRAM: usize = 65_507;

/// The options of SYN segments: a maximum segment size of 65,495 bytes (as of the loopback
/// interface), and windows in units of 16 KiB.
const SYN_OPTIONS: [[u8; 4]; 2] = [[2, 4, 0xff, 0xd7], [1, 3, 3, 14]];

/// The window of all segments.
const WINDOW: u16 = u16::MAX;

/// Protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;
/// Nothing follows (RFC 8200 section 4.7).
const NO_NEXT_HEADER: u8 = 59;

/// A TCP segment without its addresses.
#[derive(Debug)]
pub(super) struct Segment<'a> {
    pub(super) flags: u8,
    pub(super) sequence: u32,
    pub(super) acknowledgement: u32,
    pub(super) payload: &'a [u8],
}

/// Appends the packet of a TCP segment.
pub(super) fn tcp(out: &mut Vec<u8>, ends: [SocketAddr; 2], segment: &Segment<'_>) {
    let Segment { flags, sequence, acknowledgement, payload } = *segment;
    let words = if flags & SYN == 0 { 5 } else { 5 + SYN_OPTIONS.len() };
    let [sequence, acknowledgement] = [sequence, acknowledgement].map(u32::to_be_bytes);
    let [high, low] = WINDOW.to_be_bytes();
    let flags = [(words as u8) << 4, flags, high, low];
    let [first, second] = SYN_OPTIONS;
    let mut header = [ports(ends), sequence, acknowledgement, flags, [0; 4], first, second];
    ip(out, ends, TCP, header[..words].as_flattened_mut(), 16, payload);
}

/// Appends the packet of a UDP datagram.
pub(super) fn udp(out: &mut Vec<u8>, ends: [SocketAddr; 2], payload: &[u8]) {
    let [high, low] = (8 + payload.len() as u16).to_be_bytes();
    let mut header = [ports(ends), [high, low, 0, 0]];
    ip(out, ends, UDP, header.as_flattened_mut(), 6, payload);
}

/// Appends a packet without a header of a transport protocol and without payload.
pub(super) fn empty(out: &mut Vec<u8>, ends: [SocketAddr; 2]) {
    ip(out, ends, NO_NEXT_HEADER, &mut [], 0, &[]);
}

/// The ports of a header of TCP or UDP.
fn ports(ends: [SocketAddr; 2]) -> [u8; 4] {
    let [[a, b], [c, d]] = ends.map(|end| end.port().to_be_bytes());
    [a, b, c, d]
}

/// Appends an IP header, the `header` of `protocol`, of an even length, with its checksum at
/// `checksum_at` unless it is empty, and `payload`.
fn ip(
    out: &mut Vec<u8>,
    [from, to]: [SocketAddr; 2],
    protocol: u8,
    header: &mut [u8],
    checksum_at: usize,
    payload: &[u8],
) {
    let length = (header.len() + payload.len()) as u16;
    let addresses = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let [high, low] = (20 + length).to_be_bytes();
            let first = [0x45, 0, high, low];
            // No identification; not to be fragmented; 64 hops.
            let second = [0, 0, 0x40, 0];
            let mut ip = [first, second, [64, protocol, 0, 0], from.octets(), to.octets()];
            let [high, low] = checksum(sum(ip.as_flattened()));
            ip[2] = [64, protocol, high, low];
            out.extend_from_slice(ip.as_flattened());
            sum(ip[3..].as_flattened())
        }
        (from, to) => {
            let octets = |ip| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            let [high, low] = length.to_be_bytes();
            let addresses = [octets(from), octets(to)];
            out.extend_from_slice(&[0x60, 0, 0, 0, high, low, protocol, 64]);
            out.extend_from_slice(addresses.as_flattened());
            sum(addresses.as_flattened())
        }
    };
    // The pseudo-header: both addresses, the length and the protocol.
    let word = |number: u16| u64::from(u16::from_ne_bytes(number.to_be_bytes()));
    let pseudo = addresses + word(length) + word(u16::from(protocol));
    let mut sum = checksum(pseudo + sum(header) + sum(payload));
    if protocol == UDP && sum == [0; 2] {
        // A checksum of zero would mean that there is none.
        sum = [0xff; 2];
    }
    if let Some(field) = header.get_mut(checksum_at..checksum_at + 2) {
        field.copy_from_slice(&sum);
    }
    out.extend_from_slice(header);
    out.extend_from_slice(payload);
}

/// A sum that [`checksum`] folds to that of all 16-bit words, in the byte order of the machine, whose
/// bytes are those of the sum in any other order (RFC 1071 section 2 (B)). It is less than 2^34.
fn sum(bytes: &[u8]) -> u64 {
    let (mut sum, mut carry) = (0_u64, false);
    // Words of 64 bits, whose carry counts as 1 (RFC 1071 section 2 (C)).
    let mut add = |word: &[u8; 8]| {
        (sum, carry) = sum.carrying_add(u64::from_ne_bytes(*word), carry);
    };
    let (blocks, rest) = bytes.as_chunks::<128>();
    for block in blocks {
        block.as_chunks().0.iter().for_each(&mut add);
    }
    let (words, rest) = rest.as_chunks();
    words.iter().for_each(&mut add);
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    add(&last);
    (sum >> 32) + (sum & 0xffff_ffff) + u64::from(carry)
}

/// The complement of the folded sum (RFC 1071).
fn checksum(mut sum: u64) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!(sum as u16)).to_ne_bytes()
}
