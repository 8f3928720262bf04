//! The Python package `websockets`.

use std::process::Command;

use echogate_tests::program::{python, run};

use super::endings;

/// Runs a function of the script against a server with upstreams that end and break.
fn check(function: &str) {
    let Some(python) = python() else { return };
    let server = endings();
    let mut command = Command::new(python);
    command.args(["-c", include_str!("websockets.py"), function, &server.ws("")]);
    run(command);
}

#[test]
fn python_websockets_get_the_subprotocol_that_is_due() {
    check("subprotocols");
}

#[test]
fn python_websockets_get_pongs_and_messages() {
    check("pings");
}

#[test]
fn python_websockets_see_why_a_connection_ends() {
    check("endings");
}
