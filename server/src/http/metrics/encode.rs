//! Metric families, written with all their samples at once.

use std::fmt;

use prometheus_client::{
    encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet},
    metrics::{MetricType, exemplar::Exemplar},
};

/// The labels of a metric that has one sample.
const NO_LABELS: [(&str, &str); 0] = [];

/// Writes a gauge or a counter with a sample for each set of labels. `help` is given
/// without its full stop, and the name of a counter without `_total`.
pub(super) fn family<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, kind, help): (&str, MetricType, &str),
    samples: impl IntoIterator<Item = (L, u64)>,
) -> fmt::Result {
    let mut family = encoder.encode_descriptor(name, &format!("{help}."), None, kind)?;
    for (labels, value) in samples {
        let mut sample = family.encode_family(&labels)?;
        match kind {
            MetricType::Counter => {
                sample.encode_counter(&value, None::<&Exemplar<NoLabelSet, u64>>)?;
            }
            _ => sample.encode_gauge(&value)?,
        }
    }
    Ok(())
}

/// Writes a gauge or a counter without labels.
pub(super) fn single(
    encoder: &mut DescriptorEncoder<'_>,
    (name, kind, help): (&str, MetricType, &str),
    value: u64,
) -> fmt::Result {
    family(encoder, (name, kind, help), [(NO_LABELS, value)])
}
