//! Points in time, as the browser gives them.

/// Milliseconds, with fractions. A point in time counts from 1970 (UTC) by a clock that never
/// goes back while the page is open; a span is the difference of two.
pub type Millis = f64;
