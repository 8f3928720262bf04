//! Settings that are refused at the start, loops, the command `forward`, reloads.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use echogate_tests::{
    http::{self, connect},
    program::free_port,
    server::Server,
    tcp::{read_exactly, round_trip},
    upstream::Upstream,
    ws::handshake,
};
use tempfile::TempDir;

use crate::ECHOGATE;

/// The one line with which `echogate check` refuses the arguments.
fn refused(arguments: &[&str]) -> String {
    let output =
        Command::new(ECHOGATE).arg("check").args(arguments).stdin(Stdio::null()).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

#[test]
fn what_makes_no_sense_is_refused_in_one_line_that_says_which_and_why() {
    for (flag, value, part) in [
        ("--forward", "5433", "expected LISTEN=URL"),
        ("--forward", "5433=db.example", "expected LISTEN=URL"),
        ("--forward", "ws://h/=tcp://h:1", "a socket to listen on is tcp://"),
        ("--forward", "5433=tcp://h:0", "port 0 cannot be connected to"),
        ("--forward", "5433=tcp://h:1?framing=line", "unknown option \"framing\""),
        ("--forward", "5433=ws://h/#framing=message", "framing=message needs a WebSocket client"),
        ("--forward", "udp://:5433=tcp://h:1", "no host"),
        ("--forward", "udp://127.0.0.1:5433=tcp://h:1", "need framing=length"),
        ("--forward", "udp://127.0.0.1:5433=udp://h:1?proxy=v2", "unknown option \"proxy\""),
        ("--forward", "tls://127.0.0.1:5433=tcp://h:1", "needs tls-cert and tls-key"),
        ("--forward", "5433=tcp://127.0.0.1:5433", "leads to itself"),
        ("--forward", "5433=ws://localhost:5433/", "leads to itself"),
        ("--forward", "127.0.0.1:8080=tcp://h:1", "have the same address"),
        ("--forward", "unix:///a?mode=000=tcp://h:1", "mode=\"000\""),
        ("--route", "/x=ws://h/#framing=line", "unknown option \"framing\""),
        ("--route", "/x=ws://h/#header=Upgrade:x", "set by the WebSocket handshake"),
        ("--route", "/x=ws://h/#header=x", "expected NAME:VALUE"),
        ("--route", "/x=ws://h/#pass=cookie,a b", "expected names of header fields"),
        ("--route", "/x=ws://h/#pass=host", "set by the WebSocket handshake"),
        ("--route", "/x=ws://h/#ca=x.pem", "unknown option \"ca\""),
        ("--route", "/x=wss://h/#ca=/none.pem", "/none.pem"),
        ("--route", "/x=udp://h:1?framing=text", "unknown option \"framing\""),
        ("--route", "/x=ws:8080", "expected \"//\" after \"ws:\""),
        ("--route", "/x=ws://127.0.0.1:8080/x", "leads to itself"),
    ] {
        let line = refused(&[flag, value]);
        assert!(line.contains(part), "{value}: {line}");
        assert!(line.contains(flag), "{value}: {line}");
    }
    let line = refused(&["--forward", "1=ws://localhost:2/", "--forward", "2=tcp://127.0.0.1:1"]);
    assert!(line.contains("leads to itself"), "{line}");
}

#[test]
fn check_lists_forwards_and_http_urls_are_websockets() {
    let output = Command::new(ECHOGATE)
        .args(["check", "--forward", "5433=https://gateway.example/db"])
        .args(["--forward", "udp://127.0.0.1:53=tls://dns.example:853?framing=length&prefix=2"])
        .args(["--forward", ":5434=192.0.2.1:22?max=3", "--forward", "5435=22"])
        .args(["--route", "/x=vnc.lan:5900?max=3", "--route", "/y=ws://h/?a=b&max=3"])
        .args(["--listen", "upper=7009", "--http", ":8081"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("forward    tcp://localhost:5433 -> wss://gateway.example:443/db\n"),
        "{text}"
    );
    for line in [
        "forward    tcp://localhost:5434 -> tcp://192.0.2.1:22 max=3\n",
        "forward    tcp://localhost:5435 -> tcp://127.0.0.1:22\n",
        "route      /x -> tcp://vnc.lan:5900 (bytes) max=3\n",
        "listen     upper  tcp://localhost:7009\n",
        "listen     http   http://localhost:8081\n",
        "note       max in the query is sent to ws://h:80/: options of echogate follow # (…#max=…)\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(
        text.contains(
            "forward    udp://127.0.0.1:53 -> tls://dns.example:853 framing=length prefix=2\n"
        ),
        "{text}"
    );
}

#[test]
fn a_loop_that_no_setting_shows_is_found_at_run_time() {
    // Each of the two servers leads to the other.
    let (port, other) = (free_port(), free_port());
    let start = |http: u16, to: u16| {
        let (http, route) = (format!("127.0.0.1:{http}"), format!("/x=ws://127.0.0.1:{to}/x"));
        let mut command = Command::new(ECHOGATE);
        command.args(["serve", "--http", &http, "--route", &route]);
        Server::spawn(command)
    };
    let (one, two) = (start(port, other), start(other, port));
    for server in [&one, &two] {
        let response = handshake(server, "/x", &[]);
        assert_eq!(response.status, 508, "{response:?}");
        assert!(response.text().contains("the route leads to itself"), "{response:?}");
    }
}

#[test]
fn a_forward_to_a_route_of_the_same_server_is_no_loop() {
    let http = free_port();
    let (to_route, route) = (format!("127.0.0.1:0=ws://127.0.0.1:{http}/x"), "/x=service:upper");
    let mut command = Command::new(ECHOGATE);
    command.args(["serve", "--http", &format!("127.0.0.1:{http}"), "--route", route]);
    command.args(["--route", &format!("/y=ws://127.0.0.1:{http}/x"), "--forward", &to_route]);
    command.args(["--forward", &format!("127.0.0.1:0=ws://127.0.0.1:{http}/y")]);
    let server = Server::spawn(command);
    for url in server.urls("forward") {
        let mut client = connect(url.trim_start_matches("tcp://"));
        assert_eq!(round_trip(&mut client, b"hello"), b"HELLO", "{url}");
    }
}

#[test]
fn the_command_forward_serves_nothing_but_the_forward() {
    let upstream = Upstream::new();
    let mut command = Command::new(ECHOGATE);
    command.args(["forward", "127.0.0.1:0", &format!("tcp://{}", upstream.address())]);
    let server = Server::spawn(command);
    assert_eq!((server.urls("http").count(), server.urls("upper").count()), (0, 0));
    let mut client = super::client(&server);
    client.write_all(b"hello").unwrap();
    assert_eq!(read_exactly(&mut upstream.accept(), 5), b"hello");
    let output = Command::new(ECHOGATE)
        .args(["forward", "1", "tcp://h:1", "--route", "/x=tcp://h:1"])
        .output();
    let line = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(line.contains("--route cannot be used with forward"), "{line}");
}

#[test]
fn a_reload_adds_and_removes_forwards_and_ends_no_connection() {
    let folder = TempDir::new().unwrap();
    let config = folder.path().join("echogate.toml");
    let (before, after) = (Upstream::new(), Upstream::new());
    let (stays, goes) = (free_port(), free_port());
    let write = |forwards: &[(u16, &Upstream)]| {
        let tables = forwards.iter().map(|(port, upstream)| {
            let to = upstream.address();
            format!("[[forward]]\nlisten = \"127.0.0.1:{port}\"\nurl = \"tcp://{to}\"\n")
        });
        fs::write(&config, format!("http = [\"127.0.0.1:0\"]\n{}", tables.collect::<String>()))
            .unwrap();
    };
    write(&[(stays, &before), (goes, &before)]);
    let mut command = Command::new(ECHOGATE);
    command.args(["serve", "--config", config.to_str().unwrap()]);
    let server = Server::spawn(command);
    let mut old = connect(&format!("127.0.0.1:{stays}"));
    let mut old_upstream = before.accept();
    write(&[(stays, &after)]);
    server.signal("HUP");
    server.wait_for_log(&["SIGHUP: removed", &goes.to_string()]);
    let mut new = connect(&format!("127.0.0.1:{stays}"));
    let mut new_upstream = after.accept();
    for (client, upstream) in [(&mut old, &mut old_upstream), (&mut new, &mut new_upstream)] {
        client.write_all(b"x").unwrap();
        assert_eq!(read_exactly(upstream, 1), b"x");
    }
    assert!(std::net::TcpStream::connect(("127.0.0.1", goes)).is_err(), "it is closed");
    let wrong = "[[forward]]\nlisten = \"5433\"\nurl = \"tcp://h:1\"\nnot = 1\n";
    fs::write(&config, wrong).unwrap();
    server.signal("HUP");
    let line = server.wait_for_log(&["SIGHUP: reload rejected"]);
    assert!(line.contains("forward: unknown key \"not\": expected listen and url"), "{line}");
    assert_eq!(http::get(server.address("http"), "/healthz").status, 200);
}

#[test]
fn credentials_and_options_of_an_invalid_url_are_not_shown() {
    for arguments in [
        ["serve", "--route", "/x=ws://host#header=Authorization:secret&frob=%zz"],
        ["serve", "--route", "/x=ws://host#header=Authorization:secret%zz"],
        ["serve", "--route", "/x=ws://host#header=Authorization:secret%01"],
        ["serve", "--route", "/x=ws://host:port/?token=secret"],
        ["serve", "--forward", "127.0.0.1:0=ws://host#frob=1&header=Authorization:Bearer secret"],
        ["serve", "--route", "/x=host:80#header=Authorization:Bearer secret"],
        ["serve", "--route", "/x=service:upper#header=Authorization:secret"],
        ["serve", "--route", "/x=ws://user:%zzsecret@host/"],
        ["serve", "--route", "/x=ws://user:p?secret@host/"],
        ["connect", "ws://user:%zzsecret@host/", "-v"],
        ["connect", "ws://user:s?secret@host/", "-v"],
        ["connect", "ws://user:secret?s@host/", "-v"],
        ["connect", "ws://host/", "--header=Authorization:secret\u{1}"],
        ["connect", "ws://host/", "--header=Authorization secret"],
        ["serve", "--route", "/x=ws://user:secret@host:port/"],
        ["serve", "--forward", "127.0.0.1:0=ws://user:secret@host:port/"],
        ["serve", "--proxy", "http://user:secret@host:port"],
        ["connect", "ws://user:secret@host:port/", "-v"],
        ["connect", "tcp://user:secret@host:1", "-v"],
    ] {
        let output = Command::new(ECHOGATE).args(arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(!text.contains("secret"), "{arguments:?}: {text}");
        let names_it =
            ["host", "Authorization", "service:upper"].iter().any(|it| text.contains(it));
        assert!(names_it, "{arguments:?}: {text}");
    }
    for (line, variable) in [
        ("ws://host#header=Authorization:secret&frob=1", "ECHOGATE_ROUTE"),
        ("ws://user:%zzsecret@host", "ECHOGATE_ROUTE"),
    ] {
        let mut command = Command::new(ECHOGATE);
        let output = command.arg("check").env(variable, format!("/x={line}")).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(!text.contains("secret") && text.contains("host"), "{line}: {text}");
    }
}
