//! Connections of clients and to upstreams through HTTP and SOCKS5 proxies, with proxies that the
//! tests control. `third_party::proxies` has real ones.

use std::{
    io::{self, Write},
    net::{Shutdown, TcpStream},
    process::{Command, Output, Stdio},
    thread::{self, JoinHandle},
};

use echogate_tests::{
    http,
    server::Server,
    tcp,
    upstream::{Unresponsive, Upstream},
    ws::{self, RawWs},
};

use crate::ECHOGATE;

/// An HTTP proxy for one connection, which answers `status` to CONNECT and then answers messages
/// in upper case itself; its URL, and the request line.
fn http_proxy(status: &'static str) -> (String, JoinHandle<String>) {
    let proxy = Upstream::new();
    let url = format!("http://{}", proxy.address());
    let serving = proxy.serve(move |mut stream: TcpStream| {
        let request = ws::read_request(&mut stream).swap_remove(0);
        write!(stream, "HTTP/1.1 {status}\r\n\r\n").unwrap();
        if status.starts_with('2') {
            assert_eq!(tcp::read_exactly(&mut stream, 5), b"hello");
            stream.write_all(b"HELLO\n").unwrap();
        }
        request
    });
    (url, serving)
}

/// An HTTP proxy for one connection, which it passes to `target` whatever its name is; its URL, and
/// the request line.
fn relaying_proxy(target: String) -> (String, JoinHandle<String>) {
    let proxy = Upstream::new();
    let url = format!("http://{}", proxy.address());
    let serving = proxy.serve(move |mut client: TcpStream| {
        let request = ws::read_request(&mut client).swap_remove(0);
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let mut server = http::connect(&target);
        let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let upload = thread::spawn(move || {
            io::copy(&mut from, &mut to).ok();
            to.shutdown(Shutdown::Write).ok();
        });
        io::copy(&mut server, &mut client).ok();
        client.shutdown(Shutdown::Write).ok();
        upload.join().unwrap();
        request
    });
    (url, serving)
}

/// Runs `echogate` with these variables in its environment.
fn echogate(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(ECHOGATE);
    command.args(arguments).envs(variables.iter().copied()).stdin(Stdio::null());
    command.output().unwrap()
}

fn connect(variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    echogate(variables, &[&["connect", "--message", "hello"][..], arguments].concat())
}

/// The error of a command that fails with `status`.
fn error(output: &Output, status: i32) -> String {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    String::from_utf8_lossy(&output.stderr).trim_end().to_owned()
}

#[test]
fn the_proxy_of_the_environment_resolves_the_name_of_the_server() {
    let (url, serving) = http_proxy("200 OK");
    let output = connect(&[("ALL_PROXY", &url)], &["tcp://no-such-name.invalid:7"]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "HELLO\n", "{output:?}");
    assert_eq!(serving.join().unwrap(), "CONNECT no-such-name.invalid:7 HTTP/1.1");
}

#[test]
fn a_client_connects_to_loopback_addresses_through_a_given_proxy_and_not_through_the_environments()
{
    let server = Server::start(ECHOGATE, &["--listen", "upper=tcp://127.0.0.1:0"]);
    let target = server.url("upper");
    let dead = [("ALL_PROXY", "http://127.0.0.1:1"), ("https_proxy", "nonsense://")];
    for (variables, arguments) in [
        (&dead[..], &[target][..]),
        (&dead, &[target, "--no-proxy", "other.example"]),
        (&[], &[target, "--proxy", "http://127.0.0.1:1", "--no-proxy", "127.0.0.0/8"]),
        (&[("no_proxy", "*")], &[target, "--proxy", "http://127.0.0.1:1"]),
    ] {
        let output = connect(variables, arguments);
        assert_eq!(String::from_utf8_lossy(&output.stdout), "HELLO\n", "{output:?}");
    }
    let refused = connect(&[], &[target, "--proxy", "http://127.0.0.1:1"]);
    let expected = format!("echogate: {target}: proxy http://127.0.0.1:1: connection refused");
    assert_eq!(error(&refused, 1), expected);
}

#[test]
fn the_status_of_a_proxy_and_an_invalid_proxy_are_reported() {
    let (url, serving) = http_proxy("407 Proxy Authentication Required");
    let printed = error(&connect(&[("https_proxy", &url)], &["wss://gate.example/x"]), 1);
    let expected = format!(
        "echogate: wss://gate.example:443/x: proxy {url}: 407 Proxy Authentication Required: "
    );
    assert!(printed.starts_with(&expected), "{printed}");
    assert_eq!(serving.join().unwrap(), "CONNECT gate.example:443 HTTP/1.1");
    for (variables, arguments, expected) in [
        (
            &[("ALL_PROXY", "ftp://user:secret@p")][..],
            &["tcp://h.invalid:1"][..],
            "ALL_PROXY (environment): ftp:// is not supported for a proxy",
        ),
        (&[], &["udp://h.invalid:1", "--proxy", "http://p"], "--proxy is valid with tcp://"),
        (&[], &["tcp://h.invalid:1", "--proxy", "https://p"], "TLS to a proxy is not supported"),
        (&[], &["tcp://h.invalid:1", "--no-proxy", "a:80"], "expected a host name"),
    ] {
        let printed = error(&connect(variables, arguments), 2);
        assert!(printed.contains(expected) && !printed.contains("secret"), "{printed}");
    }
}

#[test]
fn an_upstream_behind_a_proxy_is_reached_by_its_name() {
    let (url, serving) = http_proxy("200 OK");
    let route = "/r=tcp://db.invalid:5432?framing=message";
    let gateway = Server::start(ECHOGATE, &["--proxy", &url, "--route", route]);
    assert_eq!(gateway.printed("proxy      "), Some(format!("{url} for tcp://db.invalid:5432")));
    let mut client = RawWs::connect(&gateway, "/r");
    assert_eq!(client.exchange(b"hello"), b"HELLO");
    assert_eq!(serving.join().unwrap(), "CONNECT db.invalid:5432 HTTP/1.1");
}

#[test]
fn a_forward_and_a_route_lead_to_a_websocket_server_behind_a_proxy() {
    let server = Server::start(ECHOGATE, &[]);
    for (is_forward, variable) in [(true, "http_proxy"), (false, "ALL_PROXY")] {
        let (url, serving) = relaying_proxy(server.address("http").to_owned());
        let mut command = Command::new(ECHOGATE);
        command.env(variable, &url).args(["--http", "127.0.0.1:0"]);
        match is_forward {
            true => {
                command.args(["--forward", "127.0.0.1:0=ws://gate.invalid/ws/echo#framing=line"])
            }
            false => command.args(["--route", "/r=ws://gate.invalid:8080/ws/echo"]),
        };
        let gateway = Server::spawn(command);
        if is_forward {
            let mut client = http::connect(gateway.address("forward"));
            assert_eq!(tcp::round_trip(&mut client, b"hello\n"), b"hello\n");
        } else {
            let mut client = RawWs::connect(&gateway, "/r");
            assert_eq!(client.exchange(b"hello"), b"hello");
        }
        drop(gateway);
        let port = if is_forward { 80 } else { 8080 };
        assert_eq!(serving.join().unwrap(), format!("CONNECT gate.invalid:{port} HTTP/1.1"));
    }
}

#[test]
fn a_failure_at_a_proxy_is_a_502_without_its_address_and_silence_is_a_504() {
    let (url, serving) = http_proxy("403 Filtered");
    let route = "/r=tcp://db.invalid:5432";
    let mut command = Command::new(ECHOGATE);
    command.env("all_proxy", &url).args(["--http", "127.0.0.1:0", "--route", route]);
    let gateway = Server::spawn(command);
    let response = ws::handshake(&gateway, "/r", &[]);
    let expected = "the proxy cannot connect to the upstream: 403 Filtered";
    assert_eq!((response.status, response.text().trim_end()), (502, expected));
    gateway.wait_for_log(&["db.invalid:5432", &format!("proxy {url}: 403 Filtered")]);
    serving.join().unwrap();

    let silent = Unresponsive::new();
    let url = format!("socks5h://{}", silent.address());
    let arguments = ["--proxy", &url, "--route", route, "--dial-timeout", "100ms"];
    let gateway = Server::start(ECHOGATE, &arguments);
    assert_eq!(ws::handshake(&gateway, "/r", &[]).status, 504);
}

#[test]
fn a_server_connects_to_loopback_upstreams_directly() {
    let upstream = Upstream::new();
    let route = upstream.route("/r", "bytes");
    let other = "/other=tcp://db.invalid:1";
    let arguments = ["--proxy", "http://127.0.0.1:1", "--route", &route, "--route", other];
    let gateway = Server::start(ECHOGATE, &arguments);
    let _client = RawWs::connect(&gateway, "/r");
    drop(upstream.accept());
}

#[test]
fn a_proxy_that_no_upstream_needs_or_that_is_invalid_is_refused_at_the_start() {
    let check = |variables: &[(&str, &str)], arguments: &[&str]| {
        echogate(variables, &[&["check"][..], arguments].concat())
    };
    let route = ["--route", "/r=tls://db.invalid:1"];
    for (variables, arguments, expected) in [
        (&[][..], &["--proxy", "http://p"][..], "--proxy has no effect: every upstream is on this"),
        (&[("ECHOGATE_PROXY", "http://p")], &[], "ECHOGATE_PROXY has no effect"),
        (
            &[("https_proxy", "socks4://p")],
            &route,
            "the upstream tls://db.invalid:1: https_proxy (environment): socks4:// is not supported",
        ),
    ] {
        let printed = error(&check(variables, arguments), 2);
        assert!(printed.contains(expected), "{printed}");
    }
    let listed = check(&[("HTTPS_PROXY", "http://u:secret@p:3128")], &route);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("proxy      http://p:3128 for tls://db.invalid:1\n"), "{listed}");
}
