//! Host names with several addresses, which `libnss_wrapper` provides for one process.

use std::{
    io::{Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::{Command, Output, Stdio},
    sync::mpsc::channel,
    thread,
};

use echogate_tests::{
    server::{Server, WAIT_TIMEOUT},
    upstream::Unresponsive,
    ws::handshake,
};
use socket2::{Domain, Socket, Type};

use crate::ECHOGATE;

/// The addresses of `host.example`, in the resolver's order.
const ADDRESSES: [Ipv4Addr; 3] =
    [Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3), Ipv4Addr::LOCALHOST];

/// A hosts file with `host.example`.
struct Hosts {
    dir: tempfile::TempDir,
}

impl Hosts {
    /// Writes the file; `None` if the library is not installed.
    fn new() -> Option<Hosts> {
        let mut probe = Command::new("true");
        let printed = probe.env("LD_PRELOAD", LIBRARY).output().unwrap().stderr;
        if !printed.is_empty() {
            assert!(std::env::var_os("CI").is_none(), "{LIBRARY} is missing");
            eprintln!("skipped: no {LIBRARY} (Debian: libnss-wrapper) to make up host names");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let lines = ADDRESSES.map(|address| format!("{address} host.example\n"));
        std::fs::write(dir.path().join("hosts"), lines.concat()).unwrap();
        Some(Hosts { dir })
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("hosts")
    }

    /// The program under test, with [`ADDRESSES`] for `host.example`.
    fn command(&self) -> Command {
        let mut command = Command::new(ECHOGATE);
        command.env("LD_PRELOAD", LIBRARY).env("NSS_WRAPPER_HOSTS", self.file());
        command
    }

    fn server(&self, arguments: &[&str]) -> Server {
        let mut command = self.command();
        command.args(["serve", "--http", "127.0.0.1:0"]).args(arguments);
        Server::spawn(command)
    }

    /// Runs `echogate connect` with this standard input.
    fn connect(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = self.command();
        command.arg("connect").args(arguments).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        child.wait_with_output().unwrap()
    }
}

const LIBRARY: &str = "libnss_wrapper.so";

/// A listener at the last address, and listeners with full backlogs at the same port of the others.
fn last_is_alive() -> (TcpListener, [Unresponsive; 2]) {
    loop {
        let alive = TcpListener::bind((ADDRESSES[2], 0)).unwrap();
        let port = alive.local_addr().unwrap().port();
        let dead = |ip: Ipv4Addr| Unresponsive::bind(SocketAddr::new(IpAddr::V4(ip), port));
        // Another program may use the port at that address.
        if let (Ok(first), Ok(second)) = (dead(ADDRESSES[0]), dead(ADDRESSES[1])) {
            return (alive, [first, second]);
        }
    }
}

fn echo(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        stream.write_all(&buffer[..len]).unwrap();
    }
}

#[test]
fn addresses_that_do_not_answer_do_not_make_an_upstream_unreachable() {
    let Some(hosts) = Hosts::new() else { return };
    let (alive, _dead) = last_is_alive();
    let route = format!("/r=tcp://host.example:{}", alive.local_addr().unwrap().port());
    // The kernel's own timeout takes minutes for the first address alone.
    let within = format!("{}s", WAIT_TIMEOUT.as_secs());
    let server = hosts.server(&["--route", &route, "--dial-timeout", &within]);
    let response = handshake(&server, "/r", &[]);
    assert_eq!(response.status, 101, "{response:?}");
    alive.accept().unwrap();
}

#[test]
fn the_client_reaches_a_host_by_any_of_its_addresses() {
    let Some(hosts) = Hosts::new() else { return };
    let (alive, _dead) = last_is_alive();
    let url = format!("tcp://host.example:{}", alive.local_addr().unwrap().port());
    thread::spawn(move || echo(alive.accept().unwrap().0));
    let output = hosts.connect(&[&url], b"hello");
    assert_eq!(output.stdout, b"hello", "{output:?}");
}

#[test]
fn the_error_of_a_refusing_host_names_the_number_of_tried_addresses() {
    let Some(hosts) = Hosts::new() else { return };
    // A socket that is bound to all addresses and does not listen.
    let holder = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    holder.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into()).unwrap();
    let port = holder.local_addr().unwrap().as_socket().unwrap().port();
    let route = format!("/r=tcp://host.example:{port}");
    let server = hosts.server(&["--route", &route]);
    let response = handshake(&server, "/r", &[]);
    assert_eq!(
        (response.status, response.text().trim_end()),
        (502, "the upstream refused the connection (3 addresses tried)")
    );
    let url = format!("tcp://host.example:{port}");
    let output = hosts.connect(&[&url], b"");
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        format!("echogate: {url}: connection refused (3 addresses tried)\n")
    );
}

#[test]
fn a_socks_proxy_that_refuses_the_password_is_asked_once_whatever_the_number_of_addresses() {
    let Some(hosts) = Hosts::new() else { return };
    let proxy = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = proxy.local_addr().unwrap();
    let (asked, clients) = channel();
    thread::spawn(move || {
        for client in proxy.incoming() {
            let mut client = client.unwrap();
            asked.send(()).unwrap();
            client.read_exact(&mut [0; 4]).unwrap();
            client.write_all(&[5, 2]).unwrap();
            client.read_exact(&mut [0; 5]).unwrap();
            client.write_all(&[1, 1]).unwrap();
        }
    });
    let url = format!("socks5://u:p@{at}");
    let output = hosts.connect(&["tcp://host.example:7", "--proxy", &url], b"");
    let expected = format!(
        "echogate: tcp://host.example:7: proxy socks5://{at}: the user name or password is wrong\n"
    );
    assert_eq!(String::from_utf8_lossy(&output.stderr), expected);
    assert_eq!(clients.try_iter().count(), 1);
}

#[test]
fn an_unresolvable_name_gives_the_same_error_everywhere() {
    let Some(hosts) = Hosts::new() else { return };
    let server = hosts.server(&["--route", "/r=tcp://nowhere.invalid:7"]);
    let response = handshake(&server, "/r", &[]);
    let cause = response.text();
    let cause = cause.trim_end().strip_prefix("the upstream's host name cannot be resolved: ");
    let (status, cause) = (response.status, cause.unwrap_or_else(|| panic!("{response:?}")));
    assert_eq!(status, 502);
    let words = format!("cannot resolve the host name \"nowhere.invalid\": {cause}\n");
    let output = hosts.connect(&["tcp://nowhere.invalid:7"], b"");
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(printed.ends_with(&words), "{printed}, not {words}");
    let output = hosts.command().args(["--http", "nowhere.invalid:7"]).output().unwrap();
    let printed = String::from_utf8_lossy(&output.stderr);
    assert!(printed.ends_with(&words), "{printed}, not {words}");
}
