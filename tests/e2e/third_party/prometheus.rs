//! promtool, which comes with Prometheus, on `/metrics`.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use echogate_tests::{
    http,
    program::programs,
    ws::{RawWs, first},
};

use super::endings;

#[test]
fn promtool_finds_no_fault_with_the_metrics() {
    let Some([promtool]) = programs(["promtool"]) else { return };
    let server = endings();
    let mut client = RawWs::connect(&server, "/ws");
    client.send_frame(first::TEXT, b"hello");
    client.read();
    let metrics = http::get(server.address("http"), "/metrics").text();
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(metrics.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}\n{metrics}", String::from_utf8_lossy(&said));
    assert!(said.is_empty(), "{}", String::from_utf8_lossy(&said));
}
