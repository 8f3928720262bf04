//! The end-to-end tests, one binary. Contents:
//!
//! - `tcp`: the services on raw sockets
//! - `families`: every kind of socket, and the services `time` and once
//! - `chat`: clients, and the operators who answer them
//! - `gateway`: the short form of a gateway, and what `check` tells
//! - `handshake`: which requests become WebSocket connections, and what the others are told
//! - `conformance`: the WebSocket protocol, case by case, on both default routes and over TLS
//! - `codec`: the frame decoder against tungstenite's
//! - `proxy`: the client's real address, from proxies and for upstreams
//! - `http2`: HTTP/2, and WebSocket on its streams
//! - `websocket`: messages through the gateway to `upper`
//! - `routes`: the framings, with an upstream of the test's own
//! - `endings`: who ends, breaks or breaks the rules, and what the others see of it
//! - `aborts`: ends that are not in order, and what the other side sees of them
//! - `addresses`: host names with several addresses, some of them dead
//! - `limits`: clients that flood and do not read, and running out of things
//! - `output`: standard streams that nobody reads
//! - `isolation`: clients that hold HTTP connections, and what the others see of it
//! - `shutdown`: SIGTERM with clients of all kinds
//! - `tls`: TLS on every side, and certificates that are read again
//! - `certificates`: which are trusted as they are, and TLS handshakes that fail
//! - `reload`: SIGHUP, by which the settings are read again
//! - `settings`: flags, environment, file, defaults, and what is wrong with them
//! - `api`: what the server tells of itself, its log included
//! - `events`: who is connected, live
//! - `connect`: the native client
//! - `bench`: the native client as a load
//! - `help`: what the program tells of its own command line
//! - `third_party`: VNC, MQTT, PostgreSQL, SSH and more, with clients that others made
//! - `tutorials`: programs of the kind that tutorials on sockets teach, on either side
//! - `dependencies`: the compilers that they need
//! - `imports`: modules import only those below them
//! - `dist`: the committed page is what its sources say
//! - `page`: the page in a browser
//! - `examples`: the configuration files of `server/examples`
//! - `documents`: examples, links and paths in the documentation

#![expect(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod aborts;
mod addresses;
mod api;
mod bench;
mod certificates;
mod chat;
mod codec;
mod conformance;
mod connect;
mod dependencies;
mod dist;
mod documents;
mod endings;
mod events;
mod examples;
mod families;
mod gateway;
mod handshake;
mod help;
mod http2;
mod imports;
mod isolation;
mod limits;
mod output;
mod page;
mod proxy;
mod reload;
mod routes;
mod settings;
mod shutdown;
mod tcp;
mod third_party;
mod tls;
mod tutorials;
mod websocket;

use echogate_tests::server::Server;

/// The program under test.
const ECHOGATE: &str = env!("CARGO_BIN_EXE_echogate-under-test");

/// A server with the default routes.
fn server() -> Server {
    Server::start(ECHOGATE, &[])
}

/// Raises this process's limit on open files as far as it may, and says how far.
fn raise_own_limit() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("it can be asked");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("it can be raised to the hard limit");
    usize::try_from(hard).unwrap_or(usize::MAX)
}
