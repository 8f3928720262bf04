//! A lenient scanner of the frames in one direction, for observers of a connection.

use std::ops::Range;

use super::{
    OpCode,
    frame::{FrameHeader, MAX_HEADER},
    mask,
};

/// A frame header as it was sent, valid or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RawHeader {
    /// FIN, the reserved bits and the opcode: the first byte.
    pub first: u8,
    /// The masking key, if the payload is masked.
    pub key: Option<[u8; 4]>,
    /// The length of the payload, in bytes.
    pub len: u64,
}

impl RawHeader {
    /// Whether FIN is set.
    pub fn fin(&self) -> bool {
        self.first & 0x80 != 0
    }

    /// RSV1, RSV2 and RSV3, from the highest bit of three to the lowest.
    pub fn rsv(&self) -> u8 {
        self.first >> 4 & 7
    }

    /// The bits of the opcode.
    pub fn opcode_bits(&self) -> u8 {
        self.first & 0x0f
    }

    /// The opcode, if it is defined.
    pub fn opcode(&self) -> Option<OpCode> {
        OpCode::from_bits(self.opcode_bits())
    }

    /// Parses the header at the start of `bytes`, and returns its length; none if it is incomplete.
    pub fn parse(bytes: &[u8]) -> Option<(RawHeader, usize)> {
        let [first, second, rest @ ..] = bytes else { return None };
        let (len, rest) = match second & 0x7f {
            126 => {
                let (digits, rest) = rest.split_first_chunk()?;
                (u64::from(u16::from_be_bytes(*digits)), rest)
            }
            127 => {
                let (digits, rest) = rest.split_first_chunk()?;
                (u64::from_be_bytes(*digits), rest)
            }
            len => (u64::from(len), rest),
        };
        let (key, rest) = match second & 0x80 {
            0 => (None, rest),
            _ => rest.split_first_chunk().map(|(key, rest)| (Some(*key), rest))?,
        };
        Some((RawHeader { first: *first, key, len }, bytes.len() - rest.len()))
    }
}

/// A piece of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The header of the frame.
    pub header: RawHeader,
    /// The number of payload bytes before this piece.
    pub offset: u64,
    /// The range of the payload in the scanned bytes, unmasked there.
    pub range: Range<usize>,
    /// Whether the frame began before the scan: its length and the offset count from there.
    pub is_rest: bool,
}

impl Piece {
    /// Whether the frame ends with this piece.
    pub fn ends_frame(&self) -> bool {
        self.offset + self.range.len() as u64 == self.header.len
    }
}

/// A scanner of one direction, which finds the boundaries of frames and checks nothing: reserved
/// bits, undefined opcodes and missing masks are reported as they were sent.
///
/// ```
/// use echogate_proto::ws::{OpCode, scanner::FrameScanner};
/// let mut bytes = *b"\x81\x02hi";
/// let piece = FrameScanner::default().next(&mut bytes, &mut 0).unwrap();
/// assert_eq!(piece.header.opcode(), Some(OpCode::Text));
/// assert_eq!(&bytes[piece.range], b"hi");
/// ```
#[derive(Clone, Debug, Default)]
pub struct FrameScanner {
    /// The part of an incomplete header that has arrived.
    partial: [u8; MAX_HEADER],
    partial_len: usize,
    /// The current frame, and its payload bytes so far.
    frame: Option<(RawHeader, u64)>,
    /// Whether the current frame began before the scan.
    is_rest: bool,
}

impl FrameScanner {
    /// A scanner that begins within the payload of a frame: `header` has the number of bytes left,
    /// and the masking key of the next byte.
    pub(super) fn within(header: RawHeader) -> FrameScanner {
        FrameScanner { frame: Some((header, 0)), is_rest: true, ..FrameScanner::default() }
    }

    /// A scanner that begins after a part of a frame header.
    pub(super) fn behind(partial_header: &[u8]) -> FrameScanner {
        let mut scanner = FrameScanner::default();
        scanner.partial[..partial_header.len()].copy_from_slice(partial_header);
        scanner.partial_len = partial_header.len();
        scanner
    }

    /// Whether the scanned bytes end with a complete frame.
    pub fn is_at_boundary(&self) -> bool {
        self.frame.is_none() && self.partial_len == 0
    }

    /// The bytes that a reader which starts at this position needs first: the part of a header that
    /// has passed; or, within a payload, a header for the rest of that payload, as a continuation
    /// frame unless the frame is a control frame.
    pub fn prefix(&self) -> Vec<u8> {
        let Some((header, offset)) = self.frame else {
            return self.partial[..self.partial_len].to_vec();
        };
        let opcode = header.opcode().filter(|opcode| opcode.is_control());
        let opcode = opcode.unwrap_or(OpCode::Continuation);
        let rest = FrameHeader::new(opcode, header.fin(), header.len - offset);
        match header.key {
            None => rest.as_bytes().to_vec(),
            Some(mut key) => {
                key.rotate_left((offset % 4) as usize);
                rest.masked(key).as_bytes().to_vec()
            }
        }
    }

    /// Scans `bytes` without regard to their payload.
    pub fn skip(&mut self, bytes: &[u8]) {
        let mut at = 0;
        loop {
            if self.is_at_boundary() {
                at += whole_short_frames(&bytes[at..]);
            }
            let (header, offset) = match self.frame.take() {
                Some(frame) => frame,
                None => match self.header(bytes, &mut at) {
                    Some(header) => (header, 0),
                    None => return,
                },
            };
            let here = bytes.len() - at;
            let left = usize::try_from(header.len - offset).unwrap_or(usize::MAX);
            if left > here {
                self.frame = Some((header, offset + here as u64));
                return;
            }
            at += left;
            self.is_rest = false;
        }
    }

    /// Scans `bytes` from `at` for the next piece, and sets `at` to its end. A frame without
    /// payload gives an empty piece. None if no bytes are left.
    pub fn next(&mut self, bytes: &mut [u8], at: &mut usize) -> Option<Piece> {
        let (header, offset) = match self.frame.take() {
            Some(frame) => frame,
            None => (self.header(bytes, at)?, 0),
        };
        if *at == bytes.len() && offset < header.len {
            self.frame = Some((header, offset));
            return None;
        }
        let left = usize::try_from(header.len - offset).unwrap_or(usize::MAX);
        let range = *at..*at + left.min(bytes.len() - *at);
        if let Some(mut key) = header.key {
            key.rotate_left((offset % 4) as usize);
            mask::apply(&mut bytes[range.clone()], &mut key);
        }
        *at = range.end;
        let piece = Piece { header, offset, range, is_rest: self.is_rest };
        if piece.ends_frame() {
            self.is_rest = false;
        } else {
            self.frame = Some((header, offset + piece.range.len() as u64));
        }
        Some(piece)
    }

    /// Reads the header of the next frame; none if it is incomplete.
    fn header(&mut self, bytes: &[u8], at: &mut usize) -> Option<RawHeader> {
        if self.partial_len == 0
            && let Some((header, len)) = RawHeader::parse(&bytes[*at..])
        {
            *at += len;
            return Some(header);
        }
        while let Some(byte) = bytes.get(*at) {
            self.partial[self.partial_len] = *byte;
            self.partial_len += 1;
            *at += 1;
            if let Some((header, _)) = RawHeader::parse(&self.partial[..self.partial_len]) {
                self.partial_len = 0;
                return Some(header);
            }
        }
        None
    }
}

/// Lengths of frames in bytes, by the second byte of the header; 0 where an extended payload length
/// follows.
const SHORT_FRAME_LENGTHS: [u8; 256] = {
    let mut lengths = [0; 256];
    let mut payload = 0;
    while payload < 126 {
        lengths[payload] = 2 + payload as u8;
        lengths[0x80 | payload] = 6 + payload as u8;
        payload += 1;
    }
    lengths
};

/// The number of bytes of the whole frames with less than 126 bytes of payload that `bytes` begin
/// with.
fn whole_short_frames(bytes: &[u8]) -> usize {
    let (mut whole, mut end) = (0, 0);
    while let Some(second) = bytes.get(end + 1) {
        whole = end;
        match SHORT_FRAME_LENGTHS[usize::from(*second)] {
            0 => return whole,
            length => end += usize::from(length),
        }
    }
    if end <= bytes.len() { end } else { whole }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ws::frame::{control_frame, masked_frame};

    /// The frames of `bytes`, scanned in pieces that end at `cuts`.
    fn frames(bytes: &[u8], cuts: &[usize]) -> Vec<(u8, Vec<u8>)> {
        let mut scanner = FrameScanner::default();
        let mut frames: Vec<(u8, Vec<u8>)> = Vec::new();
        let mut begin = 0;
        for end in cuts.iter().copied().chain([bytes.len()]) {
            let (mut part, mut at) = (bytes[begin..end].to_vec(), 0);
            begin = end;
            while let Some(piece) = scanner.next(&mut part, &mut at) {
                if piece.offset == 0 {
                    frames.push((piece.header.first, Vec::new()));
                }
                frames.last_mut().expect("pushed").1.extend(&part[piece.range]);
            }
        }
        frames
    }

    proptest! {
        #[test]
        fn frames_are_found_however_they_are_cut(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 1..6),
            key: [u8; 4],
            mut cuts in proptest::collection::vec(0_usize..2000, 0..20),
        ) {
            let mut bytes = Vec::new();
            for (i, payload) in payloads.iter().enumerate() {
                if i % 2 == 0 {
                    bytes.extend(masked_frame(OpCode::Binary, payload, key));
                } else {
                    bytes.extend(control_frame(OpCode::Ping, &payload[..payload.len().min(125)]));
                }
            }
            cuts.retain(|cut| *cut <= bytes.len());
            cuts.sort_unstable();
            prop_assert_eq!(frames(&bytes, &cuts), frames(&bytes, &[]));
            prop_assert_eq!(frames(&bytes, &[]).len(), payloads.len());
            prop_assert_eq!(&frames(&bytes, &[])[0].1, &payloads[0]);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, cut in 0_usize..20) {
            frames(&bytes, &[cut.min(bytes.len())]);
            FrameScanner::default().skip(&bytes);
        }

        #[test]
        fn a_scan_that_skips_bytes_continues_as_one_that_does_not(
            payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..6),
            key: [u8; 4],
            cut: proptest::sample::Index,
        ) {
            let frames = payloads.iter().map(|payload| masked_frame(OpCode::Text, payload, key));
            let bytes: Vec<u8> = frames.flatten().collect();
            let (before, after) = bytes.split_at(cut.index(bytes.len()));
            let [mut scanned, mut skipped] = [FrameScanner::default(), FrameScanner::default()];
            let (mut copy, mut at) = (before.to_vec(), 0);
            while scanned.next(&mut copy, &mut at).is_some() {}
            skipped.skip(before);
            let rest = |mut scanner: FrameScanner| {
                let (mut copy, mut at) = (after.to_vec(), 0);
                let pieces = std::iter::from_fn(|| scanner.next(&mut copy, &mut at));
                (pieces.collect::<Vec<_>>(), copy)
            };
            let pieces = rest(scanned);
            prop_assert_eq!(&rest(skipped).1, &pieces.1);
            prop_assert_eq!(pieces.0.iter().filter(|piece| piece.ends_frame()).count() > 0, true);
        }
    }
}
