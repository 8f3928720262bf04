//! The connections of replicas, which report them to each other while somebody watches.
//!
//! A replica whose clients watch publishes a request every half a second, with the replicas whose
//! connections it does not know. Every other replica publishes its connections and their changes as
//! long as there are requests. Reports have numbers: a replica that misses one asks for all.

use std::{mem, time::Duration};

use async_nats::Subscriber;
use echogate_proto::api::{Closed, Connection, Event, Moved};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::session::{ENDED, Session, VERSION, ticks};
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

/// The size of the connections and changes in one report, in bytes of JSON, where the broker takes
/// as many.
const PART: usize = 128 << 10;

/// The size of the rest of a report, at most.
const REST: usize = 512;

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
        reporter.set_most(replicas.reported());
        let event = match mem::take(&mut is_unknown) {
            true => Some(reporter.all()),
            false => reporter.report(),
        };
        quiet = if event.is_some() { 0 } else { quiet + 1 };
        let event = match event {
            Some(event) => event,
            None if quiet >= QUIET => {
                quiet = 0;
                changes(reporter.total(), Lists::default())
            }
            None => continue,
        };
        let most = PART.min(session.max_payload().saturating_sub(REST));
        let mut parts = parts(event, most).into_iter().peekable();
        while let Some(event) = parts.next() {
            *number += 1;
            let more = parts.peek().is_some();
            let report = Report { number: *number, url: replicas.url(), more, event };
            session.publish(REPORTS, report).await?;
        }
    }
}

/// The connections that began, moved bytes and ended.
type Lists = (Vec<Connection>, Vec<Moved>, Vec<Closed>);

fn changes(total: usize, (opened, moved, closed): Lists) -> Event {
    Event::Changes { total, opened, moved, closed, missing: Vec::new() }
}

/// The event, or several ones in its place, so that the lists of each take at most `most` bytes of
/// JSON, or have one element.
fn parts(event: Event, most: usize) -> Vec<Event> {
    let (total, (opened, moved, closed), is_all) = match event {
        Event::All { total, connections, .. } => (total, (connections, vec![], vec![]), true),
        Event::Changes { total, opened, moved, closed, .. } => {
            (total, (opened, moved, closed), false)
        }
    };
    let mut parts = Parts { most, full: Vec::new(), last: Lists::default(), size: 0 };
    opened.into_iter().for_each(|it| parts.with_room_for(&it).0.push(it));
    moved.into_iter().for_each(|it| parts.with_room_for(&it).1.push(it));
    // A connection may have begun and ended meanwhile: the ends come last.
    closed.into_iter().for_each(|it| parts.with_room_for(&it).2.push(it));
    let Parts { mut full, last, .. } = parts;
    full.push(last);
    let event = |(index, lists): (usize, Lists)| match index {
        0 if is_all => Event::All { total, connections: lists.0, missing: Vec::new() },
        _ => changes(total, lists),
    };
    full.into_iter().enumerate().map(event).collect()
}

/// The lists of several events.
struct Parts {
    /// The most bytes of JSON.
    most: usize,
    full: Vec<Lists>,
    last: Lists,
    /// The size of the last lists in JSON.
    size: usize,
}

impl Parts {
    /// The lists to which an element is to be added.
    fn with_room_for(&mut self, element: &impl Serialize) -> &mut Lists {
        let size = serde_json::to_vec(element).map_or(0, |json| json.len() + 1);
        if self.size > 0 && self.size + size > self.most {
            self.full.push(mem::take(&mut self.last));
            self.size = 0;
        }
        self.size += size;
        &mut self.last
    }
}

#[cfg(test)]
mod tests {
    use echogate_proto::api::{Carried, Kind};

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
    fn a_long_list_is_sent_in_parts_of_which_none_is_too_large_for_the_broker() {
        let connections: Vec<_> = (0..300).map(|id| connection(id, &"\u{1}".repeat(500))).collect();
        let all = Event::All { total: 300, connections: connections.clone(), missing: vec![] };
        for max_payload in [4 << 10, PART] {
            let mut got = Vec::new();
            for (index, part) in parts(all.clone(), max_payload - REST).into_iter().enumerate() {
                assert!(serde_json::to_string(&part).unwrap().len() < max_payload - REST / 2);
                match part {
                    Event::All { connections, .. } if index == 0 => got.extend(connections),
                    Event::Changes { opened, .. } if index > 0 => got.extend(opened),
                    other => panic!("{index}: {other:?}"),
                }
            }
            assert_eq!(got, connections);
        }
        assert_eq!(parts(all, 0).len(), 300, "one connection in each");
    }

    #[test]
    fn changes_are_split_too_and_ends_come_last() {
        const MOST: usize = 10_000;

        let carried = Carried::default();
        let opened: Vec<_> = (0..100).map(|id| connection(id, "/ws")).collect();
        let moved: Vec<_> = (0..100).map(|id| Moved { id, carried }).collect();
        let closed: Vec<_> = (0..100).map(|id| Closed { id, end: "end".into(), carried }).collect();
        let lists = (opened.clone(), moved.clone(), closed.clone());
        let mut got = Lists::default();
        for part in parts(changes(7, lists), MOST) {
            assert!(serde_json::to_string(&part).unwrap().len() < MOST + REST / 2);
            let Event::Changes { total: 7, opened, moved, closed, .. } = part else {
                panic!("{part:?}");
            };
            assert!(opened.is_empty() || got.2.is_empty(), "an end before a beginning");
            got.0.extend(opened);
            got.1.extend(moved);
            got.2.extend(closed);
        }
        assert_eq!(got, (opened, moved, closed));
    }
}
