//! Several connections side by side, how they open, end and come back.

use std::io::Write as _;

use echogate_tests::{browser::Scheme, server::Server, tcp, upstream::Upstream};

use super::{LATEST, choose, connected, count, fill, open, page, page_at, say};
use crate::ECHOGATE;

#[test]
fn the_page_loads_without_an_error_and_says_that_it_is_not_connected() {
    let Some((_server, mut page)) = page() else { return };
    assert_eq!(page.text("#state-headline"), "Not connected");
    let endpoint = page.eval("document.querySelector('#endpoint').value");
    assert_eq!(endpoint, "/ws");
    page.assert_no_error();
}

#[test]
fn the_endpoints_offered_are_the_servers_routes() {
    let upstream = Upstream::new();
    let server = Server::start(ECHOGATE, &["--route", &upstream.route("/vnc", "bytes")]);
    let Some(mut page) = open(&server, "/") else { return };
    page.wait_for("document.querySelector('#endpoints option[value=\"/vnc\"]')");
    fill(&mut page, "#endpoint", "/vnc");
    page.wait_for_text("#state-details", &format!("→ tcp://{}", upstream.address()));
    page.wait_for_text("#state-details", "bytes as binary messages");
}

#[test]
fn each_connection_has_a_transcript_of_its_own() {
    let Some((server, mut page)) = connected() else { return };
    say(&mut page, "one");
    page.wait_for_text(LATEST, "ONE");
    page.click("#add");
    page.wait_for_text("#state-headline", "Not connected");
    fill(&mut page, "#endpoint", "/ws/echo");
    page.press("Enter");
    page.wait_for_text("#state-headline", "Connected");
    page.wait_for_text("#state-details", "→ echo · one reply per message");
    say(&mut page, "two");
    page.wait_for_text(LATEST, "two");
    assert_eq!(count(&mut page, ".rows .message"), 2);
    assert_eq!(
        count(&mut page, ".connections [data-state=open]"),
        2,
        "both states are seen at once"
    );
    page.click(".connections li:first-child button");
    page.wait_for_text(LATEST, "ONE");
    let animations = page.eval("document.getAnimations().length");
    assert_eq!(animations, 0, "what has been shown before does not light up again");
    assert_eq!(page.text(".connections [aria-current] .name"), "/ws");
    page.click("#remove");
    page.wait_for_text("#remove", "Close and remove");
    page.wait_for_text("#transcript-note", "This connection is open.");
    page.click(".connections li:first-child button");
    page.wait_for_text("#remove", "Remove");
    assert_eq!(count(&mut page, ".connections li"), 2, "it was not confirmed");
    page.click("#remove");
    page.wait_for_text("#remove", "Close and remove");
    page.click("#remove");
    page.wait_for_text(LATEST, "two");
    assert_eq!(count(&mut page, ".connections li"), 1);
    server.wait_for_connections(|all| all.iter().all(|one| one["target"] != "/ws"));
}

#[test]
fn the_limit_on_connections_is_named_and_leaves_the_url_bar_in_view() {
    let Some((_server, mut page)) = page() else { return };
    for connections in 2..=12 {
        page.click("#add");
        page.wait_for(&format!(
            "document.querySelectorAll('.connections li').length === {connections}"
        ));
    }
    page.click("#add");
    page.wait_for_text("#transcript-note", "Limit: 12 connections.");
    assert_eq!(count(&mut page, ".connections li"), 12);
    for (width, height) in [(1440, 900), (1280, 720), (390, 844)] {
        page.set_viewport(width, height, Scheme::Light);
        page.wait_for(&format!("innerWidth === {width}"));
        page.wait_for("document.querySelector('#toggle').getBoundingClientRect().bottom < 200");
    }
}

#[test]
fn disconnecting_says_that_it_was_wanted() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Disconnected");
    page.wait_for_text("#state-details", "You disconnected: closed normally (code 1000).");
    page.wait_for_text(".note:last-child", "You disconnected");
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Connected");
}

#[test]
fn a_code_and_a_reason_go_with_the_close() {
    let Some((server, mut page)) = connected() else { return };
    page.click("#closing summary");
    fill(&mut page, "#close-code", "1001");
    page.wait_for_text("#close-problem", "A page may close with 1000, or with 3000 to 4999.");
    page.click("#closing summary");
    page.click("#toggle");
    page.wait_for("document.querySelector('#closing').open");
    page.wait_for("document.activeElement.id === 'close-code'");
    assert_eq!(page.text("#state-headline"), "Connected", "such a code is not sent");
    fill(&mut page, "#close-code", "4001");
    fill(&mut page, "#close-reason", "enough");
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Disconnected");
    server.wait_for_log(&["/ws", "4001"]);
}

#[test]
fn a_code_of_an_application_is_explained_by_its_number_and_reason_alone() {
    let Some((server, mut page)) = connected() else { return };
    let all = server.wait_for_connections(|all| all.iter().any(|one| one["target"] == "/ws"));
    let id = &all.iter().find(|one| one["target"] == "/ws").unwrap()["id"];
    page.eval(&format!(
        "fetch('api/connections/{id}/close?code=4321&reason=try%20the%20other%20one', {{ method: 'POST' }})"
    ));
    page.wait_for_text("#state-headline", "Closed by the server");
    let sentence =
        "The server closed the connection with code 4321. Reason: \"try the other one\".";
    page.wait_for_text("#state-details", sentence);
    assert_eq!(page.text("#state-advice"), "");
    choose(&mut page, "#language", "zh-Hans");
    page.wait_for_text("#state-details", "服务器以代码 4321 关闭了连接。");
}

#[test]
fn half_a_connection_can_be_ended_where_both_speak_half_close() {
    let upstream = Upstream::new();
    let server = Server::start(ECHOGATE, &["--route", &upstream.route("/half", "bytes")]);
    let Some(mut page) = open(&server, "/?path=half&protocol=half-close") else { return };
    page.click("#toggle");
    let mut stream = upstream.accept();
    page.wait_for_text("#state-details", "subprotocol half-close");
    say(&mut page, "all I have");
    page.click("#half-close");
    page.wait_for_text("#state-headline", "Connected · you have finished sending");
    assert_eq!(tcp::read_to_end(&mut stream), b"all I have");
    stream.write_all(b"and the answer").unwrap();
    page.wait_for_text(LATEST, "and the answer");
    say(&mut page, "more");
    page.wait_for_text("#composer-problem", "You have finished sending");
    drop(stream);
    page.wait_for_text("#state-details", "The server closed the connection: closed normally");
}

#[test]
fn a_server_that_sends_a_close_frame_is_shown_as_going_away_with_advice() {
    let Some((mut server, mut page)) = connected() else { return };
    page.expect_error("Failed to load resource");
    page.expect_error("/api/events");
    server.signal("TERM");
    page.wait_for_text("#state-headline", "Closed by the server");
    page.wait_for_text("#state-details", "the other side is going away (code 1001)");
    page.wait_for_text("#state-advice", "connect again in a moment");
    assert!(server.wait().success());
}

#[test]
fn a_server_that_dies_is_shown_as_lost_without_a_close_frame() {
    let Some((mut server, mut page)) = connected() else { return };
    page.expect_error("WebSocket connection to");
    page.expect_error("Failed to load resource");
    server.signal("KILL");
    page.wait_for_text("#state-headline", "Connection lost");
    page.wait_for_text("#state-details", "Connection lost: no Close frame (code 1006)");
    page.wait_for_text("#clients-note", "Live updates lost");
    server.wait();
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Could not connect");
    page.wait_for_text("#state-advice", "Check that the server is running");
}

#[test]
fn a_lost_connection_comes_back_by_itself_where_that_is_wanted() {
    let upstream = Upstream::new();
    let server = Server::start(ECHOGATE, &["--route", &upstream.route("/lost", "line")]);
    let Some(mut page) = open(&server, "/?path=lost&autoconnect&reconnect") else { return };
    let stream = upstream.accept();
    page.wait_for_text("#state-headline", "Connected");
    assert_eq!(page.eval("document.querySelector('#reconnect').checked"), true);
    tcp::reset(stream);
    // The first delay may be shorter than the interval at which the test looks at the page.
    let mut stream = upstream.accept();
    stream.write_all(b"again\n").unwrap();
    page.wait_for_text(LATEST, "again");
    // Without the upstream no attempt succeeds.
    drop(upstream);
    tcp::reset(stream);
    page.wait_for_text("#state-headline", "Reconnecting");
    page.wait_for_text("#state-details", "Attempt ");
    // The button is there between two attempts only: it is clicked at the moment at which it is seen.
    page.wait_for(
        "(() => {
            const cancel = document.querySelector('#half-close');
            if (cancel.checkVisibility()) cancel.click();
            return document.querySelector('#state-headline').innerText === 'Closed by the server';
        })()",
    );
    page.wait_for_text("#state-details", "code 1011");
}

#[test]
fn an_endpoint_that_is_none_is_not_tried() {
    let Some((_server, mut page)) = page() else { return };
    fill(&mut page, "#endpoint", "tcp://localhost:7007");
    page.press("Enter");
    page.wait_for_text("#endpoint-problem", "Raw sockets need a route (--route).");
    assert_eq!(page.text("#state-headline"), "Not connected");
}

#[test]
fn a_message_for_an_endpoint_that_is_none_stays_while_the_endpoint_gets_the_focus() {
    let Some((_server, mut page)) = page() else { return };
    fill(&mut page, "#endpoint", "tcp://localhost:7007");
    // The field loses the focus within the listener of the key, and reports its change then.
    say(&mut page, "hello");
    page.wait_for_text("#endpoint-problem", "Raw sockets need a route (--route).");
    page.wait_for("document.activeElement.id === 'endpoint'");
    assert_eq!(page.eval("document.querySelector('#message').value"), "hello");
    page.assert_no_error();
}

#[test]
fn an_endpoint_that_is_none_does_not_stand_beside_an_earlier_failure() {
    let Some((_server, mut page)) = page_at("/?path=nope&autoconnect") else { return };
    page.wait_for("document.querySelector('#state').dataset.normal === 'false'");
    page.wait_for_text(".rows .note", "Opening handshake with ws://");
    fill(&mut page, "#endpoint", "tcp://localhost:7007");
    page.press("Enter");
    page.wait_for_text("#endpoint-problem", "Raw sockets need a route (--route).");
    page.wait_for_text("#state-headline", "Not connected");
    assert_eq!(count(&mut page, "[data-state][data-normal=false]"), 0);
    let problem = page.text("#endpoint-problem");
    assert_eq!(page.text(".state-line"), problem, "and nothing else");
}

#[test]
fn the_focus_returns_to_the_button_after_a_refusal_and_stays_after_other_ends() {
    let upstream = Upstream::new();
    let server = Server::start(ECHOGATE, &["--route", &upstream.route("/upstream", "bytes")]);
    let Some(mut page) = open(&server, "/?path=upstream") else { return };
    page.click("#toggle");
    let stream = upstream.accept();
    page.wait_for("document.activeElement.id === 'message'");
    drop(stream);
    page.wait_for_text("#state-headline", "Closed by the server");
    page.wait_for("document.querySelector('#toggle').innerText === 'Connect again'");
    assert_eq!(page.eval("document.activeElement.id"), "message");
    fill(&mut page, "#endpoint", "/nope");
    page.click("#toggle");
    page.wait_for_text("#state-headline", "No such route");
    page.wait_for("document.activeElement.id === 'toggle'");
}

#[test]
fn a_link_can_choose_the_path_and_connect_at_once() {
    let Some((_server, mut page)) = page_at("/?path=ws/echo&autoconnect=1") else { return };
    page.wait_for_text("#state-headline", "Connected");
    page.wait_for_text("#state-details", "→ echo");
    say(&mut page, "same");
    page.wait_for_text(LATEST, "same");
}

#[test]
fn a_new_connection_is_scrolled_into_view() {
    let Some((_server, mut page)) = page() else { return };
    for number in 2..=12 {
        page.click("#add");
        page.wait_for(&format!("document.querySelectorAll('.connections li').length === {number}"));
    }
    page.wait_for(
        "(() => {
            const list = document.querySelector('.connections').getBoundingClientRect();
            const box = document.querySelector('.connections [aria-current]').getBoundingClientRect();
            return box.top >= list.top && box.bottom <= list.bottom + 1;
        })()",
    );
}
