//! The division of long lists into messages within the limit of a broker.

/// The part that an element was added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    ToLastPart,
    /// The last part had no room.
    ToNewPart,
}

/// The size of the last one of several parts.
#[derive(Debug)]
pub(crate) struct PartSize {
    limit: usize,
    size: usize,
}

impl PartSize {
    /// The size of an empty part. Parts with more than one element do not exceed `limit` bytes.
    pub(crate) fn new(limit: usize) -> PartSize {
        PartSize { limit, size: 0 }
    }

    /// Adds an element of `bytes` to the last part, or to a new one, which is then the last.
    pub(crate) fn add(&mut self, bytes: usize) -> Added {
        if self.size > 0 && self.size + bytes > self.limit {
            self.size = bytes;
            return Added::ToNewPart;
        }
        self.size += bytes;
        Added::ToLastPart
    }
}
