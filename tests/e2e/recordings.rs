//! Recordings of the server: which connections and sides are recorded, and the files.
//!
//! - `files`: rotation, the limit, permissions
//! - `failures`: crashes, full disks, slow disks

mod failures;
mod files;

use std::{
    fs,
    io::Write,
    net::{Shutdown, TcpStream, UdpSocket},
    path::PathBuf,
    process::Command,
};

use echogate_proto::recording::Record;
use echogate_tests::{
    http::connect,
    server::{Server, WAIT_TIMEOUT, wait_for, wait_until},
    tcp::{read_exactly, read_to_end, reset},
    tls::Authority,
    upstream::Upstream,
    ws::{self, RawWs, RawWsServer, first},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::ECHOGATE;

/// A server that records into a directory.
pub(crate) struct Recorded {
    pub(crate) server: Server,
    dir: TempDir,
}

impl Recorded {
    /// Starts a server that records as JSON Lines.
    fn start(arguments: &[&str]) -> Recorded {
        Recorded::with_format("jsonl", arguments)
    }

    pub(crate) fn with_format(format: &str, arguments: &[&str]) -> Recorded {
        let dir = tempfile::tempdir().unwrap();
        let record = ["--record", dir.path().to_str().unwrap(), "--record-format", format];
        let server = Server::start(ECHOGATE, &[&record[..], arguments].concat());
        Recorded { server, dir }
    }

    /// The files, oldest first.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.path()).unwrap();
        let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    /// The events in all files, without one that is being written.
    fn events(&self) -> Vec<Value> {
        let of = |file: &PathBuf| {
            let text = fs::read_to_string(file).unwrap();
            events(&text[..text.rfind('\n').map_or(0, |end| end + 1)])
        };
        self.files().iter().flat_map(of).collect()
    }

    /// Waits until `wanted` is true for the events.
    fn wait_for(&self, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
        wait_for(|| self.events(), |events| wanted(events))
    }

    /// Waits until so many connections have ended.
    fn wait_for_ends(&self, count: usize) -> Vec<Value> {
        let is_end = |event: &&Value| event["event"] == "closed";
        self.wait_for(|events| events.iter().filter(is_end).count() == count)
    }

    fn connect(&self, what: &str) -> TcpStream {
        connect(self.server.address(what))
    }

    /// Sends a line to `upper`, and reads the answer and the end.
    fn exchange(&self) {
        let mut client = self.connect("upper");
        client.write_all(b"hello\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut client), b"HELLO\n");
    }
}

/// The events of a file of JSON Lines.
fn events(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The members of an event that say what passed.
fn summary(event: &Value) -> String {
    let names = ["event", "side", "direction", "kind", "text", "code"];
    let values = names.iter().map(|name| &event[*name]).filter(|value| !value.is_null());
    values
        .map(|value| value.as_str().map_or(value.to_string(), str::to_owned))
        .collect::<Vec<_>>()
        .join(" ")
}

/// The events of the connections to `target`.
fn of_target(events: &[Value], target: &str) -> Vec<String> {
    let opened = events.iter().filter(|event| event["target"] == target);
    let ids: Vec<_> = opened.map(|event| &event["connection"]).collect();
    events.iter().filter(|event| ids.contains(&&event["connection"])).map(summary).collect()
}

#[test]
fn the_connections_of_all_listeners_and_routes_are_recorded() {
    let recorded =
        Recorded::start(&["--route", "/ws=service:upper", "--listen", "upper=udp://127.0.0.1:0"]);
    recorded.exchange();
    let mut ws = RawWs::connect(&recorded.server, "/ws");
    ws.send_frame(first::TEXT, b"hello");
    assert_eq!(ws.read().payload, b"HELLO");
    ws.send_frame(first::PING, b"?");
    assert_eq!(ws.read().first, first::PONG);
    ws.send(&ws::close(1000, "bye"));
    ws.read_close();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    udp.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    let at = recorded.server.urls("upper").find(|url| url.starts_with("udp")).unwrap();
    udp.send_to(b"datagram", at.trim_start_matches("udp://")).unwrap();
    udp.recv(&mut [0; 100]).unwrap();
    let has_datagrams =
        |events: &[Value]| events.iter().filter(|event| event["kind"] == "datagram").count() == 2;
    let events = recorded.wait_for(|events| {
        has_datagrams(events) && events.iter().filter(|e| e["event"] == "closed").count() == 2
    });
    let udp = events.iter().find(|event| event["kind"] == "udp").unwrap();
    assert_eq!(udp["target"], "upper");

    let tcp = events.iter().find(|event| event["kind"] == "tcp").unwrap();
    assert_eq!(tcp["local"], recorded.server.address("upper"));
    let of_tcp: Vec<_> =
        events.iter().filter(|e| e["connection"] == tcp["connection"]).map(summary).collect();
    let kinds: Vec<_> = of_tcp.iter().map(String::as_str).collect();
    assert!(kinds.contains(&"data client to-server bytes hello\n"), "{kinds:?}");
    assert!(kinds.contains(&"data client to-client bytes HELLO\n"), "{kinds:?}");
    assert!(kinds.contains(&"end-of-input client to-server"), "{kinds:?}");
    assert!(kinds.contains(&"end-of-input client to-client"), "{kinds:?}");

    let opened = events.iter().find(|event| event["target"] == "/ws").unwrap();
    assert!(opened["request"].as_str().unwrap().starts_with("GET /ws HTTP/1.1\r\n"));
    assert!(opened["response"].as_str().unwrap().starts_with("HTTP/1.1 101 "));
    let of_ws = of_target(&events, "/ws");
    for expected in [
        "data client to-server text hello",
        "data client to-client text HELLO",
        "ping client to-server ?",
        "pong client to-client ?",
        "close client to-server 1000",
        "close client to-client 1000",
    ] {
        assert!(of_ws.iter().any(|event| event == expected), "no {expected} in {of_ws:#?}");
    }
    assert!(!of_ws.iter().any(|event| event.contains("upstream ")), "{of_ws:#?}");
}

#[test]
fn the_option_record_selects_connections_and_both_sides() {
    let upstream = Upstream::new();
    let url = format!("tcp://{}", upstream.address());
    let forward = format!("127.0.0.1:0={url}?record=both");
    upstream.serve(|mut stream| {
        assert_eq!(read_exactly(&mut stream, 5), b"hello");
        stream.write_all(b"answer").unwrap();
        reset(stream);
    });
    let recorded = Recorded::start(&["--forward", &forward]);
    recorded.exchange();
    let mut client = recorded.connect("forward");
    client.write_all(b"hello").unwrap();
    assert_eq!(read_exactly(&mut client, 6), b"answer");
    client.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    std::io::Read::read(&mut client, &mut [0]).unwrap_err();
    let events = recorded.wait_for_ends(1);
    let opened: Vec<_> = events.iter().filter(|event| event["event"] == "opened").collect();
    assert_eq!(opened.len(), 1, "the listener is not recorded: {opened:?}");
    assert_eq!(opened[0]["upstream"], url);
    let events: Vec<_> = events.iter().map(summary).collect();
    for expected in [
        "data client to-server bytes hello",
        "data upstream to-server bytes hello",
        "data upstream to-client bytes answer",
        "data client to-client bytes answer",
        "reset upstream to-client",
    ] {
        assert!(events.iter().any(|event| event == expected), "no {expected} in {events:#?}");
    }
}

#[test]
fn the_url_of_a_websocket_over_tls_is_wss_in_har() {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let flags = authority.flags();
    let flags: Vec<_> = flags.iter().map(String::as_str).collect();
    let recorded = Recorded::with_format("har", &flags);
    let host = recorded.server.address("http");
    let mut ws = RawWs::over(authority.connect(host), &recorded.server, "/ws/echo", &[]);
    assert_eq!(ws.end(1000, "").0, Some(1000));
    wait_until("the connection is in the file", || {
        let text = recorded.files().first().map(|file| fs::read_to_string(file).unwrap());
        text.is_some_and(|text| text.contains(&format!("\"wss://{host}/ws/echo\"")))
    });
}

#[test]
fn the_documented_events_are_those_of_the_schema() {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/../server/docs/recordings.md");
    let text = fs::read_to_string(document).unwrap();
    let (_, block) = text.split_once("```json\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let mut kinds = Vec::new();
    for line in block.lines() {
        let record: Record = serde_json::from_str(line).unwrap();
        let written = serde_json::to_value(&record).unwrap();
        assert_eq!(written, serde_json::from_str::<Value>(line).unwrap());
        kinds.push(written["event"].as_str().unwrap().to_owned());
    }
    kinds.dedup();
    let all =
        ["opened", "data", "ping", "pong", "lost", "close", "end-of-input", "reset", "closed"];
    assert_eq!(kinds, all);
}

#[test]
fn the_frames_to_a_websocket_server_are_recorded_on_the_upstreams_side() {
    let upstream = Upstream::new();
    let url = format!("ws://{}/db", upstream.address());
    let served = upstream.serve(|stream| {
        let mut ws = RawWsServer::accept(stream, &[]);
        assert_eq!(ws.read().payload, b"hello");
        ws.send_frame(first::BINARY, b"answer");
        ws
    });
    let recorded = Recorded::start(&["--forward", &format!("127.0.0.1:0={url}#record=both")]);
    let mut client = recorded.connect("forward");
    client.write_all(b"hello").unwrap();
    assert_eq!(read_exactly(&mut client, 6), b"answer");
    drop((client, served.join().unwrap()));
    let events = recorded.wait_for_ends(1);
    assert_eq!(events[0]["upstream_has_frames"], true);
    assert_eq!(events[0]["upstream"], url);
    let frame = |direction: &str| {
        let found = events.iter().find(|e| e["side"] == "upstream" && e["direction"] == direction);
        found.unwrap().clone()
    };
    assert_eq!(summary(&frame("to-server")), "data upstream to-server binary hello");
    assert_eq!(frame("to-server")["frame"]["masked"], true);
    assert_eq!(summary(&frame("to-client")), "data upstream to-client binary answer");
}

#[test]
fn a_reload_starts_and_stops_the_recorder() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("echogate.toml");
    let recordings = dir.path().join("recordings");
    fs::create_dir(&recordings).unwrap();
    let listen = "http = [\"127.0.0.1:0\"]\n[[listener]]\nservice = \"upper\"\nurl = \"tcp://127.0.0.1:0\"\n";
    let on = format!("record = \"{}\"\nrecord-format = \"jsonl\"\n{listen}", recordings.display());
    fs::write(&file, listen).unwrap();
    let mut command = Command::new(ECHOGATE);
    command.arg("serve").arg("--config").arg(&file);
    let server = Server::spawn(command);
    let exchange = || {
        let mut client = connect(server.address("upper"));
        client.write_all(b"x").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        read_to_end(&mut client);
    };
    let count = || {
        let files = fs::read_dir(&recordings).unwrap();
        let files = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
        files.map(|text| text.matches("\"closed\"").count()).sum::<usize>()
    };
    for (number, (settings, recorded)) in
        [(listen, 0), (&on, 1), (listen, 1), (&on, 2)].into_iter().enumerate()
    {
        fs::write(&file, settings).unwrap();
        server.signal("HUP");
        server.wait_for_nth_log(&["configuration reloaded"], number);
        assert_eq!(server.metric("echogate_recording"), u64::from(settings.contains("jsonl")));
        exchange();
        server.wait_for_connections(<[_]>::is_empty);
        wait_for(|| (number, count()), |(_, count)| *count == recorded);
    }
}
