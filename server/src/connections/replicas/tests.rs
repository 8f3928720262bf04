use echogate_proto::api::{Carried, Closed, Connection, Event, Kind, Moved};

use super::*;

const OTHER: u64 = 7;

/// A server that knows one other replica, `b`.
fn replicas() -> Replicas {
    let replicas = Replicas::new(Registry::default());
    replicas.set_connected(true, Instant::now());
    replicas.add(Identity { id: ReplicaId::of(OTHER), name: "b".into() }, Instant::now());
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
    assert!(replicas.apply(other, all(1, &[40, 50]), now) && replicas.is_complete(now));
    assert!(watch.changes().is_none(), "they are to be listed again");
    let listed = replicas.connections(now);
    assert_eq!(ids(&listed), [1, 2]);
    assert!(listed.iter().all(|it| it.replica.as_deref() == Some("b")));
    assert_eq!(replicas.find(2), Some(("b".into(), Some("http://b:1/".to_owned()), 50)));
    let listed = &replicas.list(now + ANSWER_TIMEOUT)[0].connections;
    assert_eq!((ids(listed), listed[0].age), (vec![40, 50], 2.0));

    assert!(replicas.apply(other, changes(2, &[60], &[50], &[40]), now));
    let seen = watch.changes().unwrap();
    let Change::Some { opened, moved, closed } = &*seen[0] else { panic!("{seen:?}") };
    assert_eq!((ids(opened), moved[0].id, closed[0].id), (vec![3], 2, 1));
    assert!(replicas.apply(other, changes(3, &[], &[], &[]), now));
    assert!(watch.changes().is_some_and(|changes| changes.is_empty()), "it is alive");
    assert!(replicas.apply(other, all(9, &[50, 60, 70]), now));
    assert_eq!(ids(&replicas.connections(now)), [2, 3, 4]);
}

#[test]
fn a_report_behind_a_gap_does_not_count_until_a_complete_one_comes() {
    let (replicas, now) = (replicas(), Instant::now());
    let other = ReplicaId::of(OTHER);
    let _watch = replicas.watch(now);
    assert!(!replicas.apply(other, changes(1, &[1], &[], &[]), now));
    assert_eq!(replicas.unknown(), [other]);
    assert!(replicas.apply(other, all(2, &[1]), now));
    assert!(!replicas.apply(other, changes(4, &[2], &[], &[]), now), "3 is lost");
    assert_eq!((replicas.unknown(), replicas.list(now)[0].missing), (vec![other], true));
    assert!(!replicas.apply(other, changes(5, &[3], &[], &[]), now));
    assert!(replicas.apply(other, all(6, &[1, 2, 3]), now));
    assert!(replicas.unknown().is_empty());
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
    let again = Identity { id: ReplicaId::of(8), name: "b".into() };
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
    replicas.add(Identity { id: ReplicaId::of(OTHER), name: "b".into() }, later);
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
