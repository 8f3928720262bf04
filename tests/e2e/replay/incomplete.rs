//! Missing data: in a recording, in its replay, and in the record of a replay.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    sync::mpsc,
    thread,
};

use echogate_proto::recording::{Event, Lost};
use echogate_tests::{server::wait_until, tcp, ws::RawWsServer};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{
    DOWN, Recording, UP, assert_status, echogate, hello, replay, serve, serve::Mock, stderr, stdout,
};
use crate::ECHOGATE;

/// A server that a test controls, for one connection.
type Serve = fn(TcpStream);

#[test]
fn what_the_server_does_not_receive_is_a_failure() {
    let later = |connection: Recording| connection.after(500).bytes(1, UP, "two");
    let cases: [(Recording, &str, Serve, &str); 3] = [
        (
            Recording::new().websocket(1).text(1, UP, "one").after(60_000).text(1, UP, "two"),
            "ws",
            |stream| {
                let mut socket = RawWsServer::accept(stream, &["Sec-WebSocket-Protocol: chat"]);
                socket.read();
                socket.close(1001, "");
                socket.read();
            },
            "sent 1 of 2 messages: the server closed the WebSocket",
        ),
        (
            later(Recording::new().tcp(1).bytes(1, UP, "one")),
            "tcp",
            |mut stream| assert_eq!(tcp::read_exactly(&mut stream, 3), b"one"),
            "the server reset the connection before it received everything",
        ),
        (
            Recording::new().tcp(1).bytes(1, DOWN, "greeting").bytes(1, UP, "one"),
            "tcp",
            |mut stream| {
                stream.peek(&mut [0]).unwrap();
                stream.write_all(b"greeting").unwrap();
            },
            "the server reset the connection before it received everything",
        ),
    ];
    for (recording, scheme, connection, expected) in cases {
        let url = serve(1, move |_, stream| connection(stream)).replacen("tcp", scheme, 1);
        let output = replay(&recording, &[&url]);
        assert_status(&output, 1);
        let text = format!("echogate: connection 1: {expected}\n");
        assert!(stderr(&output).starts_with(&text), "{}", stderr(&output));
    }
}

#[test]
fn what_the_client_does_not_receive_is_a_failure() {
    let answers = Recording::new().tcp(1).bytes(1, UP, "hi").bytes(1, DOWN, "A");
    let mock = Mock::start(
        &answers.after(500).bytes(1, DOWN, "B"),
        &["tcp://127.0.0.1:0", "--speed", "1"],
    );
    let mut client = mock.connect();
    client.write_all(b"hi").unwrap();
    assert_eq!(tcp::read_exactly(&mut client, 1), b"A");
    drop(client);
    let (status, text) = mock.finish();
    let expected = "the client reset the connection before it received everything\n";
    assert!(status == Some(1) && text.ends_with(expected), "{text}");
}

#[test]
fn an_interrupted_replay_has_recorded_what_had_passed() {
    let recording = Recording::new()
        .tcp(1)
        .bytes(1, UP, "hello")
        .bytes(1, DOWN, "HEL")
        .bytes(1, UP, "more")
        .bytes(1, DOWN, "LO")
        .after(1)
        .tcp(2)
        .bytes(2, UP, "second");
    let record = recording.folder.path().join("record.jsonl");
    let (sender, is_waiting) = mpsc::channel();
    let url = serve(1, move |_, mut stream| {
        tcp::read_exactly(&mut stream, 5);
        stream.write_all(b"HEL").unwrap();
        tcp::read_exactly(&mut stream, 4);
        sender.send(()).unwrap();
        tcp::read_to_end(&mut stream);
    });
    let mut command = Command::new(ECHOGATE);
    command.arg("replay").arg(recording.file()).args([&url, "--paced-by-peer"]);
    command.arg("--record").arg(&record).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    is_waiting.recv().unwrap();
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGINT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_status(&output, 1);
    let stopped = "connection 1: stopped: received 3 of 5 bytes\n";
    assert!(stderr(&output).contains(stopped), "{}", stderr(&output));
    let second = "connection 2: stopped before it began\n";
    assert!(stderr(&output).contains(second), "{}", stderr(&output));
    let lines = fs::read_to_string(record).unwrap();
    assert_eq!(lines.matches("\"opened\"").count(), 1, "{lines}");
    for text in ["hello", "HEL", "more"] {
        assert!(lines.contains(&format!("\"text\":\"{text}\"")), "{lines}");
    }
}

#[test]
fn a_mock_server_writes_the_record_while_it_serves() {
    let recording = hello();
    let record = recording.folder.path().join("record.jsonl");
    let arguments = ["tcp://127.0.0.1:0", "--loop", "--record", record.to_str().unwrap()];
    let mut mock = Mock::start(&recording, &arguments);
    let mut results = BufReader::new(mock.child.stdout.take().unwrap()).lines();
    for number in 1..=2 {
        assert_status(&replay(&recording, &[&mock.url, "--speed", "max"]), 0);
        let result = results.next().unwrap().unwrap();
        assert!(result.ends_with("connection 1: as recorded"), "{result}");
        let closed = || fs::read_to_string(&record).unwrap().matches("\"closed\"").count();
        wait_until("the client is recorded", || closed() == number);
    }
    mock.child.kill().unwrap();
    mock.child.wait().unwrap();
}

#[test]
fn a_refused_replay_leaves_the_file_of_record_as_it_is() {
    let recording = hello();
    for (arguments, file, complaint) in [
        (&["ws://127.0.0.1:1"][..], "a.jsonl", "connection 1 (to ) is a byte stream"),
        (&["tcp://127.0.0.1:1"], "a.har", "a.har: HAR has WebSocket connections only"),
        (&["--serve", "tcp://127.0.0.1:0"], "a.har", "a.har: HAR has WebSocket connections only"),
        (&["--serve", "tls://127.0.0.1:0"], "a.jsonl", "--cert is required"),
    ] {
        let record = recording.folder.path().join(file);
        fs::write(&record, "kept").unwrap();
        let arguments = [arguments, &["--record", record.to_str().unwrap()]].concat();
        let output = replay(&recording, &arguments);
        assert_status(&output, 2);
        assert!(stderr(&output).contains(complaint), "{}", stderr(&output));
        assert_eq!(fs::read_to_string(record).unwrap(), "kept");
    }
}

#[test]
fn a_record_that_cannot_be_written_is_a_failure() {
    let (server, recording) = (crate::server(), hello());
    let record = recording.folder.path().join("full.jsonl");
    std::os::unix::fs::symlink("/dev/full", &record).unwrap();
    let record = record.to_str().unwrap();
    let output = replay(&recording, &[server.url("upper"), "--speed", "max", "--record", record]);
    assert_status(&output, 1);
    let failure = format!("echogate: recording incomplete: {record}: no space left on device\n");
    assert!(stderr(&output).ends_with(&failure), "{}", stderr(&output));
}

#[test]
#[cfg(target_os = "linux")]
fn a_mock_server_without_free_descriptors_serves_clients_later() {
    let recording = hello();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 24; exec \"$@\"", "sh", ECHOGATE, "replay", "--serve"]);
    command.arg(recording.file()).args(["tcp://127.0.0.1:0", "--loop"]);
    let mut mock = Mock::spawn(command);
    let clients: Vec<_> = (0..40).map(|_| mock.connect()).collect();
    // Clients in the backlog are served when others have ended.
    let last = format!("/proc/{}/fd/23", mock.child.id());
    wait_until("descriptors are left", || Path::new(&last).is_symlink());
    let mut results = mock.child.stdout.take().unwrap();
    let read = thread::spawn(move || {
        let mut text = String::new();
        results.read_to_string(&mut text).unwrap();
        text
    });
    drop(clients);
    let output = replay(&recording, &[&mock.url, "--speed", "max", "--compare"]);
    assert_status(&output, 0);
    kill(Pid::from_raw(mock.child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    // Most clients have sent nothing.
    assert_eq!(mock.finish().0, Some(1));
    let text = read.join().unwrap();
    assert_eq!(text.matches(": as recorded\n").count(), 1, "{text}");
}

#[test]
fn connections_that_the_recorder_has_lost_are_a_warning_and_shift_no_other() {
    let lost = Event::Lost(Lost { events: 3, bytes: 100 });
    let recording = Recording::new().add(0, lost).after(1);
    let recording = Recording { lines: recording.lines.clone() + &hello().lines, ..recording };
    let server = crate::server();
    let arguments = [server.url("upper"), "--speed", "max", "--compare", "-n", "1"];
    let output = replay(&recording, &arguments);
    assert_status(&output, 0);
    let warning = format!(
        "echogate: warning: {}: connections that are missing in this recording: 3\n",
        recording.file().display()
    );
    assert_eq!(stderr(&output), warning);
    assert!(stdout(&output).ends_with("the same: 1 connection\n"), "{}", stdout(&output));
}

#[test]
fn a_file_that_ends_within_its_last_part_is_used_with_a_warning() {
    let server = crate::server();
    let recording = hello();
    let url = server.url("upper");
    let to_server =
        |record: &Path| echogate("replay", record, &[url, "--speed", "max", "--compare"]);
    for (format, part) in [("pcapng", "a block"), ("jsonl", "a line")] {
        let record = recording.folder.path().join(format!("record.{format}"));
        let name = record.to_str().unwrap();
        assert_status(&replay(&recording, &[url, "--speed", "max", "--record", name]), 0);
        // The last part is that of the end of the connection.
        let length = fs::metadata(&record).unwrap().len();
        OpenOptions::new().write(true).open(&record).unwrap().set_len(length - 10).unwrap();
        let output = to_server(&record);
        assert_status(&output, 0);
        let text = stderr(&output);
        assert!(text.starts_with(&format!("echogate: warning: {name}: byte ")), "{text}");
        let end = format!("the file ends within {part}");
        assert!(text.contains(&end) && text.contains("; everything before is used\n"), "{text}");
    }
}

#[test]
fn an_interface_with_another_link_type_does_not_refuse_a_capture() {
    let (server, recording) = (crate::server(), hello());
    let record = recording.folder.path().join("record.pcapng");
    let (url, name) = (server.url("upper"), record.to_str().unwrap());
    assert_status(&replay(&recording, &[url, "--speed", "max", "--record", name]), 0);
    let mut file = OpenOptions::new().append(true).open(&record).unwrap();
    // An interface of link type 201, its statistics, first with two and then with three dropped
    // packets, and a packet of it.
    let block = |kind: u32, body: &[u8]| {
        let length = (body.len() as u32 + 12).to_le_bytes();
        [&kind.to_le_bytes()[..], &length, body, &length].concat()
    };
    file.write_all(&block(1, &[201, 0, 0, 0, 0, 0, 0, 0])).unwrap();
    let output = echogate("replay", &record, &[url, "--speed", "max", "--compare"]);
    assert_status(&output, 0);
    assert_eq!(stderr(&output), "");
    for dropped in [2_u64, 3] {
        let option = [&[5, 0, 8, 0][..], &dropped.to_le_bytes(), &[0; 4]].concat();
        file.write_all(&block(5, &[&[1, 0, 0, 0][..], &[0; 8], &option].concat())).unwrap();
    }
    let packet = [&[1, 0, 0, 0][..], &[0; 8], &[4, 0, 0, 0], &[4, 0, 0, 0], b"abcd"];
    file.write_all(&block(6, &packet.concat())).unwrap();
    let output = echogate("replay", &record, &[url, "--speed", "max", "--compare"]);
    assert_status(&output, 0);
    let text = stderr(&output);
    for warning in [
        "packets that were skipped, which are not of Ethernet, IP, loopback or Linux (-i any): 1\n",
        "packets or connections that were not captured, according to the file: 3\n",
    ] {
        assert!(text.contains(warning), "{text}");
    }
}
