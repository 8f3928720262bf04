//! The end-to-end tests, one binary:
//!
//! - `tcp`: the services on raw sockets
//! - `families`: every kind of socket; the service `time`, and `?once`
//! - `chat`: clients, operators, and the server's console
//! - `gateway`: `echogate gateway` and `echogate check`
//! - `handshake`: opening handshakes, accepted and refused
//! - `conformance`: the WebSocket protocol, case by case, on both default routes and over TLS
//! - `codec`: the frame decoder against tungstenite's
//! - `proxy`: the PROXY protocol in both directions, and `X-Forwarded-For`
//! - `proxies`: connections of clients and to upstreams through HTTP and SOCKS5 proxies
//! - `unix_http`: HTTP on Unix sockets
//! - `base_path`: the server below a path of a proxy
//! - `http2`: HTTP/2, and WebSocket over it (RFC 8441)
//! - `websocket`: messages through the gateway to `upper`
//! - `routes`: the framings, with upstreams that the tests control
//! - `endings`: connections that end, vanish or violate the protocol, seen from the other side
//! - `aborts`: aborted connections, which must not look complete on the other side
//! - `addresses`: host names with several addresses, some of them unreachable
//! - `limits`: backpressure, limits on connections, timeouts, memory and file descriptors
//! - `output`: a standard output or standard error that is not read
//! - `isolation`: clients that occupy HTTP connections do not exclude others
//! - `shutdown`: SIGTERM, and the drain of connections of all kinds
//! - `handover`: `--handover`, by which a process takes over the sockets of another
//! - `tls`: TLS of listeners, upstreams and the native client; reload of certificates
//! - `key_log`: `SSLKEYLOGFILE`, and `RUST_LOG`
//! - `certificates`: self-signed certificates, and error messages of TLS handshakes
//! - `client_certificates`: the certificates of the native client, and of the gateway for upstreams
//! - `recordings`: `--record` of the server
//! - `reload`: SIGHUP, which reloads the configuration
//! - `service_manager`: messages to systemd
//! - `settings`: flags, environment, configuration file, defaults, and their errors
//! - `api`: the HTTP API, health checks, metrics and the log
//! - `log_format`: the log as JSON
//! - `metrics`: the metrics of routes and forwards, event loops and the process
//! - `traces`: the traces that connections are a part of
//! - `events`: the live list of connections, `/api/events`
//! - `tap`: what passes on a live connection, for observers
//! - `connect`: the native client
//! - `replay`: recordings, replayed and compared: `echogate replay`, `echogate compare`
//! - `bench`: the load generator, `echogate bench`
//! - `help`: help, manual pages, completions
//! - `third_party`: third-party programs: VNC, MQTT, PostgreSQL, SSH and more
//! - `tutorials`: programs in the style of socket tutorials, as clients and servers
//! - `dependencies`: the minimum Rust version of all dependencies
//! - `imports`: modules import only modules of lower layers
//! - `dist`: the committed page is up to date with its sources
//! - `packaging`: systemd units, container image, Kubernetes manifests
//! - `page`: the page in a browser
//! - `examples`: the configuration files of `server/examples`
//! - `documents`: examples, links and paths in the documentation

#![expect(clippy::unwrap_used, reason = "in a test it is an assertion")]

mod aborts;
mod addresses;
mod api;
mod base_path;
mod bench;
mod certificates;
mod chat;
mod client_certificates;
mod codec;
mod conformance;
mod connect;
mod dependencies;
mod dist;
mod documents;
mod endings;
mod ends;
mod events;
mod examples;
mod families;
mod forwards;
mod gateway;
mod handover;
mod handshake;
mod help;
mod http2;
mod imports;
mod isolation;
mod key_log;
mod limits;
mod log_format;
mod metrics;
mod output;
mod packaging;
mod page;
mod proxies;
mod proxy;
mod recordings;
mod reload;
mod replay;
mod routes;
mod service_manager;
mod settings;
mod shutdown;
mod tap;
mod tcp;
mod third_party;
mod tls;
mod traces;
mod tutorials;
mod unix_http;
mod websocket;

use std::net::TcpStream;

use echogate_tests::{server::Server, upstream::Upstream, ws::RawWs};

/// The program under test: the path in `ECHOGATE_UNDER_TEST` at build time, or else the binary of
/// this package.
const ECHOGATE: &str = match option_env!("ECHOGATE_UNDER_TEST") {
    Some(path) => path,
    None => env!("CARGO_BIN_EXE_echogate-under-test"),
};

/// A server with the default routes.
fn server() -> Server {
    Server::start(ECHOGATE, &[])
}

/// A server with the route `/x` in this framing, and its upstream.
fn with_upstream(framing: &str, more: &[&str]) -> (Server, Upstream) {
    let upstream = Upstream::new();
    let route = upstream.route("/x", framing);
    (Server::start(ECHOGATE, &[&["--route", &*route], more].concat()), upstream)
}

/// A client of a route in this framing, and the upstream's end of its connection.
fn connected(framing: &str, more: &[&str]) -> (RawWs, TcpStream, Server) {
    let (server, upstream) = with_upstream(framing, more);
    (RawWs::connect(&server, "/x"), upstream.accept(), server)
}

/// Raises this process's limit on open files to the hard limit, and returns it.
fn raise_own_limit() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("it can be asked");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("it can be raised to the hard limit");
    usize::try_from(hard).unwrap_or(usize::MAX)
}
