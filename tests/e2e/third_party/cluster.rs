//! `--cluster`: replicas and a real broker.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use echogate_tests::{
    http,
    program::{Program, free_port, programs},
    server::{Server, wait_for},
};
use nix::sys::signal::Signal;

use crate::{ECHOGATE, chat::TOKEN};

mod broker;
mod chat;
mod connections;

/// A nats-server on a port that stays the same when it is started again.
struct Broker {
    program: PathBuf,
    port: u16,
    arguments: Vec<String>,
    running: Option<Program>,
}

impl Broker {
    /// Starts a broker; `None`, with a notice, if there is no nats-server.
    fn start(arguments: &[&str]) -> Option<Broker> {
        let [program] = programs(["nats-server"])?;
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut broker = Broker { program, port: free_port(), arguments, running: None };
        broker.start_again();
        Some(broker)
    }

    fn start_again(&mut self) {
        let mut command = Command::new(&self.program);
        command.args(["--addr", "127.0.0.1", "--port", &self.port.to_string()]);
        command.args(&self.arguments);
        self.running = Some(Program::serve(command, self.port));
    }

    fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        self.running = None;
    }

    fn signal(&self, signal: Signal) {
        self.running.as_ref().unwrap().signal(signal);
    }

    fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    /// A connection of a program that speaks the protocol itself, to publish what no replica does.
    fn raw(&self) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"CONNECT {\"verbose\":false}\r\nPING\r\n").unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "PONG"));
        stream
    }
}

/// A replica.
fn replica(url: &str) -> Server {
    Server::start(ECHOGATE, &["--cluster", url])
}

fn ready(replica: &Server) -> String {
    let response = http::get(replica.address("http"), "/readyz");
    assert_eq!(response.status, 200);
    response.text()
}

/// Waits until `/readyz`, which stays 200, contains `text`.
fn wait_until_ready_says(replica: &Server, text: &str) {
    wait_for(|| ready(replica), |said| said.contains(text));
}

#[test]
fn replicas_know_each_other_and_those_that_leave_or_are_silent_are_gone() {
    let Some(broker) = Broker::start(&[]) else { return };
    let url = broker.url();
    let (a, mut b, mut c) = (replica(&url), replica(&url), replica(&url));
    let other = replica(&format!("{url}?name=other"));
    for replica in [&a, &b, &c] {
        wait_until_ready_says(replica, "other replicas: 2\n");
        replica.wait_for_metric("echogate_cluster_replicas", |count| count == 3);
        assert_eq!(replica.metric("echogate_cluster_connected"), 1);
    }
    b.signal("TERM");
    b.wait();
    a.wait_for_log(&["replica", &format!("/{}", b.pid()), "has left"]);
    c.signal("KILL");
    c.wait();
    a.wait_for_log(&["replica", &format!("/{}", c.pid()), "is gone: no heartbeat for 3s"]);
    wait_until_ready_says(&a, "other replicas: 0\n");
    assert!(ready(&other).contains("other replicas: 0\n"), "a cluster of another name");
    assert!(a.metric("echogate_cluster_messages_total{direction=\"sent\"}") > 2);
}

#[test]
fn a_replica_starts_without_the_broker_and_finds_it_again_when_it_is_restarted() {
    let Some(mut broker) = Broker::start(&[]) else { return };
    broker.kill();
    let a = replica(&broker.url());
    wait_until_ready_says(&a, "connection refused; this replica serves its own clients meanwhile");
    assert_eq!(a.metric("echogate_cluster_connected"), 0);
    broker.start_again();
    wait_until_ready_says(&a, "connected to 127.0.0.1:");
    broker.kill();
    wait_until_ready_says(&a, "connecting to nats://");
    broker.start_again();
    a.wait_for_nth_log(&["cluster: connected to"], 1);
    let reports = |text: &str| a.log().iter().filter(|line| line.contains(text)).count();
    assert!(reports("connection refused") <= 2, "once for each change: {:#?}", a.log());
}

#[test]
fn credentials_are_asked_for_checked_and_never_shown() {
    let Some(broker) = Broker::start(&["--user", "gate", "--pass", "s3cret"]) else { return };
    let url = |login: &str| format!("nats://{login}127.0.0.1:{}", broker.port);
    let [none, wrong, right] =
        ["", "gate:wr0ng@", "gate:s3cret@"].map(|login| replica(&url(login)));
    wait_until_ready_says(&none, "needs credentials: USER:PASSWORD@ or TOKEN@ in --cluster");
    wait_until_ready_says(&wrong, "refuses the credentials of --cluster");
    wait_until_ready_says(&right, "connected to");
    for replica in [&wrong, &right] {
        let shown = [replica.log().join("\n"), ready(replica), replica.printed("cluster").unwrap()];
        assert!(shown.iter().all(|text| !text.contains("s3cret") && !text.contains("wr0ng")));
    }
}

#[test]
fn the_broker_is_named_to_this_machine_and_to_operators_alone() {
    let Some(mut broker) = Broker::start(&[]) else { return };
    let a = chat::replica(&broker);
    wait_until_ready_says(&a, "connected to 127.0.0.1:");
    let answer = |fields: &[&str]| {
        let request = [&["GET /readyz HTTP/1.1"][..], fields].concat();
        http::exchange(&mut http::connect(a.address("http")), &request).text()
    };
    let (host, proxied) = ("Host: localhost", "X-Forwarded-For: 192.0.2.1");
    let token = format!("Authorization: Bearer {TOKEN}");
    assert!(answer(&[host, proxied, &token]).contains("connected to 127.0.0.1:"));
    for others in [&[host, proxied], &["Host: other.example", "Accept: */*"]] {
        assert_eq!(answer(others), "ready\ncluster: connected\n");
    }
    broker.kill();
    wait_until_ready_says(&a, "connecting to nats://");
    assert_eq!(answer(&[host, proxied]), "ready\ncluster: not connected\n");
}

#[test]
fn a_port_that_is_not_one_of_a_broker_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("nats://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for (turn, stream) in listener.incoming().flatten().enumerate() {
            let mut stream = stream;
            match turn % 2 {
                // A server of another protocol, which speaks first.
                0 => drop(stream.write_all(b"220 mail.example ESMTP\r\n")),
                // A server that sends nothing.
                _ => drop(stream.read(&mut [0; 64])),
            }
        }
    });
    let a = replica(&url);
    a.wait_for_log(&["cluster: no connection to the broker", &url, "does not speak the protocol"]);
    a.wait_for_log(&["cluster: no connection", &url, "does not answer within 3s"]);
}

#[test]
fn messages_of_another_version_and_garbage_are_counted_reported_once_and_ignored() {
    let Some(broker) = Broker::start(&[]) else { return };
    let a = replica(&broker.url());
    wait_until_ready_says(&a, "connected to");
    let mut raw = broker.raw();
    let mut publish = |subject: &str, text: &str| {
        write!(raw, "PUB {subject} {}\r\n{text}\r\n", text.len()).unwrap();
    };
    let future = r#"{"from":"00000000000000aa","body":{"new":true}}"#;
    for _ in 0..3 {
        publish("echogate.2.default.heartbeats", future);
        publish("echogate.1.default.heartbeats", "\x1b[2J");
        publish("echogate.1.default.heartbeats", r#"{"from":"00000000000000bb","body":[]}"#);
    }
    a.wait_for_metric("echogate_cluster_invalid_total", |count| count == 9);
    wait_until_ready_says(&a, "incompatible replica 00000000000000aa");
    let ignored = a.log().iter().filter(|line| line.contains("are ignored")).count();
    assert_eq!(ignored, 3, "{:#?}", a.log());
    assert_eq!(a.metric("echogate_cluster_replicas"), 1);
}

#[test]
fn a_broker_that_stops_answering_delays_no_client() {
    let Some(broker) = Broker::start(&[]) else { return };
    let a = replica(&broker.url());
    wait_until_ready_says(&a, "connected to");
    broker.signal(Signal::SIGSTOP);
    let mut stream = TcpStream::connect(a.address("upper")).unwrap();
    let mut slowest = Duration::ZERO;
    let mut answer = [0; 5];
    while ready(&a).contains("connected to") {
        let start = Instant::now();
        stream.write_all(b"hello").unwrap();
        stream.read_exact(&mut answer).unwrap();
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    a.wait_for_log(&["no connection to the broker", "does not answer"]);
    broker.signal(Signal::SIGCONT);
    wait_until_ready_says(&a, "connected to");
}

#[test]
fn a_reload_changes_the_broker() {
    let Some(broker) = Broker::start(&[]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("echogate.toml");
    let write = |file: &Path, cluster: &str| {
        std::fs::write(file, format!("http = [\"127.0.0.1:0\"]\n{cluster}")).unwrap();
    };
    write(&file, "");
    let mut command = Command::new(ECHOGATE);
    command.args(["serve", "--listen", "upper=tcp://127.0.0.1:0", "--config"]).arg(&file);
    let a = Server::spawn(command);
    assert_eq!(ready(&a), "ready\n");
    write(&file, &format!("cluster = \"{}\"\n", broker.url()));
    a.signal("HUP");
    wait_until_ready_says(&a, "connected to");
    write(&file, "");
    a.signal("HUP");
    a.wait_for_nth_log(&["configuration reloaded"], 1);
    wait_for(|| ready(&a), |said| said == "ready\n");
}
