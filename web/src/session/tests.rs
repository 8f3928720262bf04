use proptest::prelude::*;

use super::{exchange::is_end_of_input, *};
use crate::transcript::Entry;

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

/// A session with these events behind it, a millisecond apart, the first at 1.
fn after(events: impl IntoIterator<Item = Event>) -> Session {
    let mut session = Session::new();
    for (now, event) in (1..).zip(events) {
        session.handle(event, f64::from(now));
    }
    session
}

fn how(session: &Session) -> How {
    match session.state() {
        State::Closed(ending) => ending.how,
        other => panic!("not closed but {other:?}"),
    }
}

fn rows(session: &Session) -> Vec<&What> {
    session.transcript().rows().map(|Entry { what, .. }| what).collect()
}

/// The rows of messages that were sent: payload and fate.
fn fates(session: &Session) -> Vec<(&[u8], &Fate)> {
    rows(session)
        .into_iter()
        .filter_map(|what| match what {
            What::Sent(payload, fate) => Some((payload.bytes(), fate)),
            _ => None,
        })
        .collect()
}

fn answered(reply: &str, round_trip: Millis) -> Fate {
    Fate::Answered { reply: reply.into(), round_trip }
}

#[test]
fn a_connection_opens_carries_a_message_and_closes() {
    let mut session = Session::new();
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
    assert_eq!(session.handle(received("ABC"), 2.5), []);
    assert_eq!(fates(&session), [(&b"abc"[..], &answered("ABC", 0.5))]);
    assert_eq!(
        session.handle(disconnect(), 3.0),
        [Effect::Close { code: CloseCode::NORMAL, reason: String::new() }]
    );
    assert_eq!(session.state(), &State::Closing);
    assert_eq!(session.handle(ended(1000, true), 4.0), [Effect::Release]);
    assert_eq!(how(&session), How::ByUs);
}

#[test]
fn how_it_ended_depends_on_how_far_it_had_come_and_who_ended_it() {
    assert_eq!(how(&after([connect(), Event::Rejected("bad".to_owned())])), How::NotTried);
    assert_eq!(how(&after([connect(), ended(1006, false)])), How::NotOpened);
    assert_eq!(how(&after([connect(), disconnect(), ended(1006, false)])), How::CalledOff);
    assert_eq!(how(&after([connect(), opened(), ended(1001, true)])), How::ByPeer);
    assert_eq!(how(&after([connect(), opened(), ended(1006, false)])), How::Broken);
    assert_eq!(
        how(&after([connect(), opened(), disconnect(), ended(1006, false)])),
        How::ByUsUnanswered
    );
}

#[test]
fn a_session_can_connect_again_and_counts_anew() {
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
    assert_eq!(rows(&session).len(), 5, "the transcript goes on");
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
    assert_eq!(
        fates(&session),
        [(&b"aa"[..], &answered("AA", 3.0)), (b"bb", &answered("BB", 3.0)), (b"cc", &Fate::Sent)]
    );
}

#[test]
fn an_empty_message_is_answered_by_an_empty_message() {
    let session = after([connect(), opened(), send(""), received("")]);
    assert_eq!(fates(&session), [(&b""[..], &answered("", 1.0))]);
}

#[test]
fn a_message_of_another_type_or_length_answers_nothing() {
    let binary = Event::Received(b"ABC".to_vec().into());
    let session = after([connect(), opened(), send("abc"), binary, received("ABCD")]);
    assert_eq!(fates(&session), [(&b"abc"[..], &Fate::Sent)]);
    assert_eq!(
        rows(&session)[2..],
        [&What::Received(b"ABC".to_vec().into()), &What::Received("ABCD".into())]
    );
}

#[test]
fn a_message_that_was_passed_over_will_get_no_reply() {
    let session = after([connect(), opened(), send("a"), send("bb"), received("BB")]);
    assert_eq!(fates(&session), [(&b"a"[..], &Fate::Unanswered), (b"bb", &answered("BB", 1.0))]);
}

#[test]
fn replies_still_count_while_closing() {
    let session =
        after([connect(), opened(), send("a"), disconnect(), received("A"), ended(1000, true)]);
    assert_eq!(fates(&session), [(&b"a"[..], &answered("A", 2.0))]);
}

#[test]
fn nothing_is_sent_where_there_is_no_connection() {
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
    assert_eq!(session.handle(send("a"), 4.0), [Effect::AskBuffered]);
    assert_eq!(session.handle(send("b"), 5.0), [], "it has been asked already");
    assert_eq!(session.queued(), 2);
    assert_eq!(session.handle(Event::Buffered(Session::MAX_BUFFERED), 6.0), [Effect::AskBuffered]);
    assert_eq!(
        session.handle(Event::Buffered(100), 7.0),
        [Effect::Transmit("a".into()), Effect::Transmit("b".into())]
    );
    session.handle(Event::Received(vec![0; Session::MAX_BUFFERED].into()), 8.0);
    session.handle(received("A"), 9.0);
    assert_eq!(
        fates(&session)[1],
        (&b"a"[..], &answered("A", 2.0)),
        "the wait here is no part of the round trip"
    );
}

#[test]
fn what_waits_to_be_sent_is_bounded() {
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
fn where_nobody_answers_the_oldest_message_counts_as_unanswered() {
    let sends = (0..=Session::MAX_UNANSWERED).map(|_| send("a"));
    let session = after([connect(), opened()].into_iter().chain(sends));
    let unanswered = session
        .transcript()
        .rows()
        .filter(|row| matches!(row.what, What::Sent(_, Fate::Unanswered)))
        .count();
    assert_eq!(unanswered, 1);
    assert_eq!(session.unanswered.len(), Session::MAX_UNANSWERED);
}

#[test]
fn an_end_says_what_was_not_sent_and_what_was_not_answered() {
    let large = Event::Send(vec![0; Session::MAX_BUFFERED].into());
    let session = after([connect(), opened(), send("a"), large, send("b"), ended(1006, false)]);
    let State::Closed(ending) = session.state() else { panic!("{:?}", session.state()) };
    assert_eq!((ending.unsent, ending.unanswered), (1, 2));
    let fates: Vec<_> = fates(&session).into_iter().map(|(_, fate)| fate.clone()).collect();
    assert_eq!(fates, [Fate::Unanswered, Fate::Unanswered, Fate::NotSent]);
}

#[test]
fn a_service_that_answers_in_order_or_when_it_likes_is_taken_at_its_word() {
    let mut session = after([connect(), opened()]);
    session.pair(Pairing::Order);
    session.handle(send("1532345678"), 3.0);
    session.handle(received("2018-07-23 11:34:38"), 4.0);
    assert_eq!(fates(&session)[0].1, &answered("2018-07-23 11:34:38", 1.0));
    session.pair(Pairing::Never);
    session.handle(send("hello"), 5.0);
    session.handle(received("howdy"), 6.0);
    assert_eq!(fates(&session)[1].1, &Fate::Sent);
    assert_eq!(rows(&session).last(), Some(&&What::Received("howdy".into())));
}

fn half_close_agreed() -> Event {
    Event::Opened { protocol: HALF_CLOSE.to_owned() }
}

fn nothing() -> Payload {
    Payload::from(vec![])
}

#[test]
fn half_a_connection_ends_and_the_other_half_goes_on() {
    let mut session = after([connect(), half_close_agreed(), send("a")]);
    assert_eq!(session.handle(Event::HalfClose, 4.0), [Effect::Transmit(nothing())]);
    assert_eq!(session.handle(send("b"), 5.0), [Effect::Refuse(Refusal::InputEnded)]);
    session.handle(received("A"), 6.0);
    assert_eq!(fates(&session), [(&b"a"[..], &answered("A", 3.0))], "replies still come");
    session.handle(Event::Received(nothing()), 7.0);
    let State::Open { ended, .. } = session.state() else { panic!("{:?}", session.state()) };
    assert_eq!(*ended, Halves { ours: true, theirs: true });
    let rows = rows(&session);
    assert_eq!(rows[2..], [&What::HalfClosed { by_us: true }, &What::HalfClosed { by_us: false }]);
}

#[test]
fn an_empty_binary_message_is_the_end_of_input_only_where_that_was_agreed() {
    let mut session = after([connect(), half_close_agreed()]);
    session.handle(Event::Send(nothing()), 3.0);
    assert!(!session.state().takes_messages());
    let mut session = after([connect(), opened()]);
    session.handle(Event::Send(nothing()), 3.0);
    session.handle(Event::Received(nothing()), 4.0);
    assert_eq!(fates(&session).len(), 1);
    assert_eq!(session.handle(Event::HalfClose, 5.0), [Effect::Refuse(Refusal::NotOpen)]);
}

#[test]
fn the_end_of_input_waits_behind_what_was_sent_before() {
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
fn a_lost_connection_is_made_again_with_ever_longer_waits() {
    let mut session = after([Event::Reconnect(true), connect(), opened()]);
    assert_eq!(
        session.handle(ended(1006, false), 1000.0),
        [Effect::Release, Effect::Wake(backoff::wait(1))]
    );
    assert_eq!(session.handle(Event::Woken, 1100.0), [Effect::Wake(400.0)], "too early");
    let open = Effect::Open { url: "ws://h/ws".to_owned(), protocols: vec![] };
    assert_eq!(session.handle(Event::Woken, 1500.0), [open]);
    let effects = session.handle(ended(1006, false), 1600.0);
    assert_eq!(effects, [Effect::Release, Effect::Wake(backoff::wait(2))]);
    session.handle(connect(), 1700.0);
    session.handle(opened(), 1800.0);
    let effects = session.handle(ended(1011, true), 1900.0);
    assert_eq!(effects, [Effect::Release, Effect::Wake(backoff::wait(1))], "it was open since");
}

#[test]
fn nobody_is_made_to_reconnect() {
    let waiting = || after([Event::Reconnect(true), connect(), opened(), ended(1006, false)]);
    let mut session = waiting();
    assert_eq!(session.handle(disconnect(), 10.0), []);
    assert_eq!(how(&session), How::Broken);
    assert_eq!(session.handle(Event::Woken, 1e9), []);
    let mut session = waiting();
    session.handle(Event::Reconnect(false), 10.0);
    assert_eq!(how(&session), How::Broken);
    let session =
        after([Event::Reconnect(true), connect(), opened(), disconnect(), ended(1000, true)]);
    assert_eq!(how(&session), How::ByUs);
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
        1 => Just(Event::Woken),
        1 => Just(half_close_agreed()),
        1 => Just(Event::Rejected("no".to_owned())),
        2 => Just(opened()),
        4 => payload.prop_map(Event::Received),
        3 => (0..2 * Session::MAX_BUFFERED).prop_map(Event::Buffered),
        1 => (any::<bool>(), 1000..1016u16).prop_map(|(clean, code)| ended(code, clean)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whatever_happens_effects_fit_the_state_and_every_message_has_one_fate(
        events in prop::collection::vec(any_event(), 0..60),
    ) {
        let mut session = Session::new();
        let (mut accepted, mut sockets) = (0, 0);
        for (now, event) in (1..).zip(events) {
            let asked_to_send = matches!(event, Event::Send(_));
            let effects = session.handle(event, f64::from(now));
            let refused = effects.iter().any(|effect| matches!(effect, Effect::Refuse(_)));
            accepted += usize::from(asked_to_send && !refused);
            for effect in &effects {
                match effect {
                    Effect::Open { .. } => sockets += 1,
                    Effect::Release => sockets -= 1,
                    Effect::Transmit(_) => prop_assert!(session.was_open),
                    _ => {}
                }
            }
            let has_socket = !session.state().is_at_rest();
            prop_assert_eq!(sockets, i32::from(has_socket));
            prop_assert!(has_socket || (session.queue.is_empty() && session.unanswered.is_empty()));
            let queued: usize = session.queue.iter().map(|(_, payload)| payload.len()).sum();
            prop_assert_eq!(session.queued_bytes, queued);
        }
        if session.transcript().dropped().rows == 0 {
            prop_assert_eq!(fates(&session).len(), accepted);
            let waiting = fates(&session)
                .iter()
                .filter(|(_, fate)| matches!(fate, Fate::Queued | Fate::Sent))
                .count();
            let end_of_input = session.queue.iter().filter(|(_, it)| is_end_of_input(it));
            let queued = session.queue.len() - end_of_input.count();
            prop_assert_eq!(waiting, queued + session.unanswered.len());
        }
    }
}
