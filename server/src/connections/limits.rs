//! The limits on simultaneous connections: in all, from one address, on one route. A connection
//! holds a permit for as long as it exists. The limits may change meanwhile: permits that are held
//! count towards the new limits, and none is revoked.
//!
//! - `http`: the limits on HTTP connections, whose permits can be revoked
//! - `share`: permits for other costly resources, of which each address may hold a share

pub(crate) mod http;
pub(crate) mod share;

use std::{
    collections::{HashMap, hash_map::Entry},
    fmt,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use nix::sys::resource::{Resource, getrlimit};
use tokio::sync::Semaphore;

use self::http::{CountedBy, HttpLimits, HttpPermit};
use crate::connections::counters::Refusal;

/// The maximum number of established HTTP connections, not counting those upgraded to WebSocket.
const HTTP_CONNECTIONS: usize = 1024;

/// The maximum number of HTTP connections whose first request has not arrived yet.
const HTTP_SET_UPS: usize = 4096;

/// The divisor of the process's limit on file descriptors that gives the maximum of
/// [`HTTP_SET_UPS`] connections, where that is lower.
const HTTP_SET_UPS_PART: usize = 4;

/// The limits, and the permits that are held.
#[derive(Debug)]
pub(crate) struct Limits {
    /// The permits that are free, of all connections together.
    left: Semaphore,
    counts: Mutex<Counts>,
    /// The number of connections that wait for a permit.
    waiting: AtomicUsize,
    http: Arc<HttpLimits>,
}

#[derive(Debug)]
struct Counts {
    max: u32,
    /// The number of permits held in excess of `max`, after it was lowered. So many permits do not
    /// become free when they are released.
    excess: u32,
    max_per_address: u32,
    /// Whether `max_per_address` applies to loopback addresses. By default it does not: all
    /// clients of a local proxy have one.
    loopback_is_limited: bool,
    per_address: HashMap<Arc<IpAddr>, u32>,
    /// The permits held on each path, for as long as a route or a connection refers to the count.
    per_route: HashMap<Box<str>, Weak<AtomicU32>>,
}

/// The limit of one route. Routes of the same path, before and after a reload, share one count.
#[derive(Clone, Debug)]
pub(crate) struct RouteLimit {
    max: Option<u32>,
    used: Arc<AtomicU32>,
}

/// The limit for which a permit is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitReached {
    /// The maximum number of connections in all.
    Server(u32),
    /// The address or IPv6 network, and its maximum number of connections.
    Address(IpAddr, u32),
    /// The maximum number of connections on the route.
    Route(u32),
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LimitReached::Server(max) => {
                write!(f, "the server is full: {max} connections (--max-connections)")
            }
            LimitReached::Address(ip, max) => {
                let counted = if is_counted_by_network(ip) { "/64" } else { "" };
                write!(
                    f,
                    "{ip}{counted} has {max} connections, the most it may (--max-per-address)"
                )
            }
            LimitReached::Route(max) => {
                write!(f, "the route or forward is full: {max} connections (max={max})")
            }
        }
    }
}

impl LimitReached {
    /// The counter of this refusal in `/metrics`.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            LimitReached::Server(_) => Refusal::MaxConnections,
            LimitReached::Address(..) => Refusal::MaxPerAddress,
            LimitReached::Route(_) => Refusal::MaxPerRoute,
        }
    }
}

impl Limits {
    /// Limits of `max` connections in all and `max_per_address` from one address. The default of
    /// the latter is 1000, without a limit on loopback addresses.
    pub(crate) fn new(max: u32, max_per_address: Option<u32>) -> Limits {
        let limits = Limits {
            left: Semaphore::new(0),
            counts: Mutex::new(Counts {
                max: 0,
                excess: 0,
                max_per_address: 0,
                loopback_is_limited: false,
                per_address: HashMap::new(),
                per_route: HashMap::new(),
            }),
            waiting: AtomicUsize::new(0),
            http: HttpLimits::new(http_set_ups(), HTTP_CONNECTIONS).into(),
        };
        limits.set(max, max_per_address);
        limits
    }

    /// Changes the limits. Connections that wait for a permit get one as far as the new limits
    /// allow it.
    pub(crate) fn set(&self, max: u32, max_per_address: Option<u32>) {
        let mut counts = self.counts();
        counts.max_per_address = max_per_address.unwrap_or(1000);
        counts.loopback_is_limited = max_per_address.is_some();
        if let Some(fewer) = counts.max.checked_sub(max) {
            let free = self.left.forget_permits(fewer as usize);
            counts.excess += fewer - u32::try_from(free).unwrap_or(fewer);
        } else {
            let more = max - counts.max;
            let owed = more.min(counts.excess);
            counts.excess -= owed;
            self.left.add_permits((more - owed) as usize);
        }
        counts.max = max;
    }

    /// The limit of the route at `path`: `max` connections, or any number if that is `None`.
    pub(crate) fn route(&self, path: &str, max: Option<u32>) -> RouteLimit {
        let per_route = &mut self.counts().per_route;
        per_route.retain(|_, used| used.strong_count() > 0);
        let used = per_route.get(path).and_then(Weak::upgrade).unwrap_or_default();
        per_route.insert(path.into(), Arc::downgrade(&used));
        RouteLimit { max, used }
    }

    /// Waits for a permit. It is not yet counted for an address
    /// ([`ConnectionPermit::for_address`]).
    pub(crate) async fn acquire(self: &Arc<Self>) -> ConnectionPermit {
        let permit = match self.left.try_acquire() {
            Ok(permit) => permit,
            Err(_) => {
                let _waiting = Waiting::new(&self.waiting);
                self.left.acquire().await.expect("the semaphore is never closed")
            }
        };
        permit.forget();
        ConnectionPermit { limits: self.clone(), address: None, route: None }
    }

    /// The permit of an HTTP connection, counted by its client's address if there is one.
    pub(crate) fn http(&self, ip: Option<IpAddr>) -> Arc<HttpPermit> {
        self.http.admit(self.http_counted_by(ip))
    }

    /// The address by which an HTTP connection is counted, and its limit.
    pub(crate) fn http_counted_by(&self, ip: Option<IpAddr>) -> Option<CountedBy> {
        ip.map(|ip| self.counts().counted_by(ip))
    }

    /// The limits, and the number of permits that are held.
    pub(crate) fn usage(&self) -> Usage {
        let counts = self.counts();
        Usage {
            max: counts.max,
            max_per_address: counts.max_per_address,
            waiting: self.waiting.load(Ordering::Relaxed),
            http: self.http.established.in_use(),
            max_http: self.http.established.max(),
            http_set_ups: self.http.set_ups.in_use(),
            max_http_set_ups: self.http.set_ups.max(),
        }
    }

    /// Takes a permit for a client at `ip`, and on a route if one is given. A client of a Unix
    /// socket has no address.
    ///
    /// # Errors
    ///
    /// The limit that is reached.
    pub(crate) fn enter(
        self: &Arc<Self>,
        ip: Option<IpAddr>,
        route: Option<&RouteLimit>,
    ) -> Result<ConnectionPermit, LimitReached> {
        let Ok(permit) = self.left.try_acquire() else {
            return Err(LimitReached::Server(self.counts().max));
        };
        permit.forget();
        let permit = ConnectionPermit { limits: self.clone(), address: None, route: None };
        let permit = permit.for_address(ip)?;
        match route {
            Some(route) => permit.for_route(route),
            None => Ok(permit),
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The maximum number of HTTP connections whose first request has not arrived yet.
fn http_set_ups() -> usize {
    let files = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    let part = usize::try_from(files).unwrap_or(usize::MAX) / HTTP_SET_UPS_PART;
    part.clamp(1, HTTP_SET_UPS)
}

impl Counts {
    /// The address by which a client's connections are counted, and their maximum number.
    fn counted_by(&self, ip: IpAddr) -> CountedBy {
        let ip = counted_as(ip);
        match ip.is_loopback() && !self.loopback_is_limited {
            true => (ip, u32::MAX),
            false => (ip, self.max_per_address),
        }
    }
}

/// The limits, and the number of permits that are held.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) max: u32,
    pub(crate) max_per_address: u32,
    /// The number of connections that wait for a permit.
    pub(crate) waiting: usize,
    pub(crate) http: usize,
    pub(crate) max_http: usize,
    pub(crate) http_set_ups: usize,
    pub(crate) max_http_set_ups: usize,
}

/// Counts a waiting connection until it is dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Waiting<'_> {
    fn new(count: &AtomicUsize) -> Waiting<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The permit of a connection, released when dropped.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    limits: Arc<Limits>,
    /// The key of `Counts::per_address`, shared so that each connection stores only a pointer.
    address: Option<Arc<IpAddr>>,
    route: Option<Arc<AtomicU32>>,
}

impl ConnectionPermit {
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
        let mut counts = self.limits.counts();
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

/// The address by which connections from `ip` are counted. An IPv6 address counts as its /64
/// network, since one client may use all addresses of a /64 (RFC 6177). Loopback and link-local
/// addresses count one by one: the link-local network is the same on every link.
pub(crate) fn counted_as(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() && !v6.is_unicast_link_local() => {
            Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into()
        }
        ip => ip,
    }
}

/// Whether `ip`, a result of [`counted_as`], represents a /64 network.
fn is_counted_by_network(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if !v6.is_loopback() && !v6.is_unicast_link_local())
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.limits.counts();
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

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "127.0.0.1";
    const THERE: &str = "192.0.2.1";

    fn enter(limits: &Arc<Limits>, ip: &str) -> Result<ConnectionPermit, LimitReached> {
        limits.enter(Some(ip.parse().unwrap()), None)
    }

    #[test]
    fn permits_run_out_and_are_released() {
        let limits = Arc::new(Limits::new(2, None));
        let first = enter(&limits, HERE).unwrap();
        let _second = enter(&limits, HERE).unwrap();
        assert_eq!(enter(&limits, HERE).unwrap_err(), LimitReached::Server(2));
        drop(first);
        enter(&limits, HERE).unwrap();
    }

    #[test]
    fn an_ipv6_address_is_counted_as_its_network() {
        let limits = Arc::new(Limits::new(10, Some(1)));
        let _first = enter(&limits, "2001:db8:0:1::1").unwrap();
        let full = enter(&limits, "2001:db8:0:1:ffff::2").unwrap_err();
        assert_eq!(
            full.to_string(),
            "2001:db8:0:1::/64 has 1 connections, the most it may (--max-per-address)"
        );
        let _other_network = enter(&limits, "2001:db8:0:2::1").unwrap();
        let _ipv4 = [enter(&limits, "192.0.2.1").unwrap(), enter(&limits, "192.0.2.2").unwrap()];
        let _link_local = [enter(&limits, "fe80::1").unwrap(), enter(&limits, "fe80::2").unwrap()];
        let _loopback = enter(&limits, "::1").unwrap();
        let full = enter(&limits, "fe80::1").unwrap_err().to_string();
        assert!(full.starts_with("fe80::1 has"), "{full}");
    }

    #[test]
    fn an_address_is_counted_in_either_notation() {
        let limits = Arc::new(Limits::new(10, Some(1)));
        let permit = enter(&limits, THERE).unwrap();
        let full = LimitReached::Address(THERE.parse().unwrap(), 1);
        assert_eq!(enter(&limits, "::ffff:192.0.2.1").unwrap_err(), full);
        drop(permit);
        drop(enter(&limits, THERE).unwrap());
        assert!(limits.counts().per_address.is_empty());
        assert_eq!(limits.left.available_permits(), 10, "a refused connection holds no permit");
    }

    #[test]
    fn loopback_is_limited_only_by_a_configured_limit() {
        let limits = Arc::new(Limits::new(3000, None));
        let permits: Vec<_> = (0..2000).map(|_| enter(&limits, HERE).unwrap()).collect();
        let others: Vec<_> = (0..1000).map(|_| enter(&limits, THERE).unwrap()).collect();
        drop(permits);
        assert!(matches!(enter(&limits, THERE), Err(LimitReached::Address(_, 1000))));
        drop(others);
    }

    #[test]
    fn a_route_has_a_limit_of_its_own() {
        let limits = Arc::new(Limits::new(10, None));
        let route = limits.route("/ws", Some(1));
        let ip = Some(HERE.parse().unwrap());
        let permit = limits.enter(ip, Some(&route)).unwrap();
        assert_eq!(limits.enter(ip, Some(&route)).unwrap_err(), LimitReached::Route(1));
        limits.enter(ip, Some(&limits.route("/other", Some(1)))).unwrap();
        drop(permit);
        limits.enter(ip, Some(&route)).unwrap();
    }

    #[test]
    fn a_new_limit_of_a_route_counts_the_permits_that_are_held() {
        let limits = Arc::new(Limits::new(10, None));
        let free = limits.route("/ws", None);
        let permit = limits.enter(None, Some(&free)).unwrap();
        drop(free);
        let limited = limits.route("/ws", Some(1));
        assert_eq!(limits.enter(None, Some(&limited)).unwrap_err(), LimitReached::Route(1));
        drop((permit, limited));
        limits.route("/other", None);
        assert_eq!(
            limits.counts().per_route.len(),
            1,
            "no route or connection refers to the first path any more"
        );
    }

    #[test]
    fn a_limit_that_is_lowered_and_raised_is_right_at_every_step() {
        let limits = Arc::new(Limits::new(3, None));
        let mut permits: Vec<_> = (0..3).map(|_| enter(&limits, HERE).unwrap()).collect();
        limits.set(1, None);
        permits.pop();
        assert_eq!(enter(&limits, HERE).unwrap_err(), LimitReached::Server(1), "2 of 1");
        limits.set(2, None);
        assert_eq!(enter(&limits, HERE).unwrap_err(), LimitReached::Server(2), "2 of 2");
        limits.set(4, None);
        permits.extend((0..2).map(|_| enter(&limits, HERE).unwrap()));
        assert_eq!(enter(&limits, HERE).unwrap_err(), LimitReached::Server(4), "4 of 4");
        limits.set(1, None);
        limits.set(3, None);
        permits.truncate(2);
        let _third = enter(&limits, HERE).unwrap();
        assert_eq!(enter(&limits, HERE).unwrap_err(), LimitReached::Server(3), "3 of 3");
        assert_eq!(limits.counts().excess, 0);
    }

    #[tokio::test]
    async fn a_raised_limit_admits_waiting_connections_up_to_the_limit() {
        let limits = Arc::new(Limits::new(1, None));
        let permit = limits.acquire().await;
        let waiting = || {
            let limits = limits.clone();
            tokio::spawn(async move { limits.acquire().await })
        };
        let (first, second) = (waiting(), waiting());
        tokio::task::yield_now().await;
        limits.set(2, None);
        let first = first.await.unwrap();
        assert!(!second.is_finished());
        drop((permit, first));
        second.await.unwrap();
    }
}
