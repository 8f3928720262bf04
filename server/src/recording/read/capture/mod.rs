//! Captures of packets: pcap and pcapng, from `tcpdump`, Wireshark and this program.
//!
//! - `pcap`, `pcapng`: the packets of files; `packet`: the TCP segments and UDP datagrams of
//!   packets
//! - `connections`: the connections of segments; `reassembly`: the bytes of a TCP direction in
//!   order
//! - `contents`: the kind of the bytes of a connection: WebSocket frames, TLS or any others

mod connections;
mod contents;
mod packet;
mod pcap;
mod pcapng;
mod reassembly;

use std::io::BufRead;

use self::{connections::CapturedConnections, packet::Link};
use super::{
    Builder,
    input::{Input, ReadError},
};
use crate::recording::{missing_connections, model::Recording};

pub(super) use self::pcap::is_pcap;

/// The longest packet or block, in bytes. Wireshark has a lower limit.
const MAX_BLOCK: u32 = 64 << 20;

/// A packet of a capture.
#[derive(Debug)]
struct Packet<'a> {
    /// The time, in nanoseconds since 1970.
    time: u64,
    /// `None` if the link type is not supported.
    link: Option<Link>,
    /// The packet from the link-layer header on.
    bytes: &'a [u8],
    comment: Option<&'a str>,
}

/// Reads a pcap file.
pub(super) fn read_pcap(input: Input<impl BufRead>) -> Result<Recording, ReadError> {
    read(input, |input, connections| pcap::read(input, |packet| connections.add(&packet)))
}

/// Reads a pcapng file.
pub(super) fn read_pcapng(input: Input<impl BufRead>) -> Result<Recording, ReadError> {
    read(input, |input, connections| pcapng::read(input, connections))
}

fn read<R: BufRead>(
    mut input: Input<R>,
    packets: impl FnOnce(&mut Input<R>, &mut CapturedConnections) -> Result<(), ReadError>,
) -> Result<Recording, ReadError> {
    let mut connections = CapturedConnections::default();
    let end = match packets(&mut input, &mut connections) {
        Err(error) if !connections.is_empty() => Some(error.into_warning()?),
        ended => ended.map(|()| None)?,
    };
    let mut warnings: Vec<String> = connections.warnings().into_iter().chain(end).collect();
    let is_empty = connections.is_empty();
    let (connections, missing) = connections.finish();
    if missing > 0 {
        warnings.push(missing_connections(missing as u64));
    }
    if is_empty {
        let text = "the capture has no TCP segment with payload and no UDP datagram".to_owned();
        let text = [&[text][..], &warnings].concat().join("; ");
        return Err(ReadError::new(input.offset(), text));
    }
    let mut builder = Builder::default();
    warnings.into_iter().for_each(|warning| builder.warn(warning));
    for (number, connection) in (1..).zip(&connections) {
        contents::add(number, connection, &mut builder);
    }
    Ok(builder.finish())
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    /// An IPv4 packet with a UDP datagram of 8 bytes of payload, with these bits of fragmentation.
    fn packet(fragment: u16) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 36, 0, 1, 0, 0, 64, 17, 0, 0];
        packet[6..8].copy_from_slice(&fragment.to_be_bytes());
        packet.extend([192, 0, 2, 1, 192, 0, 2, 2]);
        packet.extend([0xc3, 0x50, 0x1b, 0x5f, 0, 16, 0, 0]);
        packet.extend(b"datagram");
        packet
    }

    fn pcap(fragments: &[u16]) -> Result<Recording, ReadError> {
        // Little endian, microseconds, raw IP.
        let mut file =
            b"\xd4\xc3\xb2\xa1\x02\0\x04\0\0\0\0\0\0\0\0\0\xff\xff\0\0\x65\0\0\0".to_vec();
        for packet in fragments.iter().map(|fragment| packet(*fragment)) {
            let length = (packet.len() as u32).to_le_bytes();
            file.extend([[1, 0, 0, 0], [0; 4], length, length].concat());
            file.extend(packet);
        }
        read_pcap(Input::new(Cursor::new(file)))
    }

    #[test]
    fn fragments_of_ip_packets_are_counted() {
        let (whole, first, last) = (0x4000, 0x2000, 0x0002);
        let recording = pcap(&[whole, first, last, whole]).unwrap();
        assert_eq!(recording.connections[0].events.len(), 2);
        let expected = "IP fragments that were skipped, whose datagrams are missing: 2";
        assert_eq!(recording.warnings, [expected]);
        assert!(pcap(&[whole]).unwrap().warnings.is_empty());
        let error = pcap(&[last]).unwrap_err().to_string();
        assert!(error.contains("no UDP datagram; IP fragments that were skipped"), "{error}");
    }
}
