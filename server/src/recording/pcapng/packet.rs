//! IP packets with a TCP segment or a UDP datagram.

use std::net::{IpAddr, SocketAddr};

/// TCP flags.
pub(super) const FIN: u8 = 0x01;
pub(super) const SYN: u8 = 0x02;
pub(super) const RST: u8 = 0x04;
pub(super) const PSH: u8 = 0x08;
pub(super) const ACK: u8 = 0x10;

/// The most payload of a packet, in bytes: its headers have room below 64 KiB.
pub(super) const MAX_PAYLOAD: usize = 60 * 1024;

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
pub(super) fn tcp(out: &mut Vec<u8>, [from, to]: [SocketAddr; 2], segment: &Segment<'_>) {
    let options: &[u8] = if segment.flags & SYN == 0 { &[] } else { &SYN_OPTIONS };
    let header = 20 + options.len();
    ip(out, [from, to], TCP, header + segment.payload.len(), 16, |out| {
        out.extend_from_slice(&from.port().to_be_bytes());
        out.extend_from_slice(&to.port().to_be_bytes());
        out.extend_from_slice(&segment.sequence.to_be_bytes());
        out.extend_from_slice(&segment.acknowledgement.to_be_bytes());
        out.extend_from_slice(&[(header as u8 / 4) << 4, segment.flags]);
        out.extend_from_slice(&WINDOW.to_be_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(options);
        out.extend_from_slice(segment.payload);
    });
}

/// Appends the packet of a UDP datagram.
pub(super) fn udp(out: &mut Vec<u8>, [from, to]: [SocketAddr; 2], payload: &[u8]) {
    let length = 8 + payload.len();
    ip(out, [from, to], UDP, length, 6, |out| {
        out.extend_from_slice(&from.port().to_be_bytes());
        out.extend_from_slice(&to.port().to_be_bytes());
        out.extend_from_slice(&(length as u16).to_be_bytes());
        out.extend_from_slice(&[0; 2]);
        out.extend_from_slice(payload);
    });
}

/// Appends an IP header, and the `length` bytes that `write` appends, whose checksum is at
/// `checksum_at`.
fn ip(
    out: &mut Vec<u8>,
    [from, to]: [SocketAddr; 2],
    protocol: u8,
    length: usize,
    checksum_at: usize,
    write: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    let addresses = match (from.ip(), to.ip()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            out.extend_from_slice(&[0x45, 0]);
            out.extend_from_slice(&(20 + length as u16).to_be_bytes());
            // No identification; not to be fragmented; 64 hops.
            out.extend_from_slice(&[0, 0, 0x40, 0, 64, protocol, 0, 0]);
            out.extend_from_slice(&from.octets());
            out.extend_from_slice(&to.octets());
            let sum = checksum(sum(&out[start..]));
            out[start + 10..start + 12].copy_from_slice(&sum);
            start + 12
        }
        (from, to) => {
            let octets = |ip| match ip {
                IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
                IpAddr::V6(ip) => ip.octets(),
            };
            out.extend_from_slice(&[0x60, 0, 0, 0]);
            out.extend_from_slice(&(length as u16).to_be_bytes());
            out.extend_from_slice(&[protocol, 64]);
            out.extend_from_slice(&octets(from));
            out.extend_from_slice(&octets(to));
            start + 8
        }
    };
    let payload = out.len();
    write(out);
    // The pseudo-header: both addresses, the length and the protocol.
    let word = |number: u16| u64::from(u16::from_ne_bytes(number.to_be_bytes()));
    let sum = sum(&out[addresses..]) + word(length as u16) + word(u16::from(protocol));
    let mut sum = checksum(sum);
    if protocol == UDP && sum == [0; 2] {
        // A checksum of zero would mean that there is none.
        sum = [0xff; 2];
    }
    out[payload + checksum_at..payload + checksum_at + 2].copy_from_slice(&sum);
}

/// The sum of all 16-bit words in the byte order of the machine, whose bytes are those of the sum in
/// any other order (RFC 1071 section 2 (B)).
fn sum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    // The two halves of a 32-bit word are added by `checksum`.
    let sum: u64 = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum();
    let mut last = [0; 4];
    last[..rest.len()].copy_from_slice(rest);
    sum + u64::from(u32::from_ne_bytes(last))
}

/// The complement of the folded sum (RFC 1071).
fn checksum(mut sum: u64) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!(sum as u16)).to_ne_bytes()
}
