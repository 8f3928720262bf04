//! The failures of dialling.

use std::{fmt, io};

use axum::http::{HeaderMap, StatusCode, header};
use echogate_proto::{
    close::CloseCode,
    reason::{self, fill},
};

use super::Limit;
use crate::{
    connections::{
        dial_outcome::DialOutcome,
        limits::{LimitReached, RETRY_AFTER, descriptors},
    },
    net::{
        happy_eyeballs::ConnectError,
        proxy::{ConnectionError, Destination, ProxyError, ProxyFailure},
        tls::client::TlsError,
        websocket::{OpeningError, Rejection},
    },
    runtime::drain::ServerClose,
    text::io_error::describe,
};

/// A failure to connect to an upstream, as the client and the log get it.
#[derive(Debug)]
pub(crate) struct DialError {
    /// The status of the response, for programs.
    pub(crate) status: StatusCode,
    /// The status code of the Close frame, for pages, which cannot read the response.
    pub(crate) code: CloseCode,
    /// The reason, for the response or the Close frame.
    pub(crate) reason: String,
    /// Header fields of the response, from that of a WebSocket server.
    pub(crate) headers: HeaderMap,
    pub(crate) outcome: DialOutcome,
}

impl Limit {
    /// The description of a failure to connect to `to`, directly or by a proxy.
    pub(super) fn connection_error(&self, to: &Destination, error: ConnectionError) -> DialError {
        use ConnectError::{Failed, ResolverTimedOut, TimedOut, Unresolved};
        use ConnectionError::{Direct, Proxy};

        match error {
            Direct(Unresolved(cause)) => DialError::unresolved(&cause),
            Direct(ResolverTimedOut) => {
                let cause = fill(reason::RESOLVER_TIMEOUT, &[&self.within_text()]);
                DialError { status: StatusCode::GATEWAY_TIMEOUT, ..DialError::unresolved(&cause) }
            }
            Direct(TimedOut) => self.timed_out(),
            Direct(Failed { tried, cause }) => self.error(&cause, tried),
            Proxy(error) => self.proxy_error(to, &error),
        }
    }

    /// The description of a failure at a proxy. The proxy's address is logged, and not sent to the
    /// client.
    fn proxy_error(&self, to: &Destination, error: &ProxyError) -> DialError {
        if matches!(&error.failure, ProxyFailure::Unreachable(e) if descriptors::are_exhausted(e)) {
            return DialError::no_descriptors();
        }
        tracing::warn!("cannot connect to the upstream {to}: {error}");
        match &error.failure {
            ProxyFailure::TimedOut => self.timed_out(),
            failure => {
                let reason = fill(reason::PROXY_FAILED, &[failure]);
                DialError::new(StatusCode::BAD_GATEWAY, DialOutcome::Proxy, reason)
            }
        }
    }

    pub(super) fn opening_error(&self, error: OpeningError) -> DialError {
        match error {
            OpeningError::Stream(error) => self.error(&error, 1),
            OpeningError::TimedOut => self.timed_out(),
            OpeningError::Rejected(rejection) => DialError::rejected(&rejection),
            error => {
                let reason = error.to_string();
                DialError::new(StatusCode::BAD_GATEWAY, DialOutcome::Handshake, reason)
            }
        }
    }

    /// The description of `error`, after `tried` addresses of the upstream were tried.
    pub(super) fn error(&self, error: &io::Error, tried: usize) -> DialError {
        if descriptors::are_exhausted(error) {
            return DialError::no_descriptors();
        }
        let is_tls_error = error.get_ref().and_then(|e| e.downcast_ref::<TlsError>()).is_some();
        let mut text = match error.kind() {
            io::ErrorKind::TimedOut => return self.timed_out(),
            io::ErrorKind::ConnectionRefused => reason::REFUSED.to_owned(),
            _ if is_tls_error => error.to_string(),
            // connect(2) fails with EAGAIN for Unix sockets only.
            io::ErrorKind::WouldBlock => reason::BACKLOG_FULL.to_owned(),
            _ => fill(reason::UNREACHABLE, &[&describe(error)]),
        };
        if tried > 1 {
            text = fill(reason::TRIED, &[&text as &dyn fmt::Display, &tried]);
        }
        let outcome = match error.kind() {
            io::ErrorKind::ConnectionRefused => DialOutcome::Refused,
            _ if is_tls_error => DialOutcome::Tls,
            _ => DialOutcome::Unreachable,
        };
        DialError::new(StatusCode::BAD_GATEWAY, outcome, text)
    }

    fn within_text(&self) -> String {
        format!("{:?}", self.within)
    }

    pub(super) fn timed_out(&self) -> DialError {
        let reason = fill(reason::DIAL_TIMEOUT, &[&self.within_text()]);
        DialError::new(StatusCode::GATEWAY_TIMEOUT, DialOutcome::TimedOut, reason)
    }
}

impl DialError {
    fn new(status: StatusCode, outcome: DialOutcome, reason: String) -> DialError {
        let headers = HeaderMap::new();
        DialError { status, code: CloseCode::INTERNAL_ERROR, reason, outcome, headers }
    }

    fn no_descriptors() -> DialError {
        let reason = LimitReached::Descriptors.to_string();
        DialError::for_now(CloseCode::TRY_AGAIN_LATER, DialOutcome::NoDescriptors, reason)
    }

    /// The error for an upstream that was not connected before the server's shutdown gave it up.
    pub(super) fn shut_down(close: ServerClose) -> DialError {
        DialError::for_now(close.code, DialOutcome::TimedOut, close.reason.into_owned())
    }

    /// The error for a client that is to try again later.
    fn for_now(code: CloseCode, outcome: DialOutcome, reason: String) -> DialError {
        let headers = HeaderMap::from_iter([(header::RETRY_AFTER, RETRY_AFTER.into())]);
        let error = DialError::new(StatusCode::SERVICE_UNAVAILABLE, outcome, reason);
        DialError { code, headers, ..error }
    }

    /// The error for a response other than 101. The status of an error (4xx, 5xx) is passed on, any
    /// other one becomes 502.
    fn rejected(rejection: &Rejection) -> DialError {
        let status = match rejection.status {
            status if status.is_client_error() || status.is_server_error() => status,
            _ => StatusCode::BAD_GATEWAY,
        };
        let code = match status {
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                CloseCode::TRY_AGAIN_LATER
            }
            status if status.is_client_error() => CloseCode::POLICY,
            _ => CloseCode::INTERNAL_ERROR,
        };
        let mut headers = HeaderMap::new();
        for name in [header::WWW_AUTHENTICATE, header::RETRY_AFTER] {
            for value in rejection.headers.get_all(&name) {
                headers.append(&name, value.clone());
            }
        }
        let reason = rejection.to_string();
        DialError { status, code, reason, outcome: DialOutcome::Rejected, headers }
    }

    pub(super) fn unresolved(cause: &impl fmt::Display) -> DialError {
        let reason = fill(reason::UNRESOLVED, &[cause]);
        DialError::new(StatusCode::BAD_GATEWAY, DialOutcome::Unresolved, reason)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn failures_differ_in_status_reason_and_counter() {
        let limit = Limit { within: Duration::from_secs(10), deadline: Instant::now() };
        let described = |error: io::Error, tried| {
            let DialError { status, outcome, reason, .. } = limit.error(&error, tried);
            (status.as_u16(), outcome, reason)
        };
        let kind = |kind: io::ErrorKind| described(kind.into(), 1);
        assert_eq!(
            described(io::ErrorKind::ConnectionRefused.into(), 2),
            (
                502,
                DialOutcome::Refused,
                "the upstream refused the connection (2 addresses tried)".to_owned()
            )
        );
        let silent = "the upstream did not answer within 10s (--dial-timeout)".to_owned();
        assert_eq!(kind(io::ErrorKind::TimedOut), (504, DialOutcome::TimedOut, silent));
        assert_eq!(
            kind(io::ErrorKind::NetworkUnreachable),
            (
                502,
                DialOutcome::Unreachable,
                "the upstream cannot be reached: network unreachable".to_owned()
            )
        );
        let full = "the upstream's listen backlog is full".to_owned();
        assert_eq!(kind(io::ErrorKind::WouldBlock), (502, DialOutcome::Unreachable, full));
        let unresolved = DialError::unresolved(&"no such name");
        assert_eq!(
            (unresolved.status.as_u16(), unresolved.outcome, &*unresolved.reason),
            (
                502,
                DialOutcome::Unresolved,
                "the upstream's host name cannot be resolved: no such name"
            )
        );
    }
}
