use echogate_proto::recording::{Direction, Opened};
use proptest::prelude::*;

use super::{
    comparison::differences,
    difference::{Difference, Shown},
    *,
};
use crate::recording::model::{Action, RecordedConnection, Recording, TimedEvent, Traffic};

fn connection(traffic: Traffic, actions: Vec<(Direction, Action)>) -> RecordedConnection {
    let events = (0..).zip(actions).map(|(index, (direction, action))| TimedEvent {
        time: index * 1_000_000,
        direction,
        action,
    });
    RecordedConnection {
        number: 1,
        opened: Opened { target: "upper".to_owned(), ..Opened::default() },
        start: 0,
        traffic,
        events: events.collect(),
        defects: Vec::new(),
        refusal: None,
    }
}

/// A stream whose server sends `parts`.
fn stream(parts: &[&[u8]]) -> RecordedConnection {
    let parts = parts
        .iter()
        .map(|part| (Direction::ToClient, Action::Bytes(bytes::Bytes::copy_from_slice(part))));
    connection(Traffic::Bytes, parts.collect())
}

/// A WebSocket whose server sends text messages.
fn messages(texts: &[&str]) -> RecordedConnection {
    let messages = texts.iter().map(|text| {
        let payload = bytes::Bytes::copy_from_slice(text.as_bytes());
        (Direction::ToClient, Action::Message { is_text: true, payload })
    });
    connection(Traffic::Messages, messages.collect())
}

fn patterns(patterns: &[&str]) -> Vec<Regex> {
    patterns.iter().map(|pattern| parse_pattern(pattern).unwrap()).collect()
}

/// The report of two connections, without the figures.
fn report(a: RecordedConnection, b: RecordedConnection, ignored: &[&str]) -> String {
    let [a, b] = [a, b].map(|connection| Recording::from(vec![connection]));
    let comparison = Comparison::new([&a, &b], &patterns(ignored));
    let text = report::text(&comparison, ["a", "b"]);
    let lines: Vec<_> = text.lines().filter(|line| !line.contains(" to the server, ")).collect();
    lines[2..].join("\n")
}

#[test]
fn the_first_difference_of_streams_has_its_offset_and_both_sides() {
    assert_eq!(
        report(stream(&[b"hello ", b"world\n"]), stream(&[b"hello w", b"ald\n"]), &[]),
        "connection 1 to upper: different\n\
         \x20 to the client, byte 7:\n    A: hello w|orld\\n\n    B: hello w|ald\\n\n\
         different: 1 of 1 connection"
    );
    let text = report(stream(&[b"\0\xff\x01"]), stream(&[b"\0\xff"]), &[]);
    assert!(text.contains("A: hex 00 ff | 01\n    B: nothing more"), "{text}");
}

#[test]
fn messages_are_compared_with_their_boundaries() {
    let text = report(messages(&["ab", "c"]), messages(&["a", "bc"]), &[]);
    assert!(text.contains("to the client, message 1, byte 1:"), "{text}");
    let text = report(messages(&["a", "b"]), messages(&["a"]), &[]);
    assert!(text.contains("message 2:\n    A: text |b\n    B: nothing more"), "{text}");
    let as_bytes = report(messages(&["ab", "c"]), stream(&[b"a", b"bc"]), &[]);
    assert_eq!(as_bytes, "connection 1 to upper: the same\nthe same: 1 connection");
}

#[test]
fn a_difference_of_ends_is_told_where_both_are_known() {
    let with = |action: Option<Action>| {
        let end = action.into_iter().map(|action| (Direction::ToClient, action));
        connection(Traffic::Messages, end.collect())
    };
    let close = |reason: &str| Some(Action::Close { code: Some(1000), reason: reason.to_owned() });
    let text = report(with(close("bye")), with(Some(Action::Reset)), &[]);
    assert!(
        text.contains("to the client, the end:\n    A: Close 1000 \"bye\"\n    B: reset"),
        "{text}"
    );
    let text = report(with(close("bye")), with(close("")), &[]);
    assert!(text.contains("B: Close 1000\n"), "{text}");
    assert!(report(with(close("")), with(None), &[]).ends_with("the same: 1 connection"));
}

#[test]
fn ignored_parts_do_not_differ_and_offsets_are_those_of_the_file() {
    let a = || messages(&[r#"{"id":123,"ok":true}"#]);
    assert!(report(a(), messages(&[r#"{"id":4,"ok":true}"#]), &[r"\d+"]).contains("the same"));
    let text = report(a(), messages(&[r#"{"id":4,"ok":false}"#]), &[r"\d+"]);
    assert!(text.contains("message 1, byte 15:"), "{text}");
}

#[test]
fn a_connection_that_only_one_has_is_a_difference() {
    let a = Recording::from(vec![stream(&[]), stream(&[])]);
    let b = Recording::from(vec![stream(&[])]);
    let comparison = Comparison::new([&a, &b], &[]);
    assert_eq!(comparison.different(), 1);
    let xml = junit::xml(&comparison, ["a<b>", "\"c\""]);
    assert!(
        xml.contains(
            "<testsuite name=\"a&lt;b&gt; and &quot;c&quot;\" tests=\"2\" failures=\"1\">"
        )
    );
    assert!(xml.contains("<failure message=\"only in a\">only in a</failure>"), "{xml}");
}

#[test]
fn reply_times_are_compared() {
    // Exchanges, each of which takes this time.
    let exchanges = |milliseconds: &[u64]| {
        let parts = [(Direction::ToServer, "a"), (Direction::ToClient, "b")];
        let parts = parts.map(|(direction, text)| (direction, Action::Bytes(text.into())));
        let parts = milliseconds.iter().flat_map(|_| parts.clone());
        let mut connection = connection(Traffic::Bytes, parts.collect());
        for (exchange, time) in connection.events.chunks_mut(2).zip(milliseconds) {
            exchange[1].time = exchange[0].time + time * 1_000_000;
        }
        Recording::from(vec![connection])
    };
    let compared = |a: &[u64], b: &[u64]| Comparison::new([&exchanges(a), &exchanges(b)], &[]);
    let slower = compared(&[1, 9, 2], &[4, 9, 4, 50]);
    let text = report::text(&slower, ["a", "b"]);
    assert!(text.contains("A: 3 bytes to the server, 3 bytes to the client; 3 replies"), "{text}");
    assert!(text.contains("3 replies after 2.000 ms (median), 2.000 ms (90 %)"), "{text}");
    assert!(text.contains("\n  latency shift: +2.000 ms (median of B - A)\n"), "{text}");
    let shift = |comparison: &Comparison| {
        serde_json::to_value(comparison).unwrap()["connections"][0]["latency_shift_ms"].clone()
    };
    assert_eq!(shift(&slower), 2.0);
    assert_eq!(shift(&compared(&[3], &[1])), -2.0);
    let none = compared(&[3], &[]);
    assert_eq!(shift(&none), serde_json::Value::Null);
    assert!(!report::text(&none, ["a", "b"]).contains("shift"));
}

#[test]
fn an_invalid_pattern_is_refused_in_one_line() {
    let error = parse_pattern("(").unwrap_err();
    assert_eq!(error, "error: unclosed group");
}

proptest! {
    #[test]
    fn a_stream_is_the_same_however_it_was_cut(
        bytes in proptest::collection::vec(any::<u8>(), 1..200),
        a in 1_usize..50,
        b in 1_usize..50,
    ) {
        let cut = |size| stream(&bytes.chunks(size).collect::<Vec<_>>());
        prop_assert_eq!(differences(&cut(a), &cut(b), &[]), []);
    }

    #[test]
    fn a_changed_byte_is_found_at_its_offset(
        bytes in proptest::collection::vec(any::<u8>(), 1..200),
        at: prop::sample::Index,
    ) {
        let mut changed = bytes.clone();
        let at = at.index(bytes.len());
        changed[at] ^= 0x55;
        let found = differences(&stream(&[&bytes]), &stream(&[&changed]), &[]);
        let [Difference { offset, a: Shown::Excerpt(a), .. }] = &found[..] else { panic!("{found:?}") };
        prop_assert_eq!(*offset, Some(at as u64));
        prop_assert_eq!(a.payload.as_bytes()[a.before], bytes[at]);
    }

    #[test]
    fn what_is_ignored_makes_no_difference(texts in proptest::collection::vec("[a-z]{0,9}", 1..9)) {
        let with = |noise: &str| messages(&[&texts.join(noise)]);
        let ignored = patterns(&["[0-9]+"]);
        prop_assert_eq!(differences(&with("1"), &with("2345"), &ignored), []);
    }
}
