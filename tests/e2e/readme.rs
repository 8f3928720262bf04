//! The README's examples, run as they are written; only the ports are those of this
//! test's own server.

use std::{
    env, fs,
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use echogate_tests::server::Server;

use crate::ECHOGATE;

const README: &str = include_str!("../../README.md");

/// A command of a `console` block and what it prints.
#[derive(Debug, Default)]
struct Example {
    command: String,
    output: String,
}

fn examples() -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    let mut in_console = false;
    for line in README.lines() {
        match line.strip_prefix("```") {
            Some(language) => in_console = language == "console",
            None if !in_console => {}
            None => match (line.strip_prefix("$ "), examples.last_mut()) {
                (Some(command), _) => {
                    examples.push(Example { command: command.to_owned(), ..Example::default() });
                }
                (None, Some(example)) => {
                    example.output.push_str(line);
                    example.output.push('\n');
                }
                (None, None) => panic!("output without a command: {line}"),
            },
        }
    }
    examples
}

/// Whether every program of the command is on this machine.
fn can_run(command: &str, path: &str) -> bool {
    command.split('|').filter_map(|part| part.split_whitespace().next()).all(|program| {
        let found = Command::new("sh")
            .args(["-c", &format!("command -v {program}")])
            .env("PATH", path)
            .stdout(Stdio::null())
            .status();
        found.is_ok_and(|status| status.success())
    })
}

#[test]
fn every_example_does_what_it_says() {
    let time = ["--listen", "time=tcp://127.0.0.1:0", "--timezone", "UTC"];
    let server = Server::start(ECHOGATE, &time);
    let bin = tempfile::tempdir().unwrap();
    symlink(fs::canonicalize(ECHOGATE).unwrap(), bin.path().join("echogate")).unwrap();
    let path = format!("{}:{}", bin.path().display(), env::var("PATH").unwrap());
    let examples = examples();
    assert!(examples.len() >= 5, "the README has examples: {examples:?}");
    for Example { command, output } in examples {
        if !can_run(&command, &path) {
            assert!(env::var_os("CI").is_none(), "a program of `{command}` is missing");
            eprintln!("SKIPPED, a program is missing: {command}");
            continue;
        }
        let here = command
            .replace("127.0.0.1:8080", server.address("http"))
            .replace("127.0.0.1:7007", server.address("upper"))
            .replace("127.0.0.1 7007", &server.address("upper").replace(':', " "))
            .replace("127.0.0.1 7013", &server.address("time").replace(':', " "));
        let ran = Command::new("sh").args(["-c", &here]).env("PATH", &path).output().unwrap();
        let printed = String::from_utf8_lossy(&ran.stdout);
        let complaint = String::from_utf8_lossy(&ran.stderr);
        assert_eq!(printed.trim_end(), output.trim_end(), "$ {command}\n{complaint}");
        assert!(ran.status.success(), "$ {command}: {}\n{complaint}", ran.status);
    }
}
