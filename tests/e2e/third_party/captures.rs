//! tcpdump: a capture of redis-cli, replayed against another redis-server.

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
};

use echogate_tests::{
    program::{Program, free_port, programs, run},
    server::wait_until,
};
use nix::unistd::geteuid;

use crate::ECHOGATE;

/// A word of the last command, which shows that all before it is in the capture.
const LAST: &str = "the-last-command";

#[test]
fn a_capture_of_redis_cli_replays_against_another_redis_server_with_no_difference() {
    let Some([tcpdump, server, client]) = programs(["tcpdump", "redis-server", "redis-cli"]) else {
        return;
    };
    let Some(mut capture) = as_root(&tcpdump) else { return };
    let folder = tempfile::tempdir().unwrap();
    let ports = [free_port(), free_port()];
    let servers = ports.map(|port| {
        let mut command = Command::new(&server);
        command.args(["--save", "", "--bind", "127.0.0.1", "--port", &port.to_string()]);
        command.arg("--dir").arg(folder.path());
        Program::serve(command, port)
    });
    let file = folder.path().join("redis.pcap");
    capture.args(["-i", "lo", "-U", "--immediate-mode", "-Z", "root", "-w"]).arg(&file);
    capture.args(["tcp", "port", &ports[0].to_string()]);
    let capture = Program::start(capture);
    wait_until("tcpdump does not listen", || capture.output().contains("listening on lo"));

    let redis = |command: &[&str]| {
        let mut redis = Command::new(&client);
        redis.args(["-p", &ports[0].to_string()]).args(command);
        run(redis)
    };
    assert_eq!(redis(&["SET", "key", "1"]), "OK\n");
    assert_eq!(redis(&["INCRBY", "key", "41"]), "42\n");
    redis(&["RPUSH", "list", &"x".repeat(100_000), "y"]);
    redis(&["LRANGE", "list", "0", "-1"]);
    redis(&["GET", "key"]);
    redis(&["ECHO", LAST]);
    // The command and its answer.
    wait_until("the last command is not captured", || {
        let bytes = fs::read(&file).unwrap_or_default();
        bytes.windows(LAST.len()).filter(|window| *window == LAST.as_bytes()).count() == 2
    });
    drop(capture);

    let url = format!("tcp://127.0.0.1:{}", ports[1]);
    let output = replay(&file, &[&url, "--paced-by-peer", "--compare"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.ends_with("the same: 6 connections\n"), "{text}");
    // The server has counted already: the second answer differs.
    let output = replay(&file, &[&url, "--paced-by-peer", "--compare", "-n", "2"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("A: :|42\\r\\n\n    B: :|83\\r\\n"), "{text}");
    assert_eq!(output.status.code(), Some(1));
    drop(servers);
}

fn replay(file: &Path, arguments: &[&str]) -> Output {
    Command::new(ECHOGATE).arg("replay").arg(file).args(arguments).output().unwrap()
}

/// A command that runs as root; none, with a notice, where that takes a password.
fn as_root(program: &Path) -> Option<Command> {
    if geteuid().is_root() {
        return Some(Command::new(program));
    }
    let mut command = Command::new("sudo");
    command.arg("-n");
    let may = Command::new("sudo").args(["-n", "true"]).status().is_ok_and(|it| it.success());
    if !may {
        assert!(env::var_os("CI").is_none(), "tcpdump requires root");
        eprintln!("*** SKIPPED a third-party test: tcpdump requires root ***");
        return None;
    }
    command.arg(program);
    Some(command)
}
