//! The queue of ended spans: a batch processor that logs how many spans are dropped.

use std::{
    env,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use opentelemetry::Context;
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor},
};

/// The environment variable that limits the spans in the queue.
const MAX_QUEUE: &str = "OTEL_BSP_MAX_QUEUE_SIZE";

/// The most spans in the queue without that variable (OpenTelemetry specification).
const DEFAULT_MAX_QUEUE: usize = 2048;

/// A batch processor that counts the spans in its queue, so that none is dropped without a message.
#[derive(Debug)]
pub(super) struct SpanQueue {
    batches: BatchSpanProcessor,
    /// The most spans in the queue.
    max: usize,
    waiting: Arc<AtomicUsize>,
    dropped: AtomicU64,
}

impl SpanQueue {
    /// A queue for `exporter`, of the size that the environment sets.
    pub(super) fn new(exporter: impl SpanExporter + 'static) -> SpanQueue {
        let max = env::var(MAX_QUEUE).ok().and_then(|value| value.parse().ok());
        SpanQueue::with_max(exporter, max.unwrap_or(DEFAULT_MAX_QUEUE))
    }

    fn with_max(exporter: impl SpanExporter + 'static, max: usize) -> SpanQueue {
        let waiting = Arc::<AtomicUsize>::default();
        let exporter = Counted { exporter, waiting: waiting.clone() };
        let config = BatchConfigBuilder::default().with_max_queue_size(max).build();
        let batches = BatchSpanProcessor::builder(exporter).with_batch_config(config).build();
        SpanQueue { batches, max, waiting, dropped: AtomicU64::new(0) }
    }
}

impl SpanProcessor for SpanQueue {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        // The processor has room: its queue has the same size and holds no other spans.
        if self.waiting.fetch_add(1, Ordering::Relaxed) < self.max {
            return self.batches.on_end(span);
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        if self.dropped.fetch_add(1, Ordering::Relaxed) == 0 {
            let max = self.max;
            tracing::warn!("spans are lost: {max} wait for their receiver ({MAX_QUEUE})");
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let dropped = self.dropped.load(Ordering::Relaxed);
        if dropped > 0 {
            tracing::warn!("{dropped} spans were lost because too many waited ({MAX_QUEUE})");
        }
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

/// An exporter that subtracts the spans of each batch from the number of spans in the queue.
#[derive(Debug)]
struct Counted<E> {
    exporter: E,
    waiting: Arc<AtomicUsize>,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    fn export(&self, batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        self.waiting.fetch_sub(batch.len(), Ordering::Relaxed);
        self.exporter.export(batch)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
