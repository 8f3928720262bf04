//! Counters of what was refused or lost, by reason, since the start of the process.
//!
//! The reasons are a fixed set, so that the number of time series in `/metrics` is too.

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
    pub(crate) const ALL: [Refusal; 13] = [
        Refusal::Policy,
        Refusal::NoRoute,
        Refusal::MaxConnections,
        Refusal::MaxPerAddress,
        Refusal::MaxPerRoute,
        Refusal::MaxHttp,
        Refusal::UpstreamRefused,
        Refusal::UpstreamTimeout,
        Refusal::UpstreamUnresolved,
        Refusal::UpstreamFailed,
        Refusal::ProxyHeader,
        Refusal::Tls,
        Refusal::Loop,
    ];

    /// The value of the label `reason` in `/metrics`.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Refusal::Policy => "policy",
            Refusal::NoRoute => "route",
            Refusal::MaxConnections => "full",
            Refusal::MaxPerAddress => "address",
            Refusal::MaxPerRoute => "route_full",
            Refusal::MaxHttp => "http_full",
            Refusal::UpstreamRefused => "upstream_refused",
            Refusal::UpstreamTimeout => "upstream_timeout",
            Refusal::UpstreamUnresolved => "unresolved",
            Refusal::UpstreamFailed => "upstream_failed",
            Refusal::ProxyHeader => "proxy_header",
            Refusal::Tls => "tls",
            Refusal::Loop => "loop",
        }
    }
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

    /// Clients refused so far, by reason.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Refusal, u64)> {
        Refusal::ALL.into_iter().zip(self.0.iter().map(|count| count.load(Ordering::Relaxed)))
    }
}

/// Counters that all connections share.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    refused: Refusals,
    datagrams_dropped: AtomicU64,
}

impl Counters {
    pub(crate) fn refused(&self, why: Refusal) {
        self.refused.count(why);
    }

    /// Counts one datagram that was received and is not answered or not passed on.
    pub(crate) fn datagram_dropped(&self) {
        self.datagrams_dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Clients refused so far, by reason.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (Refusal, u64)> {
        self.refused.iter()
    }

    /// Datagrams that were received and not answered or not passed on so far.
    pub(crate) fn datagrams_dropped(&self) -> u64 {
        self.datagrams_dropped.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_its_own_counter_and_label() {
        let counters = Counters::default();
        counters.refused(Refusal::Policy);
        counters.refused(Refusal::Tls);
        counters.refused(Refusal::Tls);
        for (why, count) in counters.refusals() {
            let expected = match why {
                Refusal::Policy => 1,
                Refusal::Tls => 2,
                _ => 0,
            };
            assert_eq!(count, expected, "{}", why.label());
        }
        let mut labels = Refusal::ALL.map(Refusal::label).to_vec();
        labels.sort_unstable();
        labels.dedup();
        assert_eq!(labels.len(), Refusal::ALL.len());
    }
}
