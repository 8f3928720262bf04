//! tinyproxy (HTTP), microsocks (SOCKS5) and `ssh -D` (SOCKS5) in front of a client, and between the
//! gateway and an upstream.

use std::{
    fs,
    net::ToSocketAddrs,
    process::{Command, Output, Stdio},
};

use echogate_tests::{
    program::{Program, free_port, programs},
    server::Server,
    ws::RawWs,
};

use super::ssh::{Sshd, user};
use crate::ECHOGATE;

/// Runs `echogate connect` with the message `hello` and one reply.
fn connect(variable: Option<&str>, arguments: &[&str]) -> Output {
    let mut command = Command::new(ECHOGATE);
    command
        .args(["connect", "--message", "hello", "--count", "1", "--every", "1s"])
        .args(arguments);
    command.envs(variable.map(|url| ("ALL_PROXY", url))).stdin(Stdio::null()).output().unwrap()
}

/// A name of this machine that is not known to be loopback before it is resolved.
fn this_machine() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned();
    let resolves = (name.as_str(), 1).to_socket_addrs().is_ok();
    if !resolves {
        eprintln!("\n*** SKIPPED: the host name {name} does not resolve ***\n");
    }
    resolves.then_some(name)
}

/// A client gets its answer through the proxy over WebSocket, and over TCP if the proxy passes the
/// end of one direction on; so does a client of a route whose upstream is behind the proxy.
fn carries(proxy: &str, half_close: bool) {
    let Some(host) = this_machine() else { return };
    let behind = Server::start(ECHOGATE, &["--listen", "upper=tcp://0.0.0.0:0"]);
    let port = behind.address("upper").rsplit(':').next().unwrap().to_owned();
    let (tcp, ws) = (format!("tcp://127.0.0.1:{port}"), behind.ws("/ws"));
    let by_name = format!("tcp://{host}:{port}");
    let of_tcp = [
        (None, ["--proxy", proxy, &tcp]),
        (Some(proxy), ["--no-proxy", "other.example", &by_name]),
    ];
    let of_tcp = of_tcp.into_iter().filter(|_| half_close);
    for (variable, arguments) in of_tcp.chain([(None, ["--proxy", proxy, &ws])]) {
        let output = connect(variable, &arguments);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "HELLO\n", "{output:?}");
    }
    let route = format!("/r={by_name}?framing=message");
    let gateway = Server::start(ECHOGATE, &["--proxy", proxy, "--route", &route]);
    let mut client = RawWs::connect(&gateway, "/r");
    assert_eq!(client.exchange(b"hello"), b"HELLO");
}

/// The error of a client with this proxy.
fn refusal(proxy: &str) -> String {
    let output = connect(None, &["--proxy", proxy, "tcp://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stderr).unwrap().trim_end().to_owned()
}

#[test]
fn tinyproxy_carries_clients_and_upstreams_with_a_password() {
    let Some([tinyproxy]) = programs(["tinyproxy"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let (port, settings) = (free_port(), folder.path().join("tinyproxy.conf"));
    let text = format!("Port {port}\nListen 127.0.0.1\nBasicAuth user p.ss\nLogLevel Connect\n");
    fs::write(&settings, text).unwrap();
    let mut command = Command::new(tinyproxy);
    command.arg("-d").arg("-c").arg(&settings);
    let program = Program::serve(command, port);
    carries(&format!("http://user:p.ss@127.0.0.1:{port}"), false);
    assert_eq!(program.output().matches(" HTTP/1.1").count(), 2, "{}", program.output());
    for (credentials, answer) in [
        ("", "407 Proxy Authentication Required: its URL needs a user name"),
        ("user:other@", "401 Unauthorized: the user name or password is wrong"),
    ] {
        let error = refusal(&format!("http://{credentials}127.0.0.1:{port}"));
        assert!(error.contains(&format!("proxy http://127.0.0.1:{port}: {answer}")), "{error}");
    }
    let closed = refusal(&format!("http://user:p.ss@127.0.0.1:{port}"));
    assert!(closed.contains(&format!("proxy http://127.0.0.1:{port}: 50")), "{closed}");
}

#[test]
fn microsocks_carries_clients_and_upstreams_with_a_password() {
    let Some([microsocks]) = programs(["microsocks"]) else { return };
    let port = free_port();
    let mut command = Command::new(microsocks);
    command.args(["-i", "127.0.0.1", "-p", &port.to_string(), "-u", "user", "-P", "p@ss"]);
    let _program = Program::serve(command, port);
    carries(&format!("socks5h://user:p%40ss@127.0.0.1:{port}"), false);
    carries(&format!("socks5://user:p%40ss@127.0.0.1:{port}"), false);
    for (credentials, expected) in [
        ("", "authentication is required"),
        ("user:other@", "the user name or password is wrong"),
        ("user:p%40ss@", "the destination refused the connection (SOCKS reply 5)"),
    ] {
        let error = refusal(&format!("socks5h://{credentials}127.0.0.1:{port}"));
        assert!(
            error.contains(&format!("proxy socks5h://127.0.0.1:{port}: {expected}")),
            "{error}"
        );
    }
}

#[test]
fn a_dynamic_forward_of_ssh_carries_clients_and_upstreams() {
    let Some([ssh]) = programs(["ssh"]) else { return };
    let Some(sshd) = Sshd::start() else { return };
    let port = free_port();
    let mut command = Command::new(ssh);
    command.args(sshd.options()).args(["-N", "-D", &format!("127.0.0.1:{port}")]);
    command.args(["-p", &sshd.port.to_string()]);
    command.arg(format!("{}@127.0.0.1", user()));
    let _ssh = Program::serve(command, port);
    carries(&format!("socks5h://127.0.0.1:{port}"), true);
    carries(&format!("socks5://127.0.0.1:{port}"), true);
}
