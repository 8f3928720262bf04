//! Family 3: reserved bits without an extension.

use echogate_tests::ws;

use super::case::{Case, Chop, ping, text};

const HELLO: &str = "Hello, world!";

pub(super) fn cases() -> Vec<Case> {
    let alone = |number: &str, what: &str, rsv, opcode, payload: &[u8]| {
        Case::new(number, format!("{what} with RSV = {rsv}"))
            .send([reserved(rsv, opcode, payload)])
            .fails_by(1002)
    };
    let behind = |number: &str, chop, rsv| {
        Case::new(number, format!("a text message, one with RSV = {rsv}, then a Ping"))
            .send_in(chop, [text(HELLO), reserved(rsv, 1, HELLO.as_bytes()), ping("")])
            .text(HELLO)
            .fails_by(1002)
    };
    let mut cases = vec![
        alone("3.1", "a text message", 1, 1, HELLO.as_bytes()),
        behind("3.2", Chop::Whole, 2),
        behind("3.3", Chop::Frames, 3),
        behind("3.4", Chop::Octets(1), 4),
        alone("3.5", "a binary message", 5, 2, &[0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff]),
        // Autobahn calls it a Ping and sends a binary message: E3.6 is the Ping.
        alone("3.6", "a binary message", 6, 2, HELLO.as_bytes()),
        alone("3.7", "a Close frame", 7, 8, b""),
        alone("E3.6", "a Ping", 6, 9, HELLO.as_bytes()),
    ];
    cases.extend((1..8).map(|rsv| {
        Case::new(format!("E3.{}", rsv + 7), format!("Pings, then a Pong with RSV = {rsv}"))
            .send([ping("one"), ping("two"), reserved(rsv, 10, b""), ping("three")])
            .pong("one")
            .pong("two")
            .fails_by(1002)
    }));
    cases
}

/// An unfragmented frame with reserved bits.
fn reserved(rsv: u8, opcode: u8, payload: &[u8]) -> Vec<u8> {
    ws::frame(0x80 | rsv << 4 | opcode, payload)
}
