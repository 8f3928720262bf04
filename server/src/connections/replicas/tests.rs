use std::time::Duration;

use echogate_proto::api::{Carried, Closed, Connection, Event, Kind, Moved};

use super::{
    others::{MAX_VANISHED, VANISHED_SHOWN},
    *,
};

const OTHER: u64 = 7;

/// A server that knows one other replica, `b`.
fn replicas() -> Replicas {
    let replicas = Replicas::new(Registry::default());
    replicas.set_connected(true, Instant::now());
    replicas.add(ReplicaIdentity { id: ReplicaId::of(OTHER), name: "b".into() }, Instant::now());
    replicas
}

fn connection(id: u64) -> Connection {
    Connection {
        id,
        replica: None,
        kind: Kind::Tcp,
        peer: None,
        target: "upper".into(),
        label: None,
        upstream_from: None,
        since: 0.0,
        age: 1.0,
        carried: Carried::default(),
    }
}

fn all(number: u64, ids: &[u64]) -> Report {
    let connections = ids.iter().map(|&id| connection(id)).collect();
    let event = Event::All { total: ids.len(), connections, missing: Vec::new() };
    Report { number, url: Some("http://b:1/".to_owned()), more: false, event }
}

fn changes(number: u64, opened: &[u64], moved: &[u64], closed: &[u64]) -> Report {
    let carried = Carried { bytes_sent: 5, ..Carried::default() };
    let event = Event::Changes {
        total: 1,
        opened: opened.iter().map(|&id| connection(id)).collect(),
        moved: moved.iter().map(|&id| Moved { id, carried }).collect(),
        closed: closed.iter().map(|&id| Closed { id, end: "end".into(), carried }).collect(),
        missing: Vec::new(),
    };
    Report { number, url: None, more: false, event }
}

fn ids(connections: &[Connection]) -> Vec<u64> {
    connections.iter().map(|connection| connection.id).collect()
}

#[test]
fn connections_of_another_replica_have_numbers_of_this_server_which_stay() {
    let (replicas, now) = (replicas(), Instant::now());
    let other = ReplicaId::of(OTHER);
    let mut watch = replicas.watch(now);
    assert!(!replicas.is_complete(now));
    replicas.apply(other, all(1, &[40, 50]), now);
    assert!(replicas.is_complete(now));
    assert!(watch.changes().is_none(), "they are to be listed again");
    let listed = replicas.connections(now);
    assert_eq!(ids(&listed), [1, 2]);
    assert!(listed.iter().all(|it| it.replica.as_deref() == Some("b")));
    assert_eq!(replicas.find(2), Some(("b".into(), Some("http://b:1/".to_owned()), 50)));
    let listed = &replicas.list(now + ANSWER_TIMEOUT)[0].connections;
    assert_eq!((ids(listed), listed[0].age), (vec![40, 50], 2.0));

    replicas.apply(other, changes(2, &[60], &[50], &[40]), now);
    let seen = watch.changes().unwrap();
    let Change::Some { opened, moved, closed } = &*seen[0] else { panic!("{seen:?}") };
    assert_eq!((ids(opened), moved[0].id, closed[0].id), (vec![3], 2, 1));
    replicas.apply(other, changes(3, &[], &[], &[]), now);
    assert!(watch.changes().is_some_and(|changes| changes.is_empty()), "it is alive");
    replicas.apply(other, all(9, &[50, 60, 70]), now);
    assert_eq!(ids(&replicas.connections(now)), [2, 3, 4]);
}

#[test]
fn a_report_behind_a_gap_does_not_count_until_a_complete_one_comes() {
    let (replicas, now) = (replicas(), Instant::now());
    let other = ReplicaId::of(OTHER);
    let _watch = replicas.watch(now);
    let is_known = |report| {
        replicas.apply(other, report, now);
        assert_eq!(replicas.list(now)[0].missing, !replicas.unknown().is_empty());
        replicas.unknown().is_empty()
    };
    assert!(!is_known(changes(1, &[1], &[], &[])));
    assert!(is_known(all(2, &[1])));
    assert!(!is_known(changes(4, &[2], &[], &[])), "3 is lost");
    assert!(!is_known(changes(5, &[3], &[], &[])));
    assert_eq!(replicas.connections(now).len(), 1, "those behind the gap do not count");
    assert!(is_known(all(6, &[1, 2, 3])));
}

#[test]
fn a_replica_that_reports_nothing_for_a_second_is_missing() {
    let (replicas, now) = (replicas(), Instant::now());
    let (other, late) = (ReplicaId::of(OTHER), now + ANSWER_TIMEOUT);
    assert!(replicas.missing(late).is_empty(), "nobody watches");
    let watch = replicas.watch(now);
    assert!(replicas.missing(now).is_empty() && !replicas.is_complete(now));
    assert_eq!(replicas.missing(late), ["b".into()]);
    assert!(replicas.is_complete(late), "it is not waited for any longer");
    replicas.apply(other, all(1, &[1]), late);
    assert!(replicas.missing(late).is_empty());
    drop(watch);
    assert!(replicas.connections(now).is_empty(), "what nobody watches is not kept");
}

#[test]
fn a_replica_that_vanishes_is_named_for_a_while_and_one_that_leaves_is_not() {
    let (replicas, now) = (replicas(), Instant::now());
    let other = ReplicaId::of(OTHER);
    let mut watch = replicas.watch(now);
    replicas.apply(other, all(1, &[1]), now);
    watch.changes();
    replicas.remove(other, Some(now));
    assert!(watch.changes().is_none() && replicas.connections(now).is_empty());
    assert_eq!(replicas.missing(now), ["b".into()]);
    assert!(replicas.missing(now + VANISHED_SHOWN).is_empty());
    let again = ReplicaIdentity { id: ReplicaId::of(8), name: "b".into() };
    replicas.add(again.clone(), now);
    assert!(replicas.missing(now).is_empty());
    replicas.remove(again.id, None);
    assert!(replicas.missing(now).is_empty());
}

#[test]
fn without_the_broker_all_others_are_missing_however_long_that_takes() {
    let (replicas, now) = (replicas(), Instant::now());
    let _watch = replicas.watch(now);
    replicas.set_connected(false, now);
    let later = now + 2 * VANISHED_SHOWN;
    assert_eq!(replicas.missing(later), ["b".into()]);
    replicas.set_connected(true, later);
    assert_eq!(replicas.missing(later), ["b".into()]);
    replicas.add(ReplicaIdentity { id: ReplicaId::of(OTHER), name: "b".into() }, later);
    assert!(replicas.missing(later).is_empty());
    assert_eq!(replicas.missing(later + ANSWER_TIMEOUT), ["b".into()]);
}

#[test]
fn what_a_replica_reports_is_bounded() {
    let (replicas, now) = (replicas(), Instant::now());
    let other = ReplicaId::of(OTHER);
    let _watch = replicas.watch(now);
    let many: Vec<u64> = (1..=MAX_REPORTED as u64 + 9).collect();
    replicas.apply(other, all(1, &many), now);
    replicas.apply(other, changes(2, &[5000], &[], &[]), now);
    assert_eq!(replicas.connections(now).len(), MAX_REPORTED);
    assert_eq!(replicas.share(), MAX_REPORTED / 2);
}

#[test]
fn no_number_that_a_replica_reports_is_too_large() {
    let (replicas, now) = (replicas(), Instant::now());
    replicas.add(ReplicaIdentity { id: ReplicaId::of(8), name: "c".into() }, now);
    let _watch = replicas.watch(now);
    for id in [OTHER, 8].map(ReplicaId::of) {
        let event = Event::All { total: usize::MAX, connections: vec![], missing: vec![] };
        replicas.apply(id, Report { event, ..all(u64::MAX, &[]) }, now);
    }
    assert_eq!(replicas.total(), usize::MAX);
    assert_eq!(replicas.unknown().len(), 2, "no report follows the last number");
}

#[test]
fn replicas_that_have_vanished_are_forgotten_however_often_the_broker_is_lost() {
    let (replicas, start) = (replicas(), Instant::now());
    let _watch = replicas.watch(start);
    replicas.remove(ReplicaId::of(OTHER), Some(start));
    for seconds in (20..=180).step_by(20) {
        let now = start + Duration::from_secs(seconds);
        replicas.set_connected(false, now);
        // Each failure to connect is one more loss.
        replicas.set_connected(false, now + Duration::from_secs(1));
        replicas.set_connected(true, now + Duration::from_secs(2));
        assert_eq!(replicas.missing(now).is_empty(), seconds >= 60, "{seconds}");
    }
    assert!(replicas.0.others.lock().vanished.is_empty());
}

#[test]
fn the_number_of_replicas_that_have_vanished_is_bounded() {
    let (replicas, now) = (replicas(), Instant::now());
    let _watch = replicas.watch(now);
    for number in 0..2 * MAX_VANISHED as u64 {
        let (id, at) = (ReplicaId::of(number), now + Duration::from_millis(number));
        replicas.add(ReplicaIdentity { id, name: format!("b/{number}").into() }, at);
        replicas.remove(id, Some(at));
    }
    let named = replicas.missing(now);
    assert_eq!(named.len(), MAX_VANISHED);
    assert!(named.contains(&format!("b/{}", 2 * MAX_VANISHED - 1).into()));
}

#[test]
fn a_loopback_address_is_the_url_of_a_replica_of_the_same_host_only() {
    let now = Instant::now();
    let url = |own: &str, other: &str, url: &str| {
        let replicas = Replicas::new(Registry::default());
        replicas.set_own(Some(own.into()));
        replicas.set_connected(true, now);
        let id = ReplicaId::of(OTHER);
        replicas.add(ReplicaIdentity { id, name: other.into() }, now);
        let _watch = replicas.watch(now);
        replicas.apply(id, Report { url: Some(url.to_owned()), ..all(1, &[40]) }, now);
        replicas.find(1).unwrap().1
    };
    for loopback in ["http://127.0.0.1:80", "https://[::1]:80", "http://[::ffff:127.0.0.1]:80"] {
        assert_eq!(url("a/1", "a/2", loopback).as_deref(), Some(loopback));
        assert_eq!(url("a/1", "b/1", loopback), None);
    }
    assert!(url("a/1", "b/1", "http://192.0.2.1:80").is_some());
}

#[test]
fn a_replica_without_an_api_reports_no_connections_and_no_url() {
    let replicas = replicas();
    let url = Some("http://192.0.2.1:80".to_owned());
    replicas.set_api(true, url.clone());
    assert_eq!((replicas.reported(), replicas.url()), (replicas.share(), url.clone()));
    replicas.set_api(false, url);
    assert_eq!((replicas.reported(), replicas.url()), (0, None));
}
