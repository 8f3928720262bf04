//! Failures: a crash, a full disk, a directory that is gone, a disk that is slow.

use std::{fs, io::Write, path::Path, process::Command};

use echogate_tests::{
    http::connect,
    server::{Server, wait_until},
    tcp::{noise, read_exactly, wait_until_refused},
    ws::{RawWs, first},
};
use serde_json::Value;

use super::{Recorded, events};
use crate::ECHOGATE;

#[test]
fn a_killed_server_leaves_files_that_can_be_read() {
    for format in ["pcapng", "jsonl", "har"] {
        let mut recorded = Recorded::with_format(format, &["--route", "/ws=service:echo"]);
        let mut ws = RawWs::connect(&recorded.server, "/ws");
        ws.send_frame(first::TEXT, b"the last words");
        ws.read();
        // The words are masked in packets: those of the answer are not.
        recorded.server.wait_for_metric("echogate_recorded_bytes_total", |bytes| bytes > 0);
        wait_until("the last words are not written", || {
            let bytes = fs::read(&recorded.files()[0]).unwrap();
            String::from_utf8_lossy(&bytes).contains("the last words")
        });
        recorded.server.signal("KILL");
        recorded.server.wait();
        let bytes = fs::read(&recorded.files()[0]).unwrap();
        match format {
            "pcapng" => {
                let mut rest = &bytes[..];
                while let [_, _, _, _, a, b, c, d, ..] = rest {
                    let length = u32::from_le_bytes([*a, *b, *c, *d]) as usize;
                    assert_eq!(
                        rest[length - 4..length],
                        rest[4..8],
                        "a block ends with its length"
                    );
                    rest = &rest[length..];
                }
                assert!(rest.is_empty());
            }
            "jsonl" => assert!(events(str::from_utf8(&bytes).unwrap()).len() >= 3),
            _ => {
                let har: Value = serde_json::from_slice(&bytes).unwrap();
                assert_eq!(har["log"]["entries"].as_array().unwrap().len(), 1);
            }
        }
    }
}

/// Sends a line to `upper` and reads the answer.
fn assert_answers(server: &Server) {
    let mut client = connect(server.address("upper"));
    client.write_all(b"hello\n").unwrap();
    assert_eq!(read_exactly(&mut client, 6), b"HELLO\n");
}

/// A server that records into `dir`, where a file has at most 100 KiB.
fn start_with_full_disk(format: &str, dir: &Path, arguments: &[&str]) -> Server {
    // A limit on the size of files, in blocks of 512 bytes; without the signal that comes with it.
    let script = "trap '' XFSZ; ulimit -f 200; exec \"$@\"";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", ECHOGATE, "serve", "--http", "127.0.0.1:0"]);
    command.args(["--listen", "upper=tcp://127.0.0.1:0", "--record-format", format, "--record"]);
    command.arg(dir).args(arguments);
    Server::spawn(command)
}

#[test]
fn a_full_disk_ends_the_recording_alone_and_what_it_does_not_take_is_counted() {
    for format in ["jsonl", "pcapng"] {
        let dir = tempfile::tempdir().unwrap();
        let server = start_with_full_disk(format, dir.path(), &[]);
        let mut client = connect(server.address("upper"));
        client.write_all(b"first\n").unwrap();
        assert_eq!(read_exactly(&mut client, 6), b"FIRST\n");
        let read = || {
            let file = fs::read_dir(dir.path()).unwrap().next();
            let bytes = file.map(|file| fs::read(file.unwrap().path()).unwrap());
            String::from_utf8_lossy(&bytes.unwrap_or_default()).into_owned()
        };
        wait_until("the answer is not in the file", || read().contains("FIRST"));
        for _ in 0..20 {
            client.write_all(&noise(50_000)).unwrap();
            read_exactly(&mut client, 50_000);
        }
        server.wait_for_metric("echogate_recording", |recording| recording == 0);
        let advice = "file too large; solve the problem and send SIGHUP to start recording again";
        server.wait_for_log(&["WARN", "recording stopped: ", advice]);
        let counted = server.metric("echogate_record_lost_events_total");
        assert!(counted > 0, "{format}");
        client.write_all(b"more\n").unwrap();
        assert_eq!(read_exactly(&mut client, 5), b"MORE\n");
        assert_answers(&server);
        let stops = server.log().iter().filter(|line| line.contains("recording stopped")).count();
        assert_eq!(stops, 1, "{format}");
        let text = read();
        let named: u64 = if format == "jsonl" {
            let lost = events(&text).into_iter().filter(|event| event["event"] == "lost");
            lost.map(|event| event["events"].as_u64().unwrap()).sum()
        } else {
            let (_, lost) = text.split_once("lost: ").expect("a comment");
            lost.split(' ').next().unwrap().parse().unwrap()
        };
        assert_eq!(named, counted, "{format}");
    }
}

/// In HAR, what is known of open connections is written again with each flush.
#[test]
fn a_full_disk_leaves_the_har_of_what_was_written_before_with_the_number_of_lost_events() {
    let dir = tempfile::tempdir().unwrap();
    let server = start_with_full_disk("har", dir.path(), &["--route", "/ws=service:echo"]);
    let mut ws = RawWs::connect(&server, "/ws");
    ws.send_frame(first::TEXT, b"the first words");
    ws.read();
    let path = || fs::read_dir(dir.path()).unwrap().next().map(|file| file.unwrap().path());
    let read = || path().map_or(String::new(), |path| fs::read_to_string(path).unwrap_or_default());
    wait_until("the first words are not written", || read().contains("the first words"));
    for _ in 0..4 {
        ws.send_frame(first::BINARY, &noise(50_000));
        ws.read();
    }
    server.wait_for_log(&["WARN", "recording stopped: "]);
    let har: Value = serde_json::from_str(&read()).unwrap();
    let entries = har["log"]["entries"].as_array().unwrap();
    assert_eq!(entries[0]["_webSocketMessages"][0]["data"], "the first words", "{har}");
    let last = entries.last().unwrap();
    let lost = last["_lost"]["events"].as_u64().unwrap();
    assert_eq!(lost, server.metric("echogate_record_lost_events_total"), "{har}");
    let missing = format!("lost: {lost} event");
    assert!(last["comment"].as_str().unwrap().contains(&missing), "{har}");
    let path = path().unwrap();
    let mut compare = Command::new(ECHOGATE);
    let compared = compare.arg("compare").args([&path, &path]).output().unwrap();
    let compared = String::from_utf8(compared.stdout).unwrap();
    assert!(compared.contains(&missing), "{compared}");
    let mut replay = Command::new(ECHOGATE);
    replay.arg("replay").arg(&path).args([&server.ws("/ws"), "--speed", "max"]);
    let replayed = String::from_utf8(replay.output().unwrap().stderr).unwrap();
    let warning = format!("warning: {}: connection 1: ", path.display());
    assert!(replayed.contains(&warning) && replayed.contains(&missing), "{replayed}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_recorder_that_a_reload_stops_writes_what_is_queued_before_the_process_ends() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config.toml");
    let record = format!("record = {:?}\nrecord-format = \"jsonl\"\n", dir.path());
    fs::write(&config, record).unwrap();
    let mut server = Server::start(ECHOGATE, &["--config", config.to_str().unwrap()]);
    let stopped = crate::api::StoppedThread::named(&server, "recorder");
    let mut client = connect(server.address("upper"));
    let chunk = noise(1 << 20);
    for _ in 0..12 {
        client.write_all(&chunk).unwrap();
        read_exactly(&mut client, chunk.len());
    }
    drop(client);
    server.wait_for_connections(<[_]>::is_empty);
    fs::write(&config, "").unwrap();
    server.signal("HUP");
    server.wait_for_log(&["configuration reloaded"]);
    server.signal("TERM");
    wait_until_refused(server.address("upper"));
    drop(stopped);
    assert!(server.wait().success());
    let mut files = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path());
    let recording = files.find(|file| file.extension().unwrap() == "jsonl").unwrap();
    let text = fs::read_to_string(recording).unwrap();
    assert!(text.lines().last().unwrap().contains(r#""event":"closed""#));
}

#[test]
fn a_directory_that_is_gone_ends_the_recording_and_a_reload_starts_it_again() {
    let recorded = Recorded::start(&[]);
    recorded.exchange();
    recorded.wait_for_ends(1);
    let dir = recorded.dir.path();
    fs::remove_dir_all(dir).unwrap();
    // The first exchange may still go to the file that has been removed.
    wait_until("the recording goes on", || {
        recorded.exchange();
        recorded.server.metric("echogate_recording") == 0
    });
    recorded.server.wait_for_log(&["WARN", "recording stopped: ", "no such file or directory"]);
    recorded.exchange();
    fs::create_dir(dir).unwrap();
    recorded.server.signal("HUP");
    recorded.server.wait_for_log(&["configuration reloaded"]);
    recorded.exchange();
    recorded.wait_for_ends(1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_disk_that_is_slow_loses_events_and_delays_no_connection() {
    let recorded = Recorded::start(&[]);
    recorded.exchange();
    recorded.wait_for_ends(1);
    let stopped = crate::api::StoppedThread::named(&recorded.server, "recorder");
    let mut client = recorded.connect("upper");
    let chunk = vec![b'x'; 1 << 20];
    for _ in 0..24 {
        client.write_all(&chunk).unwrap();
        assert!(read_exactly(&mut client, chunk.len()) == chunk.to_ascii_uppercase());
    }
    assert_answers(&recorded.server);
    let lost = recorded.server.metric("echogate_record_lost_events_total");
    assert!(lost > 0);
    drop(stopped);
    drop(client);
    let events = recorded.wait_for_ends(3);
    let counted = events.iter().filter(|event| event["event"] == "lost");
    assert_eq!(counted.map(|event| event["events"].as_u64().unwrap()).sum::<u64>(), lost);
}

/// Records so many MiB in each direction, without a loss, and asserts that memory stays small.
fn assert_takes_little_memory(mib: u64) {
    let recorded = Recorded::with_format("pcapng", &["--record-limit", "64M"]);
    let mut client = recorded.connect("upper");
    let chunk = vec![b'x'; 1 << 20];
    for sent in 1..=mib {
        client.write_all(&chunk).unwrap();
        read_exactly(&mut client, chunk.len());
        // Half of the queue may wait; what is less than a block is written later.
        if sent.is_multiple_of(8) {
            let written = (2 * sent - 1) << 20;
            let metric = "echogate_recorded_bytes_total";
            recorded.server.wait_for_metric(metric, |bytes| bytes > written);
        }
    }
    assert_eq!(recorded.server.metric("echogate_record_lost_events_total"), 0);
    let memory = recorded.server.peak().peak;
    assert!(memory < 150_000, "{memory} KiB");
}

#[test]
fn a_long_recording_takes_little_memory() {
    assert_takes_little_memory(128);
}

#[test]
#[ignore = "1 GiB takes a minute"]
fn a_recording_of_a_gibibyte_takes_little_memory() {
    assert_takes_little_memory(512);
}

#[test]
fn a_shutdown_writes_what_is_queued() {
    let mut recorded = Recorded::start(&[]);
    let mut client = recorded.connect("upper");
    client.write_all(b"hello\n").unwrap();
    assert_eq!(read_exactly(&mut client, 6), b"HELLO\n");
    recorded.server.signal("TERM");
    assert!(recorded.server.wait().success());
    let events: Vec<_> = recorded.events().iter().map(super::summary).collect();
    assert!(events.contains(&"data client to-client bytes HELLO\n".to_owned()), "{events:?}");
    assert_eq!(events.last().unwrap(), "closed");
}
