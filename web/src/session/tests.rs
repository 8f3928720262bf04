use echogate_proto::api::Legs;
use proptest::prelude::*;

use super::*;
use crate::{payload::Payload, stats::Volume, transcript::Entry};

fn connect() -> Event {
    Event::Connect { url: "ws://h/ws".to_owned(), protocols: vec![] }
}

fn opened() -> Event {
    Event::Opened { protocol: String::new() }
}

fn ended(code: u16, clean: bool) -> Event {
    Event::Ended { code: CloseCode(code), reason: String::new(), clean }
}

fn disconnect() -> Event {
    Event::Disconnect { code: CloseCode::NORMAL, reason: String::new() }
}

fn send(text: &str) -> Event {
    Event::Send(text.into())
}

fn received(text: &str) -> Event {
    Event::Received(text.into())
}

fn paired(pairing: Pairing) -> Session {
    let mut session = Session::new();
    session.set_pairing(pairing);
    session
}

/// Handles an event. The socket sends each message at once, and keeps it in its buffer.
fn handle(session: &mut Session, event: Event, now: Millis) {
    for effect in session.handle(event, now) {
        if let Effect::Transmit(payload) = effect {
            session.handle(Event::Sent { buffered: payload.len() }, now);
        }
    }
}

/// A session that pairs by length and has handled these events, a millisecond apart, the first at 1 ms.
fn after(events: impl IntoIterator<Item = Event>) -> Session {
    let mut session = paired(Pairing::Length);
    for (now, event) in (1..).zip(events) {
        handle(&mut session, event, f64::from(now));
    }
    session
}

fn outcome(session: &Session) -> Outcome {
    match session.state() {
        State::Closed(cause) => cause.outcome,
        other => panic!("not closed but {other:?}"),
    }
}

fn rows(session: &Session) -> Vec<&EntryKind> {
    session.transcript().rows().map(|Entry { kind, .. }| kind).collect()
}

/// The sent messages: payload and delivery.
fn deliveries(session: &Session) -> Vec<(&[u8], Delivery)> {
    rows(session)
        .into_iter()
        .filter_map(|kind| match kind {
            EntryKind::Sent(payload, delivery) => Some((payload.bytes(), *delivery)),
            _ => None,
        })
        .collect()
}

/// The replies: payload, the message in the row that it answers, and its round trip.
fn replies(session: &Session) -> Vec<(&[u8], &[u8], Millis)> {
    let transcript = session.transcript();
    let reply = |kind: &'_ EntryKind| match kind {
        EntryKind::Received(_, answer) => *answer,
        _ => None,
    };
    let replies = transcript.rows().filter_map(|row| Some((row, reply(&row.kind)?)));
    let message = |id| transcript.get(id).and_then(|row| row.kind.message()).unwrap().1.bytes();
    replies
        .map(|(row, answer)| {
            let delivery = transcript.get(answer.row).map(|row| &row.kind);
            assert!(matches!(delivery, Some(EntryKind::Sent(_, Delivery::Answered(id))) if *id == row.id));
            (message(row.id), message(answer.row), answer.round_trip)
        })
        .collect()
}

#[test]
fn a_connection_opens_carries_a_message_and_closes() {
    let mut session = paired(Pairing::Length);
    assert_eq!(session.state(), &State::Idle);
    let effects = session.handle(connect(), 0.0);
    assert_eq!(effects, [Effect::Open { url: "ws://h/ws".to_owned(), protocols: vec![] }]);
    assert_eq!(session.state(), &State::Connecting);
    assert_eq!(session.handle(Event::Opened { protocol: "binary".to_owned() }, 1.0), []);
    assert_eq!(
        session.state(),
        &State::Open { protocol: "binary".to_owned(), ended: Halves::default() }
    );
    assert_eq!(session.handle(send("abc"), 2.0), [Effect::Transmit("abc".into())]);
    assert_eq!(session.handle(Event::Sent { buffered: 3 }, 2.0), []);
    assert_eq!(session.handle(received("ABC"), 2.5), []);
    assert_eq!(replies(&session), [(&b"ABC"[..], &b"abc"[..], 0.5)]);
    assert_eq!(
        session.handle(disconnect(), 3.0),
        [Effect::Close { code: CloseCode::NORMAL, reason: String::new() }]
    );
    assert_eq!(session.state(), &State::Closing);
    assert_eq!(session.handle(ended(1000, true), 4.0), [Effect::DropSocket]);
    assert_eq!(outcome(&session), Outcome::ClosedHere);
}

#[test]
fn the_outcome_depends_on_the_state_and_on_the_side_that_ended_it() {
    assert_eq!(outcome(&after([connect(), Event::Rejected("bad".to_owned())])), Outcome::Rejected);
    assert_eq!(outcome(&after([connect(), ended(1006, false)])), Outcome::NotOpened);
    assert_eq!(outcome(&after([connect(), disconnect(), ended(1006, false)])), Outcome::Cancelled);
    assert_eq!(outcome(&after([connect(), opened(), ended(1001, true)])), Outcome::ClosedByPeer);
    assert_eq!(outcome(&after([connect(), opened(), ended(1006, false)])), Outcome::Lost);
    assert_eq!(
        outcome(&after([connect(), opened(), disconnect(), ended(1006, false)])),
        Outcome::ClosedHereUnanswered
    );
}

#[test]
fn a_new_connection_has_new_counters() {
    let session = after([
        connect(),
        opened(),
        send("a"),
        received("A"),
        ended(1001, true),
        connect(),
        opened(),
        received("x"),
    ]);
    assert_eq!(session.stats().sent.messages, 0);
    assert_eq!(session.stats().received.messages, 1);
    assert_eq!(rows(&session).len(), 6, "the transcript goes on");
}

#[test]
fn replies_in_flight_are_matched_in_order() {
    let session = after([
        connect(),
        opened(),
        send("aa"),
        send("bb"),
        send("cc"),
        received("AA"),
        received("BB"),
    ]);
    assert_eq!(replies(&session), [(&b"AA"[..], &b"aa"[..], 3.0), (b"BB", b"bb", 3.0)]);
    assert_eq!(deliveries(&session)[2], (&b"cc"[..], Delivery::Awaiting));
}

#[test]
fn an_empty_message_is_answered_by_an_empty_message() {
    let session = after([connect(), opened(), send(""), received("")]);
    assert_eq!(replies(&session), [(&b""[..], &b""[..], 1.0)]);
}

#[test]
fn a_message_of_another_type_or_length_answers_nothing() {
    let binary = Event::Received(b"ABC".to_vec().into());
    let session = after([connect(), opened(), send("abc"), binary, received("ABCD")]);
    assert_eq!(deliveries(&session), [(&b"abc"[..], Delivery::Awaiting)]);
    assert_eq!(
        rows(&session)[2..],
        [
            &EntryKind::Received(b"ABC".to_vec().into(), None),
            &EntryKind::Received("ABCD".into(), None)
        ]
    );
}

#[test]
fn a_skipped_message_counts_as_unanswered() {
    let session = after([connect(), opened(), send("a"), send("bb"), received("BB")]);
    assert_eq!(deliveries(&session)[0], (&b"a"[..], Delivery::Unanswered));
    assert_eq!(replies(&session), [(&b"BB"[..], &b"bb"[..], 1.0)]);
}

#[test]
fn replies_still_count_while_closing() {
    let session =
        after([connect(), opened(), send("a"), disconnect(), received("A"), ended(1000, true)]);
    assert_eq!(replies(&session), [(&b"A"[..], &b"a"[..], 2.0)]);
}

#[test]
fn a_round_trip_begins_when_the_socket_sends() {
    let mut session = after([connect(), opened()]);
    session.handle(send("a"), 10.0);
    session.handle(Event::Sent { buffered: 1 }, 25.0);
    session.handle(received("A"), 26.0);
    assert_eq!(replies(&session), [(&b"A"[..], &b"a"[..], 1.0)]);
    assert_eq!(session.transcript().get(1).map(|row| row.at), Some(25.0));
}

#[test]
fn rows_are_in_the_order_of_events_whenever_the_user_sent_the_message() {
    let mut session = after([connect(), opened()]);
    session.handle(send("late"), 10.0);
    session.handle(received("early"), 11.0);
    session.handle(Event::Sent { buffered: 0 }, 12.0);
    session.handle(send("never"), 13.0);
    session.handle(ended(1006, false), 14.0);
    let rows: Vec<_> = session.transcript().rows().skip(1).map(|row| (row.at, &row.kind)).collect();
    assert!(matches!(rows[0], (11.0, EntryKind::Received(..))), "{rows:?}");
    assert!(matches!(rows[1], (12.0, EntryKind::Sent(..))), "{rows:?}");
    assert_eq!(rows[2], (14.0, &EntryKind::Sent("never".into(), Delivery::NotSent)));
    assert!(matches!(rows[3], (14.0, EntryKind::Ended(_))), "{rows:?}");
}

#[test]
fn an_end_of_input_that_was_not_sent_is_no_row() {
    let mut session = after([connect(), half_close_agreed()]);
    session.handle(Event::HalfClose, 3.0);
    session.handle(ended(1006, false), 4.0);
    assert!(!rows(&session).contains(&&EntryKind::HalfClosed { by_us: true }));
    let State::Closed(cause) = session.state() else { panic!("{:?}", session.state()) };
    assert_eq!(cause.unsent, 0);
}

#[test]
fn a_message_that_the_socket_had_not_taken_when_it_ended_was_not_sent() {
    let mut session = after([connect(), opened(), send("a")]);
    session.handle(send("b"), 10.0);
    session.handle(ended(1006, false), 11.0);
    let states: Vec<_> = deliveries(&session).into_iter().map(|(_, it)| it).collect();
    assert_eq!(states, [Delivery::Unanswered, Delivery::NotSent]);
    assert_eq!(session.stats().sent.messages, 1);
}

#[test]
fn the_parts_of_a_file_are_counted_and_are_no_rows() {
    let traffic = Volume { bytes: 100, messages: 2 };
    let moved = Event::FileMoved { sent: traffic, received: traffic };
    let session = after([connect(), opened(), moved]);
    assert_eq!((session.stats().sent.bytes, session.stats().received.messages), (100, 2));
    assert_eq!(rows(&session).len(), 1);
}

#[test]
fn nothing_is_sent_without_a_connection() {
    let refused = [Effect::Refuse(Refusal::NotOpen)];
    assert_eq!(Session::new().handle(send("a"), 0.0), refused);
    assert_eq!(after([connect()]).handle(send("a"), 9.0), refused);
    assert_eq!(after([connect(), opened(), disconnect()]).handle(send("a"), 9.0), refused);
    assert_eq!(after([connect(), opened(), ended(1001, true)]).handle(send("a"), 9.0), refused);
}

#[test]
fn a_full_browser_is_given_no_more_until_it_has_sent_some() {
    let mut session = after([connect(), opened()]);
    let large = Payload::from(vec![0; Session::MAX_BUFFERED]);
    assert_eq!(
        session.handle(Event::Send(large.clone()), 3.0),
        [Effect::Transmit(large)],
        "nothing waits: even a large message goes"
    );
    assert_eq!(session.handle(send("a"), 4.0), [Effect::PollBuffered]);
    assert_eq!(session.handle(send("b"), 5.0), [], "it has been asked already");
    assert_eq!(session.queued(), 2);
    assert_eq!(session.handle(Event::Buffered(Session::MAX_BUFFERED), 6.0), [Effect::PollBuffered]);
    assert_eq!(
        session.handle(Event::Buffered(100), 7.0),
        [Effect::Transmit("a".into()), Effect::Transmit("b".into())]
    );
    for _ in 0..3 {
        session.handle(Event::Sent { buffered: 0 }, 7.0);
    }
    session.handle(Event::Received(vec![0; Session::MAX_BUFFERED].into()), 8.0);
    session.handle(received("A"), 9.0);
    let reply = replies(&session)[1];
    assert_eq!(reply, (&b"A"[..], &b"a"[..], 2.0), "the wait here is no part of the round trip");
}

#[test]
fn the_queue_is_bounded() {
    let mut session = after([connect(), opened()]);
    session.handle(Event::Send(vec![0; Session::MAX_BUFFERED].into()), 3.0);
    for _ in 0..Session::MAX_QUEUED {
        assert!(!session.handle(send("a"), 4.0).contains(&Effect::Refuse(Refusal::QueueFull)));
    }
    assert_eq!(session.handle(send("a"), 5.0), [Effect::Refuse(Refusal::QueueFull)]);

    let mut session = after([connect(), opened()]);
    session.handle(Event::Send(vec![0; Session::MAX_BUFFERED].into()), 3.0);
    session.handle(Event::Send(vec![0; Session::MAX_QUEUED_BYTES].into()), 4.0);
    assert_eq!(session.handle(send("a"), 5.0), [Effect::Refuse(Refusal::QueueFull)]);
}

#[test]
fn beyond_the_bound_the_oldest_message_counts_as_unanswered() {
    let sends = (0..=Pairs::MAX).map(|_| send("a"));
    let session = after([connect(), opened()].into_iter().chain(sends));
    let unanswered = session
        .transcript()
        .rows()
        .filter(|row| matches!(row.kind, EntryKind::Sent(_, Delivery::Unanswered)))
        .count();
    assert_eq!(unanswered, 1);
    assert_eq!(session.pairs.len(), Pairs::MAX);
}

#[test]
fn the_close_reason_counts_unsent_and_unanswered_messages() {
    let large = Event::Send(vec![0; Session::MAX_BUFFERED].into());
    let session = after([connect(), opened(), send("a"), large, send("b"), ended(1006, false)]);
    let State::Closed(cause) = session.state() else { panic!("{:?}", session.state()) };
    assert_eq!((cause.unsent, cause.unanswered), (1, 2));
    let deliveries: Vec<_> =
        deliveries(&session).into_iter().map(|(_, delivery)| delivery).collect();
    assert_eq!(deliveries, [Delivery::Unanswered, Delivery::Unanswered, Delivery::NotSent]);
}

#[test]
fn without_pairing_nothing_is_said_of_replies() {
    let mut session = paired(Pairing::None);
    session.handle(connect(), 1.0);
    session.handle(opened(), 2.0);
    handle(&mut session, send("hello"), 5.0);
    session.handle(received("howdy"), 6.0);
    assert_eq!(deliveries(&session), [(&b"hello"[..], Delivery::Sent)]);
    assert_eq!(rows(&session).last(), Some(&&EntryKind::Received("howdy".into(), None)));
    session.handle(ended(1000, true), 7.0);
    let State::Closed(cause) = session.state() else { panic!("{:?}", session.state()) };
    assert_eq!(cause.unanswered, 0);
}

#[test]
fn a_change_of_the_pairing_pairs_the_messages_anew() {
    let events = [connect(), opened(), send("a"), send("b"), received("1234"), received("5")];
    let mut session = after(events);
    assert_eq!(replies(&session), [(&b"5"[..], &b"a"[..], 3.0)]);
    session.set_pairing(Pairing::Order);
    assert!(!session.pair_anew(100));
    assert_eq!(replies(&session), [(&b"1234"[..], &b"a"[..], 2.0), (b"5", b"b", 2.0)]);
    assert_eq!(session.stats().round_trips.count(), 2);
    assert_eq!(session.exchanges().of_row(1).map(|it| it.received), Some(5.0));
    session.handle(send("c"), 7.0);
    session.set_pairing(Pairing::None);
    assert!(!session.pair_anew(100));
    assert_eq!(replies(&session), []);
    assert_eq!(session.stats().round_trips.count(), 0);
    assert!(deliveries(&session).iter().all(|(_, delivery)| *delivery == Delivery::Sent));
}

#[test]
fn another_rule_keeps_the_measured_times_of_exchanges_and_invents_none() {
    let mut session = after([connect(), opened(), send("a"), received("A")]);
    session.exchanges_mut().drawn(0.0, 9.0);
    let legs = Legs::Bridge { up: 1.0, upstream: 2.0, down: 3.0, received: 1 };
    session.exchanges_mut().reported(legs, false);
    let measured = *session.exchanges().of_row(1).unwrap();
    assert_eq!((measured.drawn, measured.gateway.is_some()), (Some(9.0), true));
    let change = |session: &mut Session, rule| {
        session.set_pairing(rule);
        session.pair_anew(u64::MAX);
    };
    change(&mut session, Pairing::None);
    assert_eq!(session.exchanges().of_row(1), None);
    assert_eq!(session.exchanges().latest(9.0), (None, None));
    for event in [send("b"), Event::Sent { buffered: 0 }, received("B"), received("C")] {
        session.handle(event, 10.0);
    }
    change(&mut session, Pairing::Order);
    assert_eq!(session.exchanges().of_row(1), Some(&measured));
    assert!(!session.exchanges().has_undrawn(0.0), "the reply B was drawn before it was one");
    session.exchanges_mut().drawn(0.0, 5000.0);
    let later = session.exchanges().of_row(3).unwrap();
    assert_eq!((later.asked, later.drawn, later.received), (None, None, 10.0));
    change(&mut session, Pairing::Next);
    assert_eq!(session.exchanges().of_row(1), Some(&measured));
}

#[test]
fn a_reply_that_another_rule_finds_before_it_is_drawn_has_no_time_of_drawing() {
    let mut session = after([connect(), opened(), send("a"), received("A")]);
    let legs = Legs::Bridge { up: 1.0, upstream: 2.0, down: 3.0, received: 1 };
    session.exchanges_mut().reported(legs, false);
    assert!(session.exchanges().has_undrawn(0.0));
    session.set_pairing(Pairing::Order);
    session.pair_anew(u64::MAX);
    assert!(!session.exchanges().has_undrawn(0.0));
    assert!(session.exchanges().of_row(1).unwrap().gateway.is_some());
}

#[test]
fn a_new_rule_is_applied_in_parts_while_messages_go_on() {
    let mut session = after([connect(), opened(), send("a"), send("b"), received("1234")]);
    session.set_pairing(Pairing::Order);
    assert_eq!(session.stats().round_trips.count(), 0);
    assert!(session.pair_anew(2), "the Opened row and the first message");
    session.handle(received("5"), 6.0);
    for effect in session.handle(send("c"), 7.0) {
        assert!(matches!(effect, Effect::Transmit(_)));
        session.handle(Event::Sent { buffered: 0 }, 7.0);
    }
    assert_eq!(replies(&session), [], "its turn comes after that of older rows");
    assert!(session.pair_anew(2));
    assert!(!session.pair_anew(2));
    session.handle(received("6"), 9.0);
    let expected = [(&b"1234"[..], &b"a"[..], 2.0), (b"5", b"b", 2.0), (b"6", b"c", 2.0)];
    assert_eq!(replies(&session), expected);
    assert_eq!(session.stats().round_trips.count(), 3);
}

fn half_close_agreed() -> Event {
    Event::Opened { protocol: HALF_CLOSE.to_owned() }
}

fn nothing() -> Payload {
    Payload::from(vec![])
}

#[test]
fn after_a_half_close_the_other_direction_goes_on() {
    let mut session = after([connect(), half_close_agreed(), send("a")]);
    assert_eq!(session.handle(Event::HalfClose, 4.0), [Effect::Transmit(nothing())]);
    session.handle(Event::Sent { buffered: 0 }, 4.0);
    assert_eq!(session.handle(send("b"), 5.0), [Effect::Refuse(Refusal::InputEnded)]);
    session.handle(received("A"), 6.0);
    assert_eq!(replies(&session), [(&b"A"[..], &b"a"[..], 3.0)], "replies still come");
    session.handle(Event::Received(nothing()), 7.0);
    let State::Open { ended, .. } = session.state() else { panic!("{:?}", session.state()) };
    assert_eq!(*ended, Halves { ours: true, theirs: true });
    let rows = rows(&session);
    assert_eq!(rows[2], &EntryKind::HalfClosed { by_us: true });
    assert_eq!(rows[4], &EntryKind::HalfClosed { by_us: false });
}

#[test]
fn an_empty_binary_message_is_the_end_of_input_only_where_that_was_agreed() {
    let mut session = after([connect(), half_close_agreed()]);
    session.handle(Event::Send(nothing()), 3.0);
    assert!(!session.state().takes_messages());
    let mut session = after([connect(), opened()]);
    handle(&mut session, Event::Send(nothing()), 3.0);
    session.handle(Event::Received(nothing()), 4.0);
    assert_eq!(deliveries(&session).len(), 1);
    assert_eq!(session.handle(Event::HalfClose, 5.0), [Effect::Refuse(Refusal::NotOpen)]);
}

#[test]
fn the_end_of_input_waits_behind_the_messages_before_it() {
    let mut session = after([connect(), half_close_agreed()]);
    session.handle(Event::Send(vec![0; Session::MAX_BUFFERED].into()), 3.0);
    session.handle(send("a"), 4.0);
    assert_eq!(session.handle(Event::HalfClose, 5.0), []);
    assert_eq!(
        session.handle(Event::Buffered(0), 6.0),
        [Effect::Transmit("a".into()), Effect::Transmit(nothing())]
    );
}

#[test]
fn a_lost_connection_is_opened_again_after_growing_waits() {
    let mut session = after([Event::Reconnect(true), connect(), opened()]);
    assert_eq!(
        session.handle(ended(1006, false), 1000.0),
        [Effect::DropSocket, Effect::StartTimer(1500.0)]
    );
    assert_eq!(
        session.handle(Event::TimerExpired, 1100.0),
        [Effect::StartTimer(1400.0)],
        "too early"
    );
    let open = Effect::Open { url: "ws://h/ws".to_owned(), protocols: vec![] };
    assert_eq!(session.handle(Event::TimerExpired, 2500.0), [open]);
    let effects = session.handle(ended(1006, false), 2600.0);
    assert_eq!(effects, [Effect::DropSocket, Effect::StartTimer(3000.0)]);
    session.handle(connect(), 2700.0);
    session.handle(opened(), 2800.0);
    session.set_jitter(0.5);
    let effects = session.handle(ended(1011, true), 2900.0);
    assert_eq!(
        effects,
        [Effect::DropSocket, Effect::StartTimer(750.0)],
        "it was open since, and shortened by half"
    );
}

#[test]
fn a_user_who_disconnects_is_not_reconnected() {
    let waiting = || after([Event::Reconnect(true), connect(), opened(), ended(1006, false)]);
    let mut session = waiting();
    assert_eq!(session.handle(disconnect(), 10.0), []);
    assert_eq!(outcome(&session), Outcome::Lost);
    assert_eq!(session.handle(Event::TimerExpired, 1e9), []);
    let mut session = waiting();
    session.handle(Event::Reconnect(false), 10.0);
    assert_eq!(outcome(&session), Outcome::Lost);
    let session =
        after([Event::Reconnect(true), connect(), opened(), disconnect(), ended(1000, true)]);
    assert_eq!(outcome(&session), Outcome::ClosedHere);
}

fn any_event() -> impl Strategy<Value = Event> {
    let payload = prop_oneof![
        4 => "[a-c]{0,3}".prop_map(|text| Payload::from(&*text)),
        1 => (1..3usize).prop_map(|n| Payload::from(vec![7; n])),
        1 => Just(Payload::from(vec![0; Session::MAX_BUFFERED])),
    ];
    prop_oneof![
        2 => Just(connect()),
        1 => Just(disconnect()),
        8 => payload.clone().prop_map(Event::Send),
        1 => Just(Event::HalfClose),
        1 => any::<bool>().prop_map(Event::Reconnect),
        1 => Just(Event::TimerExpired),
        1 => Just(half_close_agreed()),
        1 => Just(Event::Rejected("no".to_owned())),
        2 => Just(opened()),
        4 => payload.prop_map(Event::Received),
        4 => (0..9usize).prop_map(|buffered| Event::Sent { buffered }),
        3 => (0..2 * Session::MAX_BUFFERED).prop_map(Event::Buffered),
        1 => (any::<bool>(), 1000..1016u16).prop_map(|(clean, code)| ended(code, clean)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_happens_effects_fit_the_state_and_each_message_has_one_row_in_the_order_of_events(
        events in prop::collection::vec(any_event(), 0..60),
    ) {
        let mut session = paired(Pairing::Length);
        let (mut accepted, mut sockets) = (0, 0);
        for (now, event) in (1..).zip(events) {
            let asked_to_send = matches!(event, Event::Send(_));
            let effects = session.handle(event, f64::from(now));
            let refused = effects.iter().any(|effect| matches!(effect, Effect::Refuse(_)));
            accepted += usize::from(asked_to_send && !refused);
            for effect in &effects {
                match effect {
                    Effect::Open { .. } => sockets += 1,
                    Effect::DropSocket => sockets -= 1,
                    Effect::Transmit(_) => prop_assert!(session.was_open),
                    _ => {}
                }
            }
            let has_socket = !session.state().is_at_rest();
            prop_assert_eq!(sockets, i32::from(has_socket));
            prop_assert!(has_socket || (session.queue.is_empty() && session.pairs.is_empty()));
            let queued: usize = session.queue.iter().filter_map(|it| it.message.as_ref()).map(Payload::len).sum();
            prop_assert_eq!(session.queued_bytes, queued);
        }
        if session.transcript().dropped().rows == 0 {
            let outgoing = session.handed.iter().chain(&session.queue);
            let unsent = outgoing.filter(|it| it.message.is_some()).count();
            let deliveries = deliveries(&session);
            prop_assert_eq!(deliveries.len() + unsent, accepted);
            let awaiting = deliveries.iter().filter(|(_, it)| *it == Delivery::Awaiting).count();
            prop_assert_eq!(awaiting, session.pairs.len());
        }
        prop_assert!(session.transcript().rows().is_sorted_by_key(|row| row.at as u32));
    }
}

#[test]
fn a_close_with_a_code_of_refusals_right_after_the_handshake_is_a_refusal() {
    let cases = [(1008, 5.0, true), (1011, 5.0, true), (1011, 5000.0, false), (1001, 5.0, false)];
    for (code, at, refused) in cases {
        let mut session = after([connect(), opened()]);
        session.handle(ended(code, true), at);
        assert_eq!(session.transcript().ends_with_refusal(), refused, "{code} after {at} ms");
    }
    let mut session = after([connect(), opened(), received("a")]);
    session.handle(ended(1011, true), 5.0);
    assert!(!session.transcript().ends_with_refusal(), "a message had passed");
}

#[test]
fn the_wait_grows_with_each_refusal_and_starts_anew_after_a_connection() {
    let mut session = Session::new();
    session.handle(Event::Reconnect(true), 0.0);
    session.handle(connect(), 0.0);
    let mut attempt_after = |code, lasted: Millis| {
        session.handle(opened(), 0.0);
        session.handle(ended(code, true), lasted);
        let State::Waiting { attempt, until, .. } = *session.state() else {
            panic!("{:?}", session.state())
        };
        session.handle(Event::TimerExpired, until);
        attempt
    };
    assert_eq!([1013, 1013, 1013].map(|code| attempt_after(code, 0.0)), [1, 2, 3]);
    assert_eq!(attempt_after(1013, 5000.0), 1);
}

#[test]
fn restored_messages_are_paired_by_the_rule_that_was_chosen_meanwhile() {
    let mut session = after([connect(), opened()]);
    session.set_pairing(Pairing::Order);
    session.pair_anew(u64::MAX);
    for event in [Event::Send("a".into()), Event::Sent { buffered: 0 }, received("A")] {
        session.handle(event, 1.0);
    }
    let is_paired =
        |session: &Session| session.transcript().rows().any(|row| row.kind.partner().is_some());
    assert!(is_paired(&session));
    session.clear();
    session.set_pairing(Pairing::None);
    session.clear();
    session.restore();
    session.pair_anew(u64::MAX);
    assert_eq!(session.transcript().len(), 3);
    assert!(!is_paired(&session));
}

#[test]
fn a_dismissed_end_leaves_a_connection_that_reconnects() {
    let mut session = after([connect(), opened(), ended(1011, true)]);
    session.handle(Event::Dismiss, 5.0);
    assert_eq!(*session.state(), State::Idle);
    session.handle(Event::Reconnect(true), 6.0);
    for event in [connect(), opened(), ended(1006, false), Event::Dismiss] {
        session.handle(event, 7.0);
    }
    assert!(matches!(session.state(), State::Waiting { .. }));
}
