//! HAProxy, nats-server and three replicas that are restarted under load: `tests/replicas/run`, with
//! few clients. `ECHOGATE_CLIENTS` and `ECHOGATE_CHAT_CLIENTS` set other numbers.

use std::process::Command;

use echogate_tests::program::{programs, skip_because};

use crate::ECHOGATE;

/// The status of the script where network namespaces cannot be made.
const NOT_PERMITTED: i32 = 77;

#[test]
fn each_judgement_fails_for_a_manipulated_result() {
    let Some([python]) = programs(["python3"]) else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/replicas/judge_test.py");
    let output = Command::new(python).args(["-B", script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn replicas_and_their_broker_are_restarted_and_no_message_is_lost_without_a_report() {
    let Some([python, ..]) = programs(["python3", "ip", "haproxy", "nats-server"]) else { return };
    let number = |name, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/replicas/run");
    let mut command = Command::new(python);
    command.args([script, "--echogate", ECHOGATE]);
    // So many that each replica has more than the 100 that end one after the other.
    command.args(["--clients", &number("ECHOGATE_CLIENTS", "360")]);
    command.args(["--chat", &number("ECHOGATE_CHAT_CLIENTS", "60")]);
    let output = command.output().unwrap();
    let [printed, said] =
        [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    println!("{printed}{said}");
    if output.status.code() == Some(NOT_PERMITTED) {
        return skip_because("no permission to make network namespaces");
    }
    assert!(output.status.success(), "{}\n{printed}{said}", output.status);
}
