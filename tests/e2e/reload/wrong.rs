//! Invalid configurations, and sockets that cannot be bound: nothing changes.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    process::Command,
};

use echogate_tests::{
    http::connect,
    tcp::round_trip,
    ws::{RawWs, handshake},
};

use super::{Reloaded, free_address, http_and, listener, replies_in_upper_case, route};
use crate::ECHOGATE;

#[test]
fn an_invalid_file_gives_the_error_of_the_start_and_changes_nothing() {
    let good = http_and(&listener("upper", "tcp://127.0.0.1:0"));
    let reloaded = Reloaded::new(&good);
    let server = &reloaded.server;
    let before = reloaded.endpoints();
    let mut client = connect(server.address("upper"));
    let mut ws = RawWs::connect(server, "/ws");
    let file = reloaded.file("echogate.toml");
    for (more, complaint) in [
        ("frob = 1", "unknown setting \"frob\""),
        ("drain = \"soon\"", "drain: invalid value \"soon\": expected a time"),
        ("max-connections = 0", "max-connections: invalid value \"0\": expected a number from 1"),
        ("[[listener]", "echogate.toml:2: "),
        ("[[listener]]\nservice = \"uper\"\nurl = \"tcp://127.0.0.1:0\"", "unknown service"),
        (
            "[[route]]\npath = \"/healthz\"\nurl = \"service:upper\"",
            "/healthz is reserved by the server",
        ),
        ("[[listener]]\nservice = \"upper\"\nurl = \"tls://127.0.0.1:0\"", "needs tls-cert"),
        ("tls-cert = \"/no/such\"\ntls-key = \"/no/such\"", "/no/such: no such file"),
        ("operator-token-file = \"/no/such\"", "/no/such: no such file"),
    ] {
        // The valid settings of the file are not applied either.
        let printed = reloaded.reject(&format!("allow-host = [\"x\"]\n{more}\n"));
        assert!(printed.contains(complaint), "{printed}");
        let mut start = Command::new(ECHOGATE);
        let started = start.arg("serve").arg("--config").arg(&file).output().unwrap();
        let at_start = String::from_utf8(started.stderr).unwrap();
        assert_eq!(at_start.trim_end(), format!("echogate: {printed}"));
        assert_eq!(reloaded.endpoints(), before);
        assert_eq!(round_trip(&mut client, b"still here"), b"STILL HERE");
    }
    fs::remove_file(&file).unwrap();
    let printed = reloaded.sighup();
    assert!(
        printed.contains("configuration unchanged: ") && printed.contains("echogate.toml: "),
        "{printed}"
    );
    assert!(replies_in_upper_case(&mut ws));
    assert_eq!(round_trip(&mut connect(server.address("upper")), b"and new ones"), b"AND NEW ONES");
    reloaded.accept(&good);
}

#[test]
fn a_socket_that_cannot_be_bound_rejects_the_whole_reload() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, nowhere) = (dir.path().join("new.sock"), dir.path().join("no/such.sock"));
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = holder.local_addr().unwrap();
    let (old, new) = (free_address(), free_address());
    let good = http_and(&listener("upper", &format!("tcp://{old}")));
    let reloaded = Reloaded::new(&good);
    let server = &reloaded.server;
    let mut client = connect(&old);
    let before = reloaded.endpoints();
    for (wrong, name) in [
        (
            listener("echo", &format!("tcp://{taken}")),
            format!("echo=tcp://{taken}: address already in use"),
        ),
        (
            listener("echo", &format!("unix://{}", nowhere.display())),
            format!("unix://{}: no such file", nowhere.display()),
        ),
        (
            listener("echo", "tcp://no.such.host.invalid:7"),
            "echo=tcp://no.such.host.invalid:7: ".to_owned(),
        ),
    ] {
        let all = [
            http_and("max-connections = 1"),
            listener("time", &format!("tcp://{new}")),
            listener("time", &format!("unix://{}", socket.display())),
            wrong,
            route("/only", "service:time"),
        ];
        let printed = reloaded.reject(&all.concat());
        assert!(
            printed.contains(&format!("cannot listen on {name}")) || printed.contains(&name),
            "{printed}"
        );
        assert!(TcpStream::connect(&new).is_err(), "what was bound for it is closed");
        assert!(!socket.exists(), "and its file removed");
        assert_eq!(reloaded.endpoints(), before);
        assert_eq!(handshake(server, "/only", &[]).status, 404);
        assert_eq!(round_trip(&mut client, b"still here"), b"STILL HERE");
        assert_eq!(round_trip(&mut connect(&old), b"there is room"), b"THERE IS ROOM");
    }
    let printed = reloaded.reject(&format!("http = [\"127.0.0.1:0\", \"{taken}\"]\n"));
    assert!(
        printed.contains(&format!("cannot listen on http://{taken}: address already in use")),
        "{printed}"
    );
    drop(holder);
    reloaded.accept(&format!("http = [\"127.0.0.1:0\", \"{taken}\"]\n"));
    assert_eq!(echogate_tests::http::get(&taken.to_string(), "/healthz").status, 200);
}

#[test]
fn settings_that_cannot_be_read_to_their_end_do_not_delay_a_signal() {
    let mut reloaded = Reloaded::new(&http_and(&listener("upper", "tcp://127.0.0.1:0")));
    let file = reloaded.file("echogate.toml");
    fs::remove_file(&file).unwrap();
    assert!(Command::new("mkfifo").arg(&file).status().unwrap().success());
    reloaded.server.signal("HUP");
    // Opening a FIFO for writing waits until the server has opened it for reading.
    let _writer = fs::OpenOptions::new().write(true).open(&file).unwrap();
    assert_eq!(round_trip(&mut connect(reloaded.server.address("upper")), b"one"), b"ONE");
    assert_eq!(reloaded.server.terminate(), Some(0));
}
