//! The end of all connections after SIGTERM, in phases that share the time of `--drain`.
//!
//! | phase | until | what happens |
//! | --- | --- | --- |
//! | final accepts | 0.3, and 1 s at most | listeners accept what the kernel has accepted (`accept`, `datagrams`) and close |
//! | notice | + 20 ms | the runtime polls for data on connections that were accepted last |
//! | bridges, graceful | 0.4 | a connection to an upstream ends when nothing is owed to either side |
//! | bridges, immediate | 0.5 | a route's ends at the next message boundary; a forward's goes on |
//! | services, graceful | 0.8 | a service's connection answers what has arrived, and ends |
//! | services, immediate | 0.9 | it ends after the answer that it is writing |
//! | remaining bridges, HTTP | 1 | connections that are still open may finish |
//! | cut | + 200 ms | the remaining connections are cut off, by a reset where bytes are owed |
//! | taps | + 200 ms | observers of connections that were cut off are sent their ends |
//! | recording | 1, and + 200 ms at least | the recorder writes its queue |
//! | cluster | at the time of the recording, 1 s at most | the other replicas are told that this one leaves (`cluster`) |
//! | log | + 500 ms at most | the last lines are written (`cli::output`) |
//!
//! Listeners close later while file descriptors are short: as other connections end, they accept the
//! connections in their backlogs, until the immediate phase of services begins (`accept`).
//!
//! After a handover there are no final accepts: connections continue for [`UNCHANGED`]
//! ([`wait_for_short_connections`]), and the phases share the rest of the time in the same proportions.
//!
//! The numbers are parts of `--drain`, counted from the signal, or of what `--drain-delay` leaves of
//! it: before these phases connections are still accepted. Bridges end before services,
//! because the services answer what the bridges' clients have in flight. From [`MANY`] connections on
//! a graceful phase begins for one connection after the other, evenly over the first part of its time
//! ([`EVENLY`]), so that their clients do not come back all at once.

use std::time::Duration;

use echogate_proto::{close::CloseCode, reason};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::task::TaskTracker;

use crate::{
    context::{ConnectionGroup, ServerContext},
    runtime::drain::{ServerClose, Stage},
    text::counted,
};

/// The end of the final accepts, as a part of `--drain`.
const ACCEPTED_BY: f64 = 0.3;

/// The ends of the graceful and the immediate phase of WebSocket connections.
const BRIDGES_BY: (f64, f64) = (0.4, 0.5);

/// The ends of the graceful and the immediate phase of connections to services.
const SERVICES_BY: (f64, f64) = (0.8, 0.9);

/// The part of `--drain` in which connections continue unchanged after a handover.
const UNCHANGED: f64 = 0.1;

/// The number of connections of a group at and above which a graceful phase begins for one
/// connection after the other.
const MANY: usize = 100;

/// The part of a graceful phase over which the beginnings are spread.
const EVENLY: f64 = 0.75;

/// The time in which the runtime polls for data on connections that were accepted last.
const NOTICE: Duration = Duration::from_millis(20);

/// The time limit for cutting connections off: each needs one turn on its event loop. Their
/// observers have the same time after that.
const CUT: Duration = Duration::from_millis(200);

/// The times at which the phases of a shutdown end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Phases {
    /// The beginning of the first phase, and the end of the last one.
    start: Instant,
    end: Instant,
    /// The part of the time before the first phase, in which connections continue unchanged.
    unchanged: f64,
}

impl Phases {
    /// The phases within `drain` after a signal, which begin after `delay`.
    pub(super) fn of_a_signal(drain: Duration, delay: Duration, signal: Instant) -> Phases {
        Phases { start: signal + delay.min(drain), end: signal + drain, unchanged: 0.0 }
    }

    /// The phases within `drain` after a handover.
    pub(super) fn of_a_handover(drain: Duration, start: Instant) -> Phases {
        Phases { start, end: start + drain, unchanged: UNCHANGED }
    }

    /// The end of a phase. `part` is the fraction of `--drain`, or of what `--drain-delay` leaves of it,
    /// at which that phase ends after a signal.
    fn at(&self, part: f64) -> Instant {
        self.start + self.time().mul_f64(self.unchanged + part * (1.0 - self.unchanged))
    }

    fn time(&self) -> Duration {
        self.end - self.start
    }
}

/// Ends all connections within `phases`. `accepting` are the loops of the listeners and the
/// connections that are not dispatched yet.
pub(super) async fn end_connections(
    context: &ServerContext,
    accepting: &TaskTracker,
    phases: &Phases,
) {
    let drain = context.settings.drain;
    let at = |part| phases.at(part);
    accepting.close();
    // Connections that are not accepted by then are reset when the process ends.
    timeout_at(at(ACCEPTED_BY), accepting.wait()).await.ok();
    sleep(NOTICE.min(phases.time() / 10)).await;
    let ServerContext { http, bridges, services, registry, .. } = context;
    bridges.drain.set_close(shutdown_close(context.settings.drain_code));
    http.drain.advance(Stage::Graceful);
    end_group(bridges, at(BRIDGES_BY.0), at(BRIDGES_BY.1)).await;
    end_group(services, at(SERVICES_BY.0), at(SERVICES_BY.1)).await;
    end_group(bridges, at(1.0), at(1.0)).await;
    end_group(http, at(1.0), at(1.0)).await;
    let count = registry.count();
    if count > 0 {
        tracing::warn!(
            "{} did not end within {drain:?} (--drain), cut off",
            counted(count, "connection")
        );
        let until = Instant::now() + CUT;
        reach_stage(bridges, Stage::Cut, until).await;
        reach_stage(services, Stage::Cut, until).await;
    }
    for entry in registry.entries() {
        entry.ended(&reason::CUT_OFF_BY_SHUTDOWN);
    }
    if context.taps.in_use() > 0 {
        timeout_at(Instant::now() + CUT, http.tracker.wait()).await.ok();
    }
}

/// Waits after a handover until all connections have ended by themselves, at most for [`UNCHANGED`].
pub(super) async fn wait_for_short_connections(
    context: &ServerContext,
    accepting: &TaskTracker,
    phases: &Phases,
) {
    let groups = [&context.http, &context.bridges, &context.services];
    let trackers = groups.map(|group| &group.tracker);
    timeout_at(phases.at(0.0), async {
        for tracker in [accepting].into_iter().chain(trackers) {
            tracker.close();
            tracker.wait().await;
        }
    })
    .await
    .ok();
}

/// The time in which the recorder has to write what is queued: what is left of `--drain`, which
/// began at `start`, and at least [`CUT`].
pub(super) fn recording_limit(drain: Duration, start: Instant) -> Duration {
    drain.saturating_sub(start.elapsed()).max(CUT)
}

/// The Close of the shutdown. Its code tells clients whether they are to come back.
fn shutdown_close(code: CloseCode) -> ServerClose {
    match code {
        CloseCode::SERVICE_RESTART => ServerClose { code, reason: reason::RESTART.into() },
        _ => ServerClose { code, ..ServerClose::SHUTDOWN },
    }
}

/// Ends the connections of a group: gracefully until `graceful`, the others at once until
/// `immediate`.
async fn end_group(group: &ConnectionGroup, graceful: Instant, immediate: Instant) {
    group.tracker.close();
    if group.tracker.len() >= MANY {
        let now = Instant::now();
        let evenly = now + graceful.saturating_duration_since(now).mul_f64(EVENLY);
        tokio::select! {
            () = group.tracker.wait() => group.drain.advance(Stage::Graceful),
            () = group.drain.advance_evenly(Stage::Graceful, evenly) => {}
        }
    }
    if !reach_stage(group, Stage::Graceful, graceful).await {
        reach_stage(group, Stage::Immediate, immediate).await;
    }
}

/// Moves a group on to `stage`. True if all its connections end before `until`.
async fn reach_stage(group: &ConnectionGroup, stage: Stage, until: Instant) -> bool {
    group.drain.advance(stage);
    timeout_at(until, group.tracker.wait()).await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_handover_the_phases_share_the_time_that_unchanged_connections_leave() {
        let (now, seconds) = (Instant::now(), Duration::from_secs);
        let signal = Phases::of_a_signal(seconds(110), seconds(10), now);
        let handover = Phases::of_a_handover(seconds(100), now);
        let at = |phases: Phases, part| (phases.at(part) - now).as_secs_f64().round();
        for (part, after_a_signal, after_a_handover) in
            [(0.0, 10.0, 10.0), (0.4, 50.0, 46.0), (0.9, 100.0, 91.0), (1.0, 110.0, 100.0)]
        {
            assert_eq!(at(signal, part), after_a_signal, "{part}");
            assert_eq!(at(handover, part), after_a_handover, "{part}");
        }
    }
}
