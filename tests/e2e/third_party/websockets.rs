//! The Python package `websockets`.

use std::process::Command;

use echogate_tests::{
    program::{Program, free_port, python, run},
    server::Server,
};

use super::endings;
use crate::ECHOGATE;

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

#[test]
fn python_websockets_are_on_both_sides_of_a_route() {
    let Some(python) = python() else { return };
    let port = free_port();
    let script = |function: &str, at: &str| {
        let mut command = Command::new(&python);
        command.args(["-c", include_str!("websockets.py"), function, at]);
        command
    };
    let upstream = Program::serve(script("serve", &port.to_string()), port);
    let route = format!("/relayed=ws://127.0.0.1:{port}/");
    let server = Server::start(ECHOGATE, &["--route", &route]);
    run(script("relayed", &server.ws("")));
    let output = upstream.output();
    assert!(output.contains("ended 4321 enough"), "{output}");
    assert!(output.contains("ended 4000 told to"), "{output}");
}
