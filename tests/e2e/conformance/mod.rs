//! A conformance suite for RFC 6455: the 301 cases of the Autobahn test suite outside compression,
//! under their numbers there, and cases of the same kinds under numbers that begin with `E`.
//!
//! Each family of cases is a table and runs on both default routes: `/ws`, which reaches the
//! service `upper` over a TCP connection, and `/ws/echo`, which reaches `echo` in memory. Some
//! families also run over TLS, and all of them over a route of another server that leads to `/ws` by
//! WebSocket.
//!
//! The suite is strict where Autobahn tolerates: a message that precedes a protocol violation is
//! answered before the Close frame, each Ping of a batch is answered, each Close frame has one
//! right status code, every received frame is checked (masking, reserved bits, shortest length,
//! fragmentation), and the server ends the TCP connection by FIN, right after its Close frame.
//!
//! - `case`: a case and how it is written down
//! - `play`: a case played on a connection
//! - `replies`: the server's frames, read and checked
//! - `framing` (family 1), `pings` (2), `reserved_bits` (3), `opcodes` (4), `fragmentation` (5),
//!   `utf8` (6), `closing` (7), `limits` (9 and 10): the cases
//! - `half_close`: cases of the subprotocol `half-close`, which Autobahn does not know

mod case;
mod closing;
mod fragmentation;
mod framing;
mod half_close;
mod limits;
mod opcodes;
mod pings;
mod play;
mod replies;
mod reserved_bits;
mod utf8;

use std::collections::HashSet;

use self::play::{Service, Transport, run};

/// A module for each combination of service and transport, and a test in it for each family.
macro_rules! suites {
    ($($suite:ident($service:expr, $transport:expr): $($family:ident)*;)*) => {$(
        mod $suite {
            use super::{Service, Transport, run};

            $(#[test]
            fn $family() {
                run(&$service, $transport, super::$family::cases());
            })*
        }
    )*};
}

suites! {
    over_tcp(Service::UPPER, Transport::Plain):
        framing pings reserved_bits opcodes fragmentation utf8 closing half_close limits;
    in_memory(Service::ECHO, Transport::Plain):
        framing pings reserved_bits opcodes fragmentation utf8 closing half_close limits;
    over_tcp_and_tls(Service::UPPER, Transport::Tls):
        framing pings reserved_bits opcodes fragmentation closing;
    in_memory_and_tls(Service::ECHO, Transport::Tls):
        framing pings reserved_bits opcodes fragmentation closing;
    over_websocket(Service::UPPER, Transport::Relayed):
        framing pings reserved_bits opcodes fragmentation utf8 closing half_close limits;
}

#[test]
fn every_case_of_autobahn_has_its_number_once() {
    let limits = numbers(limits::cases());
    let families = [
        ("1.", 16, numbers(framing::cases())),
        ("2.", 11, numbers(pings::cases())),
        ("3.", 7, numbers(reserved_bits::cases())),
        ("4.", 10, numbers(opcodes::cases())),
        ("5.", 20, numbers(fragmentation::cases())),
        ("6.", 145, numbers(utf8::cases())),
        ("7.", 37, numbers(closing::cases())),
        ("9.", 54, limits.clone()),
        ("10.", 1, limits),
    ];
    for (prefix, count, numbers) in families {
        let distinct: HashSet<_> = numbers.iter().collect();
        assert_eq!(distinct.len(), numbers.len(), "{prefix}");
        let of_autobahn = numbers.iter().filter(|number| number.starts_with(prefix));
        assert_eq!(of_autobahn.count(), count, "{prefix}");
    }
}

fn numbers(cases: impl IntoIterator<Item = case::Case>) -> Vec<String> {
    cases.into_iter().map(|case| case.number).collect()
}
