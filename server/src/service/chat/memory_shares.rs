//! The memory for messages, shared fairly between clients.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
};

use crate::connections::{limits::counted_as, registry::Peer};

/// The owner of one share of the memory: all clients of one IPv4 address or of one IPv6 network of
/// 64 bits, or all clients without an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Holder(Option<IpAddr>);

impl Holder {
    pub(super) fn of(peer: &Peer) -> Holder {
        Holder(peer.ip().map(counted_as))
    }
}

/// The memory taken by each conversation and each holder, in bytes, indexed by size.
#[derive(Debug, Default)]
pub(super) struct MemoryShares {
    total: usize,
    conversations: HashMap<u64, usize>,
    holders: HashMap<Holder, Share>,
    by_size: BTreeSet<(usize, Holder)>,
}

#[derive(Debug, Default)]
struct Share {
    total: usize,
    by_size: BTreeSet<(usize, u64)>,
}

impl MemoryShares {
    /// The memory taken by all conversations, in bytes.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// Adds `bytes` to a conversation of `holder`.
    pub(super) fn add(&mut self, holder: Holder, conversation: u64, bytes: usize) {
        self.change(holder, conversation, |size| size + bytes);
    }

    /// Subtracts `bytes` from a conversation of `holder`.
    pub(super) fn remove(&mut self, holder: Holder, conversation: u64, bytes: usize) {
        self.change(holder, conversation, |size| size - bytes);
    }

    fn change(&mut self, holder: Holder, conversation: u64, to: impl Fn(usize) -> usize) {
        self.total = to(self.total);
        let size = self.conversations.entry(conversation).or_default();
        let share = self.holders.entry(holder).or_default();
        share.by_size.remove(&(*size, conversation));
        self.by_size.remove(&(share.total, holder));
        *size = to(*size);
        share.total = to(share.total);
        if *size == 0 {
            self.conversations.remove(&conversation);
        } else {
            share.by_size.insert((*size, conversation));
        }
        if share.total == 0 {
            self.holders.remove(&holder);
        } else {
            self.by_size.insert((share.total, holder));
        }
    }

    /// The conversation whose messages are discarded so that a conversation of `holder` can take
    /// `bytes` more: the largest one of the largest holder. None if that would be unfair, because
    /// it is not larger than the conversation would become.
    pub(super) fn victim(&self, holder: Holder, conversation: u64, bytes: usize) -> Option<u64> {
        let own = self.holders.get(&holder).map_or(0, |share| share.total);
        if let Some((size, largest)) = self.by_size.last()
            && *largest != holder
            && *size > own + bytes
        {
            return self.holders[largest].by_size.last().map(|(_, conversation)| *conversation);
        }
        let own = self.conversations.get(&conversation).copied().unwrap_or_default();
        let (size, largest) = self.holders.get(&holder)?.by_size.last()?;
        (*largest != conversation && *size > own + bytes).then_some(*largest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(address: &str) -> Holder {
        Holder::of(&Peer::Address(address.parse().unwrap()))
    }

    #[test]
    fn addresses_of_one_network_are_one_holder() {
        assert_eq!(holder("[2001:db8::1]:5"), holder("[2001:db8::ffff:1]:6"));
        assert_ne!(holder("[2001:db8::1]:5"), holder("[2001:db8:0:1::1]:5"));
        assert_eq!(holder("192.0.2.1:5"), holder("[::ffff:192.0.2.1]:6"));
        assert_ne!(holder("192.0.2.1:5"), holder("192.0.2.2:5"));
    }

    #[test]
    fn the_victim_is_the_largest_conversation_of_the_largest_holder() {
        let (one, two) = (holder("192.0.2.1:5"), holder("192.0.2.2:5"));
        let mut shares = MemoryShares::default();
        assert_eq!(shares.victim(one, 1, 10), None);
        shares.add(one, 1, 60);
        shares.add(one, 2, 50);
        shares.add(two, 3, 80);
        assert_eq!(shares.total(), 190);
        // The other holder has 110 bytes.
        assert_eq!(shares.victim(two, 3, 10), Some(1));
        assert_eq!(shares.victim(two, 4, 10), Some(1));
        assert_eq!(shares.victim(two, 3, 30), None, "they would be of the same size");
        // Within one holder.
        assert_eq!(shares.victim(one, 2, 9), Some(1));
        assert_eq!(shares.victim(one, 2, 10), None);
        assert_eq!(shares.victim(one, 5, 10), Some(1));
        assert_eq!(shares.victim(one, 1, 10), None, "it is the largest");
        shares.remove(one, 1, 60);
        shares.remove(one, 2, 50);
        shares.remove(two, 3, 80);
        assert_eq!(shares.total(), 0);
        assert!(shares.conversations.is_empty() && shares.holders.is_empty());
        assert!(shares.by_size.is_empty());
    }
}
