//! Endpoints, and how connections begin and end.

use std::net::TcpListener;

use echogate_tests::{browser::Page, program::free_port, server::Server, upstream::Upstream};

use super::{
    super::{LATEST, connected, open, page, say, subscribers},
    Look, fill, open_details,
};
use crate::ECHOGATE;

fn go_to(page: &mut Page, endpoint: &str, state: &str) {
    fill(page, "#endpoint", endpoint);
    page.press("Enter");
    page.wait_for_text("#state-headline", state);
}

pub(in super::super) fn endpoints(look: &mut Look<'_>) {
    let Some((_server, mut page)) = page() else { return };
    page.expect_error("WebSocket connection to");
    page.wait_for("document.querySelectorAll('.card').length === 4");
    look(&mut page, "first view", "");
    go_to(&mut page, "tcp://localhost:7007", "Not connected");
    page.wait_for_text("#endpoint-problem", "Raw sockets need a route");
    look(&mut page, "endpoint that is none", "");
    let stalled = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = stalled.local_addr().unwrap().port();
    go_to(&mut page, &format!("ws://127.0.0.1:{port}/"), "Connecting");
    look(&mut page, "connecting", "");
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Cancelled");
    drop(stalled);
    go_to(&mut page, "/nope", "No such route");
    page.wait_for_text("#routes", "/ws/echo");
    look(&mut page, "no such route", "");
    let nobody = format!("ws://127.0.0.1:{}/{}", free_port(), "long".repeat(60));
    go_to(&mut page, &nobody, "Could not connect");
    look(&mut page, "long endpoint that does not answer", "");
    for connections in 2..=12 {
        page.click("#add");
        page.wait_for(&format!(
            "document.querySelectorAll('.connections li').length === {connections}"
        ));
    }
    page.click("#add");
    page.wait_for_text("#transcript-note", "Limit: 12 connections.");
    look(&mut page, "twelve connections", "");
}

pub(in super::super) fn endings(look: &mut Look<'_>) {
    let upstream = Upstream::new();
    let route = upstream.route("/half", "bytes");
    let mut server = Server::start(ECHOGATE, &["--route", &route]);
    let Some(mut page) = open(&server, "/?path=half&protocol=half-close") else { return };
    page.expect_connection_errors();
    page.click("#toggle");
    let stream = upstream.accept();
    page.wait_for_text("#state-details", "subprotocol half-close");
    say(&mut page, "all I have");
    page.click("#closing summary");
    fill(&mut page, "#close-code", "1001");
    page.wait_for_text("#close-problem", "A page may close");
    look(&mut page, "half-close is possible, a wrong code", &open_details("#closing"));
    page.click("#half-close");
    page.wait_for_text("#state-headline", "you have finished sending");
    look(&mut page, "half closed", "");
    drop(stream);
    page.wait_for_text("#state-headline", "Closed by the server");
    fill(&mut page, "#protocol", "");
    page.click("#reconnect");
    page.click("#toggle");
    let stream = upstream.accept();
    page.wait_for_text("#state-headline", "Connected");
    page.click("#add");
    page.click(".connections li:first-child button");
    page.click("#remove");
    page.wait_for_text("#remove", "Close and remove");
    look(&mut page, "removal of an open connection", "");
    server.signal("KILL");
    server.wait();
    drop((upstream, stream));
    page.wait_for_text("#state-headline", "Reconnecting");
    page.wait_for_text("#clients-note", "Live updates lost");
    look(&mut page, "reconnecting", "");
}

pub(in super::super) fn routes(look: &mut Look<'_>) {
    let path = "a-path-that-is-longer-than-any-window-of-a-phone-is-wide/".repeat(3);
    let target = format!("ws://gateway.of-a-long-name.example.net:8080/{path}");
    let named = format!("/named={target}");
    let long = format!("/{path}=tcp://192.168.100.200:65535?framing=length");
    let more: Vec<_> = (1..=7).map(|n| format!("--route=/{n}=service:upper")).collect();
    let mut arguments =
        vec!["--route", &named, "--listen=time=udp://127.0.0.1:0", "--route", &long];
    let server = Server::start(ECHOGATE, &arguments);
    let others = subscribers(&server);
    let Some(mut page) = open(&server, "/") else { return };
    page.expect_connection_errors();
    page.wait_for_text("#clients-note", "trying again");
    page.wait_for("document.querySelectorAll('.card').length >= 2");
    look(&mut page, "cards of routes with long names", "");
    drop((server, others));
    arguments.extend(more.iter().map(|it| &**it));
    let server = Server::start(ECHOGATE, &arguments);
    let Some(mut page) = open(&server, "/") else { return };
    page.wait_for_text("#empty", "and 2 more");
    look(&mut page, "more endpoints than cards", "");
    drop(server);
    let Some((mut server, mut page)) = connected() else { return };
    page.expect_connection_errors();
    say(&mut page, "hello");
    page.wait_for_text(LATEST, "HELLO");
    look(&mut page, "an exchange", "");
    server.signal("TERM");
    page.wait_for_text("#state-advice", "connect again in a moment");
    server.wait();
    page.click(".note:last-child");
    page.wait_for("!document.querySelector('#detail').hidden");
    look(&mut page, "drained server, opened event", "");
}
