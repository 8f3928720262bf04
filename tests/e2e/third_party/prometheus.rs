//! promtool, which comes with Prometheus, on `/metrics` and on the queries of the dashboard.

use std::{
    fs,
    io::Write as _,
    process::{Command, Stdio},
};

use echogate_tests::{
    http,
    program::{programs, run},
    ws::RawWs,
};

use super::endings;
use crate::metrics::dashboard_queries;

#[test]
fn promtool_finds_no_fault_with_the_metrics() {
    let Some([promtool]) = programs(["promtool"]) else { return };
    let server = endings();
    let mut client = RawWs::connect(&server, "/ws");
    client.exchange(b"hello");
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

#[test]
fn promtool_accepts_the_queries_of_the_dashboard() {
    let Some([promtool]) = programs(["promtool"]) else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.json");
    let rule = |query: String| {
        let query = query.replace("$__rate_interval", "1m").replace("$instance", ".*");
        serde_json::json!({ "record": "query", "expr": query, "labels": { "of": query } })
    };
    let rules: Vec<_> = dashboard_queries().into_iter().map(rule).collect();
    let groups = serde_json::json!({ "groups": [{ "name": "dashboard", "rules": rules }] });
    // JSON is YAML.
    fs::write(&file, groups.to_string()).unwrap();
    let mut command = Command::new(promtool);
    command.args(["check", "rules"]).arg(&file);
    let said = run(command);
    assert!(said.contains(&format!("{} rules found", rules.len())), "{said}");
}
