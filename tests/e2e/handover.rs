//! `--handover`: a process takes over the sockets of another one, and no client is refused.
//!
//! - `clients`: clients that connect one time after the other, and stop at the first error
//! - `failures`: successors and predecessors that fail, and other programs at the socket

mod clients;
mod failures;

use std::{
    fs,
    net::TcpStream,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use echogate_tests::{
    http::{self, connect, exchange},
    server::Server,
    tcp::{read_to_end, round_trip},
    ws::{self, RawWs},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use tempfile::TempDir;

use self::clients::Clients;
use crate::ECHOGATE;

/// The folder of the sockets of a test.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A server on free ports and two Unix sockets, which takes over from the one before.
    fn server(&self, more: &[&str]) -> Server {
        Server::spawn(self.command(more))
    }

    fn command(&self, more: &[&str]) -> Command {
        let upper = format!("upper=unix://{}", self.path("upper.sock").display());
        let gram = format!("upper=unixgram://{}", self.path("gram.sock").display());
        let mut command = Command::new(ECHOGATE);
        command
            .args(["serve", "--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"])
            .args(["--listen", "upper=udp://127.0.0.1:0", "--listen", &upper, "--listen", &gram])
            .arg("--handover")
            .arg(self.path("handover.sock"))
            .args(more);
        command
    }
}

fn converse(client: &mut TcpStream) {
    assert_eq!(round_trip(client, b"abc"), b"ABC");
}

fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

#[test]
fn no_client_is_refused_during_two_handovers_in_a_row() {
    let folder = Folder::new();
    let upstream = Server::start(ECHOGATE, &["--listen", "upper=udp://127.0.0.1:0"]);
    let forwards = [
        format!("tcp://127.0.0.1:0={}", upstream.url("upper")),
        format!("udp://127.0.0.1:0={}", upstream.urls("upper").last().unwrap()),
    ];
    let route = format!("/tcp={}?framing=message", upstream.url("upper"));
    let arguments = [
        ["--forward", &forwards[0]],
        ["--forward", &forwards[1]],
        ["--route", &route],
        ["--route", "/echo=service:echo"],
    ]
    .concat();
    let mut server = folder.server(&arguments);
    let address = |url: &str| url.split_once("://").unwrap().1.to_owned();
    let upper: Vec<String> = server.urls("upper").map(|url| address(&url)).collect();
    let forward: Vec<String> = server.urls("forward").map(|url| address(&url)).collect();
    let clients = Clients::start(&[
        ("tcp", &upper[0]),
        ("tcp", &upper[0]),
        ("udp", &upper[1]),
        ("unix", folder.path("upper.sock").to_str().unwrap()),
        ("unixgram", folder.path("gram.sock").to_str().unwrap()),
        ("ws", &format!("{}/tcp", server.address("http"))),
        ("ws", &format!("{}/echo", server.address("http"))),
        ("http", server.address("http")),
        ("tcp", &forward[0]),
        ("udp", &forward[1]),
    ]);
    for _ in 0..2 {
        clients.wait_for_exchanges(50);
        let successor = folder.server(&arguments);
        assert!(successor.urls("upper").eq(server.urls("upper")), "the ports stay");
        assert_eq!(server.wait().code(), Some(0), "{:#?}", server.log());
        successor.wait_for_log(&["took over 8 sockets", "--handover"]);
        server = successor;
    }
    clients.wait_for_exchanges(50);
    clients.stop();
}

/// The default route leads to the server's own listener over TCP: the old process must not accept
/// these connections of the new one.
#[test]
fn clients_of_the_bench_see_no_error_while_the_process_behind_a_default_route_is_replaced() {
    let folder = Folder::new();
    let mut server = folder.server(&[]);
    let bench = |url: String| {
        let arguments = ["--once", "--connections=4", "--duration=60s", "--warm-up=0s"];
        let mut bench = Command::new(ECHOGATE);
        bench.arg("bench").args(arguments).args(["--json", &url]).stdout(Stdio::piped());
        bench.spawn().unwrap()
    };
    let unix = format!("unix://{}", folder.path("upper.sock").display());
    let benches = [server.ws("/ws"), server.url("upper").to_owned(), unix].map(bench);
    let passed = |server: &Server| {
        for kind in ["tcp", "unix", "websocket"] {
            let connections = format!("echogate_connections_total{{kind=\"{kind}\"}}");
            server.wait_for_metric(&connections, |count| count >= 200);
        }
    };
    for _ in 0..2 {
        passed(&server);
        let successor = folder.server(&[]);
        assert_eq!(server.wait().code(), Some(0));
        server = successor;
    }
    passed(&server);
    for bench in benches {
        kill(Pid::from_raw(bench.id().try_into().unwrap()), Signal::SIGINT).unwrap();
        let output = bench.wait_with_output().unwrap();
        let results: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(results["errors"], 0, "{results}");
    }
}

#[test]
fn an_old_connection_keeps_its_conversation_beside_the_new_process() {
    let folder = Folder::new();
    let old = folder.server(&["--drain", "1h"]);
    let mut tcp = connect(old.address("upper"));
    let mut ws = RawWs::connect(&old, "/ws");
    let mut silent = connect(old.address("upper"));
    let mut http = connect(old.address("http"));
    converse(&mut tcp);
    assert_eq!(exchange(&mut http, &["GET /readyz HTTP/1.1", "Host: localhost"]).status, 200);
    old.wait_for_connections(|all| all.len() == 4);
    let new = folder.server(&[]);
    old.wait_for_log(&["handed over to process", &new.pid().to_string()]);
    assert_eq!(http::get(new.address("http"), "/readyz").status, 200);
    converse(&mut connect(new.address("upper")));
    // A phase of the shutdown that begins too early shows within this time.
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(300) {
        converse(&mut tcp);
        ws.send_frame(0x81, b"abc");
        assert_eq!(ws.read_message().payload, b"ABC");
        // A load balancer that keeps its connection does not turn away from the new process.
        assert_eq!(exchange(&mut http, &["GET /readyz HTTP/1.1", "Host: localhost"]).status, 200);
    }
    converse(&mut silent);
    new.wait_for_connections(<[_]>::is_empty);
}

#[test]
fn old_connections_end_in_order_within_the_drain_of_the_old_process() {
    let folder = Folder::new();
    let mut old = folder.server(&["--drain", "2s"]);
    let mut tcp = connect(old.address("upper"));
    converse(&mut tcp);
    let mut ws = RawWs::connect(&old, "/ws");
    let _new = folder.server(&[]);
    assert_eq!(ws.read().close().0, Some(1001));
    ws.send(&ws::close(1001, ""));
    assert!(read_to_end(&mut tcp).is_empty(), "an orderly end");
    assert_eq!(old.wait().code(), Some(0));
    assert!(!old.log().iter().any(|line| line.contains("did not end within")), "{:#?}", old.log());
}

#[test]
fn the_files_of_unix_sockets_belong_to_the_new_process() {
    let folder = Folder::new();
    let mut old = folder.server(&[]);
    let handover = folder.path("handover.sock");
    let mode = fs::metadata(&handover).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode, 0o600, "only this user may connect");
    let mut new = folder.server(&[]);
    assert_eq!(old.wait().code(), Some(0));
    let files = ["upper.sock", "gram.sock", "handover.sock"].map(|name| folder.path(name));
    assert!(files.iter().all(|file| exists(file)));
    assert_eq!(new.terminate(), Some(0));
    assert!(!files.iter().any(|file| exists(file)), "removed at the end");
}

#[test]
fn sockets_that_the_new_settings_do_not_name_are_closed() {
    let folder = Folder::new();
    let mut old = folder.server(&[]);
    let (upper, file) = (old.address("upper").to_owned(), folder.path("upper.sock"));
    let mut command = Command::new(ECHOGATE);
    let listen = format!("echo=unix://{}?mode=660", folder.path("echo.sock").display());
    command.args(["serve", "--http", "127.0.0.1:0", "--listen", &listen, "--handover"]);
    command.arg(folder.path("handover.sock"));
    let new = Server::spawn(command);
    assert_eq!(old.wait().code(), Some(0));
    assert_eq!(new.url("http"), old.url("http"));
    assert!(TcpStream::connect(upper).is_err(), "nothing listens there");
    assert!(!exists(&file) && exists(&folder.path("echo.sock")));
}

#[test]
fn a_socket_gets_the_service_and_the_permissions_of_the_new_settings() {
    let folder = Folder::new();
    let socket = folder.path("service.sock");
    let start = |service: &str, mode: &str| {
        let mut command = Command::new(ECHOGATE);
        let listen = format!("{service}=unix://{}?mode={mode}", socket.display());
        command.args(["serve", "--http", "127.0.0.1:0", "--listen", &listen, "--handover"]);
        command.arg(folder.path("handover.sock"));
        Server::spawn(command)
    };
    let mut old = start("upper", "600");
    let _new = start("echo", "660");
    assert_eq!(old.wait().code(), Some(0));
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o660);
    let mut client = std::os::unix::net::UnixStream::connect(&socket).unwrap();
    assert_eq!(round_trip(&mut client, b"abc"), b"abc");
}

#[test]
fn the_socket_of_the_handover_can_be_added_by_a_reload() {
    let folder = Folder::new();
    let file = folder.path("echogate.toml");
    let settings = "http = [\"127.0.0.1:0\"]\n";
    fs::write(&file, settings).unwrap();
    let start = || {
        let mut command = Command::new(ECHOGATE);
        command.args(["serve", "--listen", "upper=tcp://127.0.0.1:0", "--config"]).arg(&file);
        Server::spawn(command)
    };
    let mut old = start();
    let path = folder.path("handover.sock");
    fs::write(&file, format!("{settings}handover = {:?}\n", path.to_str().unwrap())).unwrap();
    old.signal("HUP");
    old.wait_for_log(&["configuration reloaded"]);
    assert!(exists(&path));
    let new = start();
    assert_eq!(new.url("upper"), old.url("upper"));
    assert_eq!(old.wait().code(), Some(0));
}

#[test]
fn of_two_successors_at_once_one_takes_over_from_the_other() {
    let folder = Folder::new();
    let mut first = folder.server(&[]);
    let mut both: Vec<Server> = thread::scope(|scope| {
        let started: Vec<_> = (0..2).map(|_| scope.spawn(|| folder.server(&[]))).collect();
        started.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(first.wait().code(), Some(0));
    let handed_over = |server: &Server| server.log().iter().any(|l| l.contains("handed over"));
    let last = both.iter().position(|server| !handed_over(server)).unwrap();
    let last = both.remove(last);
    assert_eq!(both[0].wait().code(), Some(0));
    assert_eq!(last.url("upper"), first.url("upper"));
    converse(&mut connect(last.address("upper")));
}
