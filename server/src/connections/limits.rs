//! The limits on simultaneous connections: in all, from one address, on one route. A connection
//! holds a permit for as long as it exists. The limits may change meanwhile: permits that are held
//! count towards the new limits, and none is revoked.
//!
//! - `permit`: the permit of a connection; `reached`: the limit that refuses one
//! - `descriptors`: the file descriptors of the process, and the reserve for HTTP connections
//! - `http`: the limits on HTTP connections, whose permits can be revoked
//! - `share`: permits for other costly resources, of which each address may hold a share

pub(crate) mod descriptors;
pub(crate) mod http;
mod permit;
mod reached;
pub(crate) mod share;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Weak,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use self::http::{CountedBy, HttpLimits, HttpPermit};
pub(crate) use self::{
    permit::ConnectionPermit,
    reached::{LimitReached, RETRY_AFTER, counted_as},
};

/// The maximum number of established HTTP connections, not counting those upgraded to WebSocket.
const HTTP_CONNECTIONS: usize = 1024;

/// The maximum number of HTTP connections whose first request has not arrived yet.
const HTTP_SET_UPS: usize = 4096;

/// The divisor of the process's limit on file descriptors that gives both maxima, where that is lower:
/// HTTP connections leave descriptors to services and forwards.
const HTTP_PART: usize = 4;

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
    /// Whether `max_per_address` applies to loopback addresses. False by default, since all clients
    /// of a local proxy share one address.
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
            http: HttpLimits::new(http_max(HTTP_SET_UPS), http_max(HTTP_CONNECTIONS)).into(),
        };
        limits.set(max, max_per_address);
        limits
    }

    /// Changes the limits. Connections that wait for permits receive those that the new limits add.
    pub(crate) fn set(&self, max: u32, max_per_address: Option<u32>) {
        let mut counts = self.counts.lock();
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
        let per_route = &mut self.counts.lock().per_route;
        per_route.retain(|_, used| used.strong_count() > 0);
        let used = per_route.get(path).and_then(Weak::upgrade).unwrap_or_default();
        per_route.insert(path.into(), Arc::downgrade(&used));
        RouteLimit { max, used }
    }

    /// Waits for a permit, which is not yet counted for an address
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
        ConnectionPermit::new(self)
    }

    /// The permit of an HTTP connection, counted by its client's address if there is one.
    /// `is_in_reserve` is whether the descriptor is in the reserve.
    pub(crate) fn http(&self, ip: Option<IpAddr>, is_in_reserve: bool) -> Arc<HttpPermit> {
        self.http.admit(self.http_counted_by(ip), is_in_reserve)
    }

    /// The address by which an HTTP connection is counted, and its limit.
    pub(crate) fn http_counted_by(&self, ip: Option<IpAddr>) -> Option<CountedBy> {
        ip.map(|ip| self.counts.lock().counted_by(ip))
    }

    /// The limits, and the number of permits that are held.
    pub(crate) fn usage(&self) -> Usage {
        let counts = self.counts.lock();
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
            return Err(LimitReached::Server(self.counts.lock().max));
        };
        permit.forget();
        let permit = ConnectionPermit::new(self);
        let permit = permit.for_address(ip)?;
        match route {
            Some(route) => permit.for_route(route),
            None => Ok(permit),
        }
    }
}

/// The lower one of `max` and the part of the descriptors that HTTP connections may use.
fn http_max(max: usize) -> usize {
    (descriptors::max() / HTTP_PART).clamp(1, max)
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
