//! A standard output that fails: in the client, and in commands that only print.

use std::{
    fs::File,
    process::{Command, Output, Stdio},
};

use super::{assert_fails, serve, upper};
use crate::ECHOGATE;

/// Runs the program with `output` as its standard output.
fn run_into(output: impl Into<Stdio>, arguments: &[&str]) -> Output {
    Command::new(ECHOGATE)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(output)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap()
}

/// A pipe without a reader.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

const PRINTING: [&[&str]; 6] = [
    &["help"],
    &["help", "connect"],
    &["man"],
    &["--version"],
    &["completions", "bash"],
    &["check"],
];

#[test]
fn what_only_prints_fails_when_its_output_does_but_not_when_its_reader_has_seen_enough() {
    for arguments in PRINTING {
        let output = run_into(closed(), arguments);
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{arguments:?}");
        let line = "standard output: no space left on device";
        assert_fails(&run_into(full(), arguments), 1, line);
    }
}

#[test]
fn a_client_in_messages_fails_when_its_output_does() {
    let url = format!("tcp://{}", serve(upper));
    let output = run_into(full(), &["connect", &url, "--message=x"]);
    assert_fails(&output, 1, &format!("{url}: standard output: no space left on device"));
}

#[test]
fn an_error_that_cannot_be_printed_is_still_in_the_exit_status() {
    for arguments in [&["connect", "tcp://"][..], &["help", "nonsense"]] {
        let mut command = Command::new(ECHOGATE);
        command.args(arguments).stdin(Stdio::null()).stderr(closed());
        assert_eq!(command.status().unwrap().code(), Some(2), "{arguments:?}");
    }
    let url = format!("tcp://{}", serve(upper));
    let mut command = Command::new(ECHOGATE);
    command.args(["connect", &url, "--message=x", "--timing"]).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(closed());
    assert_eq!(command.status().unwrap().code(), Some(0), "times are beside the point");
}
