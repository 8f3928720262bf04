//! Messages to a service manager (`NOTIFY_SOCKET`, sd_notify(3)).

use std::{
    fs,
    os::{
        linux::net::SocketAddrExt,
        unix::net::{SocketAddr, UnixDatagram},
    },
    process::{self, Command},
};

use echogate_tests::{
    http::connect,
    server::{Server, WAIT_TIMEOUT},
    tcp::round_trip,
};
use nix::{sys::time::TimeValLike, time::ClockId};

use crate::{ECHOGATE, api::StoppedThread};

/// A service manager: its socket, the value of `NOTIFY_SOCKET`, and the folder of the socket.
struct Manager {
    socket: UnixDatagram,
    name: String,
    folder: tempfile::TempDir,
}

impl Manager {
    fn new() -> Manager {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
        Manager { socket, name: path.to_str().unwrap().to_owned(), folder }
    }

    /// A server that notifies the manager, with its settings in a file, and other variables.
    fn start(&self, settings: &str, variables: &[(&str, &str)]) -> Server {
        self.write(settings);
        let mut command = Command::new(ECHOGATE);
        command.arg("--config").arg(self.folder.path().join("echogate.toml"));
        command.env("NOTIFY_SOCKET", &self.name).envs(variables.iter().copied());
        Server::spawn(command)
    }

    fn write(&self, settings: &str) {
        let text = format!("{settings}\n{SOCKETS}");
        fs::write(self.folder.path().join("echogate.toml"), text).unwrap();
    }

    /// The lines of the next message.
    fn next(&self) -> Vec<String> {
        let mut message = [0; 4096];
        let length = self.socket.recv(&mut message).expect("a message within the time limit");
        std::str::from_utf8(&message[..length]).unwrap().lines().map(str::to_owned).collect()
    }
}

const SOCKETS: &str = r#"
http = ["127.0.0.1:0"]
[[listener]]
service = "upper"
url = "tcp://127.0.0.1:0"
"#;

#[test]
fn readiness_reloads_and_the_stop_are_reported_in_order() {
    let manager = Manager::new();
    let mut server = manager.start("", &[]);
    assert_eq!(manager.next(), ["READY=1", "STATUS=serving, listening sockets: 2"]);

    manager.write("max-connections = 7");
    server.signal("HUP");
    let now = || ClockId::CLOCK_MONOTONIC.now().unwrap().num_microseconds();
    let reloading = manager.next();
    let [state, time, status] = reloading.as_slice() else { panic!("{reloading:?}") };
    assert_eq!((&**state, &**status), ("RELOADING=1", "STATUS=reloading the configuration"));
    let time: i64 = time.strip_prefix("MONOTONIC_USEC=").unwrap().parse().unwrap();
    assert!((now() - 60_000_000..=now()).contains(&time), "{time} is not the time of the reload");
    assert_eq!(manager.next(), ["READY=1", "STATUS=serving, listening sockets: 2"]);
    assert_eq!(server.metric("echogate_connections_limit"), 7, "the reload is over");

    manager.write("drain = \"x\"");
    server.signal("HUP");
    assert_eq!(manager.next()[0], "RELOADING=1");
    let rejected = manager.next();
    assert_eq!(rejected[0], "READY=1");
    let status = "STATUS=serving, listening sockets: 2; reload rejected, configuration unchanged: ";
    assert!(rejected[1].starts_with(status) && rejected[1].contains("drain"), "{rejected:?}");
    assert_eq!(rejected.len(), 2, "the status is one line");

    server.signal("TERM");
    let stopping = [
        "STOPPING=1",
        "EXTEND_TIMEOUT_USEC=15000000",
        "STATUS=stopping within 10s (--drain), open connections: 0",
    ];
    assert_eq!(manager.next(), stopping);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_socket_in_the_abstract_namespace_is_notified() {
    let name = format!("echogate-test-{}", process::id());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    socket.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    let manager =
        Manager { socket, name: format!("@{name}"), folder: tempfile::tempdir().unwrap() };
    let _server = manager.start("", &[]);
    assert_eq!(manager.next()[0], "READY=1");
}

#[test]
fn the_watchdog_is_notified_while_every_event_loop_answers() {
    let manager = Manager::new();
    let server = manager.start("", &[("WATCHDOG_USEC", "200000")]);
    let mut firsts: Vec<_> = (0..4).map(|_| manager.next().swap_remove(0)).collect();
    firsts.sort();
    assert_eq!(firsts, ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"]);

    let stopped = StoppedThread::named(&server, "loop-0");
    server.wait_for_log(&["watchdog", "event loop 0 does not answer"]);
    // The next check begins and fails as well: all messages from before it have been received.
    manager.socket.set_nonblocking(true).unwrap();
    while manager.socket.recv(&mut [0; 64]).is_ok() {}
    server.wait_for_nth_log(&["watchdog", "event loop 0 does not answer"], 1);
    let silent = manager.socket.recv(&mut [0; 64]);
    assert!(silent.is_err(), "a stalled server still notifies the watchdog");
    drop(stopped);
    manager.socket.set_nonblocking(false).unwrap();
    assert_eq!(manager.next(), ["WATCHDOG=1"]);
}

#[test]
fn a_watchdog_of_another_process_is_not_notified() {
    let manager = Manager::new();
    let mut server = manager.start("", &[("WATCHDOG_USEC", "1000"), ("WATCHDOG_PID", "1")]);
    assert_eq!(manager.next()[0], "READY=1");
    server.signal("TERM");
    assert_eq!(manager.next()[0], "STOPPING=1");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_service_manager_that_cannot_be_notified_costs_a_line_of_the_log_and_nothing_else() {
    for (name, why) in [
        ("relative/path", "expected an absolute path, or @ and a name"),
        ("/nowhere/notify", "no such file or directory"),
    ] {
        let mut command = Command::new(ECHOGATE);
        command.args(["--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"]);
        let server = Server::spawn({
            command.env("NOTIFY_SOCKET", name).env("WATCHDOG_USEC", "soon");
            command
        });
        server.wait_for_log(&["WARN", "NOTIFY_SOCKET", why]);
        server.wait_for_log(&["WATCHDOG_USEC=soon: expected a number of microseconds"]);
        let mut client = connect(server.address("upper"));
        assert_eq!(round_trip(&mut client, b"a"), b"A");
    }
}

#[test]
fn a_service_manager_that_does_not_read_delays_no_client() {
    let manager = Manager::new();
    let server = manager.start("", &[("WATCHDOG_USEC", "2000")]);
    server.wait_for_log(&["cannot send WATCHDOG=1 to the service manager (NOTIFY_SOCKET)"]);
    let mut client = connect(server.address("upper"));
    assert_eq!(round_trip(&mut client, b"a"), b"A");
}
