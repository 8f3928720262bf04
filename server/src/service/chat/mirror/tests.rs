use super::*;

fn new() -> Mirror {
    Mirror::new("a/1", Arc::default())
}

/// A mirror that has the snapshot as of `sequence`.
fn live(sequence: u64) -> Mirror {
    let (mut mirror, now) = (new(), Instant::now());
    assert!(mirror.needs_snapshot(now) && mirror.next_part(0, sequence, now).is_some());
    assert!(mirror.complete(sequence, now).is_empty());
    mirror
}

#[test]
fn events_are_applied_once_and_in_order_and_a_gap_requests_a_snapshot() {
    let (mut mirror, now) = (live(5), Instant::now());
    let is_next = |mirror: &mut Mirror, sequence| mirror.next(sequence).is_some();
    assert!(!is_next(&mut mirror, 5) && is_next(&mut mirror, 6) && !is_next(&mut mirror, 6));
    assert!(!mirror.needs_snapshot(now));
    assert!(!is_next(&mut mirror, 8), "7 is missing");
    assert!(!is_next(&mut mirror, 7), "a snapshot has to come first");
    assert!(mirror.needs_snapshot(now) && !mirror.needs_snapshot(now));
    assert!(mirror.needs_snapshot(now + REQUEST_AGAIN));
    let is_part =
        |mirror: &mut Mirror, index, sequence| mirror.next_part(index, sequence, now).is_some();
    assert!(is_part(&mut mirror, 0, 8) && !is_part(&mut mirror, 2, 8));
    assert!(is_part(&mut mirror, 0, 9) && !is_part(&mut mirror, 1, 8));
    assert!(is_part(&mut mirror, 1, 9));
    mirror.complete(9, now);
    assert!(!is_next(&mut mirror, 9) && is_next(&mut mirror, 10));
    assert!(!is_next(&mut mirror, u64::MAX));
}

#[test]
fn a_snapshot_is_not_requested_again_while_parts_of_it_arrive() {
    let (mut mirror, mut now) = (new(), Instant::now());
    assert!(mirror.needs_snapshot(now));
    for index in 0..10 {
        now += REQUEST_AGAIN / 2;
        assert!(!mirror.needs_snapshot(now), "part {index}");
        assert!(mirror.next_part(index, 5, now).is_some());
    }
    now += REQUEST_AGAIN;
    mirror.postpone(now);
    assert!(!mirror.needs_snapshot(now), "operators were slow");
    assert!(mirror.needs_snapshot(now + REQUEST_AGAIN));
    assert!(mirror.next_part(10, 5, now).is_none());
}

#[test]
fn a_last_event_that_is_lost_is_noticed_by_heartbeats() {
    let (mut mirror, now) = (live(5), Instant::now());
    mirror.announce(6);
    assert!(!mirror.needs_snapshot(now), "it may be under way");
    mirror.announce(6);
    assert!(mirror.needs_snapshot(now));
    let mut mirror = live(5);
    mirror.announce(6);
    assert!(mirror.next(6).is_some());
    mirror.announce(6);
    assert!(!mirror.needs_snapshot(now));
}

#[test]
fn a_snapshot_adds_what_is_not_known_and_ends_what_it_does_not_have() {
    let (mut mirror, now) = (live(0), Instant::now());
    mirror.add(1, 11, 0);
    mirror.add(2, 12, 0);
    mirror.get_mut(1).unwrap().messages = 3;
    mirror.resynchronize();
    assert!(mirror.needs_snapshot(now) && mirror.next_part(0, 9, now).is_some());
    assert!(mirror.list(1));
    // The last 4 of 5 messages: 2 to 5, of which 2 and 3 are known.
    assert_eq!(mirror.get_mut(1).unwrap().known(5, 4), (2, 0));
    assert_eq!(mirror.get_mut(1).unwrap().known(5, 4), (4, 0));
    assert_eq!(mirror.get_mut(1).unwrap().known(20, 2), (0, 13));
    assert_eq!(mirror.get_mut(1).unwrap().known(u64::MAX, 1), (0, u64::MAX - 21));
    assert_eq!(mirror.complete(9, now), [2]);
    assert_eq!((mirror.end(2), mirror.end(2)), (Some(12), None));
    assert!(!mirror.list(2) && mirror.list(3));
}

#[test]
fn a_conversation_that_has_ended_is_not_shown_again_however_many_have_ended() {
    let mut mirror = live(0);
    for id in 1..=1000 {
        mirror.add(id, id, 0);
        mirror.end(id);
    }
    assert!((1..=1000).all(|id| !mirror.list(id)) && mirror.list(1001));
}

#[test]
fn events_are_seen_when_operators_have_taken_all_before_them() {
    let (mut mirror, now) = (new(), Instant::now());
    assert_eq!(mirror.seen(true), None);
    let seen = |sequence, all| Some(Seen { sequence, all, through: 0 });
    mirror.needs_snapshot(now);
    let snapshot = mirror.next_part(0, 5, now);
    assert_eq!(mirror.seen(false), None);
    mirror.complete(5, now);
    let sixth = mirror.next(6);
    assert_eq!(mirror.seen(false), None);
    drop(snapshot);
    assert_eq!(mirror.seen(false), seen(5, true));
    let seventh = mirror.next(7);
    drop(seventh);
    assert_eq!(mirror.seen(false), None);
    drop(sixth);
    assert_eq!(mirror.seen(false), seen(7, false));
    assert_eq!((mirror.seen(false), mirror.seen(true)), (None, seen(7, true)));
}
