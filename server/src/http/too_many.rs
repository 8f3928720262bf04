//! The answer to a client of the API of which there are too many already.

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{connections::counters::Refusal, context::ServerContext};

/// Answers 503: a limit on clients of this kind is reached.
pub(super) fn too_many(context: &ServerContext, reason: impl IntoResponse) -> Response {
    context.counters.refused.count(Refusal::MaxHttp);
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")], reason).into_response()
}
