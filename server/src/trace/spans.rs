//! Spans that are exported by OTLP.

use std::{borrow::Cow, env, fmt, time::Duration};

use opentelemetry::{
    Context, KeyValue, Value,
    trace::{
        SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
        Tracer, TracerProvider,
    },
};
use opentelemetry_http::HttpClient;
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};
use tokio::task::spawn_blocking;

use super::{
    Attributes,
    context::{self, SpanReference, TraceContext},
    span_queue::SpanQueue,
};

/// The environment variables that name the receiver. Without them there are no spans.
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// The spans of this process. Clones share the exporter.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spans(Option<Exported>);

#[derive(Clone, Debug)]
struct Exported {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Spans {
    /// The spans of this process, which a separate thread exports over `client` to the receiver
    /// that the environment names. Without a receiver there are no spans.
    ///
    /// # Errors
    ///
    /// One line that says which variable cannot be used.
    pub(crate) fn from_env(client: impl HttpClient + 'static) -> Result<Spans, String> {
        let names_receiver = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_disabled =
            env::var("OTEL_SDK_DISABLED").is_ok_and(|it| it.eq_ignore_ascii_case("true"));
        if is_disabled || !ENDPOINTS.into_iter().any(names_receiver) {
            return Ok(Spans::default());
        }
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
        // The error names the variable.
        let exporter = exporter.map_err(|e| e.to_string())?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let mut resource = Resource::builder().with_attribute(version);
        if env::var_os("OTEL_SERVICE_NAME").is_none() {
            resource = resource.with_service_name(env!("CARGO_PKG_NAME"));
        }
        let provider = SdkTracerProvider::builder()
            .with_resource(resource.build())
            .with_span_processor(SpanQueue::new(exporter))
            .build();
        let tracer = provider.tracer(env!("CARGO_PKG_NAME"));
        Ok(Spans(Some(Exported { provider, tracer })))
    }

    /// Begins the span of a connection, as a child of its client's span.
    pub(crate) fn begin(
        &self,
        name: &str,
        parent: Option<&TraceContext>,
        attributes: impl FnOnce() -> Attributes,
    ) -> Span {
        let Some(Exported { tracer, .. }) = &self.0 else { return Span(None) };
        let context = parent.map_or_else(Context::new, |parent| {
            Context::new().with_remote_span_context(span_context(parent))
        });
        Span::begin(tracer, SpanKind::Server, name.to_owned(), &context, attributes)
    }

    /// Exports the spans that have ended, within `limit`.
    pub(crate) async fn export_rest(&self, limit: Duration) {
        let Some(Exported { provider, .. }) = self.0.clone() else { return };
        let ended = spawn_blocking(move || provider.shutdown_with_timeout(limit)).await;
        if let Ok(Err(e)) = ended {
            tracing::warn!("spans were not exported at the end of the server: {e}");
        }
    }
}

/// The context of a client's span. A `tracestate` that cannot be parsed is left out.
fn span_context(TraceContext { parent, state, .. }: &TraceContext) -> SpanContext {
    let state = state.iter().map(|value| value.to_str().unwrap_or_default());
    let state = state.collect::<Vec<_>>().join(",");
    SpanContext::new(
        TraceId::from_bytes(parent.trace.0),
        SpanId::from_bytes(parent.span),
        TraceFlags::new(parent.flags),
        true,
        state.parse::<TraceState>().unwrap_or_default(),
    )
}

/// The span of a connection or a dial. A span that is dropped before its end is marked as
/// cancelled.
#[derive(Debug)]
pub(crate) struct Span(Option<Box<Begun>>);

#[derive(Debug)]
struct Begun {
    context: Context,
    tracer: SdkTracer,
}

impl Span {
    fn begin(
        tracer: &SdkTracer,
        kind: SpanKind,
        name: impl Into<Cow<'static, str>>,
        parent: &Context,
        attributes: impl FnOnce() -> Attributes,
    ) -> Span {
        let attributes = attributes().into_iter().map(|(name, value)| KeyValue::new(name, value));
        let builder = tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
        let span = builder.start_with_context(tracer, parent);
        let context = Context::new().with_span(span);
        Span(Some(Box::new(Begun { context, tracer: tracer.clone() })))
    }

    /// The identifiers by which another process refers to the span.
    pub(crate) fn reference(&self) -> Option<SpanReference> {
        let begun = self.0.as_ref()?;
        let span = begun.context.span();
        let context = span.span_context();
        Some(SpanReference {
            trace: context::TraceId(context.trace_id().to_bytes()),
            span: context.span_id().to_bytes(),
            flags: context.trace_flags().to_u8(),
        })
    }

    /// Begins the span of a request that this process makes.
    pub(crate) fn child(
        &self,
        name: &'static str,
        attributes: impl FnOnce() -> Attributes,
    ) -> Span {
        match &self.0 {
            None => Span(None),
            Some(begun) => {
                Span::begin(&begun.tracer, SpanKind::Client, name, &begun.context, attributes)
            }
        }
    }

    pub(crate) fn set(&self, name: &'static str, value: u64) {
        self.set_value(name, || i64::try_from(value).unwrap_or(i64::MAX).into());
    }

    /// Sets an attribute to a text.
    pub(crate) fn describe(&self, name: &'static str, value: &dyn fmt::Display) {
        self.set_value(name, || value.to_string().into());
    }

    fn set_value(&self, name: &'static str, value: impl FnOnce() -> Value) {
        if let Some(begun) = &self.0 {
            begun.context.span().set_attribute(KeyValue::new(name, value()));
        }
    }

    /// Ends the span, with the reason of a failure.
    pub(crate) fn end(&self, result: Result<(), &str>) {
        let Some(begun) = &self.0 else { return };
        let span = begun.context.span();
        if let Err(why) = result {
            span.set_status(Status::error(why.to_owned()));
        }
        span.end();
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        if self.0.as_ref().is_some_and(|begun| begun.context.span().is_recording()) {
            self.end(Err("cancelled"));
        }
    }
}
