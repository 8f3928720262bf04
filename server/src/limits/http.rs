//! The limit on HTTP connections, in all and of one address.
//!
//! A new connection is always admitted. Where a limit is reached, the connection that has
//! made no progress for the longest time loses its permit and is closed: silent, idle and
//! stalled clients go first, and none of them can keep others out.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use crate::counters::Refusal;

/// The limit, and the permits that are held.
#[derive(Debug)]
pub(crate) struct HttpLimit {
    max: usize,
    next: AtomicU64,
    held: Mutex<BTreeMap<u64, Holder>>,
}

/// The connection that holds a permit.
#[derive(Debug)]
struct Holder {
    /// The client's address, where the connection is counted by it.
    address: Option<IpAddr>,
    state: Arc<State>,
}

/// What the limit and a connection know of each other.
#[derive(Debug)]
struct State {
    progress: Timestamp,
    revoked: CancellationToken,
    reason: OnceLock<Refusal>,
}

/// An instant that any thread can set to now.
#[derive(Debug)]
pub(crate) struct Timestamp {
    start: Instant,
    /// Microseconds after `start`.
    after: AtomicU64,
}

impl Timestamp {
    pub(crate) fn now() -> Timestamp {
        Timestamp { start: Instant::now(), after: AtomicU64::new(0) }
    }

    pub(crate) fn touch(&self) {
        // A process does not run for 2^64 microseconds.
        self.after.store(self.start.elapsed().as_micros() as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Instant {
        self.start + Duration::from_micros(self.after.load(Ordering::Relaxed))
    }
}

/// The address by which a connection is counted, and the most connections it may have.
pub(crate) type CountedBy = (IpAddr, u32);

/// A connection's permit, given back when dropped.
#[derive(Debug)]
pub(crate) struct HttpPermit {
    limit: Arc<HttpLimit>,
    id: u64,
    counted_by: Option<CountedBy>,
    state: Arc<State>,
    /// Exemptions that are held. (Locked before the limit's own lock.)
    exemptions: Mutex<u32>,
}

/// The reason not to count an HTTP connection: it carries something that holds a permit of
/// [`Limits`](super::Limits), as a WebSocket does. The connection is counted again when its
/// last exemption is dropped.
#[derive(Debug)]
pub(crate) struct Exemption(Option<Arc<HttpPermit>>);

impl HttpLimit {
    pub(super) fn new(max: usize) -> HttpLimit {
        HttpLimit { max, next: AtomicU64::new(0), held: Mutex::default() }
    }

    /// The permit of a new connection.
    pub(super) fn admit(self: &Arc<Self>, counted_by: Option<CountedBy>) -> Arc<HttpPermit> {
        let state = State {
            progress: Timestamp::now(),
            revoked: CancellationToken::new(),
            reason: OnceLock::new(),
        };
        let permit = HttpPermit {
            limit: self.clone(),
            id: self.next.fetch_add(1, Ordering::Relaxed),
            counted_by,
            state: state.into(),
            exemptions: Mutex::default(),
        };
        permit.hold();
        permit.into()
    }

    /// Connections that hold a permit.
    pub(crate) fn in_use(&self) -> usize {
        self.held().len()
    }

    /// The most connections.
    pub(crate) fn max(&self) -> usize {
        self.max
    }

    fn held(&self) -> MutexGuard<'_, BTreeMap<u64, Holder>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection that has made no progress for the longest time.
fn least_recent<'a>(holders: impl Iterator<Item = (&'a u64, &'a Holder)>) -> Option<u64> {
    holders.min_by_key(|(_, holder)| holder.state.progress.get()).map(|(&id, _)| id)
}

impl HttpPermit {
    /// Notes progress: a request came, or the client took a part of an answer.
    pub(crate) fn touch(&self) {
        self.state.progress.touch();
    }

    /// When there was progress last.
    pub(crate) fn progress(&self) -> Instant {
        self.state.progress.get()
    }

    /// Waits until the permit is taken away, and gives the reason. The connection must be
    /// closed then.
    pub(crate) async fn revoked(&self) -> Refusal {
        self.state.revoked.cancelled().await;
        *self.state.reason.get_or_init(|| Refusal::MaxHttp)
    }

    /// Exempts the connection from the limit.
    pub(crate) fn exempt(self: &Arc<Self>) -> Exemption {
        let mut exemptions = self.exemptions();
        *exemptions += 1;
        if *exemptions == 1 {
            self.limit.held().remove(&self.id);
        }
        drop(exemptions);
        Exemption(Some(self.clone()))
    }

    /// Whether the connection is exempt from the limit.
    pub(crate) fn is_exempt(&self) -> bool {
        *self.exemptions() > 0
    }

    fn exemptions(&self) -> MutexGuard<'_, u32> {
        self.exemptions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters the connection among those that are counted; another has to leave if they are
    /// as many as there may be.
    fn hold(&self) {
        let mut held = self.limit.held();
        let has_same_address =
            |(_, holder): &(&u64, &Holder)| holder.address == self.counted_by.map(|(ip, _)| ip);
        let same = || held.iter().filter(has_same_address);
        let last = match self.counted_by {
            Some((_, max)) if held.len() >= max as usize && same().count() >= max as usize => {
                least_recent(same()).map(|id| (id, Refusal::MaxPerAddress))
            }
            _ if held.len() >= self.limit.max => {
                least_recent(held.iter()).map(|id| (id, Refusal::MaxHttp))
            }
            _ => None,
        };
        let last = last.and_then(|(id, reason)| Some((held.remove(&id)?, reason)));
        let address = self.counted_by.map(|(ip, _)| ip);
        held.insert(self.id, Holder { address, state: self.state.clone() });
        drop(held);
        if let Some((holder, reason)) = last {
            holder.state.reason.set(reason).ok();
            holder.state.revoked.cancel();
        }
    }
}

impl Drop for HttpPermit {
    fn drop(&mut self) {
        self.limit.held().remove(&self.id);
    }
}

impl Exemption {
    /// Exempts the connection for the rest of its life: it is no HTTP connection any more.
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Exemption {
    fn drop(&mut self) {
        let Some(permit) = &self.0 else { return };
        let mut exemptions = permit.exemptions();
        *exemptions -= 1;
        if *exemptions == 0 {
            permit.touch();
            permit.hold();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_revoked(permit: &HttpPermit) -> bool {
        permit.state.revoked.is_cancelled()
    }

    /// Lets some time pass.
    async fn later() {
        tokio::time::advance(Duration::from_millis(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_without_progress_for_the_longest_time_leaves() {
        let limit = Arc::new(HttpLimit::new(2));
        let first = limit.admit(None);
        later().await;
        let second = limit.admit(None);
        later().await;
        first.touch();
        later().await;
        let third = limit.admit(None);
        assert!(is_revoked(&second) && !is_revoked(&first) && !is_revoked(&third));
        assert_eq!(second.revoked().await, Refusal::MaxHttp);
        assert_eq!(limit.in_use(), 2);
        drop((first, second, third));
        assert_eq!(limit.in_use(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_with_too_many_connections_closes_its_own() {
        let limit = Arc::new(HttpLimit::new(10));
        let [here, there] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        let other = limit.admit(Some((there, 2)));
        later().await;
        let mut own = Vec::new();
        for _ in 0..3 {
            own.push(limit.admit(Some((here, 2))));
            later().await;
        }
        let revoked: Vec<_> = own.iter().map(|permit| is_revoked(permit)).collect();
        assert_eq!(revoked, [true, false, false]);
        assert_eq!(own[0].revoked().await, Refusal::MaxPerAddress);
        assert!(!is_revoked(&other));
    }

    #[tokio::test(start_paused = true)]
    async fn an_exempt_connection_is_not_counted_until_its_last_exemption_ends() {
        let limit = Arc::new(HttpLimit::new(1));
        let exempt = limit.admit(None);
        let (first, second) = (exempt.exempt(), exempt.exempt());
        later().await;
        let other = limit.admit(None);
        assert!(!is_revoked(&exempt) && !is_revoked(&other), "only one of them is counted");
        drop(first);
        assert!(exempt.is_exempt() && !is_revoked(&other));
        later().await;
        drop(second);
        assert!(is_revoked(&other) && !is_revoked(&exempt));
        exempt.exempt().keep();
        assert!(exempt.is_exempt());
        assert_eq!(limit.in_use(), 0);
    }
}
