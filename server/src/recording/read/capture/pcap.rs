//! pcap files (draft-ietf-opsawg-pcap).

use std::io::BufRead;

use super::{Input, Link, MAX_BLOCK, Packet, ReadError};

/// The magic number of a file with times in microseconds.
const MICROSECONDS: u32 = 0xa1b2_c3d4;

/// The magic number of a file with times in nanoseconds.
const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// Whether a file is little-endian, and the unit of its times in nanoseconds, by its first bytes.
fn format(start: &[u8]) -> Option<(bool, u64)> {
    let magic = *start.first_chunk()?;
    [false, true].into_iter().find_map(|little| {
        let number = if little { u32::from_le_bytes(magic) } else { u32::from_be_bytes(magic) };
        match number {
            MICROSECONDS => Some((little, 1000)),
            NANOSECONDS => Some((little, 1)),
            _ => None,
        }
    })
}

/// Whether a file begins as pcap does.
pub(in crate::recording::read) fn is_pcap(start: &[u8]) -> bool {
    format(start).is_some()
}

/// Reads a file to its end, and calls `take` with each packet.
pub(super) fn read<R: BufRead>(
    input: &mut Input<R>,
    mut take: impl FnMut(Packet<'_>),
) -> Result<(), ReadError> {
    let header: [u8; 24] = input.array("the header of the file")?;
    let Some((little, unit)) = format(&header) else {
        return Err(ReadError::new(0, "expected a pcap file"));
    };
    let number = |bytes: &[u8]| {
        let bytes = bytes.try_into().expect("four bytes are given");
        if little { u32::from_le_bytes(bytes) } else { u32::from_be_bytes(bytes) }
    };
    // The upper bits have the length of the frame check sequence.
    let link = Link::new(number(&header[20..24]) & 0xffff, 20)?;
    while !input.is_at_end()? {
        let start = input.offset();
        let header: [u8; 16] = input.array("the header of a packet")?;
        let length = number(&header[8..12]);
        if length > MAX_BLOCK {
            let text = format!("expected the length of a packet, found {length}");
            return Err(ReadError::new(start + 8, text));
        }
        let bytes = input.take(u64::from(length), "a packet")?;
        let seconds = u64::from(number(&header[0..4]));
        let fraction = u64::from(number(&header[4..8])) * unit;
        take(Packet {
            time: seconds * 1_000_000_000 + fraction,
            link: Some(link),
            bytes: &bytes,
            comment: None,
        });
    }
    Ok(())
}
