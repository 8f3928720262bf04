//! Event-loop lag: the time that an event loop takes to answer a ping between two of its tasks.

use std::{sync::Arc, time::Duration};

use echogate_event_loop::{EventLoops, StuckLoop};
use parking_lot::Mutex;
use prometheus_client::metrics::histogram::Histogram;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The time in which each event loop must answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The interval of measurements while the metrics are read.
const INTERVAL: Duration = Duration::from_secs(1);

/// The time after the metrics were read for which measurements go on: some intervals of Prometheus.
const MEASURED_AFTER_READ: Duration = Duration::from_secs(120);

/// Upper bounds of the buckets, in seconds.
const LAGS: [f64; 13] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0];

/// The lag of all event loops. Clones share the measurements.
#[derive(Clone, Debug)]
pub(crate) struct LoopLag {
    loops: EventLoops,
    /// The measured times, in seconds.
    pub(crate) seconds: Histogram,
    /// The end of the regular measurements, while there are some.
    until: Arc<Mutex<Option<Instant>>>,
}

impl LoopLag {
    pub(crate) fn new(loops: EventLoops) -> LoopLag {
        LoopLag { loops, seconds: Histogram::new(LAGS), until: Arc::default() }
    }

    /// Measures the lag of each loop, which is also the check of liveness.
    ///
    /// # Errors
    ///
    /// The first loop that does not answer within [`TIMEOUT`], which is then observed as its lag.
    pub(crate) async fn measure(&self) -> Result<(), StuckLoop> {
        let answered = self.loops.ping(TIMEOUT).await;
        let times = answered.as_ref().map_or(&[TIMEOUT][..], Vec::as_slice);
        times.iter().for_each(|time| self.seconds.observe(time.as_secs_f64()));
        answered.map(drop)
    }

    /// Measures in regular intervals, for [`MEASURED_AFTER_READ`] from now on or until `stop`.
    pub(crate) fn keep_measuring(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        let until = Instant::now() + MEASURED_AFTER_READ;
        let mut running = self.until.lock();
        if running.replace(until).is_some() {
            return;
        }
        drop(running);
        let (lag, stop) = (self.clone(), stop.clone());
        tasks.spawn(async move {
            let measurements = async {
                let mut ticks = interval(INTERVAL);
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while !lag.is_over() {
                    ticks.tick().await;
                    // A loop that does not answer is in the histogram.
                    lag.measure().await.ok();
                }
            };
            tokio::select! {
                () = measurements => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Whether the regular measurements are to end; then the next reader begins them anew.
    fn is_over(&self) -> bool {
        let mut until = self.until.lock();
        until.take_if(|until| *until <= Instant::now()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn measurements_end_when_nobody_reads_them_and_begin_again() {
        let lag = LoopLag::new(EventLoops::start().unwrap());
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let begun = Instant::now();
        tasks.close();
        for _ in 0..2 {
            lag.keep_measuring(&tasks, &stop);
            lag.keep_measuring(&tasks, &stop);
            assert_eq!(tasks.len(), 1);
            tasks.wait().await;
        }
        assert!(begun.elapsed() >= 2 * MEASURED_AFTER_READ, "{:?}", begun.elapsed());
        lag.keep_measuring(&tasks, &stop);
        stop.cancel();
        tasks.wait().await;
    }
}
