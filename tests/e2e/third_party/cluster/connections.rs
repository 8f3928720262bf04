//! The connections of all replicas of a cluster, listed by one of them.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use echogate_proto::api::{ClusterConnections, Connection, Event, ReplicaConnections};
use echogate_tests::{
    http::{self, connect, exchange},
    server::{Server, WAIT_TIMEOUT, wait_until},
    tcp::round_trip,
};

use super::{Broker, replica};
use crate::{ECHOGATE, events::Subscriber, page};

/// A broker and three replicas that know each other.
fn three_replicas() -> Option<(Broker, [Server; 3])> {
    let broker = Broker::start(&[])?;
    let replicas: [Server; 3] = std::array::from_fn(|_| replica(&broker.url()));
    for replica in &replicas {
        replica.wait_for_metric("echogate_cluster_replicas", |known| known == 3);
    }
    Some((broker, replicas))
}

/// The answer of a replica to `/api/connections?cluster`.
pub(super) fn list(replica: &Server) -> Vec<ReplicaConnections> {
    let response = http::get(replica.address("http"), "/api/connections?cluster");
    assert_eq!(response.status, 200, "{response:?}");
    serde_json::from_slice::<ClusterConnections>(&response.body).unwrap().replicas
}

/// A client of a replica's `upper`, after an exchange.
pub(super) fn client(replica: &Server) -> TcpStream {
    let mut client = connect(replica.address("upper"));
    round_trip(&mut client, b"hello");
    client
}

/// What a subscriber knows by the events so far.
#[derive(Debug, Default)]
struct Known {
    connections: BTreeMap<u64, Connection>,
    total: usize,
    missing: usize,
    ends: Vec<(u64, String)>,
}

impl Known {
    fn apply(&mut self, event: Event) {
        match event {
            Event::All { total, connections, missing } => {
                (self.total, self.missing) = (total, missing.len());
                self.connections = connections.into_iter().map(|it| (it.id, it)).collect();
            }
            Event::Changes { total, opened, moved, closed, missing } => {
                (self.total, self.missing) = (total, missing.len());
                self.connections.extend(opened.into_iter().map(|it| (it.id, it)));
                for moved in moved {
                    if let Some(known) = self.connections.get_mut(&moved.id) {
                        known.carried = moved.carried;
                    }
                }
                for closed in closed {
                    self.connections.remove(&closed.id);
                    self.ends.push((closed.id, closed.end));
                }
            }
        }
    }

    /// Takes events until what is known is as wanted.
    fn wait<T>(&mut self, subscriber: &mut Subscriber, wanted: impl Fn(&Known) -> Option<T>) -> T {
        let start = Instant::now();
        loop {
            if let Some(found) = wanted(self) {
                return found;
            }
            assert!(start.elapsed() < WAIT_TIMEOUT, "never as wanted: {self:#?}");
            self.apply(subscriber.next().expect("the server runs"));
        }
    }

    /// The connection from this client.
    fn of(&self, client: &TcpStream) -> Option<Connection> {
        let peer = Some(client.local_addr().unwrap().to_string());
        self.connections.values().find(|it| it.peer == peer).cloned()
    }
}

#[test]
fn any_replica_lists_the_connections_of_all_by_replica() {
    let Some((_broker, replicas)) = three_replicas() else { return };
    let clients: Vec<TcpStream> = replicas.iter().map(client).collect();
    for (replica, other) in replicas.iter().zip([1, 2, 0]) {
        let listed = list(replica);
        assert_eq!(listed.len(), 3, "{listed:#?}");
        assert!(listed.iter().all(|it| !it.missing && it.total == 1), "{listed:#?}");
        let peer = Some(clients[other].local_addr().unwrap().to_string());
        let of_other = listed.iter().find(|it| it.connections[0].peer == peer).unwrap();
        let there = replicas[other].connections();
        assert_eq!(
            there[0]["id"], of_other.connections[0].id,
            "the identifier is that of the replica"
        );
    }
    assert_eq!(
        replicas[0].connections().len(),
        1,
        "without ?cluster the list is that of one replica"
    );
}

#[test]
fn events_of_all_replicas_are_followed_at_one_and_only_its_own_are_tapped_and_closed_there() {
    let Some((_broker, [here, there, _third])) = three_replicas() else { return };
    let (own, mut other) = (client(&here), client(&there));
    let (mut known, mut subscriber) =
        (Known::default(), Subscriber::at(&here, "/api/events?cluster"));
    let both = |known: &Known| Some((known.of(&own)?, known.of(&other)?));
    let (mine, theirs) = known.wait(&mut subscriber, both);
    assert_eq!((mine.replica, known.total), (None, 2));
    assert!(theirs.replica.is_some(), "{theirs:?}");

    round_trip(&mut other, b"moved");
    known.wait(&mut subscriber, |known| (known.of(&other)?.carried.bytes_sent == 10).then_some(()));

    let tap = http::get(here.address("http"), &format!("/api/connections/{}/tap", theirs.id));
    let close = exchange(
        &mut connect(here.address("http")),
        &[&format!("POST /api/connections/{}/close HTTP/1.1", theirs.id), "Host: localhost"],
    );
    for refused in [tap, close] {
        assert_eq!(refused.status, 404);
        let id = there.connections()[0]["id"].to_string();
        for part in [&*theirs.replica.clone().unwrap(), &id, there.url("http")] {
            assert!(refused.text().contains(part), "{part}: {}", refused.text());
        }
    }
    other.shutdown(Shutdown::Write).unwrap();
    let end = known
        .wait(&mut subscriber, |known| known.ends.iter().find(|(id, _)| *id == theirs.id).cloned());
    assert_eq!(end.1, "the client closed the connection");
    assert!(known.of(&own).is_some());
}

#[test]
fn a_replica_that_does_not_answer_is_named_as_missing_and_delays_the_list_by_a_second_at_most() {
    let Some((_broker, [here, stopped, _third])) = three_replicas() else { return };
    let clients = [client(&here), client(&stopped)];
    let (mut known, mut subscriber) =
        (Known::default(), Subscriber::at(&here, "/api/events?cluster"));
    known.wait(&mut subscriber, |known| (known.connections.len() == 2).then_some(()));
    stopped.signal("STOP");
    known.wait(&mut subscriber, |known| (known.missing == 1).then_some(()));
    let start = Instant::now();
    let missing: Vec<_> = list(&here).into_iter().filter(|it| it.missing).collect();
    assert_eq!(missing.len(), 1, "{missing:?}");
    // The second of the list, and a loaded machine.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    stopped.signal("CONT");
    known.wait(&mut subscriber, |known| {
        (known.missing == 0 && known.of(&clients[1]).is_some()).then_some(())
    });
}

#[test]
fn without_the_broker_the_others_are_missing_and_own_connections_are_listed() {
    let Some((mut broker, [here, there, _third])) = three_replicas() else { return };
    let (mut own, _other) = (client(&here), client(&there));
    let (mut known, mut subscriber) =
        (Known::default(), Subscriber::at(&here, "/api/events?cluster"));
    known.wait(&mut subscriber, |known| (known.total == 2).then_some(()));
    broker.kill();
    known.wait(&mut subscriber, |known| (known.missing == 2 && known.total == 1).then_some(()));
    round_trip(&mut own, b"still");
    let listed = list(&here);
    assert_eq!(listed.iter().filter(|it| it.missing).count(), 2, "{listed:?}");
    broker.start_again();
    known.wait(&mut subscriber, |known| (known.missing == 0 && known.total == 2).then_some(()));
}

#[test]
fn replicas_send_their_connections_only_while_somebody_watches() {
    let Some((broker, [here, there, _third])) = three_replicas() else { return };
    let _client = client(&there);
    // A client of the broker that sees all messages: their subjects, in lines `MSG SUBJECT ...`.
    let mut stream = TcpStream::connect(("127.0.0.1", broker.port)).unwrap();
    stream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    stream.write_all(b"CONNECT {\"verbose\":false}\r\nSUB > 1\r\nPING\r\n").unwrap();
    let mut messages = BufReader::new(stream);
    let mut subject = || loop {
        let mut line = String::new();
        messages.read_line(&mut line).unwrap();
        if let Some(message) = line.strip_prefix("MSG ") {
            let words: Vec<_> = message.split_whitespace().collect();
            let size: usize = words.last().unwrap().parse().unwrap();
            messages.read_exact(&mut vec![0; size + 2]).unwrap();
            return words[0].rsplit('.').next().unwrap().to_owned();
        }
    };
    // Three replicas send three heartbeats a second.
    let mut beats = |wanted: usize| {
        let mut others = 0;
        for _ in 0..wanted {
            while subject() != "heartbeats" {
                others += 1;
            }
        }
        others
    };
    assert_eq!(beats(6), 0, "nobody watches");
    let (mut known, mut subscriber) =
        (Known::default(), Subscriber::at(&here, "/api/events?cluster"));
    known.wait(&mut subscriber, |known| (known.total == 1).then_some(()));
    assert!(beats(3) > 0);
    drop(subscriber);
    wait_until("replicas still send their connections", || beats(6) == 0);
}

#[test]
fn a_replica_without_an_api_has_its_connections_counted_and_not_listed() {
    let Some(broker) = Broker::start(&[]) else { return };
    let here = replica(&broker.url());
    let there = Server::start(ECHOGATE, &["--no-api", "--cluster", &broker.url()]);
    here.wait_for_metric("echogate_cluster_replicas", |known| known == 2);
    let _clients = [client(&there), client(&there)];
    let (mut known, mut subscriber) =
        (Known::default(), Subscriber::at(&here, "/api/events?cluster"));
    known.wait(&mut subscriber, |known| (known.total == 2).then_some(()));
    assert!(known.connections.is_empty() && known.missing == 0, "{known:?}");
    let listed = list(&here);
    let other = &listed[1];
    assert_eq!((other.missing, other.total, &*other.connections), (false, 2, [].as_slice()));
}

#[test]
fn a_server_of_no_cluster_says_so_and_reports_its_own_connections() {
    let server = Server::start(ECHOGATE, &[]);
    let refused = http::get(server.address("http"), "/api/connections?cluster");
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("--cluster"), "{}", refused.text());
    let _client = client(&server);
    let (mut known, mut subscriber) =
        (Known::default(), Subscriber::at(&server, "/api/events?cluster"));
    known.wait(&mut subscriber, |known| (known.connections.len() == 1).then_some(()));
}

#[test]
fn the_page_names_the_replica_of_a_client_of_another_one_and_a_replica_that_is_missing() {
    let Some((_broker, [here, there, _third])) = three_replicas() else { return };
    let Some(mut page) = page::open(&here, "/") else { return };
    let _own = client(&here);
    page.wait_for("document.querySelectorAll('.client').length === 1");
    assert!(
        !page.eval("!!document.querySelector('.client .replica').textContent").as_bool().unwrap()
    );
    let _other = client(&there);
    page.wait_for("document.querySelectorAll('.client .replica:not([hidden])').length === 1");
    there.signal("STOP");
    page.wait_for_text("#clients-note", "No answer from replica");
    there.signal("CONT");
}
