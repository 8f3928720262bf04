//! `nc`, `ncat`, `socat` and a plain Python client, on every family of sockets and through forwards.

use std::process::Command;

use echogate_tests::{program::programs, server::Server};

use super::shell;
use crate::ECHOGATE;

/// A tutorial's client, which sends numbers and words without newlines and waits for each reply.
const TUTORIAL: &str = r#"
import socket, sys, time
def ask(port, *messages):
    client = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    client.connect(("127.0.0.1", int(port)))
    for message in messages:
        client.send(message.encode())
        print(client.recv(1024).decode())
    client.close()
upper, clock, once = sys.argv[1:]
ask(upper, "hello", "hello again")
ask(clock, "1532345678.25", "soon", "-1")
for word in ("one", "two"):
    ask(once, word)
now = time.time()
ask(clock, str(now))
print(time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(now)))
"#;

#[test]
fn netcat_and_socat_are_answered_on_every_family() {
    if programs(["nc", "socat", "timeout"]).is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let [stream, datagram] = ["stream", "datagram"].map(|name| dir.path().join(name));
    let (stream, datagram) = (stream.display(), datagram.display());
    let mut command = Command::new(ECHOGATE);
    command.args(["--http", "127.0.0.1:0", "--timezone", "UTC"]);
    for at in ["tcp://127.0.0.1:0", "tcp://[::1]:0", "udp://127.0.0.1:0", "udp://[::1]:0"] {
        command.args(["--listen", &format!("upper={at}")]);
    }
    command.args(["--listen", &format!("upper=unix://{stream}")]);
    command.args(["--listen", &format!("upper=unixgram://{datagram}")]);
    command.args(["--listen", "time=udp://127.0.0.1:0"]);
    let server = Server::spawn(command);
    let ports: Vec<_> = server
        .urls("upper")
        .filter_map(|url| url.rsplit_once(':').map(|(_, port)| port.to_owned()))
        .collect();
    let [tcp4, tcp6, udp4, udp6, ..] = &ports[..] else { panic!("{ports:?}") };
    let time = server.address("time").replace(':', " ");
    let own = dir.path().join("own");
    let own = own.display();
    for (command, expected) in [
        (format!("printf one | nc -N 127.0.0.1 {tcp4}"), "ONE"),
        (format!("printf two | nc -N -6 ::1 {tcp6}"), "TWO"),
        // Datagrams have no end: the client waits for a number of them, or of bytes.
        (format!("printf three | nc -u -W 1 127.0.0.1 {udp4}"), "THREE"),
        (format!("printf four | nc -N -U {stream}"), "FOUR"),
        (format!("printf 1532345678 | nc -u -W 1 {time}"), "2018-07-23 11:34:38"),
        (format!("printf five | timeout 20 socat -t 10 - TCP6:[::1]:{tcp6}"), "FIVE"),
        (format!("printf six | timeout 20 socat -t 10 - UNIX-CONNECT:{stream}"), "SIX"),
        (
            format!("printf seven | timeout 20 socat -t 10 - UDP4:127.0.0.1:{udp4},readbytes=5"),
            "SEVEN",
        ),
        (format!("printf eight | timeout 20 socat -t 10 - UDP6:[::1]:{udp6},readbytes=5"), "EIGHT"),
        (
            format!(
                "printf nine | timeout 20 socat -t 10 - UNIX-CLIENT:{datagram},type=2,bind={own},readbytes=4"
            ),
            "NINE",
        ),
    ] {
        assert_eq!(shell(&command), expected, "{command}");
    }
}

#[test]
fn a_tutorials_python_client_is_answered_without_newlines() {
    let Some([python]) = programs(["python3"]) else { return };
    let server = Server::start(
        ECHOGATE,
        &[
            &["--listen", "time=tcp://127.0.0.1:0", "--timezone", "UTC"][..],
            &["--listen", "echo=tcp://127.0.0.1:0?once"],
        ]
        .concat(),
    );
    let port = |service| server.address(service).rsplit_once(':').unwrap().1.to_owned();
    let mut command = Command::new(python);
    command.args(["-c", TUTORIAL, &port("upper"), &port("time"), &port("echo")]);
    let output = command.output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<_> = printed.lines().collect();
    let [answers @ .., answered, expected] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!(
        answers,
        [
            "HELLO",
            "HELLO AGAIN",
            "2018-07-23 11:34:38",
            "error: not a Unix time: \"soon\"",
            "1969-12-31 23:59:59",
            "one",
            "two",
        ]
    );
    assert_eq!(answered, expected);
}

#[test]
fn datagram_clients_are_answered_through_forwards_and_routes() {
    if programs(["nc", "ncat", "socat", "timeout"]).is_none() {
        return;
    }
    let upstream = Server::start(ECHOGATE, &["--listen", "upper=udp://127.0.0.1:0"]);
    let udp = upstream.urls("upper").find(|url| url.starts_with("udp:")).unwrap();
    let route = format!("/u={udp}");
    let back = Server::start(ECHOGATE, &["--route", &route]);
    let forwards =
        [format!("udp://127.0.0.1:0={udp}"), format!("udp://127.0.0.1:0={}", back.ws("/u"))];
    let front = Server::start(ECHOGATE, &["--forward", &forwards[0], "--forward", &forwards[1]]);
    for url in front.urls("forward") {
        let at = url.strip_prefix("udp://").unwrap();
        let spaced = at.replace(':', " ");
        for (command, expected) in [
            (format!("printf one | nc -u -W 1 {spaced}"), "ONE"),
            // ncat exits at the end of its input, without waiting for a reply.
            (format!("(printf two; sleep 1) | ncat -u {spaced}"), "TWO"),
            (format!("printf three | timeout 20 socat -t 10 - UDP4:{at},readbytes=5"), "THREE"),
        ] {
            assert_eq!(shell(&command), expected, "{command} ({url})");
        }
    }
}
