//! The outcomes of dialling an upstream.

use super::counters::Refusal;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DialOutcome {
    /// The upstream is connected, and its TLS and opening handshakes are complete.
    Connected,
    Refused,
    /// The upstream did not answer within `--dial-timeout`.
    TimedOut,
    /// The host name could not be resolved.
    Unresolved,
    /// The connection failed for another reason, such as a network that cannot be reached.
    Unreachable,
    /// The TLS handshake failed, or the certificate is not trusted.
    Tls,
    /// The response to the opening handshake is invalid.
    Handshake,
    /// The WebSocket server answered the opening handshake with a status other than 101.
    Rejected,
    /// The proxy in between refused the connection or could not be used.
    Proxy,
    /// All file descriptors of this process are in use.
    NoDescriptors,
    /// The client disconnected before the dial had ended.
    Cancelled,
}

impl DialOutcome {
    /// All outcomes in their order, with the values of the label `outcome` in `/metrics`.
    pub(crate) const ALL: [(DialOutcome, &str); 11] = [
        (DialOutcome::Connected, "ok"),
        (DialOutcome::Refused, "refused"),
        (DialOutcome::TimedOut, "timeout"),
        (DialOutcome::Unresolved, "unresolved"),
        (DialOutcome::Unreachable, "unreachable"),
        (DialOutcome::Tls, "tls"),
        (DialOutcome::Handshake, "handshake"),
        (DialOutcome::Rejected, "rejected"),
        (DialOutcome::Proxy, "proxy"),
        (DialOutcome::NoDescriptors, "descriptors"),
        (DialOutcome::Cancelled, "cancelled"),
    ];

    pub(crate) fn label(self) -> &'static str {
        DialOutcome::ALL[self as usize].1
    }

    pub(crate) fn refusal(self) -> Refusal {
        match self {
            DialOutcome::Refused | DialOutcome::Rejected => Refusal::UpstreamRefused,
            DialOutcome::TimedOut => Refusal::UpstreamTimeout,
            DialOutcome::Unresolved => Refusal::UpstreamUnresolved,
            DialOutcome::NoDescriptors => Refusal::NoDescriptors,
            _ => Refusal::UpstreamFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_outcomes_of_the_table_are_in_their_order() {
        for (index, (outcome, _)) in DialOutcome::ALL.into_iter().enumerate() {
            assert_eq!(outcome as usize, index, "{outcome:?}");
        }
    }
}
