//! Reports of the replicas on their connections, while clients of the API watch the connections of
//! all replicas.
//!
//! A replica with watchers publishes a request every [`REQUEST`], which names the replicas whose
//! connections it does not know. The other replicas publish their connections and the changes as
//! long as there are requests. Reports are numbered: a replica that misses one requests all
//! connections.

use std::{
    mem,
    time::{Duration, Instant},
};

use echogate_proto::api::{Closed, Connection, Event, Moved};
use serde::{Deserialize, Serialize};

use super::{
    inbox::Inbox,
    session::{Session, VERSION, ticks},
};
use crate::connections::{
    registry::reporter::Reporter,
    replicas::{Added, PartSize, ReplicaId, Replicas, Report},
};

/// The topic of requests.
const REQUESTS: &str = "watch";

/// The topic of reports.
const REPORTS: &str = "connections";

/// The interval between requests.
const REQUEST: Duration = Duration::from_millis(500);

/// The time for which a replica publishes reports after a request.
const WATCHED: Duration = Duration::from_secs(3);

/// The interval between reports.
const REPORT: Duration = Duration::from_millis(250);

/// The number of intervals without changes after which an empty report shows that the replica is
/// alive.
const QUIET: u32 = 2;

#[derive(Debug, Serialize, Deserialize)]
struct Request {
    /// The replicas whose connections the sender does not know.
    unknown: Vec<ReplicaId>,
}

/// Requests and applies the reports of other replicas while there are watchers, until the
/// connection is lost.
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
                    if let Some((from, report)) = session.open::<Report>(&report?) {
                        replicas.apply(from, report, Instant::now());
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
        if session.open::<Request>(&requests.next().await?).is_some() {
            report_while_requested(session, replicas, &mut requests, &mut number).await?;
        }
    }
}

async fn report_while_requested(
    session: &Session<'_>,
    replicas: &Replicas,
    requests: &mut Inbox,
    number: &mut u64,
) -> Result<(), String> {
    let mut reporter = Reporter::new(replicas.registry());
    let mut until = Instant::now() + WATCHED;
    let (mut is_unknown, mut quiet) = (true, 0);
    let mut ticks = ticks(REPORT);
    loop {
        tokio::select! {
            request = requests.next() => {
                if let Some((_, Request { unknown })) = session.open(&request?) {
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
        let mut parts = parts(event, session.max_part()).into_iter().peekable();
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

/// Splits an event into events whose lists take at most `most` bytes of JSON each, or have one
/// element.
fn parts(event: Event, most: usize) -> Vec<Event> {
    let (total, (opened, moved, closed), is_all) = match event {
        Event::All { total, connections, .. } => (total, (connections, vec![], vec![]), true),
        Event::Changes { total, opened, moved, closed, .. } => {
            (total, (opened, moved, closed), false)
        }
    };
    let size = PartSize::new(most);
    let mut parts = Parts { full: Vec::new(), last: Lists::default(), size };
    opened.into_iter().for_each(|it| parts.with_room_for(&it).0.push(it));
    moved.into_iter().for_each(|it| parts.with_room_for(&it).1.push(it));
    // Ends come last: a connection may have begun and ended since the last report.
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
    full: Vec<Lists>,
    last: Lists,
    /// The size of the last lists in JSON.
    size: PartSize,
}

impl Parts {
    /// The lists to which an element is to be added.
    fn with_room_for(&mut self, element: &impl Serialize) -> &mut Lists {
        let bytes = serde_json::to_vec(element).map_or(0, |json| json.len() + 1);
        if self.size.add(bytes) == Added::ToNewPart {
            self.full.push(mem::take(&mut self.last));
        }
        &mut self.last
    }
}

#[cfg(test)]
mod tests {
    use echogate_proto::api::{Carried, Kind};

    use super::{
        super::session::{PART, REST},
        *,
    };

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
