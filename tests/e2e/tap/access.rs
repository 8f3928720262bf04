//! Access to taps, their limits, the log and the metrics.

use std::{fmt::Display, fs, net::TcpStream, process::Command};

use echogate_tests::{
    http::{self, Response, connect, exchange},
    program::free_port,
    server::Server,
    tcp::connect_from,
    ws::{RawWs, first},
};

use super::{Observer, id_of};
use crate::{ECHOGATE, server};

/// The answer to a request for a tap of connection `id`.
fn asked(mut stream: TcpStream, id: impl Display, head: &[&str]) -> Response {
    let request = format!("GET /api/connections/{id}/tap HTTP/1.1");
    exchange(&mut stream, &[&[&request, "Host: localhost"], head].concat())
}

/// A client of `upper`, and the identifier of its connection.
fn client(server: &Server) -> (TcpStream, u64) {
    let client = connect(server.address("upper"));
    (client, id_of(server, "upper"))
}

#[test]
fn users_of_this_machine_and_the_operator_may_observe_and_nobody_else() {
    let dir = tempfile::tempdir().unwrap();
    let token = dir.path().join("token");
    fs::write(&token, "0123456789abcdef\n").unwrap();
    let server = Server::start(
        ECHOGATE,
        &[
            "--listen",
            "chat=tcp://127.0.0.1:0",
            "--operator-token-file",
            token.to_str().unwrap(),
            "--forwarded-from",
            "127.0.0.2",
        ],
    );
    let (_client, id) = client(&server);
    let http = || connect(server.address("http"));
    let proxy = || connect_from([127, 0, 0, 2], server.address("http"));
    let from = "X-Forwarded-For: 203.0.113.9";
    let bearer = "Authorization: Bearer 0123456789abcdef";
    for (stream, head, status, said) in [
        (http(), &[][..], 200, ""),
        (proxy(), &["X-Forwarded-For: 127.0.0.1"], 403, "through a proxy"),
        (proxy(), &[from], 403, "from another machine needs the operators' token"),
        (proxy(), &[from, bearer], 200, ""),
        (proxy(), &[from, "Authorization: Bearer 0123456789abcdeF"], 403, "operators' token"),
        (http(), &[from], 403, "--forwarded-from"),
        (http(), &["Authorization: Basic 0123456789abcdef"], 403, "expected Bearer"),
        (http(), &["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"], 403, "origin"),
    ] {
        let response = asked(stream, id, head);
        assert_eq!(response.status, status, "{head:?}: {}", response.text());
        assert!(response.text().contains(said), "{head:?}: {}", response.text());
    }
    server.wait_for_log(&["tap begins", "observer=203.0.113.9:0"]);
    server.wait_for_log(&["refused", "peer=203.0.113.9:0", "token"]);
}

#[test]
fn behind_a_proxy_header_the_client_is_the_one_that_it_names() {
    let server = Server::start(ECHOGATE, &["--proxy-protocol-from", "127.0.0.2"]);
    let (_client, id) = client(&server);
    let mut stream = connect_from([127, 0, 0, 2], server.address("http"));
    use std::io::Write as _;
    stream.write_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n").unwrap();
    assert_eq!(asked(stream, id, &[]).status, 403);
}

#[test]
fn unknown_connections_and_sides_and_disabled_taps_are_refused_in_words() {
    let server = server();
    let (_client, id) = client(&server);
    for (path, status, said) in [
        ("12345/tap", 404, "no open connection has the ID 12345"),
        ("x/tap", 404, "no open connection has the ID x"),
        (&*format!("{id}/tap?side=client&side=both"), 400, "the parameter \"side\" is repeated"),
        (&*format!("{id}/tap?side=left"), 400, "expected side=client, side=upstream or side=both"),
    ] {
        let response = http::get(server.address("http"), &format!("/api/connections/{path}"));
        assert_eq!(response.status, status);
        assert!(response.text().contains(said), "{}", response.text());
    }
    let server = Server::start(ECHOGATE, &["--no-tap"]);
    let (_client, id) = client(&server);
    let response = asked(connect(server.address("http")), id, &[]);
    assert_eq!((response.status, &*response.text()), (403, "taps are disabled (--no-tap)\n"));
    let server = Server::start(ECHOGATE, &["--no-api"]);
    assert_eq!(asked(connect(server.address("http")), 1, &[]).status, 404);
}

#[test]
fn the_connection_of_an_operator_is_observed_by_operators_only() {
    let route = ["--route", "/ws/operator=service:operator"];
    let forward = ["--forward", "127.0.0.1:0=service:operator"];
    let server = Server::start(ECHOGATE, &[route, forward].concat());
    let token = server.printed("operator   token ").unwrap();
    let mut operator = RawWs::connect(&server, "/ws/operator");
    operator.send_frame(first::TEXT, format!(r#"{{"type":"token","token":"{token}"}}"#).as_bytes());
    let id = id_of(&server, "/ws/operator");
    let refused = asked(connect(server.address("http")), id, &[]);
    assert_eq!(refused.status, 403, "{}", refused.text());
    let bearer = format!("Authorization: Bearer {token}");
    assert_eq!(asked(connect(server.address("http")), id, &[&bearer]).status, 200);
    let _forwarded = connect(server.address("forward"));
    let id = id_of(&server, "service:operator");
    assert_eq!(asked(connect(server.address("http")), id, &[]).status, 403);
}

#[test]
fn the_next_connection_is_that_of_an_operator_for_operators_only() {
    let listener = ["--listen", "operator=tcp://127.0.0.1:0"];
    let route = ["--route", "/o=service:operator"];
    let forward = ["--forward", "127.0.0.1:0=service:operator"];
    let server = Server::start(ECHOGATE, &[listener, route, forward].concat());
    let token = server.printed("operator   token ").unwrap();
    let bearer = format!("Authorization: Bearer {token}");
    let next =
        |head: &[&str]| Observer::over(connect(server.address("http")), "next", "both", head);
    let mut anyone = next(&[]);
    for connect_operator in [
        &(|| drop(connect(server.address("operator")))) as &dyn Fn(),
        &|| drop(connect(server.address("forward"))),
        &|| drop(RawWs::connect(&server, "/o")),
    ] {
        let mut operator = next(&[&bearer]);
        connect_operator();
        let opened = operator.opened();
        assert!(opened.target.contains("operator") || opened.target == "/o", "{opened:?}");
        assert!(operator.rest().last().unwrap().starts_with("closed: "));
    }
    drop(connect(server.address("upper")));
    assert_eq!(anyone.opened().target, "upper");
    assert!(anyone.rest().last().unwrap().starts_with("closed: "));
}

#[test]
fn observers_are_limited_and_counted_until_they_leave() {
    let server = server();
    let clients: Vec<_> = (0..9).map(|_| connect(server.address("upper"))).collect();
    let all = server.wait_for_connections(|all| all.len() == clients.len());
    let ids: Vec<_> = all.iter().map(|one| one["id"].as_u64().unwrap()).collect();
    let mut observers: Vec<_> = (0..8).map(|_| Observer::new(&server, ids[0], "both")).collect();
    let refused = asked(connect(server.address("http")), ids[0], &[]);
    assert_eq!(refused.status, 503);
    assert!(refused.text().contains("8 observers"), "{}", refused.text());
    for id in &ids[1..8] {
        observers.extend((0..8).map(|_| Observer::new(&server, *id, "both")));
    }
    assert_eq!(server.metric("echogate_taps"), 64);
    let refused = asked(connect(server.address("http")), ids[8], &[]);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    drop(observers);
    server.wait_for_metric("echogate_taps", |taps| taps == 0);
    // Observers that leave before the next connection opens release their permits.
    drop(Observer::over(connect(server.address("http")), "next", "both", &[]));
    server.wait_for_metric("echogate_taps", |taps| taps == 0);
    Observer::new(&server, ids[8], "both").opened();
}

#[test]
fn a_route_to_the_operators_listener_is_private_and_the_next_connection_is_that_of_a_client() {
    let server = Server::start(ECHOGATE, &["--listen", "operator=tcp://127.0.0.1:0"]);
    let mut anyone = Observer::over(connect(server.address("http")), "next", "both", &[]);
    let _operator = RawWs::connect(&server, "/ws/operator");
    let id = id_of(&server, "/ws/operator");
    assert_eq!(asked(connect(server.address("http")), id, &[]).status, 403);
    // The connection of its route to the listener, which is registered first, is not the next one.
    drop(RawWs::connect(&server, "/ws"));
    assert_eq!(anyone.opened().target, "/ws");
}

#[test]
fn connections_that_lead_to_operators_by_other_targets_or_did_before_a_reload_are_private() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("echogate.toml");
    let socket = dir.path().join("forward").display().to_string();
    let port = free_port();
    let settings = |path: &str| {
        let route =
            |path: &str, url: &str| format!("[[route]]\npath = \"{path}\"\nurl = \"{url}\"\n");
        [
            format!("http = [\"127.0.0.1:{port}\"]\n"),
            route(path, "service:operator"),
            route("/a", &format!("unix://{socket}?framing=line")),
            route("/b", &format!("ws://localhost:{port}{path}")),
        ]
        .concat()
    };
    fs::write(&file, settings("/o")).unwrap();
    let forward = format!("unix://{socket}=ws://127.0.0.1:{port}/b");
    let to_http = format!("127.0.0.1:0=tcp://localhost:{port}");
    let mut command = Command::new(ECHOGATE);
    command.arg("serve").arg("--config").arg(&file).args([
        "--forward",
        &to_http,
        "--forward",
        &forward,
    ]);
    let server = Server::spawn(command);
    let is_private = |id| asked(connect(server.address("http")), id, &[]).status == 403;
    let before = RawWs::connect(&server, "/o");
    let id = id_of(&server, "/o");
    assert!(is_private(id));
    for path in ["/a", "/b"] {
        let _operator = RawWs::connect(&server, path);
        assert!(is_private(id_of(&server, path)), "{path}");
    }
    let _bytes = connect(server.address("forward"));
    assert!(is_private(id_of(&server, &format!("tcp://localhost:{port}"))));
    fs::write(&file, settings("/renamed")).unwrap();
    server.signal("HUP");
    server.wait_for_log(&["configuration reloaded"]);
    assert!(is_private(id));
    drop(before);
}
