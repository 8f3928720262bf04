//! How many connections there may be at once: in all, from one address, on one route.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use tokio::sync::Semaphore;

/// The limits, and how far they are used up.
#[derive(Debug)]
pub struct Limits {
    max: u32,
    /// Places that are left, of `max`.
    left: Semaphore,
    max_per_address: u32,
    /// Loopback's many clients may be those of a proxy.
    loopback_is_limited: bool,
    per_address: Mutex<HashMap<IpAddr, u32>>,
}

/// The limit of one route.
#[derive(Debug)]
pub struct RouteLimit {
    max: u32,
    used: AtomicU32,
}

/// Which limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// So many connections in all.
    Server(u32),
    /// So many from one address.
    Address(IpAddr, u32),
    /// So many on the route.
    Route(u32),
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Full::Server(max) => {
                write!(f, "the server is full: {max} connections (--max-connections)")
            }
            Full::Address(ip, max) => {
                write!(f, "{ip} has {max} connections, the most it may (--max-per-address)")
            }
            Full::Route(max) => write!(f, "the route is full: {max} connections (max={max})"),
        }
    }
}

impl RouteLimit {
    /// At most `max` connections.
    pub fn new(max: u32) -> RouteLimit {
        RouteLimit { max, used: AtomicU32::new(0) }
    }
}

impl Limits {
    /// At most `max` connections, and of one address at most `max_per_address`; without
    /// that, 1000, and any number from loopback.
    pub fn new(max: u32, max_per_address: Option<u32>) -> Limits {
        Limits {
            max,
            left: Semaphore::new(max as usize),
            max_per_address: max_per_address.unwrap_or(1000),
            loopback_is_limited: max_per_address.is_some(),
            per_address: Mutex::default(),
        }
    }

    /// Waits until there is room for one more.
    pub async fn room(&self) {
        // Not taken yet: whoever needs it takes it by `enter`, at once.
        drop(self.left.acquire().await);
    }

    /// Takes a place for a client, who may have an address, on a route if it comes by one.
    ///
    /// # Errors
    ///
    /// The limit that is reached.
    pub fn enter(
        self: &Arc<Self>,
        ip: Option<IpAddr>,
        route: Option<&Arc<RouteLimit>>,
    ) -> Result<Place, Full> {
        let Ok(permit) = self.left.try_acquire() else { return Err(Full::Server(self.max)) };
        permit.forget();
        let mut place = Place { limits: self.clone(), address: None, route: None };
        if let Some(ip) = ip.map(|ip| ip.to_canonical())
            && (!ip.is_loopback() || self.loopback_is_limited)
        {
            let mut counts = self.counts();
            let count = counts.entry(ip).or_default();
            if *count >= self.max_per_address {
                return Err(Full::Address(ip, self.max_per_address));
            }
            *count += 1;
            place.address = Some(ip.into());
        }
        if let Some(route) = route {
            let more = |used| (used < route.max).then_some(used + 1);
            if route.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).is_err() {
                return Err(Full::Route(route.max));
            }
            place.route = Some(route.clone());
        }
        Ok(place)
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.per_address.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client's place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    limits: Arc<Limits>,
    /// If it is counted. (In a box: a connection holds a place as long as it lives.)
    address: Option<Box<IpAddr>>,
    route: Option<Arc<RouteLimit>>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.limits.left.add_permits(1);
        if let Some(ip) = self.address.as_deref() {
            let mut counts = self.limits.counts();
            if let Some(count) = counts.get_mut(ip) {
                *count -= 1;
                if *count == 0 {
                    counts.remove(ip);
                }
            }
        }
        if let Some(route) = &self.route {
            route.used.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "127.0.0.1";
    const THERE: &str = "192.0.2.1";

    fn enter(limits: &Arc<Limits>, ip: &str) -> Result<Place, Full> {
        limits.enter(Some(ip.parse().unwrap()), None)
    }

    #[test]
    fn places_run_out_and_come_back() {
        let limits = Arc::new(Limits::new(2, None));
        let first = enter(&limits, HERE).unwrap();
        let _second = enter(&limits, HERE).unwrap();
        assert_eq!(enter(&limits, HERE).unwrap_err(), Full::Server(2));
        drop(first);
        enter(&limits, HERE).unwrap();
    }

    #[test]
    fn an_address_is_counted_in_either_notation() {
        let limits = Arc::new(Limits::new(10, Some(1)));
        let place = enter(&limits, THERE).unwrap();
        let full = Full::Address(THERE.parse().unwrap(), 1);
        assert_eq!(enter(&limits, "::ffff:192.0.2.1").unwrap_err(), full);
        enter(&limits, HERE).unwrap();
        drop(place);
        drop(enter(&limits, THERE).unwrap());
        assert!(limits.counts().is_empty());
        assert_eq!(limits.left.available_permits(), 10, "what is refused takes no place");
    }

    #[test]
    fn loopback_is_limited_only_if_asked() {
        let limits = Arc::new(Limits::new(3000, None));
        let places: Vec<_> = (0..2000).map(|_| enter(&limits, HERE).unwrap()).collect();
        let others: Vec<_> = (0..1000).map(|_| enter(&limits, THERE).unwrap()).collect();
        drop(places);
        assert!(matches!(enter(&limits, THERE), Err(Full::Address(_, 1000))));
        drop(others);
    }

    #[test]
    fn a_route_has_a_limit_of_its_own() {
        let limits = Arc::new(Limits::new(10, None));
        let route = Arc::new(RouteLimit::new(1));
        let ip = Some(HERE.parse().unwrap());
        let place = limits.enter(ip, Some(&route)).unwrap();
        assert_eq!(limits.enter(ip, Some(&route)).unwrap_err(), Full::Route(1));
        drop(place);
        limits.enter(ip, Some(&route)).unwrap();
    }
}
