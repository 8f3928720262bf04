//! The limits on HTTP connections, in all and of one address.
//!
//! ```text
//! accepted --> set-up: PROXY header, TLS handshake, first request --> established
//!                                                                      |     ^
//!                                            a WebSocket, a watcher    v     |
//!                                                                     exempt
//! ```
//!
//! A new connection is admitted at any time. Where a limit is reached, the connection that
//! has made no progress for the longest time loses its permit and is closed: silent, idle and
//! stalled clients go first, and none of them can keep others out. Connections that are being
//! set up are counted apart, and have a short time in which they are not closed: many clients
//! that come at once wait for each other instead.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    sync::Notify,
    time::{Duration, Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::connections::counters::Refusal;

/// A limit, and the permits that are held.
#[derive(Debug)]
pub(crate) struct HttpLimit {
    max: usize,
    /// The time without progress before which a connection is not closed for another.
    grace: Duration,
    held: Mutex<BTreeMap<u64, Holder>>,
    /// A permit was given back.
    freed: Notify,
}

/// The limits of both kinds.
#[derive(Debug)]
pub(crate) struct HttpLimits {
    pub(crate) set_ups: HttpLimit,
    pub(crate) established: HttpLimit,
    next_id: AtomicU64,
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
    limits: Arc<HttpLimits>,
    id: u64,
    state: Arc<State>,
    /// (Locked before a limit's own lock.)
    standing: Mutex<Standing>,
}

/// How a connection is counted.
#[derive(Debug)]
struct Standing {
    counted_by: Option<CountedBy>,
    is_established: bool,
    /// Exemptions that are held.
    exemptions: u32,
}

/// The reason not to count an HTTP connection: it carries something that holds a permit of
/// [`Limits`](super::Limits), as a WebSocket does. The connection is counted again when its
/// last exemption is dropped.
#[derive(Debug)]
pub(crate) struct Exemption(Option<Arc<HttpPermit>>);

impl HttpLimits {
    pub(super) fn new(set_ups: usize, grace: Duration, established: usize) -> HttpLimits {
        HttpLimits {
            set_ups: HttpLimit::new(set_ups, grace),
            established: HttpLimit::new(established, Duration::ZERO),
            next_id: AtomicU64::new(0),
        }
    }

    /// The permit of a new connection, as soon as there is one.
    pub(super) async fn admit(self: Arc<Self>, counted_by: Option<CountedBy>) -> Arc<HttpPermit> {
        let state = Arc::new(State {
            progress: Timestamp::now(),
            revoked: CancellationToken::new(),
            reason: OnceLock::new(),
        });
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        while let Err(later) = self.set_ups.hold(id, counted_by, &state) {
            tokio::select! {
                () = sleep_until(later) => {}
                () = self.set_ups.freed.notified() => {}
            }
        }
        state.progress.touch();
        let standing = Standing { counted_by, is_established: false, exemptions: 0 };
        Arc::new(HttpPermit { limits: self, id, state, standing: standing.into() })
    }
}

impl HttpLimit {
    fn new(max: usize, grace: Duration) -> HttpLimit {
        HttpLimit { max, grace, held: Mutex::default(), freed: Notify::new() }
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

    /// Enters a connection among those that are counted. If they are as many as there may be
    /// another loses its permit: of the same address at once, of all after the time of grace.
    ///
    /// # Errors
    ///
    /// The end of the time of grace of the first connection that may have to leave.
    fn hold(
        &self,
        id: u64,
        counted_by: Option<CountedBy>,
        state: &Arc<State>,
    ) -> Result<(), Instant> {
        let mut held = self.held();
        let address = counted_by.map(|(ip, _)| ip);
        let max_of_address = counted_by.map_or(usize::MAX, |(_, max)| max as usize);
        let same = || held.iter().filter(|(_, holder)| holder.address == address);
        let last = if held.len() >= max_of_address && same().count() >= max_of_address {
            least_recent(same()).map(|(_, id)| (id, Refusal::MaxPerAddress))
        } else if held.len() >= self.max {
            let last = least_recent(held.iter());
            if let Some((progress, _)) = last
                && progress + self.grace > Instant::now()
            {
                return Err(progress + self.grace);
            }
            last.map(|(_, id)| (id, Refusal::MaxHttp))
        } else {
            None
        };
        let last = last.and_then(|(id, reason)| Some((held.remove(&id)?, reason)));
        held.insert(id, Holder { address, state: state.clone() });
        drop(held);
        if let Some((holder, reason)) = last {
            holder.state.reason.set(reason).ok();
            holder.state.revoked.cancel();
        }
        Ok(())
    }

    fn give_back(&self, id: u64) {
        if self.held().remove(&id).is_some() {
            self.freed.notify_one();
        }
    }
}

/// The connection that has made no progress for the longest time, and when it did last.
fn least_recent<'a>(
    holders: impl Iterator<Item = (&'a u64, &'a Holder)>,
) -> Option<(Instant, u64)> {
    holders.map(|(&id, holder)| (holder.state.progress.get(), id)).min()
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

    /// Counts the connection as one that is set up. Its client may be known better by now.
    pub(crate) fn establish(&self, counted_by: Option<CountedBy>) {
        let mut standing = self.standing();
        self.limits.set_ups.give_back(self.id);
        standing.counted_by = counted_by;
        standing.is_established = true;
        self.hold_established(&standing);
    }

    /// Exempts the connection from the limits.
    pub(crate) fn exempt(self: &Arc<Self>) -> Exemption {
        let mut standing = self.standing();
        standing.exemptions += 1;
        if standing.exemptions == 1 {
            self.limits.established.give_back(self.id);
        }
        drop(standing);
        Exemption(Some(self.clone()))
    }

    /// Whether the connection is exempt from the limits.
    pub(crate) fn is_exempt(&self) -> bool {
        self.standing().exemptions > 0
    }

    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold_established(&self, standing: &Standing) {
        let held = self.limits.established.hold(self.id, standing.counted_by, &self.state);
        debug_assert!(held.is_ok(), "there is no time of grace");
    }
}

impl Drop for HttpPermit {
    fn drop(&mut self) {
        let is_established = self.standing().is_established;
        match is_established {
            true => self.limits.established.give_back(self.id),
            false => self.limits.set_ups.give_back(self.id),
        }
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
        let mut standing = permit.standing();
        standing.exemptions -= 1;
        if standing.exemptions == 0 {
            permit.touch();
            permit.hold_established(&standing);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(2);

    fn limits(set_ups: usize, established: usize) -> Arc<HttpLimits> {
        Arc::new(HttpLimits::new(set_ups, GRACE, established))
    }

    /// A connection whose first request has come.
    async fn established(
        limits: &Arc<HttpLimits>,
        counted_by: Option<CountedBy>,
    ) -> Arc<HttpPermit> {
        let permit = limits.clone().admit(counted_by).await;
        permit.establish(counted_by);
        tokio::time::advance(Duration::from_millis(1)).await;
        permit
    }

    fn is_revoked(permit: &HttpPermit) -> bool {
        permit.state.revoked.is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_without_progress_for_the_longest_time_leaves() {
        let limits = limits(10, 2);
        let first = established(&limits, None).await;
        let second = established(&limits, None).await;
        first.touch();
        let third = established(&limits, None).await;
        assert!(is_revoked(&second) && !is_revoked(&first) && !is_revoked(&third));
        assert_eq!(second.revoked().await, Refusal::MaxHttp);
        assert_eq!((limits.established.in_use(), limits.set_ups.in_use()), (2, 0));
        drop((first, second, third));
        assert_eq!(limits.established.in_use(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_with_too_many_connections_closes_its_own() {
        let limits = limits(10, 10);
        let [here, there] = [[192, 0, 2, 1], [192, 0, 2, 2]].map(IpAddr::from);
        let other = established(&limits, Some((there, 2))).await;
        let mut own = Vec::new();
        for _ in 0..3 {
            own.push(established(&limits, Some((here, 2))).await);
        }
        let revoked: Vec<_> = own.iter().map(|permit| is_revoked(permit)).collect();
        assert_eq!(revoked, [true, false, false]);
        assert_eq!(own[0].revoked().await, Refusal::MaxPerAddress);
        assert!(!is_revoked(&other));
    }

    #[tokio::test(start_paused = true)]
    async fn an_exempt_connection_is_not_counted_until_its_last_exemption_ends() {
        let limits = limits(10, 1);
        let exempt = established(&limits, None).await;
        let (first, second) = (exempt.exempt(), exempt.exempt());
        let other = established(&limits, None).await;
        assert!(!is_revoked(&exempt) && !is_revoked(&other), "only one of them is counted");
        drop(first);
        assert!(exempt.is_exempt() && !is_revoked(&other));
        drop(second);
        assert!(is_revoked(&other) && !is_revoked(&exempt));
        exempt.exempt().keep();
        assert!(exempt.is_exempt());
        assert_eq!(limits.established.in_use(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_with_many_others_waits_and_closes_the_oldest_after_a_time() {
        let limits = limits(2, 10);
        let start = Instant::now();
        let first = limits.clone().admit(None).await;
        let second = limits.clone().admit(None).await;
        let waiting = tokio::spawn(limits.clone().admit(None));
        tokio::time::advance(GRACE / 2).await;
        assert!(!waiting.is_finished());
        second.establish(None);
        let third = waiting.await.unwrap();
        assert_eq!(start.elapsed(), GRACE / 2, "for a permit that was given back");
        let fourth = limits.clone().admit(None).await;
        assert_eq!(start.elapsed(), GRACE);
        assert!(is_revoked(&first) && !is_revoked(&third) && !is_revoked(&fourth));
    }
}
