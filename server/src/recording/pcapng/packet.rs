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
const SYN_OPTIONS: [u8; 8] = [2, 4, 0xff, 0xd7, 1, 3, 3, 14];

/// The window of all segments.
const WINDOW: u16 = u16::MAX;

/// Protocol numbers.
const TCP: u8 = 6;
const UDP: u8 = 17;

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
    let mut header = [0; 20 + SYN_OPTIONS.len()];
    let length = if segment.flags & SYN == 0 { 20 } else { header.len() };
    header[..4].copy_from_slice(&ports(ends));
    header[4..8].copy_from_slice(&segment.sequence.to_be_bytes());
    header[8..12].copy_from_slice(&segment.acknowledgement.to_be_bytes());
    header[12..14].copy_from_slice(&[(length as u8 / 4) << 4, segment.flags]);
    header[14..16].copy_from_slice(&WINDOW.to_be_bytes());
    header[20..].copy_from_slice(&SYN_OPTIONS);
    ip(out, ends, TCP, &mut header[..length], 16, segment.payload);
}

/// Appends the packet of a UDP datagram.
pub(super) fn udp(out: &mut Vec<u8>, ends: [SocketAddr; 2], payload: &[u8]) {
    let mut header = [0; 8];
    header[..4].copy_from_slice(&ports(ends));
    header[4..6].copy_from_slice(&(8 + payload.len() as u16).to_be_bytes());
    ip(out, ends, UDP, &mut header, 6, payload);
}

/// The ports of a header of TCP or UDP.
fn ports(ends: [SocketAddr; 2]) -> [u8; 4] {
    let [[a, b], [c, d]] = ends.map(|end| end.port().to_be_bytes());
    [a, b, c, d]
}

/// Appends an IP header, the `header` of `protocol`, of an even length, with its checksum at
/// `checksum_at`, and `payload`.
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
            let mut ip = [0; 20];
            ip[..2].copy_from_slice(&[0x45, 0]);
            ip[2..4].copy_from_slice(&(20 + length).to_be_bytes());
            // No identification; not to be fragmented; 64 hops.
            ip[6..10].copy_from_slice(&[0x40, 0, 64, protocol]);
            ip[12..16].copy_from_slice(&from.octets());
            ip[16..].copy_from_slice(&to.octets());
            let own = checksum(sum(&ip));
            ip[10..12].copy_from_slice(&own);
            out.extend_from_slice(&ip);
            sum(&ip[12..])
        }
        (from, to) => {
            let octets = |ip| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            let mut ip = [0; 40];
            ip[0] = 0x60;
            ip[4..6].copy_from_slice(&length.to_be_bytes());
            ip[6..8].copy_from_slice(&[protocol, 64]);
            ip[8..24].copy_from_slice(&octets(from));
            ip[24..].copy_from_slice(&octets(to));
            out.extend_from_slice(&ip);
            sum(&ip[8..])
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
    header[checksum_at..checksum_at + 2].copy_from_slice(&sum);
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
    let (blocks, rest) = bytes.as_chunks::<64>();
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
