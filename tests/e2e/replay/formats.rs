//! Recordings of other programs.

use std::path::Path;

use super::{assert_status, echogate, stdout};

/// A file beside this one.
fn file(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/replay").join(name)
}

/// `mitmproxy.har` was written by mitmproxy 11, in front of `echogate serve`:
///
/// ```sh
/// mitmdump --mode reverse:http://127.0.0.1:8080 --listen-port 8081 --set hardump=mitmproxy.har
/// printf 'hello\nwörld\n' | echogate connect ws://127.0.0.1:8081/ws
/// printf '\x00\xff' | echogate connect --binary --half-close ws://127.0.0.1:8081/ws
/// ```
#[test]
fn a_har_of_mitmproxy_replays_with_no_difference() {
    let server = crate::server();
    let output = echogate(
        "replay",
        &file("mitmproxy.har"),
        &[&server.ws("/"), "--speed", "max", "--compare"],
    );
    assert_status(&output, 0);
    assert!(stdout(&output).ends_with("the same: 2 connections\n"), "{}", stdout(&output));
}

/// `chrome.har` has the form of the Network panel of Chrome's developer tools ("Save all as HAR").
#[test]
fn a_har_of_chrome_replays_with_no_difference() {
    let server = crate::server();
    let output =
        echogate("replay", &file("chrome.har"), &[&server.ws("/"), "--paced-by-peer", "--compare"]);
    assert_status(&output, 0);
    assert!(stdout(&output).ends_with("the same: 1 connection\n"), "{}", stdout(&output));
}
