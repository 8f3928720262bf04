//! The subprotocol `half-close`: an empty binary message is the end of input, in either direction.

use echogate_tests::ws::{self, first};

use super::case::{Case, Chop, binary, fragments, last, more, ping, text, text_begins};

pub(super) fn cases() -> Vec<Case> {
    let binary_begins = |payload: &[u8]| ws::frame(first::BINARY_BEGINS, payload);
    // Both sides end: the service as soon as it has replied to everything. The server then sends
    // its Close, which only some cases leave unanswered: that takes the time for an answer.
    let ends_of_input = [
        ("one frame", vec![binary("")]),
        ("two fragments", vec![binary_begins(b""), last("")]),
        ("four fragments", vec![binary_begins(b""), more(""), more(""), last("")]),
    ];
    let chops =
        [("", Chop::Whole), (", frame-wise", Chop::Frames), (", octet-wise", Chop::Octets(1))];
    let mut cases = Vec::new();
    for (i, (how, end)) in ends_of_input.into_iter().enumerate() {
        for (j, (chopped, chop)) in chops.into_iter().enumerate() {
            let title = format!("the end of input in {how}{chopped}");
            let frames = [text("all"), binary("of it")].into_iter().chain(end.clone());
            cases.push(
                half_close(&format!("{}.{}", i + 1, j + 1), &title)
                    .send_in(chop, frames)
                    .text("all")
                    .binary("of it")
                    .binary("")
                    .closes(),
            );
        }
        cases.push(
            half_close(&format!("{}.4", i + 1), &format!("only the end of input, in {how}"))
                .send(end)
                .binary("")
                .ends_by(1000),
        );
    }
    // Messages that are not the end of input.
    cases.extend([
        half_close("4.1", "an empty text message, in one frame and in fragments")
            .send([text(""), text_begins(""), last(""), binary("on"), binary("")])
            .text("")
            .text("")
            .binary("on")
            .binary("")
            .closes(),
        half_close("4.2", "a binary message whose first and last fragments are empty")
            .send([binary_begins(b""), more("x"), last(""), binary("on"), binary("")])
            .binary("x")
            .binary("on")
            .binary("")
            .closes(),
        half_close("4.3", "a Ping between the two fragments of the end of input")
            .send([binary_begins(b""), ping("p"), last("")])
            .pong("p")
            .binary("")
            .closes(),
        // The end of the service's input is no end of the message that it replies to.
        half_close("4.4", "an empty first fragment, then a Close frame")
            .send([binary_begins(b""), ws::close(1000, "")])
            .unfinished(2, "")
            .ends_by(1000),
        half_close("4.5", "a first fragment, then a Close frame")
            .send([binary_begins(b"begun"), ws::close(1000, "")])
            .unfinished(2, "begun")
            .ends_by(1000),
    ]);
    let payload = [b'x'; 40];
    cases.push(
        half_close("4.6", "a message in fragments, then the end of input in two")
            .send(fragments(2, &payload, 3).into_iter().chain([binary_begins(b""), last("")]))
            .binary(payload)
            .binary("")
            .closes(),
    );
    cases
}

fn half_close(number: &str, title: &str) -> Case {
    Case::new(format!("E11.{number}"), title).subprotocol("half-close")
}
