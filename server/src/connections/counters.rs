//! Counters of refusals and losses, by reason, since the start of the process.
//!
//! The set of reasons is fixed, and so is the number of time series in `/metrics`.

use std::sync::atomic::{AtomicU64, Ordering};

/// The reason for which a client was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The page's origin, or the `Host` that it used, is not allowed.
    Policy,
    /// The request names no route of this server.
    NoRoute,
    /// `--max-connections` is reached.
    MaxConnections,
    /// `--max-per-address` is reached.
    MaxPerAddress,
    /// `max=` of the route is reached.
    MaxPerRoute,
    /// A limit on HTTP connections, or on answers of the API, is reached.
    MaxHttp,
    /// All file descriptors of the process are in use.
    NoDescriptors,
    UpstreamRefused,
    /// The upstream did not accept the connection within `--dial-timeout`.
    UpstreamTimeout,
    /// The upstream's host name could not be resolved.
    UpstreamUnresolved,
    /// The upstream could not be reached or trusted for any other reason.
    UpstreamFailed,
    /// A trusted proxy sent no valid PROXY header.
    ProxyHeader,
    /// The TLS handshake failed.
    Tls,
    /// The request has passed this route before.
    Loop,
}

impl Refusal {
    /// All reasons in their order, with the values of the label `reason` in `/metrics`.
    const ALL: [(Refusal, &str); 14] = [
        (Refusal::Policy, "policy"),
        (Refusal::NoRoute, "route"),
        (Refusal::MaxConnections, "full"),
        (Refusal::MaxPerAddress, "address"),
        (Refusal::MaxPerRoute, "route_full"),
        (Refusal::MaxHttp, "http_full"),
        (Refusal::NoDescriptors, "descriptors"),
        (Refusal::UpstreamRefused, "upstream_refused"),
        (Refusal::UpstreamTimeout, "upstream_timeout"),
        (Refusal::UpstreamUnresolved, "unresolved"),
        (Refusal::UpstreamFailed, "upstream_failed"),
        (Refusal::ProxyHeader, "proxy_header"),
        (Refusal::Tls, "tls"),
        (Refusal::Loop, "loop"),
    ];
}

/// Log lines that were dropped since the start of the process, because the reader of standard
/// error was too slow or gone.
pub(crate) static LOG_LINES_DROPPED: AtomicU64 = AtomicU64::new(0);

/// The number of refused clients, by reason.
#[derive(Debug, Default)]
pub(crate) struct Refusals([AtomicU64; Refusal::ALL.len()]);

impl Refusals {
    pub(crate) fn count(&self, why: Refusal) {
        self.0[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// The number of clients refused so far, by value of the label `reason`.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        Refusal::ALL.map(|(_, label)| label).into_iter().zip(counts)
    }
}

/// Counters that all connections share.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) refused: Refusals,
    datagrams_dropped: AtomicU64,
}

impl Counters {
    /// Counts one datagram that was received and is not answered or not passed on.
    pub(crate) fn datagram_dropped(&self) {
        self.datagrams_dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of datagrams so far that were received and not answered or not passed on.
    pub(crate) fn datagrams_dropped(&self) -> u64 {
        self.datagrams_dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn each_reason_has_its_own_counter_and_label() {
        let refusals = Refusals::default();
        for (index, (why, _)) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, index, "{why:?}");
            (0..=index).for_each(|_| refusals.count(why));
        }
        let expected = Refusal::ALL.into_iter().zip(1..).map(|((_, label), count)| (label, count));
        assert!(refusals.iter().eq(expected));
        assert_eq!(refusals.iter().collect::<HashMap<_, _>>().len(), Refusal::ALL.len());
    }
}
