//! The limits on clients of the API, and the response to a client that one of them refuses.

use std::sync::Arc;

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{
    connections::{
        counters::Refusal,
        limits::{
            ConnectionPermit, LimitReached, RETRY_AFTER,
            http::{Exemption, HttpPermit},
            share::{Share, Shares},
        },
    },
    context::ServerContext,
    gateway::Client,
};

/// The limit that refuses a client of the API.
#[derive(Debug)]
pub(super) struct ApiRefusal {
    counted_as: Refusal,
    reason: String,
}

impl ApiRefusal {
    pub(super) fn new(reason: impl Into<String>) -> ApiRefusal {
        ApiRefusal { counted_as: Refusal::MaxHttp, reason: reason.into() }
    }

    /// Answers 503.
    pub(super) fn response(self, context: &ServerContext) -> Response {
        context.counters.refused.count(self.counted_as);
        let headers = [(header::RETRY_AFTER, RETRY_AFTER.to_string())];
        (StatusCode::SERVICE_UNAVAILABLE, headers, self.reason + "\n").into_response()
    }
}

impl From<LimitReached> for ApiRefusal {
    fn from(limit: LimitReached) -> ApiRefusal {
        ApiRefusal { counted_as: limit.refusal(), reason: limit.to_string() }
    }
}

/// The permits of a client that receives events: the client is counted like a WebSocket, and its
/// HTTP connection is exempt from the limits on HTTP connections.
#[derive(Debug)]
pub(super) struct StreamPermit {
    _connection: ConnectionPermit,
    _share: Share,
    _exemption: Exemption,
}

impl StreamPermit {
    /// Takes the permits. `shares` is the limit on clients of this kind, and `too_many` the reason
    /// of a refusal by that limit.
    ///
    /// # Errors
    ///
    /// The limit that is reached.
    pub(super) fn take(
        context: &ServerContext,
        client: &Client,
        http: &Arc<HttpPermit>,
        shares: &Arc<Shares>,
        too_many: &str,
    ) -> Result<StreamPermit, ApiRefusal> {
        let ip = client.peer.ip();
        let share = shares.take(ip).ok_or_else(|| ApiRefusal::new(too_many))?;
        let connection = context.limits.enter(ip, None)?;
        let exemption = http.exempt()?;
        Ok(StreamPermit { _connection: connection, _share: share, _exemption: exemption })
    }
}
