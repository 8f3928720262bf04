//! The trace context of a request: the header fields `traceparent` and `tracestate` (W3C Trace
//! Context).

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header field with the identifiers of the trace and of the client's span.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The header field with the data of tracing systems.
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// The length of `traceparent` of version 00: version, trace, span and flags.
const LENGTH: usize = 55;

/// The identifier of a trace: 16 bytes, not all of them 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TraceId(pub(crate) [u8; 16]);

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from_be_bytes(self.0))
    }
}

/// The identifiers that `traceparent` carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpanReference {
    pub(crate) trace: TraceId,
    /// The identifier of the span: 8 bytes, not all of them 0.
    pub(crate) span: [u8; 8],
    pub(crate) flags: u8,
}

impl SpanReference {
    /// Parses a value of `traceparent`. Of later versions than 00, the parts that 00 defines are
    /// read.
    fn parse(value: &[u8]) -> Option<SpanReference> {
        let (known, more) = value.split_at_checked(LENGTH)?;
        let [version, trace, span, flags] = [0..2, 3..35, 36..52, 53..55].map(|part| &known[part]);
        let [version] = hex(version)?;
        let is_known = [2, 35, 52].iter().all(|&i| known[i] == b'-');
        let is_complete = match version {
            0 => more.is_empty(),
            u8::MAX => false,
            _ => more.is_empty() || more[0] == b'-',
        };
        let (trace, span, [flags]) = (hex(trace)?, hex(span)?, hex(flags)?);
        let has_ids = trace != [0; 16] && span != [0; 8];
        (is_known && is_complete && has_ids).then_some(SpanReference {
            trace: TraceId(trace),
            span,
            flags,
        })
    }
}

impl fmt::Display for SpanReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{:016x}-{:02x}", self.trace, u64::from_be_bytes(self.span), self.flags)
    }
}

/// The bytes that lower-case hexadecimal digits encode.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    data_encoding::HEXLOWER.decode_mut(digits, &mut bytes).ok()?;
    Some(bytes)
}

/// The trace context that a client has sent.
#[derive(Clone, Debug)]
pub(crate) struct TraceContext {
    pub(crate) parent: SpanReference,
    /// The value of `traceparent`.
    value: HeaderValue,
    /// The values of `tracestate`.
    pub(crate) state: Vec<HeaderValue>,
}

impl TraceContext {
    /// The trace context in the header fields of a request. `None` without exactly one valid
    /// `traceparent`: the request then begins a trace.
    pub(crate) fn of(headers: &HeaderMap) -> Option<TraceContext> {
        let mut values = headers.get_all(TRACEPARENT).into_iter();
        let value = values.next().filter(|_| values.next().is_none())?;
        let parent = SpanReference::parse(value.as_bytes())?;
        let state = headers.get_all(TRACESTATE).into_iter().cloned().collect();
        Some(TraceContext { parent, value: value.clone(), state })
    }
}

/// Sets the trace context of a request to an upstream to that of the client. `span`, if there is
/// one, takes the place of the client's span.
pub(crate) fn pass(
    received: Option<&TraceContext>,
    span: Option<SpanReference>,
    headers: &mut HeaderMap,
) {
    headers.remove(TRACEPARENT);
    headers.remove(TRACESTATE);
    let own = span.and_then(|span| HeaderValue::try_from(span.to_string()).ok());
    if let Some(parent) = own.or_else(|| received.map(|received| received.value.clone())) {
        headers.insert(TRACEPARENT, parent);
    }
    for value in received.iter().flat_map(|received| &received.state) {
        headers.append(TRACESTATE, value.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const VALID: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn headers(lines: &[(HeaderName, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn a_valid_traceparent_has_its_identifiers_and_is_written_as_it_was() {
        let parent = SpanReference::parse(VALID.as_bytes()).unwrap();
        assert_eq!(parent.trace.to_string(), TRACE);
        assert_eq!((parent.span[7], parent.flags), (0xb7, 1));
        assert_eq!(parent.to_string(), VALID);
        for later in ["", "-", "-what the future will be like"] {
            let later = format!("cc{}{later}", &VALID[2..]);
            assert_eq!(SpanReference::parse(later.as_bytes()), Some(parent), "{later}");
        }
    }

    #[test]
    fn anything_else_is_no_trace_context() {
        let part = |range: std::ops::Range<usize>, other: &str| {
            let mut value = VALID.to_owned();
            value.replace_range(range, other);
            value
        };
        for value in [
            String::new(),
            VALID[..54].to_owned(),
            format!("{VALID}-"),
            format!("{VALID}-01"),
            format!(" {VALID}"),
            part(0..2, "ff"),
            part(0..2, "0x"),
            format!("{}.x", part(0..2, "01")),
            part(3..35, &"0".repeat(32)),
            part(36..52, &"0".repeat(16)),
            part(3..35, &TRACE.to_uppercase()),
            part(53..55, "0A"),
            part(2..3, "_"),
            part(52..53, "_"),
            part(40..41, "g"),
        ] {
            assert_eq!(SpanReference::parse(value.as_bytes()), None, "{value}");
        }
        let twice = headers(&[(TRACEPARENT, VALID), (TRACEPARENT, VALID)]);
        assert!(TraceContext::of(&twice).is_none());
        assert!(TraceContext::of(&headers(&[(TRACESTATE, "a=b")])).is_none());
    }

    #[test]
    fn the_context_is_passed_as_it_was_or_with_a_span_of_this_process() {
        let later = format!("cc{}-x", &VALID[2..]);
        let sent = [(TRACEPARENT, &*later), (TRACESTATE, "a=b"), (TRACESTATE, "c=d")];
        let received = TraceContext::of(&headers(&sent)).unwrap();
        let mut passed = headers(&[(TRACEPARENT, "x"), (TRACESTATE, "y=z")]);
        pass(Some(&received), None, &mut passed);
        assert_eq!(passed, headers(&sent));
        let own = SpanReference { span: [7; 8], ..received.parent };
        pass(Some(&received), Some(own), &mut passed);
        assert_eq!(passed[TRACEPARENT], format!("00-{TRACE}-0707070707070707-01"));
        assert_eq!(passed.get_all(TRACESTATE).iter().count(), 2);
        pass(None, None, &mut passed);
        assert!(passed.is_empty(), "what a client sends beside an invalid one is not passed");
    }
}
