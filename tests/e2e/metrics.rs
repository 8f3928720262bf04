//! The metrics of routes and forwards, event loops and the process.

use std::{
    fs,
    io::Write,
    net::Shutdown,
    process::Command,
    time::{SystemTime, UNIX_EPOCH},
};

use echogate_tests::{
    http::{self, connect},
    program::free_port,
    server::{Server, wait_until},
    tcp::{read_exactly, read_to_end},
    upstream::{Unresponsive, Upstream},
    ws::{self, RawWs, RawWsServer, handshake},
};

use crate::ECHOGATE;

/// A metric of a route: its name without prefix, then further labels.
fn of_route(path: &str, metric: &str) -> String {
    let (name, labels) = metric.split_once(' ').unwrap_or((metric, ""));
    let comma = if labels.is_empty() { "" } else { "," };
    format!("echogate_target_{name}{{route=\"{path}\"{comma}{labels}}}")
}

/// A server with a route `/x` to `url`.
fn routed(url: &str, more: &[&str]) -> Server {
    Server::start(ECHOGATE, &[&["--route", &format!("/x={url}")][..], more].concat())
}

/// Waits until a metric of the route `/x` has this value.
fn wait_for(server: &Server, metric: &str, value: u64) {
    server.wait_for_metric(&of_route("/x", metric), |now| now == value);
}

#[test]
fn a_route_counts_its_own_connections() {
    let routes = ["--route", "/x=service:upper", "--route", "/y=service:echo"];
    let server = Server::start(ECHOGATE, &routes);
    let mut client = RawWs::connect(&server, "/x");
    client.exchange(b"hello");
    for (metric, value) in [
        ("connections", 1),
        ("connections_total", 1),
        ("received_bytes_total", 5),
        ("sent_bytes_total", 5),
        ("dials_total outcome=\"ok\"", 1),
        ("dial_seconds_count", 1),
        ("first_byte_seconds_count", 1),
        ("connection_seconds_count", 0),
        ("closes_total code=\"1000\"", 0),
    ] {
        wait_for(&server, metric, value);
    }
    client.end(1000, "");
    for (metric, value) in [
        ("connection_seconds_count", 1),
        ("connections", 0),
        ("connections_total", 1),
        ("received_bytes_total", 5),
        ("closes_total code=\"1000\"", 1),
        ("connection_received_bytes_bucket le=\"64\"", 1),
        ("connection_sent_bytes_count", 1),
    ] {
        wait_for(&server, metric, value);
    }
    for metric in ["connections_total", "dials_total outcome=\"ok\"", "connection_seconds_count"] {
        assert_eq!(server.metric(&of_route("/y", metric)), 0, "{metric}");
    }
}

#[test]
fn codes_that_clients_choose_add_no_metrics() {
    let server = routed("service:echo", &[]);
    let lines = || http::get(server.address("http"), "/metrics").text().lines().count();
    let mut before = None;
    for (count, codes) in (1..).zip([[3000, 4000], [3001, 4321], [3999, 4999]]) {
        for code in codes {
            let mut client = RawWs::connect(&server, "/x");
            client.send(&ws::close(code, ""));
            client.read_close();
        }
        wait_for(&server, "closes_total code=\"3xxx\"", count);
        wait_for(&server, "closes_total code=\"4xxx\"", count);
        assert_eq!(lines(), *before.get_or_insert_with(lines), "{codes:?}");
    }
}

#[test]
fn closes_of_websocket_upstreams_and_vanished_clients_are_counted_by_code() {
    let upstream = Upstream::new();
    let server = routed(&format!("ws://{}", upstream.address()), &[]);
    let serving = upstream.serve(|stream| {
        let mut upstream = RawWsServer::accept(stream, &[]);
        upstream.close(1011, "broken");
        upstream.try_read().ok();
    });
    let mut client = RawWs::connect(&server, "/x");
    assert_eq!(client.read_close().0, Some(1011));
    client.send(&ws::close(1011, ""));
    serving.join().unwrap();
    wait_for(&server, "closes_total code=\"1011\"", 1);

    let server = routed("service:echo", &[]);
    drop(RawWs::connect(&server, "/x"));
    wait_for(&server, "closes_total code=\"1006\"", 1);
}

#[test]
fn failed_dials_are_told_apart() {
    let full = Unresponsive::new();
    let plain = Upstream::new();
    let (at, closed) = (plain.address(), free_port());
    let http = Server::start(ECHOGATE, &[]);
    std::thread::spawn(move || {
        loop {
            plain.accept().write_all(b"neither TLS nor HTTP\r\n\r\n").ok();
        }
    });
    let proxy = format!("socks5h://127.0.0.1:{closed}");
    for (url, more, outcome, reason) in [
        (format!("tcp://127.0.0.1:{closed}"), &[][..], "refused", "upstream_refused"),
        (
            format!("tcp://{}", full.address()),
            &["--dial-timeout", "100ms"],
            "timeout",
            "upstream_timeout",
        ),
        ("tcp://name.invalid:7".to_owned(), &[], "unresolved", "unresolved"),
        ("unix:///nowhere/at/all".to_owned(), &[], "unreachable", "upstream_failed"),
        (format!("tls://{at}"), &[], "tls", "upstream_failed"),
        (format!("ws://{at}"), &[], "handshake", "upstream_failed"),
        (http.ws("/nowhere"), &[], "rejected", "upstream_refused"),
        ("tcp://192.0.2.1:7".to_owned(), &["--proxy", &*proxy], "proxy", "upstream_failed"),
    ] {
        let server = routed(&url, more);
        let answer = handshake(&server, "/x", &[]);
        assert!(answer.status >= 400, "{url}: {answer:?}");
        let text = http::get(server.address("http"), "/metrics").text();
        let counted = |metric: &str| {
            let start = format!("echogate_target_{metric}_total{{route=\"/x\"");
            let lines = text.lines().filter(|line| line.starts_with(&start));
            lines.filter(|line| !line.ends_with(" 0")).map(str::to_owned).collect::<Vec<_>>()
        };
        let one =
            |metric, label| vec![format!("{} 1", of_route("/x", &format!("{metric} {label}")))];
        let label = format!("outcome=\"{outcome}\"");
        assert_eq!(counted("dials"), one("dials_total", &*label), "{url}: {answer:?}");
        let label = format!("reason=\"{reason}\"");
        assert_eq!(counted("refused"), one("refused_total", &*label), "{url}");
        assert_eq!(server.metric(&of_route("/x", "dial_seconds_count")), 0, "{url}");
        assert_eq!(server.metric(&of_route("/x", "connections_total")), 0, "{url}");
    }
}

#[test]
fn a_dial_whose_client_goes_away_is_cancelled() {
    let upstream = Upstream::new();
    let server = routed(&format!("ws://{}", upstream.address()), &[]);
    let mut client = connect(server.address("http"));
    let head = [
        "GET /x HTTP/1.1",
        &format!("Host: {}", server.address("http")),
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "\r\n",
    ];
    client.write_all(head.join("\r\n").as_bytes()).unwrap();
    // The dial is under way: its opening handshake is not answered.
    let _silent = upstream.accept();
    drop(client);
    wait_for(&server, "dials_total outcome=\"cancelled\"", 1);
}

#[test]
fn refusals_are_counted_for_the_route_that_was_asked_for() {
    let server = routed("service:echo?max=1", &[]);
    let _first = RawWs::connect(&server, "/x");
    assert_eq!(handshake(&server, "/x", &[]).status, 503);
    assert_eq!(handshake(&server, "/nowhere", &[]).status, 404);
    let foreign = ["Origin: https://foreign.example"];
    handshake(&server, "/x", &foreign);
    wait_for(&server, "refused_total reason=\"route_full\"", 1);
    wait_for(&server, "refused_total reason=\"policy\"", 1);
    wait_for(&server, "refused_total reason=\"route\"", 0);
    assert_eq!(server.metric("echogate_refused_total{reason=\"route\"}"), 1);
    assert_eq!(server.metric("echogate_refused_total{reason=\"route_full\"}"), 1);
}

#[test]
fn a_forward_counts_its_own_connections() {
    let upstream = Upstream::new();
    let forward = format!("127.0.0.1:0=tcp://{}", upstream.address());
    let server = Server::start(ECHOGATE, &["--forward", &forward]);
    let of = |name: &str| format!("echogate_target_{name}{{forward=\"tcp://127.0.0.1:0\"}}");
    let mut client = connect(server.address("forward"));
    let mut stream = upstream.accept();
    // The upstream speaks first.
    stream.write_all(b"220 hello\r\n").unwrap();
    read_exactly(&mut client, 11);
    server.wait_for_metric(&of("first_byte_seconds_count"), |count| count == 1);
    assert_eq!(server.metric(&of("connections")), 1);
    assert_eq!(server.metric(&of("sent_bytes_total")), 11);
    client.shutdown(Shutdown::Write).unwrap();
    drop(stream);
    read_to_end(&mut client);
    server.wait_for_metric(&of("connection_seconds_count"), |count| count == 1);
    assert_eq!(server.metric(&of("connections")), 0);
    drop(upstream);
    let mut refused = connect(server.address("forward"));
    assert!(std::io::Read::read(&mut refused, &mut [0]).is_err(), "a reset");
    let refused = of("refused_total").replace('}', ",reason=\"upstream_refused\"}");
    server.wait_for_metric(&refused, |count| count == 1);
}

#[test]
fn a_reload_keeps_the_metrics_of_routes_that_stay_and_drops_the_others() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("echogate.toml");
    let route = |path: &str, url: &str| format!("[[route]]\npath = \"{path}\"\nurl = \"{url}\"\n");
    let http = "http = [\"127.0.0.1:0\"]\n";
    let x = route("/x", "service:upper");
    fs::write(&file, format!("{http}{x}{}", route("/y", "service:upper"))).unwrap();
    let mut command = Command::new(ECHOGATE);
    command.arg("serve").arg("--config").arg(&file);
    let server = Server::spawn(command);
    let metrics = || http::get(server.address("http"), "/metrics").text();
    let reload = |settings: String, before: usize| {
        fs::write(&file, settings).unwrap();
        server.signal("HUP");
        server.wait_for_nth_log(&["SIGHUP: configuration reloaded"], before);
    };
    let mut stays = RawWs::connect(&server, "/x");
    let mut orphan = RawWs::connect(&server, "/y");
    let y = "route=\"/y\"";
    assert!(metrics().contains(y));
    // The same route to another upstream.
    reload(format!("{http}{}", route("/x", "service:echo")), 0);
    wait_for(&server, "connections", 1);
    wait_for(&server, "connections_total", 1);
    assert!(!metrics().contains(y), "{}", metrics());
    for client in [&mut stays, &mut orphan] {
        client.exchange(b"hello");
    }
    let _other = RawWs::connect(&server, "/x");
    wait_for(&server, "connections_total", 2);
    wait_for(&server, "received_bytes_total", 5);
    assert!(!metrics().contains(y), "{}", metrics());
    // A route that comes back begins at zero.
    reload(format!("{http}{x}{}", route("/y", "service:upper")), 1);
    wait_for(&server, "connections_total", 2);
    assert_eq!(server.metric(&of_route("/y", "connections")), 0);
}

#[test]
fn routes_that_are_not_used_take_little_of_the_metrics() {
    let routes = (0..1000).flat_map(|n| ["--route".to_owned(), format!("/{n}=service:echo")]);
    let routes: Vec<String> = routes.collect();
    let server = Server::start(ECHOGATE, &routes.iter().map(String::as_str).collect::<Vec<_>>());
    let length = || http::get(server.address("http"), "/metrics").body.len();
    let before = length();
    assert!(before < 500_000, "{before}");
    let mut client = RawWs::connect(&server, "/7");
    client.end(1000, "");
    let name = "echogate_target_connection_seconds_count{route=\"/7\"}";
    server.wait_for_metric(name, |count| count == 1);
    let more = length() - before;
    assert!(more < 10_000, "{more}");
}

#[test]
fn event_loop_lag_is_measured_by_health_checks_and_while_metrics_are_read() {
    let server = Server::start(ECHOGATE, &[]);
    let metric = "echogate_event_loop_lag_seconds_count";
    assert_eq!(http::get(server.address("http"), "/healthz").status, 200);
    let loops = server.metric(metric);
    assert!(loops > 0);
    // Three more of each loop, without another health check.
    server.wait_for_metric(metric, |count| count >= 4 * loops);
}

#[test]
fn the_process_has_the_usual_metrics() {
    let server = Server::start(ECHOGATE, &[]);
    let text = http::get(server.address("http"), "/metrics").text();
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).parse::<f64>().unwrap()
    };
    let kib = |name| server.memory(name) as f64 * 1024.0;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let age = now.as_secs_f64() - value("process_start_time_seconds");
    assert!((0.0..600.0).contains(&age), "{age}");
    let fds = format!("/proc/{}/fd", server.pid());
    let fds = fs::read_dir(fds).unwrap().count() as f64;
    assert!((value("process_open_fds") - fds).abs() < 8.0, "{fds}");
    assert!(value("process_max_fds") >= fds);
    assert!(value("process_resident_memory_bytes") > kib("VmRSS") / 4.0);
    assert!(value("process_virtual_memory_bytes") > kib("VmSize") / 4.0);
    let threads = format!("/proc/{}/task", server.pid());
    let threads = fs::read_dir(threads).unwrap().count() as f64;
    assert!((value("process_threads") - threads).abs() < 8.0, "{threads}");
    let cpu = || {
        let text = http::get(server.address("http"), "/metrics").text();
        let line = text.lines().find_map(|line| line.strip_prefix("process_cpu_seconds_total "));
        line.unwrap().parse::<f64>().unwrap()
    };
    let before = cpu();
    wait_until("the CPU time does not rise", || cpu() > before);
}

const DASHBOARD: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../server/examples/grafana-dashboard.json");

/// The queries of all panels of the dashboard.
pub(crate) fn dashboard_queries() -> Vec<String> {
    let text = fs::read_to_string(DASHBOARD).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&text).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.filter_map(|panel| panel["targets"].as_array()).flatten();
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn each_metric_of_the_dashboard_is_served() {
    let server = routed("service:echo?max=1", &[]);
    // The metrics of a route begin with what happens on it.
    let mut client = RawWs::connect(&server, "/x");
    assert_eq!(handshake(&server, "/x", &[]).status, 503);
    client.exchange(b"hello");
    client.end(1000, "");
    wait_for(&server, "connection_seconds_count", 1);
    let text = http::get(server.address("http"), "/metrics").text();
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let queries = dashboard_queries();
    assert!(queries.len() > 20, "{queries:?}");
    for query in &queries {
        let names: Vec<_> = query
            .split(|c| !is_part(c))
            .filter(|word| word.starts_with("echogate_") || word.starts_with("process_"))
            .collect();
        assert!(!names.is_empty(), "{query}");
        for name in names {
            let is_sample = |line: &str| {
                line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            };
            assert!(text.lines().any(is_sample), "{name} of {query} is not served");
        }
    }
}
