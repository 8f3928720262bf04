//! The report, and the progress line while the load runs.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use serde::Serialize;

use super::Load;
use crate::{recording::model::Traffic, terminal, text::counted};

/// The results. The serialized form is the output of `--json`.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    url: String,
    connections: u32,
    size: u64,
    in_flight: u64,
    /// Requested messages per second.
    rate: Option<u64>,
    /// Whether each message had a new connection.
    once: bool,
    /// The time from the end of the warm-up to the last reply.
    seconds: f64,
    /// Messages answered in that time.
    messages: u64,
    messages_per_second: f64,
    /// Payload bytes per second, in each direction.
    bytes_per_second: f64,
    latency_us: Latency,
    /// Connections that failed.
    errors: usize,
    /// Datagrams without a reply in time.
    lost: Option<u64>,
    /// Late or duplicate replies.
    stray: Option<u64>,
    /// Messages that were due and not sent because of the limit in flight.
    unsent: u64,
    frames_per_message: Option<f64>,
}

/// Latencies in microseconds.
#[derive(Debug, Serialize)]
pub(super) struct Latency {
    p50: f64,
    p90: f64,
    p99: f64,
    #[serde(rename = "p99.9")]
    p99_9: f64,
    max: f64,
}

impl Report {
    /// Creates the report of `load`, in which `errors` connections failed.
    pub(super) fn new(load: &Load, errors: usize) -> Report {
        let stats = load.stats.sum();
        let seconds =
            stats.last.map_or(0.0, |last| last.duration_since(load.measured_from).as_secs_f64());
        let messages = stats.latency.len();
        let messages_per_second = if seconds > 0.0 { messages as f64 / seconds } else { 0.0 };
        let micros = |nanos: u64| nanos as f64 / 1000.0;
        let at = |quantile| micros(stats.latency.value_at_quantile(quantile));
        let has_frames = load.traffic == Traffic::Messages && stats.answered > 0;
        let has_datagrams = load.traffic == Traffic::Datagrams;
        Report {
            url: load.url.clone(),
            connections: load.connections,
            size: load.payload.size,
            in_flight: load.in_flight,
            rate: load.rate,
            once: load.once,
            seconds,
            messages,
            messages_per_second,
            bytes_per_second: messages_per_second * load.payload.size as f64,
            latency_us: Latency {
                p50: at(0.5),
                p90: at(0.9),
                p99: at(0.99),
                p99_9: at(0.999),
                max: micros(stats.latency.max()),
            },
            errors,
            lost: has_datagrams.then_some(stats.lost),
            stray: has_datagrams.then_some(stats.stray),
            unsent: load.schedule.waiting(),
            frames_per_message: has_frames.then(|| stats.frames as f64 / stats.answered as f64),
        }
    }

    /// Prints the report on the standard output.
    pub(super) fn print(&self, json: bool) -> io::Result<()> {
        let text = if json { serde_json::to_string(self)? } else { self.to_string() };
        terminal::print_to_reader(text + "\n").map(drop)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Report { url, connections, size, in_flight, .. } = self;
        writeln!(f, "endpoint  {url}")?;
        let connections = counted(*connections, "connection");
        write!(f, "load      {connections}, {} per message, ", counted(*size, "byte"))?;
        match self.once {
            true => writeln!(f, "a new one per message")?,
            false => writeln!(f, "{in_flight} in flight on each")?,
        }
        if let Some(rate) = self.rate {
            writeln!(f, "target    {rate} messages/s; due and not sent: {}", self.unsent)?;
        }
        writeln!(f, "answered  {} messages in {:.2} s", self.messages, self.seconds)?;
        if self.messages > 0 {
            self.write_rates(f)?;
        }
        if let (Some(lost), Some(stray)) = (self.lost, self.stray) {
            writeln!(f, "lost      {lost}; late or duplicate replies: {stray}")?;
        }
        write!(f, "errors    {}", self.errors)
    }
}

impl Report {
    fn write_rates(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.bytes_per_second / 1e6;
        writeln!(f, "rate      {:.0} messages/s, {megabytes:.2} MB/s", self.messages_per_second)?;
        if let Some(frames) = self.frames_per_message {
            writeln!(f, "frames    {frames:.2} per message")?;
        }
        let Latency { p50, p90, p99, p99_9, max } = self.latency_us;
        let [p50, p90, p99, p99_9, max] = [p50, p90, p99, p99_9, max].map(format_time);
        writeln!(f, "latency {:>9} {:>9} {:>9} {:>9} {:>9}", "p50", "p90", "p99", "p99.9", "max")?;
        writeln!(f, "        {p50:>9} {p90:>9} {p99:>9} {p99_9:>9} {max:>9}")
    }
}

/// Formats microseconds in µs, ms or s.
fn format_time(micros: f64) -> String {
    match micros {
        ..1e3 => format!("{micros:.0} µs"),
        ..1e6 => format!("{:.2} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// The progress line on the standard error, if that is a terminal.
pub(super) struct Progress {
    shown: bool,
    /// The time and the number of replies at the last update.
    last: (Instant, u64),
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress { shown: io::stderr().is_terminal(), last: (Instant::now(), 0) }
    }

    /// Updates the line; `total` is the time that the load takes.
    pub(super) fn draw(&mut self, load: &Load, total: Duration) {
        if !self.shown {
            return;
        }
        let (then, before) =
            std::mem::replace(&mut self.last, (Instant::now(), load.stats.answered()));
        let (now, answered) = self.last;
        let rate = (answered - before) as f64 / (now - then).as_secs_f64();
        let time = now.duration_since(load.schedule.start).as_secs_f64();
        let total = total.as_secs_f64();
        write!(io::stderr(), "\r\x1b[K{time:.0} s of {total:.0} s, {rate:.0} messages/s").ok();
    }
}

impl Drop for Progress {
    /// Clears the line.
    fn drop(&mut self) {
        if self.shown {
            write!(io::stderr(), "\r\x1b[K").ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_formatted_in_the_customary_unit() {
        assert_eq!(
            [0.4, 404.0, 1234.0, 999_990.0, 2_500_000.0].map(format_time),
            ["0 µs", "404 µs", "1.23 ms", "999.99 ms", "2.50 s"]
        );
    }
}
