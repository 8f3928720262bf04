//! The connections of replicas, which report them to each other while somebody watches.
//!
//! A replica whose clients watch publishes a request every half a second, with the replicas whose
//! connections it does not know. Every other replica publishes its connections and their changes as
//! long as there are requests. Reports have numbers: a replica that misses one asks for all.

use std::{mem, time::Duration};

use async_nats::Subscriber;
use echogate_proto::api::{Connection, Event};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::session::{Session, VERSION};
use crate::connections::{
    registry::reporter::Reporter,
    replica::ReplicaId,
    replicas::{Replicas, Report},
};

/// The subject of requests.
const REQUESTS: &str = "watch";

/// The subject of reports.
const REPORTS: &str = "connections";

/// The interval of requests.
const REQUEST: Duration = Duration::from_millis(500);

/// The time for which a request counts.
const WATCHED: Duration = Duration::from_secs(3);

/// The interval of reports.
const REPORT: Duration = Duration::from_millis(250);

/// The intervals without changes after which an empty report says that the replica is alive.
const QUIET: u32 = 2;

/// The size of the connections in one report, in bytes of JSON: a broker takes 1 MiB, unless it is
/// configured otherwise.
const PART: usize = 128 << 10;

/// The size of a connection in JSON without its texts, at most.
const CONNECTION: usize = 400;

/// A request for reports.
#[derive(Debug, Serialize, Deserialize)]
struct Request {
    /// The replicas whose connections are not known.
    unknown: Vec<ReplicaId>,
}

/// Requests reports while somebody watches, and takes them, until the connection is lost.
pub(super) async fn watch(session: &Session<'_>, replicas: &Replicas) -> Result<(), String> {
    let mut watchers = replicas.watchers();
    loop {
        watchers.wait_for(|count| *count > 0).await.map_err(|e| e.to_string())?;
        let mut reports = session.subscribe(VERSION, REPORTS).await?;
        let mut ticks = ticks(REQUEST);
        while *watchers.borrow_and_update() > 0 {
            tokio::select! {
                _ = ticks.tick() => {
                    let request = Request { unknown: replicas.unknown() };
                    session.publish(REQUESTS, request).await?;
                }
                report = reports.next() => {
                    let report = report.ok_or(ENDED)?;
                    if let Some((from, report)) = session.open::<Report>(&report) {
                        replicas.apply(from, report, std::time::Instant::now());
                    }
                }
                changed = watchers.changed() => changed.map_err(|e| e.to_string())?,
            }
        }
    }
}

/// Reports the connections of this replica while another one requests it, until the connection is
/// lost.
pub(super) async fn report(session: &Session<'_>, replicas: &Replicas) -> Result<(), String> {
    let mut requests = session.subscribe(VERSION, REQUESTS).await?;
    let mut number = 0;
    loop {
        let request = requests.next().await.ok_or(ENDED)?;
        if session.open::<Request>(&request).is_some() {
            report_while_requested(session, replicas, &mut requests, &mut number).await?;
        }
    }
}

const ENDED: &str = "a subscription has ended";

async fn report_while_requested(
    session: &Session<'_>,
    replicas: &Replicas,
    requests: &mut Subscriber,
    number: &mut u64,
) -> Result<(), String> {
    let mut reporter = Reporter::new(replicas.registry());
    let mut until = Instant::now() + WATCHED;
    let (mut is_unknown, mut quiet) = (true, 0);
    let mut ticks = ticks(REPORT);
    loop {
        tokio::select! {
            request = requests.next() => {
                let request = request.ok_or(ENDED)?;
                if let Some((_, Request { unknown })) = session.open(&request) {
                    until = Instant::now() + WATCHED;
                    is_unknown |= unknown.contains(&session.shared.id);
                }
                continue;
            }
            _ = ticks.tick() => {}
        }
        if Instant::now() >= until {
            return Ok(());
        }
        reporter.set_most(replicas.share());
        let event = match mem::take(&mut is_unknown) {
            true => Some(reporter.all()),
            false => reporter.report(),
        };
        quiet = if event.is_some() { 0 } else { quiet + 1 };
        let event = match event {
            Some(event) => event,
            None if quiet >= QUIET => {
                quiet = 0;
                changes(reporter.total(), Vec::new())
            }
            None => continue,
        };
        let mut parts = parts(event).into_iter().peekable();
        while let Some(event) = parts.next() {
            *number += 1;
            let more = parts.peek().is_some();
            let report = Report { number: *number, url: replicas.url(), more, event };
            session.publish(REPORTS, report).await?;
        }
    }
}

fn ticks(period: Duration) -> tokio::time::Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn changes(total: usize, opened: Vec<Connection>) -> Event {
    Event::Changes { total, opened, moved: Vec::new(), closed: Vec::new(), missing: Vec::new() }
}

/// The event, or several ones in its place, so that none is too large.
fn parts(event: Event) -> Vec<Event> {
    let (connections, total, mut moved, mut closed, is_all) = match event {
        Event::All { total, connections, .. } => (connections, total, Vec::new(), Vec::new(), true),
        Event::Changes { total, opened, moved, closed, .. } => {
            (opened, total, moved, closed, false)
        }
    };
    let mut chunks = vec![Vec::new()];
    let mut size = 0;
    for connection in connections {
        let Connection { peer, target, label, .. } = &connection;
        let texts = [peer.as_deref(), Some(target), label.as_deref()];
        // A control character takes six bytes.
        size += CONNECTION + texts.into_iter().flatten().map(|text| 6 * text.len()).sum::<usize>();
        if size > PART {
            chunks.push(Vec::new());
            size = 0;
        }
        if let Some(last) = chunks.last_mut() {
            last.push(connection);
        }
    }
    let last = chunks.len() - 1;
    let part = |(index, connections)| match index {
        0 if is_all => Event::All { total, connections, missing: Vec::new() },
        // A connection may have begun and ended meanwhile: the ends come last.
        index if index == last => {
            let (moved, closed) = (mem::take(&mut moved), mem::take(&mut closed));
            Event::Changes { total, opened: connections, moved, closed, missing: Vec::new() }
        }
        _ => changes(total, connections),
    };
    chunks.into_iter().enumerate().map(part).collect()
}

#[cfg(test)]
mod tests {
    use echogate_proto::api::{Carried, Closed, Kind};

    use super::*;

    fn connection(id: u64, target: &str) -> Connection {
        Connection {
            id,
            replica: None,
            kind: Kind::WebSocket,
            peer: Some("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535".to_owned()),
            target: target.into(),
            label: Some("x".repeat(64)),
            upstream_from: Some("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535".to_owned()),
            since: 1_795_781_160.123_456_7,
            age: 123_456.789_012_345,
            carried: Carried::default(),
        }
    }

    #[test]
    fn a_long_list_is_sent_in_parts_of_which_none_is_too_large_for_a_broker() {
        let connections: Vec<_> =
            (0..1000).map(|id| connection(id, &"\u{1}".repeat(500))).collect();
        let sent =
            parts(Event::All { total: 1000, connections: connections.clone(), missing: vec![] });
        let mut got = Vec::new();
        for (index, part) in sent.into_iter().enumerate() {
            assert!(serde_json::to_string(&part).unwrap().len() < 1 << 20);
            match part {
                Event::All { connections, .. } if index == 0 => got.extend(connections),
                Event::Changes { opened, .. } if index > 0 => got.extend(opened),
                other => panic!("{index}: {other:?}"),
            }
        }
        assert_eq!(got, connections);
    }

    #[test]
    fn ends_are_in_the_last_part() {
        let opened = (0..2000).map(|id| connection(id, "/ws")).collect();
        let closed = vec![Closed { id: 1999, end: "end".into(), carried: Carried::default() }];
        let (moved, missing) = (Vec::new(), Vec::new());
        let sent = parts(Event::Changes { total: 1, opened, moved, closed, missing });
        assert!(sent.len() > 1);
        for (index, part) in sent.iter().enumerate() {
            let Event::Changes { closed, .. } = part else { panic!("{part:?}") };
            assert_eq!(closed.len(), usize::from(index == sent.len() - 1));
        }
    }
}
