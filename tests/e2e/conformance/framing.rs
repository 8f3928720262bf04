//! Family 1: messages of every form of length.

use echogate_tests::ws::{self, first};

use super::case::{Case, Chop, binary, text};

/// Numbers, lengths and chops: each form of length at its borders.
const LENGTHS: [(u8, usize, Chop); 8] = [
    (1, 0, Chop::Whole),
    (2, 125, Chop::Whole),
    (3, 126, Chop::Whole),
    (4, 127, Chop::Whole),
    (5, 128, Chop::Whole),
    (6, 65_535, Chop::Whole),
    (7, 65_536, Chop::Whole),
    (8, 65_536, Chop::Octets(997)),
];

pub(super) fn cases() -> Vec<Case> {
    let texts = LENGTHS.map(|(i, len, chop)| {
        let sent = vec![b'*'; len];
        Case::new(format!("1.1.{i}"), format!("a text message of {len} octets"))
            .send_in(chop, [text(&sent)])
            .text(sent)
            .closes()
    });
    let binaries = LENGTHS.map(|(i, len, chop)| {
        let sent = vec![0xfe; len];
        Case::new(format!("1.2.{i}"), format!("a binary message of {len} octets"))
            .send_in(chop, [binary(&sent)])
            .binary(sent)
            .closes()
    });
    texts.into_iter().chain(binaries).chain(beyond_autobahn()).collect()
}

/// Lengths that are not in their shortest form, and other breaches of section 5.2.
fn beyond_autobahn() -> Vec<Case> {
    let head = |first: u8, length: &[u8]| [&[first], length, &ws::KEY[..]].concat();
    let padded_125 = head(first::BINARY, &[0xfe, 0, 125]);
    let padded_0 = head(first::TEXT, &[0xfe, 0, 0]);
    let padded_65535 = head(first::BINARY, &[0xff, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    let padded_1 = head(first::TEXT, &[0xff, 0, 0, 0, 0, 0, 0, 0, 1]);
    let sign_bit = head(first::BINARY, &[0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]);
    let violations = [
        ("a length of 0 in 16 bits", padded_0),
        ("a length of 125 in 16 bits", padded_125),
        ("a length of 1 in 64 bits", padded_1),
        ("a length of 65535 in 64 bits", padded_65535),
        ("a length with the most significant bit", sign_bit),
        ("an unmasked text message", vec![first::TEXT, 1, b'a']),
        ("an unmasked empty binary message", vec![first::BINARY, 0]),
        ("an unmasked Ping", vec![first::PING, 0]),
        ("an unmasked Pong", vec![first::PONG, 0]),
        ("an unmasked Close frame", vec![first::CLOSE, 2, 0x03, 0xe8]),
    ];
    let violations = violations.into_iter().enumerate().map(|(i, (title, octets))| {
        Case::new(format!("E1.1.{}", i + 1), format!("a text message, then {title}, then a Ping"))
            .send([text("before"), octets, ws::frame(first::PING, b"")])
            .text("before")
            .fails_by(1002)
    });
    let masks = [[0; 4], [0xff; 4], [0, 0, 0, 1]].into_iter().enumerate().map(|(i, mask)| {
        let payload = b"a masked payload";
        let masked = payload.iter().zip(mask.iter().cycle()).map(|(octet, key)| octet ^ key);
        let len = 0x80 | u8::try_from(payload.len()).expect("a short payload");
        let frame = [first::TEXT, len].into_iter().chain(mask).chain(masked);
        Case::new(format!("E1.2.{}", i + 1), format!("the masking key {mask:02x?}"))
            .send([frame.collect()])
            .text(payload)
            .closes()
    });
    let octetwise = [0, 125, 126, 300].into_iter().enumerate().map(|(i, len)| {
        let sent = vec![b'x'; len];
        Case::new(format!("E1.3.{}", i + 1), format!("{len} octets, one by one"))
            .send_in(Chop::Octets(1), [binary(&sent), text(&sent)])
            .binary(sent.clone())
            .text(sent)
            .closes()
    });
    violations.chain(masks).chain(octetwise).collect()
}
