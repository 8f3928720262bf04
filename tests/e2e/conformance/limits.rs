//! Families 9 and 10: large messages, small fragments, small chops and many round trips.
//!
//! The cases are made one by one: together they would take hundreds of MiB.

use echogate_tests::{
    tcp::noise,
    ws::{self, first},
};

use super::case::{Case, Chop, binary, fragments, text};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

pub(super) fn cases() -> impl Iterator<Item = Case> {
    large()
        .chain(in_fragments())
        .chain(in_chops())
        .chain(round_trips())
        .chain([auto_fragmented()])
        .chain(beyond_autobahn())
}

/// Text or binary.
#[derive(Clone, Copy)]
enum MessageType {
    Text,
    Binary,
}

use MessageType::{Binary, Text};

impl MessageType {
    /// A payload in which octets that are lost, repeated or moved show.
    fn payload(self, len: usize) -> Vec<u8> {
        // A prime number of octets, so that no buffer has a multiple of it.
        let mut block = noise(65_521);
        if let Text = self {
            for octet in &mut block {
                *octet = b' ' + *octet % 95;
            }
        }
        let mut payload = block.repeat(len.div_ceil(block.len()));
        payload.truncate(len);
        payload
    }

    fn frame(self, payload: &[u8]) -> Vec<u8> {
        match self {
            Text => text(payload),
            Binary => binary(payload),
        }
    }

    fn opcode(self) -> u8 {
        match self {
            Text => 1,
            Binary => 2,
        }
    }

    /// Receives the reply to `payload`.
    fn replied(self, case: Case, payload: Vec<u8>) -> Case {
        match self {
            Text => case.text(payload),
            Binary => case.binary(payload),
        }
    }
}

/// Both kinds with their families.
fn kinds(text: &'static str, binary: &'static str) -> [(&'static str, MessageType); 2] {
    [(text, Text), (binary, Binary)]
}

fn large() -> impl Iterator<Item = Case> {
    let sizes = [64 * KIB, 256 * KIB, MIB, 4 * MIB, 8 * MIB, 16 * MIB];
    kinds("9.1", "9.2").into_iter().flat_map(move |(family, kind)| {
        (1..).zip(sizes).map(move |(i, size)| {
            let payload = kind.payload(size);
            let case = Case::new(format!("{family}.{i}"), format!("a message of {size} octets"))
                .send([kind.frame(&payload)]);
            kind.replied(case, payload).closes()
        })
    })
}

fn in_fragments() -> impl Iterator<Item = Case> {
    let sizes = [64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB];
    kinds("9.3", "9.4").into_iter().flat_map(move |(family, kind)| {
        (1..).zip(sizes).map(move |(i, size)| {
            let payload = kind.payload(4 * MIB);
            let title = format!("a message of 4 MiB in fragments of {size} octets");
            let case = Case::new(format!("{family}.{i}"), title).send(fragments(
                kind.opcode(),
                &payload,
                size,
            ));
            kind.replied(case, payload).closes()
        })
    })
}

fn in_chops() -> impl Iterator<Item = Case> {
    let sizes = [64, 128, 256, 512, KIB, 2 * KIB];
    kinds("9.5", "9.6").into_iter().flat_map(move |(family, kind)| {
        (1..).zip(sizes).map(move |(i, size)| {
            let payload = kind.payload(MIB);
            let title = format!("a message of 1 MiB in chops of {size} octets");
            let case = Case::new(format!("{family}.{i}"), title)
                .send_in(Chop::Octets(size), [kind.frame(&payload)]);
            kind.replied(case, payload).closes()
        })
    })
}

fn round_trips() -> impl Iterator<Item = Case> {
    let sizes = [0, 16, 64, 256, KIB, 4 * KIB];
    kinds("9.7", "9.8").into_iter().flat_map(move |(family, kind)| {
        (1..).zip(sizes).map(move |(i, size)| {
            let payload = kind.payload(size);
            let title = format!("1,000 round trips of {size} octets");
            let case = (0..1000).fold(Case::new(format!("{family}.{i}"), title), |case, _| {
                kind.replied(case.send([kind.frame(&payload)]), payload.clone())
            });
            case.closes()
        })
    })
}

fn auto_fragmented() -> Case {
    let payload = Text.payload(64 * KIB);
    Case::new("10.1.1", "a message of 64 KiB in fragments of 1300 octets")
        .send(fragments(1, &payload, 1300))
        .text(payload)
        .closes()
}

/// The limit on messages (16 MiB by default), and more messages in flight than buffers hold.
fn beyond_autobahn() -> impl Iterator<Item = Case> {
    let in_flight = |(i, (count, len)): (usize, (usize, usize))| {
        let payload = Binary.payload(len);
        let frames = (0..count).map(|_| binary(&payload));
        let case = Case::new(
            format!("E9.1.{}", i + 1),
            format!("{count} messages of {len} octets in one write"),
        );
        let case = case.send(frames);
        (0..count).fold(case, |case, _| case.binary(payload.clone())).closes()
    };
    let borders = [(20_000, 1), (5_000, 0), (64, 65_535), (64, 65_536), (16, 1_000_000)];
    let too_large = [
        ("in one frame", vec![ws::head(first::BINARY, 16 * MIB as u64 + 1)]),
        ("of 2^62 octets", vec![ws::head(first::TEXT, 1 << 62)]),
    ];
    let too_large = too_large.into_iter().enumerate().map(|(i, (title, frames))| {
        Case::new(format!("E9.2.{}", i + 1), format!("a message that is too large, {title}"))
            .send([vec![text("before")], frames].concat())
            .text("before")
            .fails_by(1009)
    });
    borders.into_iter().enumerate().map(in_flight).chain(too_large)
}
