//! The limits on HTTP connections, in all and from one address.
//!
//! ```text
//! accepted --> silent --> set-up: PROXY header, TLS handshake, first request --> established
//!                   first byte                                                     |     ^
//!                                                 WebSocket, event stream          v     |
//!                                                                                  exempt
//! ```
//!
//! A new connection is always admitted at once. If a limit is reached, the permit of the
//! connection that has made no progress for the longest time is revoked, and that connection is
//! closed. Silent, idle and stalled clients therefore cannot exclude other clients.
//!
//! Silent connections and connections being set up share one limit; established connections have
//! another. During set-up each byte from the client is progress, and silent connections are closed
//! before those that have sent something. Up to [`SPARED`](limit::SPARED) silent connections are
//! spared, so that a new connection has time to send its request even if many others send slowly.
//!
//! Connections in the reserve of descriptors have a further limit: half of the reserve.
//!
//! - `limit`: one limit, and the connections that hold its permits; `timestamp`: the time of a
//!   connection's last progress

mod limit;
mod timestamp;

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;
use tokio::time::Instant;

use self::limit::State;
pub(crate) use self::{limit::HttpLimit, timestamp::Timestamp};
use super::{LimitReached, descriptors};
use crate::connections::counters::Refusal;

/// The limits before and after the first request.
#[derive(Debug)]
pub(crate) struct HttpLimits {
    pub(crate) set_ups: HttpLimit,
    pub(crate) established: HttpLimit,
    /// The limit on connections in the reserve of descriptors.
    in_reserve: HttpLimit,
    next_id: AtomicU64,
}

/// The address by which a connection is counted, and the maximum number of its connections.
pub(crate) type CountedBy = (IpAddr, u32);

/// The permit of an HTTP connection, released when dropped.
#[derive(Debug)]
pub(crate) struct HttpPermit {
    limits: Arc<HttpLimits>,
    id: u64,
    state: Arc<State>,
    is_in_reserve: AtomicBool,
    /// Lock order: before the lock of a limit.
    counting: Mutex<Counting>,
}

/// The limits that count a connection, and the address by which the connection is counted.
#[derive(Debug)]
struct Counting {
    counted_by: Option<CountedBy>,
    is_established: bool,
    exemptions: u32,
}

/// The exemption of an HTTP connection from the limits, because it carries a WebSocket or an event
/// stream that holds a permit of [`Limits`](super::Limits). The connection is counted again when
/// its last exemption is dropped.
#[derive(Debug)]
pub(crate) struct Exemption(Option<Arc<HttpPermit>>);

impl HttpLimits {
    pub(super) fn new(set_ups: usize, established: usize) -> HttpLimits {
        HttpLimits {
            set_ups: HttpLimit::new(set_ups, Refusal::MaxHttp),
            established: HttpLimit::new(established, Refusal::MaxHttp),
            in_reserve: HttpLimit::new(descriptors::reserve() / 2, Refusal::NoDescriptors),
            next_id: AtomicU64::new(0),
        }
    }

    pub(super) fn admit(
        self: &Arc<Self>,
        counted_by: Option<CountedBy>,
        is_in_reserve: bool,
    ) -> Arc<HttpPermit> {
        let state = Arc::new(State::new());
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        if is_in_reserve {
            self.in_reserve.hold(id, None, &state, |held| &mut held.active);
        }
        self.set_ups.hold(id, counted_by, &state, |held| &mut held.silent);
        let counting = Counting { counted_by, is_established: false, exemptions: 0 };
        let limits = self.clone();
        let is_in_reserve = is_in_reserve.into();
        Arc::new(HttpPermit { limits, id, state, is_in_reserve, counting: counting.into() })
    }
}

impl HttpPermit {
    /// Records that the client's first byte has arrived.
    pub(crate) fn begin(&self) {
        self.touch();
        self.limits.set_ups.begin(self.id);
    }

    /// Records progress: the client sent a part of its first request or a further request, or
    /// received a part of a response.
    pub(crate) fn touch(&self) {
        self.state.progress.touch();
    }

    /// The time of the last progress.
    pub(crate) fn progress(&self) -> Instant {
        self.state.progress.get()
    }

    /// Waits until the permit is revoked, and returns the reason. The caller then closes the
    /// connection.
    pub(crate) async fn revoked(&self) -> Refusal {
        self.state.revoked.cancelled().await;
        *self.state.reason.get_or_init(|| Refusal::MaxHttp)
    }

    /// Counts the connection as established, by `counted_by`: the client's address may have been
    /// replaced by that of a PROXY header since the connection was accepted.
    pub(crate) fn establish(&self, counted_by: Option<CountedBy>) {
        let mut counting = self.counting.lock();
        self.limits.set_ups.release(self.id);
        counting.counted_by = counted_by;
        counting.is_established = true;
        self.hold_established(&counting);
    }

    /// Exempts the connection from the limits.
    ///
    /// # Errors
    ///
    /// The connection is in the reserve of descriptors.
    pub(crate) fn exempt(self: &Arc<Self>) -> Result<Exemption, LimitReached> {
        if self.is_in_reserve() {
            return Err(LimitReached::Descriptors);
        }
        let mut counting = self.counting.lock();
        counting.exemptions += 1;
        if counting.exemptions == 1 {
            self.limits.established.release(self.id);
        }
        drop(counting);
        Ok(Exemption(Some(self.clone())))
    }

    /// Whether the connection has a descriptor of the reserve.
    pub(crate) fn is_in_reserve(&self) -> bool {
        self.is_in_reserve.load(Ordering::Relaxed)
    }

    /// Records that the descriptor of the connection is no longer in the reserve.
    pub(crate) fn leave_reserve(&self) {
        if self.is_in_reserve.swap(false, Ordering::Relaxed) {
            self.limits.in_reserve.release(self.id);
        }
    }

    pub(crate) fn is_exempt(&self) -> bool {
        self.counting.lock().exemptions > 0
    }

    fn hold_established(&self, counting: &Counting) {
        let HttpPermit { limits, id, state, .. } = self;
        limits.established.hold(*id, counting.counted_by, state, |held| &mut held.active);
    }
}

impl Drop for HttpPermit {
    fn drop(&mut self) {
        self.leave_reserve();
        let is_established = self.counting.lock().is_established;
        match is_established {
            true => self.limits.established.release(self.id),
            false => self.limits.set_ups.release(self.id),
        }
    }
}

impl Exemption {
    /// Exempts the connection until its end, since it was upgraded.
    pub(crate) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Exemption {
    fn drop(&mut self) {
        let Some(permit) = &self.0 else { return };
        let mut counting = permit.counting.lock();
        counting.exemptions -= 1;
        if counting.exemptions == 0 {
            permit.touch();
            permit.hold_established(&counting);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limits(set_ups: usize, established: usize) -> Arc<HttpLimits> {
        Arc::new(HttpLimits::new(set_ups, established))
    }

    /// A connection whose first request has arrived.
    async fn established(
        limits: &Arc<HttpLimits>,
        counted_by: Option<CountedBy>,
    ) -> Arc<HttpPermit> {
        let permit = limits.admit(counted_by, false);
        permit.establish(counted_by);
        tokio::time::advance(Duration::from_millis(1)).await;
        permit
    }

    fn is_revoked(permit: &HttpPermit) -> bool {
        permit.state.revoked.is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_without_progress_for_the_longest_time_is_closed() {
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
        let [first, second] = [(); 2].map(|()| exempt.exempt().unwrap());
        let other = established(&limits, None).await;
        assert!(!is_revoked(&exempt) && !is_revoked(&other), "only one of them is counted");
        drop(first);
        assert!(exempt.is_exempt() && !is_revoked(&other));
        drop(second);
        assert!(is_revoked(&other) && !is_revoked(&exempt));
        exempt.exempt().unwrap().keep();
        assert!(exempt.is_exempt());
        assert_eq!(limits.established.in_use(), 0);
    }

    /// A connection that has sent something.
    async fn active(limits: &Arc<HttpLimits>) -> Arc<HttpPermit> {
        let permit = limits.admit(None, false);
        permit.begin();
        tokio::time::advance(Duration::from_millis(1)).await;
        permit
    }

    #[tokio::test(start_paused = true)]
    async fn silent_connections_are_closed_before_those_that_have_sent_something() {
        let limits = limits(6, 1);
        let active = [active(&limits).await, active(&limits).await];
        let mut silent: Vec<_> = (0..8).map(|_| limits.admit(None, false)).collect();
        let revoked: Vec<_> = silent.iter().map(|permit| is_revoked(permit)).collect();
        assert_eq!(revoked, [true, true, true, true, false, false, false, false]);
        assert!(active.iter().all(|permit| !is_revoked(permit)));
        silent[7].begin();
        silent[6].establish(None);
        silent.push(limits.admit(None, false));
        assert!(!is_revoked(&silent[4]), "there was room");
        drop(active);
        assert_eq!((limits.set_ups.in_use(), limits.established.in_use()), (4, 1));
        drop(silent);
        assert_eq!((limits.set_ups.in_use(), limits.established.in_use()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_in_the_reserve_of_descriptors_is_not_exempt_and_makes_room_for_others() {
        let mut limits = HttpLimits::new(10, 10);
        limits.in_reserve = HttpLimit::new(2, Refusal::NoDescriptors);
        let limits = Arc::new(limits);
        let other = limits.admit(None, false);
        let mut reserved = Vec::new();
        for _ in 0..3 {
            reserved.push(limits.admit(None, true));
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let revoked: Vec<_> = reserved.iter().map(|permit| is_revoked(permit)).collect();
        assert_eq!((revoked, is_revoked(&other)), (vec![true, false, false], false));
        assert_eq!(reserved[2].exempt().unwrap_err(), LimitReached::Descriptors);
        reserved[2].leave_reserve();
        assert!(reserved[2].exempt().is_ok());
        assert_eq!(limits.in_reserve.in_use(), 1);
        drop(reserved);
        assert_eq!((limits.in_reserve.in_use(), limits.set_ups.in_use()), (0, 1));
        assert!(other.exempt().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_send_slowly_leave_permits_to_new_ones() {
        let limits = limits(4, 1);
        let slow = [
            active(&limits).await,
            active(&limits).await,
            active(&limits).await,
            active(&limits).await,
        ];
        slow[0].touch();
        let new: Vec<_> = (0..3).map(|_| limits.admit(None, false)).collect();
        // The three new connections are spared, each at the cost of a slow one.
        let revoked = [&slow[..], &new].concat().iter().map(|p| is_revoked(p)).collect::<Vec<_>>();
        assert_eq!(revoked, [false, true, true, true, false, false, false]);
    }
}
