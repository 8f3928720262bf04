//! Family 7: Close frames.

use echogate_tests::{
    tcp::noise,
    ws::{self, first},
};

use super::{
    case::{Case, Chop, last, ping, text, text_begins},
    utf8::GREEK,
};

const HELLO: &str = "Hello World!";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = behind_close();
    cases.extend(payloads());
    cases.extend(status_codes());
    cases.extend(beyond_autobahn());
    cases
}

/// Frames that the client sends after its Close frame have no reply.
fn behind_close() -> Vec<Case> {
    let closing = |number: &str, title: &str, before: Vec<u8>, behind: Vec<u8>| {
        Case::new(number, title).send([before, ws::close(1000, ""), behind]).ends_by(1000)
    };
    let large = b"BAsd7&jh23".repeat(256 * 1024 / 10 + 1)[..256 * 1024].to_vec();
    vec![
        Case::new("7.1.1", "a message, then a Close frame")
            .send([text(HELLO)])
            .text(HELLO)
            .closes(),
        closing("7.1.2", "two Close frames", vec![], ws::frame(first::CLOSE, b"")),
        closing("7.1.3", "a Ping behind the Close frame", vec![], ping("")),
        closing("7.1.4", "a message behind the Close frame", vec![], text(HELLO)),
        closing("7.1.5", "a Close frame between fragments", text_begins("one"), last("two"))
            .unfinished(1, "one"),
        Case::new("7.1.6", "a large message, a small one, a Close frame and a Ping")
            .send([text(&large), text(HELLO), ws::close(1000, ""), ping("")])
            .text(large)
            .text(HELLO)
            .ends_by(1000),
    ]
}

fn payloads() -> Vec<Case> {
    let closing = |number: &str, title: &str, payload: &[u8]| {
        Case::new(number, title).send([ws::frame(first::CLOSE, payload)])
    };
    let with_reason = |reason: &[u8]| [&[0x03, 0xe8], reason].concat();
    let surrogate = [GREEK, b"\xed\xa0\x80edited"].concat();
    vec![
        closing("7.3.1", "an empty Close frame", b"").ends_by(None),
        closing("7.3.2", "a Close frame of one octet", b"a").fails_by(1002),
        closing("7.3.3", "a status code", &with_reason(b"")).ends_by(1000),
        closing("7.3.4", "a reason", &with_reason(HELLO.as_bytes())).ends_by(1000),
        closing("7.3.5", "a reason of 123 octets", &with_reason(&[b'*'; 123])).ends_by(1000),
        closing("7.3.6", "a reason of 124 octets", &with_reason(&[b'*'; 124])).fails_by(1002),
        closing("7.5.1", "a reason that is not UTF-8", &with_reason(&surrogate)).fails_by(1007),
    ]
}

/// Status codes that a client may send, and those that it may not.
fn status_codes() -> Vec<Case> {
    let valid = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999];
    let invalid = [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999];
    let with_code = |family: &str, i: usize, code| {
        Case::new(format!("{family}.{}", i + 1), format!("the status code {code}"))
            .send([ws::close(code, "")])
    };
    let valid = valid.into_iter().enumerate();
    let valid = valid.map(|(i, code)| with_code("7.7", i, code).ends_by(code));
    let invalid = invalid.into_iter().enumerate();
    let invalid = invalid.map(|(i, code)| with_code("7.9", i, code).fails_by(1002));
    // Autobahn judges neither; RFC 6455 section 7.4.2 has no status codes beyond 4999.
    let undefined = [5000, 65_535].into_iter().enumerate();
    let undefined = undefined.map(|(i, code)| with_code("7.13", i, code).fails_by(1002));
    valid.chain(invalid).chain(undefined).collect()
}

fn beyond_autobahn() -> Vec<Case> {
    // Registered with IANA since RFC 6455: 1012 to 1014.
    let registered = (1012..=1014).map(|code| {
        Case::new(format!("E7.1.{code}"), format!("the status code {code}"))
            .send([ws::close(code, "a reason")])
            .ends_by(code)
    });
    // Never sent in a frame (1015), or not defined.
    let invalid = [1, 1015, 1017, 1999, 2001, 5001, 0x8000, 65_534].map(|code| {
        Case::new(format!("E7.2.{code}"), format!("the status code {code}"))
            .send([text("before"), ws::close(code, "a reason"), text("behind")])
            .text("before")
            .fails_by(1002)
    });
    let owed: Vec<_> = noise(100_000).chunks(10_000).map(<[u8]>::to_vec).collect();
    let in_order = owed.iter().fold(
        Case::new("E7.3", "ten messages and a Close frame in one write")
            .send(
                owed.iter()
                    .map(|payload| ws::frame(first::BINARY, payload))
                    .chain([ws::close(4000, "done")]),
            )
            .ends_by(4000),
        |case, payload| case.binary(payload.clone()),
    );
    let octetwise = Case::new("E7.4", "a message and a Close frame, octet-wise")
        .send_in(Chop::Octets(1), [text(HELLO), ws::close(1001, "octet by octet")])
        .text(HELLO)
        .ends_by(1001);
    let reason_is_split = Case::new("E7.5", "a reason that ends within a character")
        .send([ws::frame(first::CLOSE, b"\x03\xe8\xe2\x82")])
        .fails_by(1007);
    let violation_behind = Case::new("E7.6", "a violation behind the Close frame")
        .send([text(HELLO), ws::close(1000, ""), ws::frame(0x83, b""), vec![0xff; 100]])
        .text(HELLO)
        .ends_by(1000);
    registered
        .chain(invalid)
        .chain([in_order, octetwise, reason_is_split, violation_behind])
        .collect()
}
