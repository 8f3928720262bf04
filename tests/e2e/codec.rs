//! The frame decoder against tungstenite's, with generated frames; the fuzz target
//! `decoder_tungstenite` compares them with any bytes.

mod model;

use echogate_tests::ws::frame;
use proptest::prelude::*;

use self::model::{LIMIT, compare};

/// Text that is valid, cut off, or invalid.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => ".{0,60}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
        1 => Just("a€".as_bytes()[..3].to_vec()),
        1 => Just("a€".as_bytes()[3..].to_vec()),
    ]
}

/// A message or a control frame, mostly valid.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let bytes = |max| proptest::collection::vec(any::<u8>(), 0..max);
    prop_oneof![
        6 => text().prop_map(|text| frame(0x81, &text)),
        6 => bytes(300).prop_map(|bytes| frame(0x82, &bytes)),
        4 => (text(), text(), bytes(20)).prop_map(|(one, two, ping)| {
            [frame(0x01, &one), frame(0x89, &ping), frame(0x00, b""), frame(0x80, &two)].concat()
        }),
        3 => bytes(125).prop_map(|bytes| frame(0x89, &bytes)),
        2 => bytes(125).prop_map(|bytes| frame(0x8a, &bytes)),
        1 => (prop_oneof![Just(1000_u16), Just(1005), 900..5100_u16], ".{0,30}").prop_map(
            |(code, reason)| frame(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat())
        ),
        1 => Just(frame(0x88, b"")),
        1 => (any::<u8>(), bytes(130)).prop_map(|(first, bytes)| frame(first, &bytes)),
        1 => (LIMIT - 1..LIMIT + 2).prop_map(|len| frame(0x82, &vec![0; len])),
        1 => (LIMIT / 2 - 1..LIMIT / 2 + 2)
            .prop_map(|len| [frame(0x02, &vec![0; len]), frame(0x80, &vec![0; len])].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_read_and_refuse_the_same(
        pieces in proptest::collection::vec(piece(), 0..8),
        cuts in proptest::collection::vec(1..80_usize, 0..40),
        lost in 0..10_usize,
    ) {
        let mut bytes = pieces.concat();
        bytes.truncate(bytes.len() - lost.min(bytes.len()));
        compare(&bytes, &cuts);
    }
}
