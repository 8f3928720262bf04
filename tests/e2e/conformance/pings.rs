//! Family 2: Pings and Pongs.

use echogate_tests::ws::{self, RawWs, first};

use super::{
    case::{Case, Chop, binary, ping, pong, text},
    play::Service,
};
use crate::server;

const NOT_UTF8: &[u8] = &[0x00, 0xff, 0xfe, 0xfd, 0xfc, 0xfb, 0x00, 0xff];
const UNSOLICITED: &[u8] = b"unsolicited pong payload";

pub(super) fn cases() -> Vec<Case> {
    let answered = |number: &str, title: &str, chop, payload: &[u8]| {
        Case::new(number, title).send_in(chop, [ping(payload)]).pong(payload).closes()
    };
    let closed_behind = |number: &str, payload: &[u8]| {
        Case::new(number, format!("an unsolicited Pong of {} octets", payload.len()))
            .send([pong(payload), ws::close(1000, "")])
            .ends_by(1000)
    };
    let mut cases = vec![
        answered("2.1", "an empty Ping", Chop::Whole, b""),
        answered("2.2", "a Ping of text", Chop::Whole, b"Hello, world!"),
        answered("2.3", "a Ping that is not UTF-8", Chop::Whole, NOT_UTF8),
        answered("2.4", "a Ping of 125 octets", Chop::Whole, &[0xfe; 125]),
        Case::new("2.5", "a Ping of 126 octets").send([ping([0xfe; 126])]).fails_by(1002),
        answered("2.6", "a Ping of 125 octets, octet-wise", Chop::Octets(1), &[0xfe; 125]),
        closed_behind("2.7", b""),
        closed_behind("2.8", UNSOLICITED),
        Case::new("2.9", "an unsolicited Pong, then a Ping")
            .send([pong(UNSOLICITED), ping("ping payload")])
            .pong("ping payload")
            .closes(),
        batch("2.10", "10 Pings", Chop::Whole, 10),
        batch("2.11", "10 Pings, octet-wise", Chop::Octets(1), 10),
    ];
    cases.extend(beyond_autobahn());
    cases
}

/// Pings of which each is answered, in order.
fn batch(number: &str, title: &str, chop: Chop, count: usize) -> Case {
    let payloads = (0..count).map(|i| format!("payload-{i}"));
    Case::new(number, title).send_in(chop, payloads.clone().map(ping)).pongs(payloads).closes()
}

fn beyond_autobahn() -> Vec<Case> {
    let reply_between =
        (0..8).fold(Case::new("E2.2", "8 Pings and 8 messages in turn, frame-wise"), |case, i| {
            let payload = format!("payload {i}");
            case.send_in(Chop::Frames, [ping(&payload)])
                .pong(payload.clone())
                .send([binary(&payload)])
                .binary(payload)
        });
    vec![
        batch("E2.1", "16 Pings", Chop::Whole, 16),
        reply_between.closes(),
        batch("E2.3", "16 Pings, frame-wise", Chop::Frames, 16),
        Case::new("E2.4", "1,000 unsolicited Pongs, then a text message")
            .send((0..1000).map(|i| pong(format!("{i}"))).chain([text("behind")]))
            .text("behind")
            .closes(),
        Case::new("E2.5", "a Ping of 126 octets behind a Ping and a text message")
            .send([ping("before"), text("before"), ping([0; 126]), ping("behind")])
            .pong("before")
            .text("before")
            .fails_by(1002),
    ]
}

/// A batch beyond any bound: Pongs are left out only after the first 15, and never the last.
#[test]
fn of_1000_pings_in_one_write_the_first_15_and_the_last_are_answered() {
    const COUNT: usize = 1000;
    let server = server();
    for service in [Service::UPPER, Service::ECHO] {
        let mut client = RawWs::connect(&server, service.path);
        client.send(&(0..COUNT).flat_map(|i| ping(i.to_string())).collect::<Vec<_>>());
        let mut answered = Vec::new();
        while answered.last() != Some(&(COUNT - 1)) {
            let frame = client.read();
            assert_eq!(frame.first, first::PONG, "{frame:?}");
            answered.push(str::from_utf8(&frame.payload).unwrap().parse::<usize>().unwrap());
        }
        assert!(answered.is_sorted_by(|a, b| a < b), "in order, each once: {answered:?}");
        assert!(answered.starts_with(&(0..15).collect::<Vec<_>>()), "{answered:?}");
        assert_eq!(client.end(1000, "done"), (Some(1000), String::new()));
    }
}
