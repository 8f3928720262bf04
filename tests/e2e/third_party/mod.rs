//! Programs that others made, unmodified, on both sides of the gateway. What they need is
//! installed by `.ci/third-party`; without it they are skipped, and in CI they fail.
//!
//! - `vnc`: Xtigervnc, and noVNC in the browser
//! - `mqtt`: mosquitto, and MQTT.js in Node
//! - `postgres`: PostgreSQL, and its driver for browsers and the like in Node
//! - `sockets`: nc, socat and Python's `socket`
//! - `ssh`: sshd, and scp through `echogate connect`
//! - `websockets`: the Python package, and upstreams of the test's own
//! - `wscat`: the same for the terminal client

mod mqtt;
mod postgres;
mod sockets;
mod ssh;
mod vnc;
mod websockets;
mod wscat;

use std::{
    io::Write as _,
    net::{Shutdown, TcpStream},
    path::Path,
    process::Command,
};

use echogate_tests::{server::Server, tcp, upstream::Upstream};

use crate::ECHOGATE;

/// A server with a route `path` to the port of a program.
fn gateway(path: &str, port: u16) -> Server {
    Server::start(ECHOGATE, &["--route", &format!("{path}=tcp://127.0.0.1:{port}?framing=bytes")])
}

/// A script for Node that finds the packages of `packages`.
fn script(node: &Path, packages: &Path, script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(node);
    // A script that is no file finds packages from the current folder on.
    command.current_dir(packages).args(["--input-type=module", "--eval", script, "--"]);
    command.args(arguments);
    command
}

/// A server with routes to `upper` and `echo`, and to upstreams that greet one client each and,
/// once told `go`, end: `/ends` by a FIN, `/breaks` by a reset. A message has at most 1000 bytes.
fn endings() -> Server {
    let (ends, breaks) = (Upstream::new(), Upstream::new());
    let routes = [ends.route("/ends", "bytes"), breaks.route("/breaks", "bytes")];
    let greet = |stream: &mut TcpStream| {
        stream.write_all(b"hello").unwrap();
        tcp::read_exactly(stream, 2);
    };
    ends.serve(move |mut stream| {
        greet(&mut stream);
        stream.shutdown(Shutdown::Write).unwrap();
        tcp::read_to_end(&mut stream);
    });
    breaks.serve(move |mut stream| {
        greet(&mut stream);
        tcp::reset(stream);
    });
    let [ends, breaks] = &routes;
    let routes = ["/ws=service:upper", "/ws/echo=service:echo", ends, breaks];
    let routes = routes.iter().flat_map(|route| ["--route", route]);
    Server::start(ECHOGATE, &routes.chain(["--max-message", "1000"]).collect::<Vec<_>>())
}
