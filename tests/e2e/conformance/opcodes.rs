//! Family 4: reserved opcodes.

use echogate_tests::ws;

use super::case::{Case, Chop, ping, text};

const HELLO: &str = "Hello, world!";

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (family, kind, first) in [("4.1", "data", 3), ("4.2", "control", 11)] {
        let numbered = |i: u8| {
            let opcode = first + i - 1;
            let number = format!("{family}.{i}");
            let frame = move |payload: &str| ws::frame(0x80 | opcode, payload.as_bytes());
            (number, format!("the reserved {kind} opcode {opcode}"), frame)
        };
        for (i, payload) in [(1, ""), (2, "reserved opcode payload")] {
            let (number, title, frame) = numbered(i);
            cases.push(Case::new(number, title).send([frame(payload)]).fails_by(1002));
        }
        for (i, payload, chop) in
            [(3, "", Chop::Whole), (4, HELLO, Chop::Whole), (5, HELLO, Chop::Octets(1))]
        {
            let (number, title, frame) = numbered(i);
            let case = Case::new(number, format!("a text message, {title}, then a Ping"))
                .send_in(chop, [text(HELLO), frame(payload), ping("")])
                .text(HELLO)
                .fails_by(1002);
            cases.push(case);
        }
    }
    cases
}
