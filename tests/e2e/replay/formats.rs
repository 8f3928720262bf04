//! Recordings of other programs.

use std::{
    net::{Shutdown, TcpStream},
    path::Path,
};

use echogate_tests::{server::Server, tcp, ws::RawWs};

use super::{assert_status, echogate, stdout};
use crate::{ECHOGATE, recordings::Recorded};

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
/// Module `chrome` uses the writer of these tools.
#[test]
fn a_har_of_chrome_replays_with_no_difference() {
    let server = crate::server();
    let output =
        echogate("replay", &file("chrome.har"), &[&server.ws("/"), "--paced-by-peer", "--compare"]);
    assert_status(&output, 0);
    assert!(stdout(&output).ends_with("the same: 1 connection\n"), "{}", stdout(&output));
}

/// The recording of a server in each format, made of connections of a WebSocket and of a native
/// client, replays against it.
#[test]
fn a_recording_of_a_server_replays_with_no_difference() {
    for (format, count) in [("pcapng", 2), ("jsonl", 2), ("har", 1)] {
        let mut recorded = Recorded::with_format(format, &["--route", "/u=service:upper"]);
        let mut stream = TcpStream::connect(recorded.server.address("upper")).unwrap();
        assert_eq!(tcp::round_trip(&mut stream, b"hello"), b"HELLO");
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(tcp::read_to_end(&mut stream), b"");
        let mut socket = RawWs::connect(&recorded.server, "/u");
        socket.send_frame(0x81, b"message");
        assert_eq!(socket.read().payload, b"MESSAGE");
        socket.end(1000, "bye");
        drop(socket);
        recorded.server.wait_for_connections(<[_]>::is_empty);
        // The files are complete when the server has ended.
        recorded.server.signal("TERM");
        recorded.server.wait();
        let [file] = &recorded.files()[..] else { panic!("not one file") };

        let server = Server::start(ECHOGATE, &["--route", "/u=service:upper"]);
        for number in 1..=count {
            let number = number.to_string();
            let is_stream = count == 2 && number == "1";
            let url = if is_stream { server.url("upper").to_owned() } else { server.ws("/u") };
            let arguments = [&url, "--paced-by-peer", "--compare", "-n", &number];
            assert_status(&echogate("replay", file, &arguments), 0);
        }
    }
}
