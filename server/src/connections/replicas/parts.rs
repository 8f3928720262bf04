//! The division of long lists into messages that a broker takes.

/// The size of the last one of several parts.
#[derive(Debug)]
pub(crate) struct PartSize {
    limit: usize,
    size: usize,
}

impl PartSize {
    /// The size of an empty part. No part of several elements is to exceed `limit` bytes.
    pub(crate) fn new(limit: usize) -> PartSize {
        PartSize { limit, size: 0 }
    }

    /// Adds an element of `bytes`. Returns whether the element begins a new part, because the last
    /// part has no room for it.
    pub(crate) fn begins(&mut self, bytes: usize) -> bool {
        let begins = self.size > 0 && self.size + bytes > self.limit;
        self.size = if begins { bytes } else { self.size + bytes };
        begins
    }
}
