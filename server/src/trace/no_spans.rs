//! The interface of spans in a build without the feature `otlp`, in which there are no spans.

use std::{fmt, time::Duration};

use super::{
    Attributes,
    context::{SpanReference, TraceContext},
};

/// The spans of this process.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spans;

impl Spans {
    pub(crate) fn begin(
        &self,
        _name: &str,
        _parent: Option<&TraceContext>,
        _attributes: impl FnOnce() -> Attributes,
    ) -> Span {
        Span
    }

    pub(crate) async fn export_rest(&self, _limit: Duration) {}
}

/// The span of a connection or a dial.
#[derive(Debug)]
pub(crate) struct Span;

impl Span {
    pub(crate) fn reference(&self) -> Option<SpanReference> {
        None
    }

    pub(crate) fn child(
        &self,
        _name: &'static str,
        _attributes: impl FnOnce() -> Attributes,
    ) -> Span {
        Span
    }

    pub(crate) fn set(&self, _name: &'static str, _value: u64) {}

    pub(crate) fn describe(&self, _name: &'static str, _value: &dyn fmt::Display) {}

    pub(crate) fn end(&self, _result: Result<(), &str>) {}
}
