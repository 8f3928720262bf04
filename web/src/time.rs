//! Points in time and durations, as the browser measures them.

/// Milliseconds, with fractions. A point in time counts from 1970 (UTC) by a clock that does not
/// go back while the page is open; a duration is the difference of two points.
pub type Millis = f64;
