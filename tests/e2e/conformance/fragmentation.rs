//! Family 5: fragmented messages, and control frames between fragments.

use echogate_tests::ws::{self, first};

use super::case::{Case, Chop, fragments, last, more, ping, pong, text, text_begins};

const CHOPS: [(Chop, &str); 3] =
    [(Chop::Whole, "in one write"), (Chop::Frames, "frame-wise"), (Chop::Octets(1), "octet-wise")];

pub(super) fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("5.1", "a Ping in two fragments")
            .send([ws::frame(0x09, b"fragment1"), last("fragment2")])
            .fails_by(1002),
        Case::new("5.2", "a Pong in two fragments")
            .send([ws::frame(0x0a, b"fragment1"), last("fragment2")])
            .fails_by(1002),
    ];
    for (i, (chop, how)) in (3..).zip(CHOPS) {
        cases.push(
            Case::new(format!("5.{i}"), format!("a text message in two fragments, {how}"))
                .send_in(chop, [text_begins("fragment1"), last("fragment2")])
                .text("fragment1fragment2")
                .closes(),
        );
    }
    for (i, (chop, how)) in (6..).zip(CHOPS) {
        cases.push(
            Case::new(format!("5.{i}"), format!("a Ping between two fragments, {how}"))
                .send_in(chop, [text_begins("fragment1"), ping("ping payload"), last("fragment2")])
                .pong("ping payload")
                .text("fragment1fragment2")
                .closes(),
        );
    }
    for (i, (kind, fin)) in (9..).step_by(3).zip([("last", first::LAST), ("more", first::MORE)]) {
        for (i, (chop, how)) in (i..).zip(CHOPS) {
            let continuation = ws::frame(fin, b"non-continuation payload");
            let title = format!("a Continuation frame ({kind}) without a message, {how}");
            cases.push(
                Case::new(format!("5.{i}"), title)
                    .send_in(chop, [continuation, text("Hello, world!")])
                    .fails_by(1002),
            );
        }
    }
    cases.push(
        Case::new("5.15", "a fragmented text message, then a Continuation frame without a message")
            .send([text_begins("fragment1"), last("fragment2"), more("fragment3"), text("4")])
            .text("fragment1fragment2")
            .fails_by(1002),
    );
    for (number, fin) in [("5.16", first::MORE), ("5.17", first::LAST)] {
        let once = [ws::frame(fin, b"fragment1"), text_begins("fragment2"), last("fragment3")];
        cases.push(
            Case::new(number, "a Continuation frame without a message, then a message, twice")
                .send(once.iter().chain(&once).cloned())
                .fails_by(1002),
        );
    }
    cases.push(
        Case::new("5.18", "two fragments with the opcode of text")
            .send([text_begins("fragment1"), text("fragment2")])
            .unfinished(1, "fragment1")
            .fails_by(1002),
    );
    for (number, chop) in [("5.19", Chop::Whole), ("5.20", Chop::Frames)] {
        let (begin, end) = (["fragment1", "fragment2"], ["fragment3", "fragment4"]);
        cases.push(
            Case::new(number, "two Pings between five fragments")
                .unfinished(1, begin.concat())
                .send_in(chop, [text_begins(begin[0]), more(begin[1]), ping("pongme 1!")])
                .pong("pongme 1!")
                .send_in(chop, [more(end[0]), more(end[1]), ping("pongme 2!"), last("fragment5")])
                .pong("pongme 2!")
                .text([begin.concat(), end.concat(), "fragment5".to_owned()].concat())
                .closes(),
        );
    }
    cases.extend(beyond_autobahn());
    cases
}

fn beyond_autobahn() -> Vec<Case> {
    let mut cases = Vec::new();
    // Control frames of the least and of the greatest length between fragments.
    for (i, (len, (chop, how))) in
        [0, 125].into_iter().flat_map(|len| CHOPS.map(|chop| (len, chop))).enumerate()
    {
        let payload = vec![0xa5; len];
        let title = format!("a Ping and a Pong of {len} octets between fragments, {how}");
        let between = [ping(&payload), pong(&payload)].concat();
        let frames = [text_begins("one "), between.clone(), more("two "), between, last("three")];
        cases.push(
            Case::new(format!("E5.1.{}", i + 1), title)
                .send_in(chop, frames)
                .pong(payload.clone())
                .pong(payload)
                .text("one two three")
                .closes(),
        );
    }
    // Between fragments, a Ping is answered while the rest of the message is not there.
    cases.push(
        Case::new("E5.2", "16 Pings between two fragments, each answered before the last fragment")
            .send([text_begins("begins")])
            .send((0..16).map(|i| ping(format!("ping {i}"))))
            .unfinished(1, "begins")
            .pongs((0..16).map(|i| format!("ping {i}")))
            .send([last(" and ends")])
            .text("begins and ends")
            .closes(),
    );
    let payload = b"fragments of one octet";
    cases.push(
        Case::new("E5.3", "a binary message in fragments of one octet, octet-wise")
            .send_in(Chop::Octets(1), fragments(2, payload, 1))
            .binary(payload)
            .closes(),
    );
    cases.push(
        Case::new("E5.4", "1,000 empty fragments around one octet")
            .send(
                [ws::frame(first::BINARY_BEGINS, b"")]
                    .into_iter()
                    .chain((0..1000).map(|i| more(if i == 500 { "x" } else { "" })))
                    .chain([last("")]),
            )
            .binary("x")
            .closes(),
    );
    let violations = [
        ("a binary message inside a text message", ws::frame(first::BINARY, b"b")),
        ("the first fragment of another message", ws::frame(first::BINARY_BEGINS, b"b")),
        ("a Close frame in fragments", ws::frame(0x08, &[3, 0xe8])),
        ("a reserved opcode", ws::frame(0x83, b"")),
        ("a Continuation frame with RSV = 4", ws::frame(0xc0, b"end")),
        ("an unmasked Continuation frame", vec![first::LAST, 1, b'x']),
    ];
    for (i, (title, frame)) in violations.into_iter().enumerate() {
        cases.push(
            Case::new(format!("E5.5.{}", i + 1), format!("a message, a fragment, then {title}"))
                .send([text("whole"), text_begins("begun"), frame, last("end"), ping("")])
                .text("whole")
                .unfinished(1, "begun")
                .fails_by(1002),
        );
    }
    cases
}
