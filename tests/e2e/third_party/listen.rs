//! Clients and servers of others at the other end of `echogate listen` and `echogate connect`: `nc`,
//! `socat`, `websocat` and `wscat`.

use std::{
    io::{Read, Write},
    process::{Command, Stdio},
    thread,
};

use echogate_tests::{
    program::{packages, programs},
    pty::Terminal,
};

use super::shell;
use crate::{
    ECHOGATE,
    connect::listen::{self, Listener},
};

/// Starts `echogate listen`, and gives it `input` and the end of the input.
fn listen(arguments: &[&str], input: &[u8]) -> Listener {
    let mut listener = listen::listen(arguments);
    // In a thread: the listener reads its input only when a client has connected.
    let (mut stdin, input) = (listener.child.stdin.take().unwrap(), input.to_owned());
    thread::spawn(move || stdin.write_all(&input).ok());
    listener
}

fn port(listener: &Listener) -> &str {
    listener.address().rsplit(':').next().unwrap()
}

#[test]
fn netcat_and_socat_exchange_bytes_with_a_listener_on_every_stream() {
    if programs(["nc", "socat", "timeout"]).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("s").display().to_string();
    let unix = format!("unix://{path}");
    for (endpoint, command) in [
        ("0", "printf question | timeout 20 nc -N 127.0.0.1 PORT"),
        ("tcp://[::1]:0", "printf question | timeout 20 nc -N -6 ::1 PORT"),
        (&*unix, "printf question | timeout 20 nc -N -U PATH"),
        ("0", "printf question | timeout 20 socat -t 10 - TCP:127.0.0.1:PORT"),
        (&*unix, "printf question | timeout 20 socat -t 10 - UNIX-CONNECT:PATH"),
    ] {
        let listener = listen(&[endpoint], b"answer");
        let command = command.replace("PORT", port(&listener)).replace("PATH", &path);
        assert_eq!(shell(&command), "answer", "{command}");
        let output = listener.child.wait_with_output().unwrap();
        assert_eq!(output.stdout, b"question", "{command}");
        assert_eq!(output.status.code(), Some(0), "{command}");
    }
}

#[test]
fn netcat_and_socat_exchange_datagrams_with_a_listener() {
    if programs(["nc", "socat", "timeout"]).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (path, own) = (folder.path().join("s"), folder.path().join("own"));
    let (path, own) = (path.display().to_string(), own.display().to_string());
    let unixgram = format!("unixgram://{path}");
    for (endpoint, command) in [
        ("udp://127.0.0.1:0", "printf question | timeout 20 nc -u -W 1 127.0.0.1 PORT"),
        (
            "udp://127.0.0.1:0",
            "printf question | timeout 20 socat -t 10 - UDP4:127.0.0.1:PORT,readbytes=6",
        ),
        (
            &*unixgram,
            "printf question | timeout 20 socat -t 10 - UNIX-CLIENT:PATH,type=2,bind=OWN,readbytes=6",
        ),
    ] {
        let mut listener = listen(&[endpoint], b"answer");
        let command = command.replace("PORT", port(&listener)).replace("PATH", &path);
        assert_eq!(shell(&command.replace("OWN", &own)), "answer", "{command}");
        let mut question = [0; 8];
        listener.child.stdout.as_mut().unwrap().read_exact(&mut question).unwrap();
        assert_eq!(&question, b"question", "{command}");
        listener.child.kill().unwrap();
        listener.child.wait().unwrap();
    }
}

#[test]
fn a_file_passes_between_echogate_and_netcat() {
    let Some([nc, _]) = programs(["nc", "timeout"]) else { return };
    let listener = listen(&["0"], &vec![b'x'; 3_000_000]);
    let command = format!("timeout 20 nc -d 127.0.0.1 {} | wc -c", port(&listener));
    assert_eq!(shell(&command).trim(), "3000000");
    assert_eq!(listener.child.wait_with_output().unwrap().status.code(), Some(0));
    let port = echogate_tests::program::free_port().to_string();
    let server = Command::new(nc)
        .args(["-l", "-N", "127.0.0.1", &port])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    // nc announces nothing: the client tries until nc listens.
    let command = format!(
        "until head -c 3000000 /dev/zero | {ECHOGATE} connect 127.0.0.1 {port}; do :; done 2>&1"
    );
    shell(&command);
    assert_eq!(server.wait_with_output().unwrap().stdout.len(), 3_000_000);
}

#[test]
fn websocat_exchanges_text_messages_with_a_listener() {
    if programs(["websocat", "timeout"]).is_none() {
        return;
    }
    let listener = listen(&["ws://127.0.0.1:0"], b"one\ntwo\n");
    let command = format!("printf 'three\\nfour\\n' | timeout 20 websocat -n {}", listener.url);
    let mut websocat = Command::new("sh").args(["-c", &command]).stdout(Stdio::piped()).spawn();
    let websocat = websocat.as_mut().unwrap();
    let mut received = [0; 8];
    websocat.stdout.as_mut().unwrap().read_exact(&mut received).unwrap();
    assert_eq!(&received, b"one\ntwo\n");
    let mut child = listener.child;
    let mut received = [0; 11];
    child.stdout.as_mut().unwrap().read_exact(&mut received).unwrap();
    assert_eq!(&received, b"three\nfour\n");
    websocat.kill().unwrap();
    websocat.wait().unwrap();
    child.wait().unwrap();
}

#[test]
fn wscat_talks_to_a_listener_and_sees_its_close() {
    let Some([node]) = programs(["node"]) else { return };
    let Some(packages) = packages(&["wscat"]) else { return };
    let wscat = packages.join("node_modules/wscat/bin/wscat").display().to_string();
    let listener = Terminal::start(ECHOGATE, &["listen", "ws://127.0.0.1:0"]);
    listener.wait_for("echogate connect ws://127.0.0.1:");
    let port = listener.wait_for("/\n");
    let url = format!("ws://127.0.0.1:{}", port.trim_end());
    let arguments = [&*wscat, "--no-color", "-P", "-s", "chat", "-c", &url];
    let client = Terminal::start(&node.display().to_string(), &arguments);
    client.wait_for("Connected");
    listener.wait_for(" connected");
    listener.wait_for("> ");
    client.type_in("hello, ß\r");
    listener.wait_for("hello, ß\n");
    listener.type_in("hello to you\r");
    client.wait_for("< hello to you");
    listener.type_in("/ping there?\r");
    client.wait_for("Received ping (data: \"there?\")");
    listener.wait_for("pong \"there?\" (");
    listener.type_in("/close 4321 enough\r");
    client.wait_for("Disconnected (code: 4321, reason: \"enough\")");
    assert_eq!(listener.wait().0.code(), Some(0));
}

#[test]
fn connect_talks_to_a_server_of_wscat() {
    let Some([node]) = programs(["node"]) else { return };
    let Some(packages) = packages(&["wscat"]) else { return };
    let wscat = packages.join("node_modules/wscat/bin/wscat").display().to_string();
    let port = echogate_tests::program::free_port().to_string();
    let arguments = [&*wscat, "--no-color", "-l", &port];
    let server = Terminal::start(&node.display().to_string(), &arguments);
    server.wait_for("Listening");
    let client = Terminal::start(ECHOGATE, &["connect", &format!("http://localhost:{port}")]);
    client.wait_for("Ctrl-D ends the input");
    client.wait_for("> ");
    client.type_in("{\"op\":1}\r");
    server.wait_for("{\"op\":1}");
    server.type_in("a reply\r");
    client.wait_for("a reply\n");
    client.type_in("/close 4000 done\r");
    client.wait_for("closed (4000); the server answered 4000");
    assert_eq!(client.wait().0.code(), Some(0));
}
