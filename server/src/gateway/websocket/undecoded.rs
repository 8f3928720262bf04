//! Bytes of a peer that are not decoded yet.

/// The maximum number of frames decoded in one step. That takes some 0.1 ms, after which other
/// connections get their turn.
pub(in crate::gateway) const MAX_FRAMES: usize = 2048;

/// Bytes read together with the opening handshake, or after the frames of one step.
#[derive(Debug)]
pub(in crate::gateway) struct Undecoded {
    pub(in crate::gateway) bytes: Vec<u8>,
    /// The position up to which they are decoded.
    pub(in crate::gateway) at: usize,
}

impl Undecoded {
    /// Keeps `bytes`, if there are any, after `headroom` free ones for a frame header.
    pub(in crate::gateway) fn new(bytes: &[u8], headroom: usize) -> Option<Box<Undecoded>> {
        (!bytes.is_empty()).then(|| {
            let mut held = Vec::with_capacity(headroom + bytes.len());
            held.resize(headroom, 0);
            held.extend_from_slice(bytes);
            Box::new(Undecoded { bytes: held, at: headroom })
        })
    }

    pub(in crate::gateway) fn len(&self) -> usize {
        self.bytes.len() - self.at
    }
}
