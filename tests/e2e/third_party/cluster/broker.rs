//! Brokers that stop, take only small messages, or have other certificates.

use std::{
    fs,
    process::Command,
    time::{Duration, Instant},
};

use echogate_proto::api::ReplicaConnections;
use echogate_tests::{
    server::{Server, wait_for},
    tls::Authority,
};
use nix::sys::signal::Signal;

use super::{
    Broker, chat,
    connections::{client, list},
    ready, replica, wait_until_ready_says,
};
use crate::{
    ECHOGATE,
    chat::{Client, Operator},
};

#[test]
fn a_broker_that_stops_answering_delays_no_flood_from_a_client_to_an_operator_of_its_replica() {
    const LINES: usize = 16;
    let Some(broker) = Broker::start(&[]) else { return };
    let [a, b] = chat::replicas(&broker);
    let mut elsewhere = chat::operator(&b, &[&a]);
    let mut operator = Operator::new(&a);
    let mut client = Client::new(&a);
    client.say(b"published\n");
    elsewhere.receive_opened();
    elsewhere.receive_said();
    operator.receive_opened();
    operator.receive_said();
    broker.signal(Signal::SIGSTOP);
    let lines = format!("{}\n", "x".repeat(4000)).repeat(LINES);
    let mut slowest = Duration::ZERO;
    while ready(&a).contains("connected to") {
        let start = Instant::now();
        client.say(lines.as_bytes());
        for _ in 0..LINES {
            operator.receive_said();
        }
        slowest = slowest.max(start.elapsed());
    }
    assert!(slowest < Duration::from_secs(1), "{slowest:?}");
    broker.signal(Signal::SIGCONT);
}

#[test]
fn all_connections_are_listed_over_a_broker_that_takes_small_messages_only() {
    const CLIENTS: usize = 30;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("nats.conf");
    fs::write(&file, "max_payload: 4096\n").unwrap();
    let Some(broker) = Broker::start(&["--config", file.to_str().unwrap()]) else { return };
    let (here, there) = (replica(&broker.url()), replica(&broker.url()));
    here.wait_for_metric("echogate_cluster_replicas", |known| known == 2);
    let _clients: Vec<_> = (0..CLIENTS).map(|_| client(&there)).collect();
    let is_whole = |it: &ReplicaConnections| !it.missing && it.connections.len() == CLIENTS;
    wait_for(|| list(&here), |replicas| replicas.get(1).is_some_and(is_whole));
}

#[test]
fn a_reload_reads_the_certificates_again_by_which_the_broker_is_verified() {
    let (authority, other) = (Authority::new(), Authority::new());
    authority.install(&authority.issue(&["127.0.0.1"]));
    let [cert, key] = ["cert.pem", "key.pem"].map(|name| authority.file(name));
    let tls = ["--tls", "--tlscert", cert.to_str().unwrap(), "--tlskey", key.to_str().unwrap()];
    let Some(broker) = Broker::start(&tls) else { return };
    let ca = other.file("trusted.pem");
    fs::copy(other.ca(), &ca).unwrap();
    let config = other.file("echogate.toml");
    let url = format!("tls://127.0.0.1:{}?ca={}", broker.port, ca.display());
    fs::write(&config, format!("http = [\"127.0.0.1:0\"]\ncluster = \"{url}\"\n")).unwrap();
    let mut command = Command::new(ECHOGATE);
    command.args(["serve", "--listen", "upper=tcp://127.0.0.1:0", "--config"]).arg(&config);
    let a = Server::spawn(command);
    wait_until_ready_says(&a, "invalid peer certificate");
    fs::copy(authority.ca(), &ca).unwrap();
    a.signal("HUP");
    wait_until_ready_says(&a, "connected to");
}
