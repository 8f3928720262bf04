//! Distributed traces: the trace context that clients send, and the spans of connections.
//!
//! - [`context`]: `traceparent` and `tracestate` of a request
//! - `spans`: spans that are exported by OTLP (feature `otlp`); `span_queue`: the queue of spans
//!   before their export; `no_spans`: the same interface for builds without the feature, which does
//!   nothing

pub(crate) mod context;
#[cfg(not(feature = "otlp"))]
mod no_spans;
#[cfg(feature = "otlp")]
mod span_queue;
#[cfg(feature = "otlp")]
mod spans;

use std::fmt;

use echogate_proto::close::CloseCode;
use http::HeaderMap;

use self::context::{TraceContext, TraceId};
#[cfg(not(feature = "otlp"))]
pub(crate) use self::no_spans::{Span, Spans};
#[cfg(feature = "otlp")]
pub(crate) use self::spans::{Span, Spans};

/// Names and values of attributes of a span.
pub(crate) type Attributes = Vec<(&'static str, String)>;

/// The trace of a connection, from its request until it is established.
#[derive(Debug)]
pub(crate) struct Trace {
    received: Option<TraceContext>,
    span: Span,
}

impl Trace {
    /// Begins the span of a connection, as a child of the client's span in `received`.
    pub(crate) fn begin(
        spans: &Spans,
        received: Option<TraceContext>,
        name: &str,
        attributes: impl FnOnce() -> Attributes,
    ) -> Trace {
        let span = spans.begin(name, received.as_ref(), attributes);
        Trace { received, span }
    }

    /// The identifier of the trace, if the client sent one or the span is exported.
    pub(crate) fn id(&self) -> Option<TraceId> {
        let span = self.span.reference();
        span.or(self.received.as_ref().map(|received| received.parent)).map(|parent| parent.trace)
    }

    /// Begins the span of a dial.
    pub(crate) fn dial(&self, upstream: &impl fmt::Display) -> Span {
        self.span.child("dial", || vec![("echogate.upstream", upstream.to_string())])
    }

    /// Puts the trace context into the header fields of the opening handshake of a `dial`.
    pub(crate) fn pass(&self, dial: &Span, headers: &mut HeaderMap) {
        context::pass(self.received.as_ref(), dial.reference(), headers);
    }

    /// Ends the span of a client that is refused.
    pub(crate) fn refused(&self, reason: &str) {
        self.span.end(Err(reason));
    }

    /// The trace of the established connection, if there is one.
    pub(crate) fn of_connection(self) -> Option<ConnectionTrace> {
        let id = self.id()?;
        Some(ConnectionTrace { id, span: self.span })
    }
}

/// The trace of an established connection.
#[derive(Debug)]
pub(crate) struct ConnectionTrace {
    pub(crate) id: TraceId,
    span: Span,
}

impl ConnectionTrace {
    /// Records the end of a WebSocket.
    pub(crate) fn closed(&self, code: CloseCode) {
        self.span.set("websocket.close.code", code.0.into());
    }

    /// Ends the span of the connection. `received` and `sent` are the payload bytes from and to the
    /// client.
    pub(crate) fn ended(&self, [received, sent]: [u64; 2], why: &dyn fmt::Display) {
        self.span.set("echogate.received_bytes", received);
        self.span.set("echogate.sent_bytes", sent);
        self.span.describe("echogate.end", why);
        self.span.end(Ok(()));
    }
}
