use std::{fs, path::PathBuf};

use bytes::Bytes;
use echogate_proto::{
    api::Kind,
    recording::{Direction, Lost, Opened, Side, TapPoint},
    ws::{OpCode, frame::control_frame},
};

use super::*;
use crate::recording::{model::RecordedConnection, read::read, wire::WireEvent};

const DOWN: TapPoint = TapPoint { side: Side::Client, direction: Direction::ToClient };

fn record(event: WireEvent) -> WireRecord {
    WireRecord { time: 0, connection: 1, event }
}

/// A new file in a directory of its own, with its path.
fn new_file(format: Format) -> (tempfile::TempDir, PathBuf, RecordingFile) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(format!("a.{format}"));
    let file = RecordingFile::open(&path, format, OpenOptions::new().create_new(true)).unwrap();
    (dir, path, file)
}

/// A flush that fails, since the file cannot be written.
fn fail_to_flush(file: &mut RecordingFile, path: &Path) {
    let writable = mem::replace(&mut file.file, File::open(path).unwrap());
    file.flush().unwrap_err();
    file.file = writable;
}

/// A connection that is missing altogether.
fn missing() -> WireRecord {
    let event = WireEvent::Lost(Lost { events: 1, bytes: 0 });
    WireRecord { time: 0, connection: 0, event }
}

#[test]
fn a_file_is_complete_after_each_flush() {
    for format in Format::ALL {
        let (_dir, path, mut file) = new_file(format);
        assert_eq!(Format::of_file(&path).unwrap(), format);
        let opened = Opened { client_has_frames: true, ..Opened::default() };
        file.add(record(WireEvent::Opened(opened.into())));
        for n in 0..3 {
            let frame = control_frame(OpCode::Text, format!("message {n}").as_bytes());
            file.add(record(WireEvent::Bytes(DOWN, Bytes::from(frame))));
            file.add(missing());
            file.flush().unwrap();
            let bytes = fs::read(&path).unwrap();
            assert_eq!(file.size(), bytes.len() as u64);
            let text = String::from_utf8_lossy(&bytes);
            assert!(text.contains(&format!("message {n}")), "{text}");
            // One statement for all connections that are missing so far.
            let statements = text.matches("missing in this recording").count();
            assert_eq!(statements, usize::from(format != Format::Jsonl), "{format}");
            match format {
                Format::Pcapng => assert_eq!(bytes.len() % 4, 0),
                Format::Jsonl => assert!(text.ends_with("}\n")),
                Format::Har => drop(serde_json::from_str::<serde_json::Value>(&text).unwrap()),
            }
        }
    }
    Format::of_file(Path::new("a.pcap")).unwrap_err();
}

#[test]
fn a_failed_flush_changes_no_loss_that_the_file_names() {
    let (_dir, path, mut file) = new_file(Format::Pcapng);
    let of = |connection, event| WireRecord { time: 0, connection, event };
    let opened = || WireEvent::Opened(Opened::default().into());
    let lost = |events| WireEvent::Lost(Lost { events, bytes: 0 });
    let bytes = || WireEvent::Bytes(DOWN, Bytes::from_static(b"abc"));
    let events = [of(1, opened()), of(1, bytes()), of(1, lost(2)), missing(), of(2, opened())];
    events.into_iter().for_each(|record| file.add(record));
    file.flush().unwrap();
    // A packet names the losses of the first connection, and the second ends.
    let events = [of(1, bytes()), of(1, lost(30)), missing()];
    events.into_iter().for_each(|record| file.add(record));
    file.add(of(2, WireEvent::Closed("closed".into())));
    fail_to_flush(&mut file, &path);
    let events = [of(1, lost(31)), of(2, lost(1)), missing()];
    events.into_iter().for_each(|record| file.add(record));
    file.flush().unwrap();
    let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
    // The losses that the failed flush left in the file, and those of this flush.
    assert!(text.contains("connection 1; lost: 2 events (0 bytes)"), "{text}");
    assert!(text.contains("connection 1; lost: 31 events (0 bytes)"), "{text}");
    assert!(text.contains("connection 2; lost: 1 event (0 bytes)"), "{text}");
    assert!(text.contains("are missing in this recording: 2"), "{text}");
}

#[test]
fn a_file_whose_first_flush_failed_still_begins_with_its_start() {
    for format in Format::ALL {
        let (_dir, path, mut file) = new_file(format);
        let opened = Opened { client_has_frames: true, ..Opened::default() };
        file.add(record(WireEvent::Opened(opened.into())));
        fail_to_flush(&mut file, &path);
        // The start is written once.
        for _ in 0..2 {
            file.add(missing());
            file.flush().unwrap();
        }
        let bytes = fs::read(&path).unwrap();
        assert_eq!(file.size(), bytes.len() as u64);
        let header = [0x0a, 0x0d, 0x0d, 0x0a];
        let text = String::from_utf8_lossy(&bytes);
        match format {
            Format::Pcapng => {
                assert!(bytes.starts_with(&header), "{text}");
                assert_eq!(bytes.windows(4).filter(|part| *part == header).count(), 1);
            }
            Format::Jsonl => assert_eq!(text.lines().count(), 2, "{text}"),
            Format::Har => drop(serde_json::from_str::<serde_json::Value>(&text).unwrap()),
        }
    }
}

#[test]
fn after_a_failed_flush_har_has_the_losses_of_each_connection() {
    let (_dir, path, mut file) = new_file(Format::Har);
    let of = |connection, event| WireRecord { time: 0, connection, event };
    let opened = |connection, client_has_frames| {
        let opened = Opened { client_has_frames, ..Opened::default() };
        of(connection, WireEvent::Opened(opened.into()))
    };
    let text = |connection, text: &str| {
        let frame = control_frame(OpCode::Text, text.as_bytes());
        of(connection, WireEvent::Bytes(DOWN, Bytes::from(frame)))
    };
    let closed = |connection| of(connection, WireEvent::Closed("closed".into()));
    let lost = |connection, events| of(connection, WireEvent::Lost(Lost { events, bytes: 9 }));
    let events = [opened(1, true), text(1, "first"), opened(2, true), lost(2, 4)];
    events.into_iter().for_each(|record| file.add(record));
    file.flush().unwrap();
    let events = [text(1, "second"), closed(2), opened(3, true), closed(3), opened(4, false)];
    events.into_iter().for_each(|record| file.add(record));
    file.add(missing());
    fail_to_flush(&mut file, &path);
    let events = [lost(1, 2), lost(2, 3), missing()];
    events.into_iter().for_each(|record| file.add(record));
    file.flush().unwrap();
    let bytes = fs::read(&path).unwrap();
    assert_eq!(bytes.len() as u64, file.size());
    let har = String::from_utf8_lossy(&bytes);
    assert!(!har.contains("second") && !har.contains("cannot hold"), "{har}");
    assert!(har.contains("; lost: 3 events (9 bytes)\""), "{har}");
    let recording = read(&bytes[..]).unwrap();
    assert_eq!(recording.warnings, ["connections that are missing in this recording: 1"]);
    let facts =
        |connection: &RecordedConnection| (connection.events.len(), connection.defects.concat());
    let [first, second] = ["lost: 2 events (9 bytes)", "lost: 7 events (18 bytes)"];
    let expected = [(1, first.to_owned()), (0, second.to_owned())];
    assert_eq!(recording.connections.iter().map(facts).collect::<Vec<_>>(), expected, "{har}");
}

#[test]
fn losses_of_a_connection_without_packets_are_in_the_file_in_which_they_are_known() {
    let (_dir, path, mut file) = new_file(Format::Pcapng);
    let opened = Opened { kind: Some(Kind::Udp), ..Opened::default() };
    file.add(record(WireEvent::Opened(opened.into())));
    file.add(record(WireEvent::Lost(Lost { events: 2, bytes: 9 })));
    file.flush().unwrap();
    let text = String::from_utf8_lossy(&fs::read(&path).unwrap()).into_owned();
    assert!(text.contains("connection 1; lost: 2 events (9 bytes)"), "{text}");
}

#[test]
fn after_a_failed_flush_a_file_is_as_it_was_before() {
    for format in Format::ALL {
        let (_dir, path, mut file) = new_file(format);
        let opened = Opened { client_has_frames: true, ..Opened::default() };
        file.add(record(WireEvent::Opened(opened.into())));
        for text in ["first", "second"] {
            let frame = control_frame(OpCode::Text, text.as_bytes());
            file.add(record(WireEvent::Bytes(DOWN, Bytes::from(frame))));
            file.add(missing());
            file.flush().unwrap();
        }
        let before = fs::read(&path).unwrap();
        // A part of the next flush.
        file.file.seek(SeekFrom::Start(file.written)).unwrap();
        file.file.write_all(b"garbage").unwrap();
        file.restore();
        assert!(fs::read(&path).unwrap() == before, "{format}");
        // The next flush goes on there.
        let written = file.written as usize;
        file.add(missing());
        file.flush().unwrap();
        let after = fs::read(&path).unwrap();
        assert!(after.starts_with(&before[..written]), "{format}");
        assert_eq!(after.len() as u64, file.size(), "{format}");
    }
}
