//! The permit of a connection.

use std::{
    collections::hash_map::Entry,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{LimitReached, Limits, RouteLimit};

/// The permit of a connection, released when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    limits: Arc<Limits>,
    /// The key of `Counts::per_address`, shared so that each connection stores only a pointer.
    address: Option<Arc<IpAddr>>,
    route: Option<Arc<AtomicU32>>,
}

impl ConnectionPermit {
    /// A permit that has been taken from `limits`, not yet counted for an address or a route.
    pub(super) fn new(limits: &Arc<Limits>) -> ConnectionPermit {
        ConnectionPermit { limits: limits.clone(), address: None, route: None }
    }

    /// Counts the permit for the client's address, if the client has one.
    ///
    /// # Errors
    ///
    /// When the limit of the address is reached; the permit is released.
    pub(crate) fn for_address(
        mut self,
        ip: Option<IpAddr>,
    ) -> Result<ConnectionPermit, LimitReached> {
        let Some(ip) = ip else { return Ok(self) };
        let mut counts = self.limits.counts.lock();
        let (ip, max) = counts.counted_by(ip);
        let address = match counts.per_address.entry(Arc::new(ip)) {
            Entry::Occupied(mut count) if *count.get() < max => {
                *count.get_mut() += 1;
                Some(count.key().clone())
            }
            Entry::Vacant(count) if max > 0 => Some(count.insert_entry(1).key().clone()),
            _ => None,
        };
        drop(counts);
        self.address = Some(address.ok_or(LimitReached::Address(ip, max))?);
        Ok(self)
    }

    /// Counts the permit on a route or a forward.
    ///
    /// # Errors
    ///
    /// When its limit is reached; the permit is released.
    pub(crate) fn for_route(
        mut self,
        route: &RouteLimit,
    ) -> Result<ConnectionPermit, LimitReached> {
        let RouteLimit { max, used } = route;
        let max = max.unwrap_or(u32::MAX);
        let more = |used| (used < max).then_some(used + 1);
        if used.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
            return Err(LimitReached::Route(max));
        }
        self.route = Some(used.clone());
        Ok(self)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.limits.counts.lock();
        match counts.excess.checked_sub(1) {
            Some(fewer) => counts.excess = fewer,
            None => self.limits.left.add_permits(1),
        }
        if let Some(ip) = &self.address
            && let Some(count) = counts.per_address.get_mut(ip)
        {
            *count -= 1;
            if *count == 0 {
                counts.per_address.remove(ip);
            }
        }
        if let Some(used) = &self.route {
            used.fetch_sub(1, Ordering::AcqRel);
        }
    }
}
