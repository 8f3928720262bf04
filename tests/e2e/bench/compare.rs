//! `tests/bench/compare`: each of its modes, as short as possible.

use std::process::Command;

use echogate_tests::program::programs;

use crate::ECHOGATE;

/// The output of a short comparison with the options in `line`, of the server `only`.
fn compare(line: &str, only: &str) -> Option<String> {
    let [python] = programs(["python3"])?;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/bench/compare");
    let mut command = Command::new(python);
    command.args([script, "--echogate", ECHOGATE, "--rounds", "1", "--duration", "0.2"]);
    command.args(["--sizes", "64", "--connections", "2", "--only", only]);
    let output = command.args(line.split_whitespace()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {said}");
    Some(String::from_utf8(output.stdout).unwrap())
}

#[test]
fn every_mode_of_the_comparison_has_figures() {
    for (line, only) in [
        ("", "echogate /ws"),
        ("--beside 3", "echogate /ws"),
        ("--tls", "echogate /ws"),
        ("--pair tcp-tcp", "echogate forward"),
        ("--pair tcp-ws", "echogate forward"),
        ("--pair ws-ws", "echogate route"),
        ("--idle 3", "echogate /ws"),
        ("--connects", "echogate /ws"),
        ("--bulk 1", "echogate /ws"),
        ("--record", "echogate --record (jsonl)"),
        ("--start", "echogate /ws"),
    ] {
        let Some(printed) = compare(line, only) else { return };
        let row = printed.lines().find(|row| row.starts_with(&format!("| {only}")));
        let row = row.unwrap_or_else(|| panic!("{line}: {printed}"));
        assert!(row.contains(|c: char| c.is_ascii_digit()) && !row.contains('*'), "{line}: {row}");
    }
}
