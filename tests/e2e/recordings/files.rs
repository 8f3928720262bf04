//! Files: rotation, the limit on disk space, permissions, and settings that are refused.

use std::{fs, io::Write, os::unix::fs::PermissionsExt, process::Command};

use echogate_tests::{
    tcp::{noise, read_exactly},
    ws::{RawWs, first},
};

use serde_json::Value;

use super::{Recorded, events};
use crate::ECHOGATE;

#[test]
fn only_the_owner_may_read_a_file_and_its_name_has_the_time() {
    let recorded = Recorded::start(&[]);
    assert!(recorded.files().is_empty(), "nothing has happened yet");
    recorded.exchange();
    recorded.wait_for_ends(1);
    let [file] = &recorded.files()[..] else { panic!("{:?}", recorded.files()) };
    assert_eq!(fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
    let name = file.file_name().unwrap().to_str().unwrap();
    let (time, number) = name.strip_prefix("echogate-").unwrap().split_once('Z').unwrap();
    assert!(time.starts_with("20") && time.contains('T'), "{name}");
    assert_eq!(number, "-0001.jsonl");
    assert_eq!(
        recorded.server.metric("echogate_recorded_bytes_total"),
        fs::metadata(file).unwrap().len()
    );
    assert_eq!(recorded.server.metric("echogate_record_lost_events_total"), 0);
}

#[test]
fn a_file_that_is_large_or_old_is_followed_by_another_and_a_frame_continues_there() {
    for rotation in [["--record-rotate-size", "1K"], ["--record-rotate-time", "1ms"]] {
        let recorded = Recorded::start(&[&rotation[..], &["--route", "/ws=service:echo"]].concat());
        let mut ws = RawWs::connect(&recorded.server, "/ws");
        let payload = "a text of 25 characters. ".repeat(1000);
        let frame = echogate_tests::ws::frame(first::TEXT, payload.as_bytes());
        for piece in frame.chunks(3000) {
            ws.send(piece);
            echogate_tests::tcp::wait_until_read(&ws.stream);
        }
        let mut echo = Vec::new();
        while echo.len() < payload.len() {
            echo.extend(ws.read().payload);
        }
        ws.send(&echogate_tests::ws::close(1000, ""));
        ws.read_close();
        let all = recorded.wait_for_ends(1);
        assert!(recorded.files().len() > 1, "{:?}", recorded.files());
        let sent = all.iter().filter(|e| e["event"] == "data" && e["direction"] == "to-server");
        let text =
            |event: &Value| event["text"].as_str().unwrap_or_else(|| panic!("{event}")).to_owned();
        let sent: String = sent.map(text).collect();
        assert!(sent == payload, "{} bytes", sent.len());
        for file in &recorded.files()[1..] {
            let first = &events(&fs::read_to_string(file).unwrap())[0];
            assert_eq!(first["event"], "opened");
        }
        let last = fs::read_to_string(recorded.files().last().unwrap()).unwrap();
        assert!(events(&last)[0]["bytes_before"].as_u64().unwrap() > 25_000, "{last}");
    }
}

#[test]
fn the_oldest_files_are_removed_at_the_limit() {
    let limit = ["--record-rotate-size", "200K", "--record-limit", "1M"];
    let mut recorded = Recorded::with_format("pcapng", &limit);
    let foreign = recorded.dir.path().join("notes.pcapng");
    fs::write(&foreign, [0; 2_000_000]).unwrap();
    let mut client = recorded.connect("upper");
    let chunk = noise(100_000);
    for _ in 0..40 {
        client.write_all(&chunk).unwrap();
        read_exactly(&mut client, chunk.len());
    }
    drop(client);
    recorded.server.signal("TERM");
    assert!(recorded.server.wait().success());
    let files = recorded.files();
    let own: Vec<_> = files.iter().filter(|file| **file != foreign).collect();
    let total: u64 = own.iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    assert!((500_000..=1 << 20).contains(&total), "{total} bytes");
    assert!(foreign.exists());
    let first = own[0].to_str().unwrap();
    assert!(!first.ends_with("-0001.pcapng"), "{first}");
}

#[test]
fn settings_that_cannot_take_effect_are_refused_in_one_line() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().to_str().unwrap();
    for (arguments, error) in [
        (
            &["--route", "/ws=service:upper?record"][..],
            "--route: record needs a directory for the files (--record DIR)",
        ),
        (
            &["--record", dir, "--record-limit", "1"],
            "--record-limit: no file fits into 1 bytes: expected at least 131072 (128K)",
        ),
        (
            &["--record", dir, "--record-rotate-size", "2M", "--record-limit", "1M"],
            "--record-rotate-size: a file of 2097152 bytes is above the limit on all files of \
             1048576 bytes (--record-limit)",
        ),
    ] {
        let output = Command::new(ECHOGATE).arg("check").args(arguments).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stderr), format!("echogate: {error}\n"));
        assert_eq!(output.status.code(), Some(2));
    }
    let wrong = Command::new(ECHOGATE)
        .args(["check", "--record", dir, "--listen", "upper=tcp://127.0.0.1:0?record=all"])
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&wrong.stderr);
    assert!(error.contains("record=\"all\": expected client or both"), "{error}");
    let arguments = ["check", "--record", dir, "--record-limit", "1M"];
    let checked = Command::new(ECHOGATE).args(arguments).output().unwrap();
    let printed = String::from_utf8_lossy(&checked.stdout);
    let line = format!("record     {dir} (pcapng, files of 256K or 3600s, at most 1M)\n");
    assert!(printed.contains(&line), "{printed}");
}
