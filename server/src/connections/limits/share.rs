//! Permits for a costly resource, of which no address but loopback can take all.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use parking_lot::Mutex;

use super::counted_as;

/// The permits of one resource. A loopback address may hold all of them, since all clients of a
/// local proxy share one address; every other address may hold a share.
#[derive(Debug)]
pub(crate) struct Shares {
    max: usize,
    per_address: usize,
    /// The number of permits that each address holds.
    held: Mutex<HashMap<IpAddr, usize>>,
}

/// One of the permits, released when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Arc<Shares>,
    address: IpAddr,
}

impl Shares {
    pub(crate) fn new(max: usize, per_address: usize) -> Shares {
        Shares { max, per_address, held: Mutex::default() }
    }

    pub(crate) fn in_use(&self) -> usize {
        self.held.lock().values().sum()
    }

    /// Takes a permit for a client at `address`; a client without an address counts as loopback.
    /// `None` if the share of the address is used up or no permit is free.
    pub(crate) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Share> {
        let address = address.map_or(Ipv4Addr::LOCALHOST.into(), counted_as);
        let mut held = self.held.lock();
        let all: usize = held.values().sum();
        let own = held.get(&address).copied().unwrap_or(0);
        if all >= self.max || own >= self.per_address && !address.is_loopback() {
            return None;
        }
        held.insert(address, own + 1);
        drop(held);
        Some(Share { shares: self.clone(), address })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = self.shares.held.lock();
        if let Some(own) = held.get_mut(&self.address) {
            *own -= 1;
            if *own == 0 {
                held.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_but_loopback_takes_more_than_its_share() {
        let shares = Arc::new(Shares::new(3, 2));
        let [here, there] = ["127.0.0.1", "192.0.2.1"].map(|ip| ip.parse::<IpAddr>().ok());
        let two = [(); 2].map(|()| shares.take(there).unwrap());
        assert!(shares.take("::ffff:192.0.2.1".parse().ok()).is_none(), "its share is taken");
        let third = shares.take(here).unwrap();
        assert!(shares.take(None).is_none(), "none are left");
        drop((two, third));
        let _three = [(); 3].map(|()| shares.take(here).unwrap());
        assert!(shares.take(there).is_none());
        assert_eq!(shares.held.lock().len(), 1);
    }
}
