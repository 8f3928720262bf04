//! Third-party programs, unmodified, on both sides of the gateway. `.ci/third-party` installs them;
//! tests without their programs are skipped, and fail in CI.
//!
//! - `captures`: tcpdump, whose capture of redis-cli is replayed
//! - `cluster`: nats-server, the broker of replicas
//! - `forwards`: psql, redis-cli, scp, dig, nc and socat through forwards
//! - `kubernetes`: the schemas of Kubernetes, on the manifests
//! - `listen`: nc, socat, websocat and wscat, at the other end of `echogate listen`
//! - `vnc`: Xtigervnc, and noVNC in the browser
//! - `mqtt`: mosquitto, and MQTT.js in Node
//! - `nginx`: in front of the server, below a path
//! - `otlp`: Python's `opentelemetry-proto`, which receives spans (feature `otlp`)
//! - `postgres`: PostgreSQL, and Neon's serverless driver in Node
//! - `replicas`: HAProxy and nats-server, with replicas that are restarted
//! - `sockets`: nc, socat and Python's `socket`
//! - `prometheus`: promtool on `/metrics`
//! - `proxies`: tinyproxy, microsocks and `ssh -D`, between echogate and what it connects to
//! - `ssh`: sshd, and scp through `echogate connect`
//! - `websockets`: the Python package
//! - `wireshark`: tshark, capinfos and editcap on recordings
//! - `wscat`: the terminal client

mod captures;
mod cluster;
mod forwards;
mod kubernetes;
mod listen;
mod mqtt;
mod nginx;
#[cfg(feature = "otlp")]
mod otlp;
mod postgres;
mod prometheus;
mod proxies;
mod replicas;
mod sockets;
mod ssh;
mod vnc;
mod websockets;
mod wireshark;
mod wscat;

use std::{
    io::Write as _,
    net::{Shutdown, TcpStream},
    path::Path,
    process::{Command, Stdio},
};

use echogate_tests::{server::Server, tcp, upstream::Upstream};

use crate::ECHOGATE;

/// A server with a route `path` to the port of a program.
fn gateway(path: &str, port: u16) -> Server {
    Server::start(ECHOGATE, &["--route", &format!("{path}=tcp://127.0.0.1:{port}?framing=bytes")])
}

/// Runs a shell command without input, and returns its output.
fn shell(line: &str) -> String {
    let output = Command::new("sh").args(["-c", line]).stdin(Stdio::null()).output().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {}\n{complaint}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

/// A script for Node that finds the packages of `packages`.
fn script(node: &Path, packages: &Path, script: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(node);
    // A script from the command line looks for packages in the current folder and its ancestors.
    command.current_dir(packages).args(["--input-type=module", "--eval", script, "--"]);
    command.args(arguments);
    command
}

/// A server with routes to `upper` and `echo`, and to upstreams that greet one client each and end
/// at the message `go`: `/ends` by a FIN, `/breaks` by a reset. The limit on messages is 1000 bytes.
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
