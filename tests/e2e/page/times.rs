//! The worker with the sockets: true times, and files.

use std::{
    fs,
    io::{Read as _, Write as _},
    path::PathBuf,
};

use echogate_tests::browser::Page;
use tempfile::TempDir;

use super::{choose, connected, connected_to_upstream, count, page_without, say, wasm_memory};

/// A file of this size, in bytes, in a folder of its own.
pub(super) fn file(size: usize) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file.bin");
    let bytes: Vec<u8> = (0..size).map(|n| (n % 251) as u8).collect();
    fs::write(&path, bytes).unwrap();
    (folder, path)
}

/// Starts sending a file.
fn send_file(page: &mut Page, path: &std::path::Path) {
    page.click("label[for=mode-file]");
    page.pick_file("#file", path);
    page.wait_for_text("#file-name", "file.bin");
    page.click("#file-start");
}

#[test]
fn a_page_that_is_busy_while_a_reply_arrives_does_not_lengthen_the_round_trip() {
    let Some((_server, mut page)) = connected() else { return };
    say(&mut page, "warm");
    page.wait_for_text("#figure-received", "1 message");
    page.eval(
        "(() => {
            const field = document.querySelector('#message');
            field.value = 'busy';
            field.dispatchEvent(new InputEvent('input', { bubbles: true }));
            field.form.requestSubmit();
            const end = performance.now() + 1500;
            while (performance.now() < end);
        })()",
    );
    page.wait_for_text("#figure-received", "2 messages");
    let latest = page.text("#figure-round-trip");
    assert!(!latest.ends_with(" s"), "{latest}: the page was busy for 1.5 s");
}

#[test]
fn the_clocks_of_the_page_and_its_worker_have_a_resolution_of_microseconds() {
    let Some((_server, mut page)) = connected() else { return };
    assert_eq!(page.eval("crossOriginIsolated"), true);
    let resolution = page.worker_resolution();
    assert!(resolution < 50e-6, "{resolution} s");
}

#[test]
fn a_large_file_takes_no_memory_of_the_page() {
    let Some((_server, mut page)) = connected() else { return };
    let before = wasm_memory(&mut page);
    let (_folder, path) = file(24 << 20);
    send_file(&mut page, &path);
    page.wait_for_text("#file-status", "every byte matches");
    let after = wasm_memory(&mut page);
    assert!(after < before + (1 << 20), "{before} grew to {after}");
}

#[test]
fn an_echo_in_other_pieces_is_compared_and_one_wrong_byte_is_found() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("bytes") else { return };
    page.click("label[for=mode-file]");
    choose(&mut page, "#expect", "1");
    let size = 300_000;
    let echo = std::thread::spawn(move || {
        for wrong in [None, Some(200_001)] {
            let mut at = 0;
            while at < size {
                let mut bytes = [0; 777];
                let length = stream.read(&mut bytes).unwrap();
                for byte in &mut bytes[..length] {
                    *byte ^= u8::from(Some(at) == wrong);
                    at += 1;
                }
                stream.write_all(&bytes[..length]).unwrap();
            }
        }
        stream
    });
    let (_folder, path) = file(size);
    send_file(&mut page, &path);
    page.wait_for_text("#file-status", "every byte matches");
    page.click("#file-start");
    page.wait_for_text("#file-status", "byte 200,001 came back as");
    drop(echo.join().unwrap());
}

#[test]
fn the_echo_of_a_stopped_file_is_no_message_and_does_not_disturb_the_next_file() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("bytes") else { return };
    page.click("label[for=mode-file]");
    choose(&mut page, "#expect", "1");
    let (_folder, path) = file(100_000);
    send_file(&mut page, &path);
    let mut first = vec![0; 100_000];
    stream.read_exact(&mut first).unwrap();
    page.wait_for_text("#file-start", "Stop");
    page.click("#file-start");
    page.wait_for_text("#file-status", "stopped");
    stream.write_all(&first[..70_000]).unwrap();
    page.click("#file-start");
    stream.write_all(&first[70_000..]).unwrap();
    let mut second = vec![0; 100_000];
    stream.read_exact(&mut second).unwrap();
    stream.write_all(&second).unwrap();
    page.wait_for_text("#file-status", "every byte matches");
    assert_eq!(count(&mut page, ".message"), 0);
    stream.write_all(b"a message").unwrap();
    page.wait_for("document.querySelectorAll('.message').length === 1");
}

#[test]
fn an_echo_with_bytes_behind_it_ends_the_wait_for_it() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("length") else { return };
    page.click("label[for=mode-file]");
    choose(&mut page, "#expect", "1");
    // The page waits for an echo once 4 MiB are in flight; the rest of the file follows.
    let size = (4 << 20) + 100_000;
    let (_folder, path) = file(size);
    send_file(&mut page, &path);
    for expected in [4 << 20, 100_000] {
        let mut echo = Vec::new();
        while echo.len() < expected {
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let start = echo.len();
            echo.resize(start + u32::from_be_bytes(length) as usize, 0);
            stream.read_exact(&mut echo[start..]).unwrap();
        }
        echo.extend(b"more");
        stream.write_all(&(echo.len() as u32).to_be_bytes()).unwrap();
        stream.write_all(&echo).unwrap();
    }
    page.wait_for_text("#file-status", "every byte matches");
    page.wait_for("document.querySelectorAll('.message.received').length === 2");
}

#[test]
fn a_file_whose_connection_is_lost_says_so() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("bytes") else { return };
    let (_folder, path) = file(8 << 20);
    page.click("label[for=mode-file]");
    choose(&mut page, "#expect", "1");
    send_file(&mut page, &path);
    stream.read_exact(&mut [0; 1000]).unwrap();
    drop(stream);
    page.wait_for_text("#file-status", "connection");
    page.wait_for("document.querySelector('#state-headline').innerText !== 'Connected'");
}

#[test]
fn a_file_that_was_changed_after_it_was_chosen_cannot_be_read() {
    let Some((_server, mut page)) = connected() else { return };
    let (_folder, path) = file(100_000);
    page.click("label[for=mode-file]");
    page.pick_file("#file", &path);
    page.wait_for_text("#file-name", "file.bin");
    fs::write(&path, "shorter").unwrap();
    page.click("#file-start");
    page.wait_for_text("#file-status", "file.bin could not be read.");
    page.wait_for_text("#file-start", "Send");
}

#[test]
fn a_page_that_is_left_closes_its_connections_in_order() {
    let Some((server, mut page)) = connected() else { return };
    say(&mut page, "hello");
    page.wait_for_text("#figure-received", "1 message");
    page.reload_in_language("en");
    let line = server.wait_for_log(&["target=\"/ws\""]);
    assert!(line.contains("1001"), "{line}");
}

#[test]
fn a_worker_that_does_not_load_is_named_and_is_loaded_by_the_next_attempt() {
    let Some((_server, mut page, restore)) = page_without("sockets.js") else { return };
    page.click("#toggle");
    page.wait_for_text("#state-details", "sockets.js did not load");
    restore();
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Connected");
}
