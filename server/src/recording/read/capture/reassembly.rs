//! The bytes of one direction of a TCP connection, from its segments in any order.

use std::collections::BTreeMap;

use bytes::Bytes;

/// The most bytes of segments that wait for earlier ones.
const MAX_PENDING: usize = 4 << 20;

/// The position of the first byte, so that positions before it are not negative.
const ORIGIN: u64 = 1 << 32;

/// The next item of a direction in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Bytes(Bytes),
    /// A gap of this many bytes, which no segment of the capture has.
    Missing(u64),
    End,
}

/// One direction of a connection.
#[derive(Debug)]
pub(super) struct Reassembly {
    /// The sequence number of the byte at [`ORIGIN`].
    first: u32,
    /// The position of the next byte.
    next: u64,
    /// Segments after a gap, by position.
    pending: BTreeMap<u64, Bytes>,
    pending_bytes: usize,
    /// The position after the last byte.
    end: Option<u64>,
    has_ended: bool,
}

impl Reassembly {
    /// A direction whose first byte has the sequence number `first`.
    pub(super) fn new(first: u32) -> Reassembly {
        let (pending, end) = (BTreeMap::new(), None);
        Reassembly { first, next: ORIGIN, pending, pending_bytes: 0, end, has_ended: false }
    }

    /// Whether the first byte has the sequence number `sequence`.
    pub(super) fn begins_with(&self, sequence: u32) -> bool {
        self.first == sequence
    }

    /// Whether all bytes up to FIN have been emitted.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Adds a segment, and calls `emit` with the items that are in order now. Bytes that were
    /// emitted before are not emitted again.
    pub(super) fn add(
        &mut self,
        sequence: u32,
        payload: &[u8],
        fin: bool,
        emit: &mut dyn FnMut(Next),
    ) {
        let at = self.position(sequence);
        let end = at + payload.len() as u64;
        if fin {
            self.end.get_or_insert(end);
        }
        if at <= self.next {
            self.pass(at, &Bytes::copy_from_slice(payload), emit);
        } else if !payload.is_empty() && self.end.is_none_or(|end| at < end) {
            let known = self.pending.get(&at).map_or(0, Bytes::len);
            if payload.len() > known {
                self.pending.insert(at, Bytes::copy_from_slice(payload));
                self.pending_bytes += payload.len() - known;
            }
        }
        self.pass_pending(emit);
        while self.pending_bytes > MAX_PENDING {
            self.pass_gap(emit);
        }
        self.pass_end(emit);
    }

    /// Resumes at `sequence`, unless later bytes have been emitted. The bytes before `sequence` are
    /// not reported as missing, since the comment of the packet names the loss.
    pub(super) fn resume_at(&mut self, sequence: u32, emit: &mut dyn FnMut(Next)) -> bool {
        while !self.pending.is_empty() {
            self.pass_gap(emit);
        }
        let at = self.position(sequence);
        let resumes = at >= self.next;
        if resumes {
            self.next = at;
        }
        resumes
    }

    /// Emits everything that is left, and the gaps before it.
    pub(super) fn finish(&mut self, emit: &mut dyn FnMut(Next)) {
        while !self.pending.is_empty() {
            self.pass_gap(emit);
        }
        if let Some(end) = self.end.filter(|end| *end > self.next) {
            emit(Next::Missing(end - self.next));
            self.next = end;
        }
        self.pass_end(emit);
    }

    /// The position of a sequence number that is nearest to the next byte.
    fn position(&self, sequence: u32) -> u64 {
        let expected = self.first.wrapping_add((self.next - ORIGIN) as u32);
        let distance = sequence.wrapping_sub(expected).cast_signed();
        self.next.saturating_add_signed(distance.into())
    }

    /// Emits `bytes`, which are at the position `at`, from the next byte on. There must be no gap
    /// before `bytes`.
    fn pass(&mut self, at: u64, bytes: &Bytes, emit: &mut dyn FnMut(Next)) {
        let known = usize::try_from(self.next - at).unwrap_or(usize::MAX).min(bytes.len());
        let new = bytes.slice(known..);
        if !new.is_empty() {
            self.next += new.len() as u64;
            emit(Next::Bytes(new));
        }
    }

    fn pass_pending(&mut self, emit: &mut dyn FnMut(Next)) {
        while let Some(first) = self.pending.first_entry().filter(|first| *first.key() <= self.next)
        {
            let (at, bytes) = first.remove_entry();
            self.pending_bytes -= bytes.len();
            self.pass(at, &bytes, emit);
        }
    }

    /// Gives up the bytes before the first pending segment.
    fn pass_gap(&mut self, emit: &mut dyn FnMut(Next)) {
        if let Some((&at, _)) = self.pending.first_key_value() {
            emit(Next::Missing(at - self.next));
            self.next = at;
        }
        self.pass_pending(emit);
    }

    fn pass_end(&mut self, emit: &mut dyn FnMut(Next)) {
        if self.end.is_some_and(|end| end <= self.next) && !self.has_ended {
            self.has_ended = true;
            emit(Next::End);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The bytes of segments, with a question mark for each missing one, and whether they have an
    /// end.
    fn assembled(first: u32, segments: &[(u32, Vec<u8>, bool)]) -> (Vec<u8>, bool) {
        let mut reassembly = Reassembly::new(first);
        let (mut bytes, mut ended) = (Vec::new(), false);
        let mut emit = |next| match next {
            Next::Bytes(new) => bytes.extend(new),
            Next::Missing(count) => bytes.extend(std::iter::repeat_n(b'?', count as usize)),
            Next::End => ended = true,
        };
        for (sequence, payload, fin) in segments {
            reassembly.add(*sequence, payload, *fin, &mut emit);
        }
        reassembly.finish(&mut emit);
        (bytes, ended)
    }

    #[test]
    fn a_missing_segment_is_reported_at_its_position() {
        let segments = [(10, b"ab".to_vec(), false), (15, b"fg".to_vec(), true)];
        assert_eq!(assembled(10, &segments), (b"ab???fg".to_vec(), true));
        let segments = [(10, b"ab".to_vec(), false), (15, Vec::new(), true)];
        assert_eq!(assembled(10, &segments), (b"ab???".to_vec(), true));
    }

    #[test]
    fn a_keep_alive_probe_adds_nothing() {
        let segments = [(10, b"ab".to_vec(), false), (11, b"x".to_vec(), false)];
        assert_eq!(assembled(10, &segments), (b"ab".to_vec(), false));
    }

    proptest! {
        #[test]
        fn segments_in_any_order_repeated_and_overlapping_give_the_same_bytes(
            bytes in proptest::collection::vec(any::<u8>(), 1..400),
            first: u32,
            extra in proptest::collection::vec((0_usize..400, 1_usize..60), 0..20),
            cut in 1_usize..50,
            order in any::<u64>(),
        ) {
            let segment = |start: usize, end: usize| {
                let sequence = first.wrapping_add(start as u32);
                (sequence, bytes[start..end].to_vec(), end == bytes.len())
            };
            let starts = (0..bytes.len()).step_by(cut);
            let mut segments: Vec<_> =
                starts.map(|start| segment(start, (start + cut).min(bytes.len()))).collect();
            for (start, length) in extra {
                let start = start.min(bytes.len() - 1);
                segments.push(segment(start, (start + length).min(bytes.len())));
            }
            // A permutation that is determined by a number.
            let mut state = order;
            segments.sort_by_cached_key(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                state >> 33
            });
            prop_assert_eq!(assembled(first, &segments), (bytes, true));
        }

        #[test]
        fn no_segments_make_it_panic(
            first: u32,
            segments in proptest::collection::vec(
                (any::<u32>(), proptest::collection::vec(any::<u8>(), 0..9), any::<bool>()), 0..20),
        ) {
            let mut reassembly = Reassembly::new(first);
            for (sequence, payload, fin) in segments {
                reassembly.add(sequence, &payload, fin, &mut |_| {});
            }
            reassembly.finish(&mut |_| {});
        }
    }
}
