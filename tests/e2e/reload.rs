//! SIGHUP: the configuration is reloaded without an effect on open connections.
//!
//! - `connections`: open connections, and those made during a reload or a drain
//! - `listeners`: sockets that are added, removed, kept, or used for another service
//! - `routes`: routes that are added, removed and changed
//! - `limits`: limits that are lowered and raised while connections are open
//! - `others`: every other setting
//! - `wrong`: invalid configurations, and sockets that cannot be bound

mod connections;
mod limits;
mod listeners;
mod others;
mod routes;
mod wrong;

use std::{fs, path::PathBuf, process::Command};

use echogate_tests::{
    http,
    program::free_port,
    server::Server,
    ws::{RawWs, first},
};
use serde_json::Value;
use tempfile::TempDir;

use crate::ECHOGATE;

/// The part of the log line that each reload ends with, accepted or rejected.
const READ: &str = "configuration ";

/// A server with a configuration file that the test changes.
struct Reloaded {
    server: Server,
    dir: TempDir,
}

impl Reloaded {
    fn new(settings: &str) -> Reloaded {
        Reloaded::with(settings, |_| {})
    }

    /// Starts the server with additions to its command.
    fn with(settings: &str, more: impl FnOnce(&mut Command)) -> Reloaded {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("echogate.toml");
        fs::write(&file, settings).unwrap();
        let mut command = Command::new(ECHOGATE);
        command.arg("serve").arg("--config").arg(&file);
        more(&mut command);
        Reloaded { server: Server::spawn(command), dir }
    }

    /// The path of a file in the configuration's folder.
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes the configuration and reloads it; returns the log line of the result.
    fn reload(&self, settings: &str) -> String {
        self.write(settings);
        self.sighup()
    }

    /// Replaces the configuration file atomically.
    fn write(&self, settings: &str) {
        fs::write(self.file("new"), settings).unwrap();
        fs::rename(self.file("new"), self.file("echogate.toml")).unwrap();
    }

    /// Sends SIGHUP; returns the log line of the result.
    fn sighup(&self) -> String {
        let before = self.server.log().iter().filter(|line| line.contains(READ)).count();
        self.server.signal("HUP");
        self.server.wait_for_nth_log(&[READ], before)
    }

    /// Reloads this configuration, and asserts that it is accepted.
    fn accept(&self, settings: &str) {
        let printed = self.reload(settings);
        assert!(printed.contains("SIGHUP: configuration reloaded"), "{printed}");
    }

    /// Reloads this configuration, and asserts that it is rejected; returns the reason.
    fn reject(&self, settings: &str) -> String {
        let printed = self.reload(settings);
        assert!(printed.contains("WARN"), "{printed}");
        let why = printed.split_once("SIGHUP: reload rejected, configuration unchanged: ");
        why.unwrap_or_else(|| panic!("{printed}")).1.to_owned()
    }

    /// The JSON of `/api/endpoints`.
    fn endpoints(&self) -> Value {
        let response = http::get(self.server.address("http"), "/api/endpoints");
        serde_json::from_slice(&response.body).unwrap()
    }

    /// The URL of the first listener of a service in `/api/endpoints`.
    fn listener_url(&self, service: &str) -> String {
        let endpoints = self.endpoints();
        let listeners = endpoints["listeners"].as_array().unwrap();
        let found = listeners.iter().find(|listener| listener["service"] == service);
        let url = found.unwrap_or_else(|| panic!("no {service}: {endpoints}"))["url"].as_str();
        url.unwrap().split_once("://").unwrap().1.to_owned()
    }
}

/// A configuration: HTTP on a free port, and these lines.
fn http_and(more: &str) -> String {
    format!("http = [\"127.0.0.1:0\"]\n{more}\n")
}

fn listener(service: &str, url: &str) -> String {
    format!("[[listener]]\nservice = \"{service}\"\nurl = \"{url}\"\n")
}

fn route(path: &str, url: &str) -> String {
    format!("[[route]]\npath = \"{path}\"\nurl = \"{url}\"\n")
}

/// Whether a WebSocket client gets its message back in upper case.
fn replies_in_upper_case(client: &mut RawWs) -> bool {
    client.send_frame(first::TEXT, b"still here");
    client.read().payload == b"STILL HERE"
}

fn free_address() -> String {
    format!("127.0.0.1:{}", free_port())
}

#[test]
fn a_reload_logs_the_added_and_removed_listeners_and_routes_only() {
    let kept = http_and(&listener("upper", "tcp://127.0.0.1:0"));
    let (old, new) = (free_address(), free_address());
    let before = [&kept, &listener("echo", &format!("tcp://{old}")), &route("/x", "service:echo")];
    let reloaded = Reloaded::new(&before.map(String::as_str).concat());
    let after = [
        &kept,
        &listener("time", &format!("tcp://{new}")),
        &route("/x", "service:echo?framing=line"),
        &route("/y", "service:time"),
    ];
    reloaded.accept(&after.map(String::as_str).concat());
    let log = |reloaded: &Reloaded| -> Vec<String> {
        let all = reloaded.server.log().into_iter();
        all.filter_map(|line| line.split_once("SIGHUP: ").map(|(_, printed)| printed.to_owned()))
            .collect()
    };
    reloaded.server.wait_for_log(&["SIGHUP: added", "/y"]);
    let printed = log(&reloaded);
    assert_eq!(
        printed,
        [
            "configuration reloaded".to_owned(),
            format!("removed  listening  echo   tcp://{old}"),
            "removed  route      /x -> service:echo (message)".to_owned(),
            format!("added    listening  time   tcp://{new}"),
            "added    route      /x -> service:echo (line)".to_owned(),
            "added    route      /y -> service:time (line)".to_owned(),
        ]
    );
    reloaded.sighup();
    let again = log(&reloaded);
    assert_eq!(again[printed.len()..], ["configuration reloaded"]);
}
