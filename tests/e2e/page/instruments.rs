//! Round trips, and the server's live view of connections.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use echogate_tests::{
    browser::{Page, Scheme},
    server::Server,
};

use super::{choose, connected, count, fill, open, page, say, subscribers};
use crate::ECHOGATE;

#[test]
fn round_trips_are_drawn_and_listed_in_a_table() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("#message");
    page.type_text("measure me");
    fill(&mut page, "#burst", "200");
    page.click("#burst-send");
    page.wait_for_text("#figure-received", "200 messages");
    page.wait_for("document.querySelector('#trips .curve').getAttribute('d')?.startsWith('M')");
    page.wait_for("document.querySelector('#spread .curve').getAttribute('d')?.startsWith('M')");
    page.wait_for("document.querySelector('#flow .curve').getAttribute('d')?.startsWith('M')");
    for figure in ["p50", "p90", "p99"] {
        page.wait_for_text(&format!("#{figure}"), "s");
    }
    page.click("#charts summary");
    page.wait_for_text("#charts-table", "p99");
    page.wait_for_text("#charts-table tr:nth-child(3)", "200");
    // The first replies may arrive before the last messages are sent.
    let overlapping = "/200 replies in all, 1\\d\\d overlapping/";
    page.wait_for(&format!(
        "{overlapping}.test(document.querySelector('#spread figcaption').innerText)"
    ));
    let scopes = count(&mut page, "#charts-table th[scope=row]");
    assert_eq!(scopes, 10);
    assert!(!page.text("#charts").contains('≈'), "200 replies have exact percentiles");
    fill(&mut page, "#burst", "1000");
    for sent in ["1,200", "2,200", "3,200", "4,200"] {
        page.click("#burst-send");
        page.wait_for_text("#figure-received", &format!("{sent} messages"));
    }
    page.wait_for_text("#p99", "≈ ");
    page.wait_for_text("#charts-table", "≈ ");
}

#[test]
fn the_axes_are_as_precise_as_the_clock() {
    let Some((_server, mut page)) = connected() else { return };
    fill(&mut page, "#message", "measure me");
    fill(&mut page, "#interval", "10");
    page.click("#repeat");
    page.wait_for_text("#figure-round-trip", "µs");
    page.wait_for_text("#spread .left", "µs");
    page.click("#repeat");
}

#[test]
fn a_list_of_clients_that_the_server_does_not_serve_says_so() {
    let server = Server::start(ECHOGATE, &["--no-api"]);
    let Some(mut page) = Page::open(server.url("http")) else { return };
    page.expect_error("404");
    page.wait_for_text("#clients-note", "no list of clients (--no-api");
}

#[test]
fn a_list_of_clients_that_is_refused_for_now_comes_later() {
    let server = Server::start(ECHOGATE, &[]);
    let others = subscribers(&server);
    let Some(mut page) = open(&server, "/") else { return };
    page.expect_error("503");
    page.wait_for_text("#clients-note", "too many subscribers of /api/events");
    page.wait_for_text("#clients-note", "trying again");
    drop(others);
    page.wait_for_text("#clients-note", "No clients");
}

#[test]
fn a_client_that_connects_with_nc_appears_and_its_traffic_moves() {
    let Some((server, mut page)) = page() else { return };
    page.wait_for_text("#clients-note", "No clients");
    let mut client = TcpStream::connect(server.address("upper")).unwrap();
    let peer = client.local_addr().unwrap().to_string();
    page.wait_for_text(".client .peer", &peer);
    page.wait_for_text("#clients-total", "1 connected");
    assert_eq!(page.text(".client .kind"), "TCP");
    client.write_all(b"hello").unwrap();
    page.wait_for_text(".client .in", "5 B");
    page.wait_for_text(".client .out", "5 B");
    let mut reply = [0; 5];
    client.read_exact(&mut reply).unwrap();
    drop(client);
    page.wait_for_text(".client[data-ended=true] .target", "ended:");
    page.wait_for(
        "document.querySelector('.client[data-ended=true]') && document.querySelector('#clients-note').hidden",
    );
    page.wait_for_text("#clients-note", "No clients");
    page.wait_for("!document.querySelector('.client')");
}

#[test]
fn the_pages_own_connection_and_its_upstream_are_marked() {
    let Some((server, mut page)) = connected() else { return };
    let _other = TcpStream::connect(server.address("upper")).unwrap();
    page.wait_for_text("#clients-total", "3 connected");
    page.wait_for_text(".client[data-kind=websocket] .mine", "you");
    page.wait_for_text(".client[data-kind=tcp][data-mine=true] .mine", "your upstream");
    assert_eq!(count(&mut page, ".client[data-mine=true]"), 2);
}

#[test]
fn the_pages_own_connection_is_in_the_list_however_many_others_there_are() {
    let Some((server, mut page)) = connected() else { return };
    let address = server.address("upper");
    let others: Vec<_> = (0..70).map(|_| TcpStream::connect(address).unwrap()).collect();
    page.wait_for_text("#clients-total", "72 connected");
    assert_eq!(count(&mut page, ".client"), 60);
    assert_eq!(page.text(".client:first-child .mine"), "you");
    assert_eq!(page.text(".client:nth-child(2) .mine"), "your upstream");
    drop(others);
    page.wait_for("document.querySelectorAll('.client').length === 2");
}

/// Waits until these legs are shown, each with a time that is not 0.
fn wait_for_parts(page: &mut Page, parts: &str) {
    page.wait_for(&format!(
        "[...document.querySelectorAll('.waterfall li')].filter((it) => it.checkVisibility())
            .map((it) => it.dataset.part).join(' ') === '{parts}'"
    ));
    for time in page.text(".waterfall li .leg-time").lines().filter(|time| !time.is_empty()) {
        assert!(time.ends_with('s') && !time.starts_with("0 "), "{time}");
    }
}

#[test]
fn the_waterfall_has_the_legs_of_the_latest_message_and_its_total() {
    let Some((_server, mut page)) = connected() else { return };
    page.wait_for_text(".client .mine", "you");
    page.wait_for_text("#latency-hint", "Send a message");
    let height = "document.querySelector('#latency').offsetHeight";
    let before = page.eval(height);
    say(&mut page, "go");
    wait_for_parts(&mut page, "network gateway transport service page");
    let names = page.text(".waterfall .leg-name");
    assert_eq!(
        names.lines().collect::<Vec<_>>(),
        ["network", "echogate", "TCP", "upper", "page (apart)"]
    );
    page.wait_for_text("#latency-total", "drawn in");
    page.wait_for_text("#latency-subject", "latest message");
    assert_eq!(page.eval(height), before, "nothing below it moves");
    page.set_viewport(1280, 720, Scheme::Light);
    page.wait_for("innerWidth === 1280");
    page.eval("document.documentElement.style.setProperty('--sans', 'DejaVu Sans')");
    page.wait_for(
        "(() => { const it = document.querySelector('#latency-total');
            return it.offsetHeight < 2 * parseFloat(getComputedStyle(it).lineHeight); })()",
    );
}

#[test]
fn another_pairing_rule_keeps_measured_legs_and_invents_none() {
    let Some((_server, mut page)) = connected() else { return };
    page.wait_for_text(".client .mine", "you");
    say(&mut page, "one");
    wait_for_parts(&mut page, "network gateway transport service page");
    let measured = page.text("#latency");
    choose(&mut page, "#pairing", "none");
    page.wait_for_text("#figure-round-trip", "–");
    page.wait_for("document.querySelector('#latency-hint').checkVisibility()");
    choose(&mut page, "#pairing", "length");
    page.wait_for_text("#figure-round-trip", "s");
    wait_for_parts(&mut page, "network gateway transport service page");
    assert_eq!(page.text("#latency"), measured);

    choose(&mut page, "#pairing", "none");
    page.wait_for_text("#figure-round-trip", "–");
    say(&mut page, "two");
    page.wait_for_text("#figure-received", "2 messages");
    choose(&mut page, "#pairing", "length");
    wait_for_parts(&mut page, "round-trip");
    say(&mut page, "three");
    wait_for_parts(&mut page, "network gateway transport service page");
    page.click(".rows > .sent:nth-child(4)");
    wait_for_parts(&mut page, "round-trip");
}

#[test]
fn the_waterfall_of_a_chosen_message_stays() {
    let Some((_server, mut page)) = connected() else { return };
    page.wait_for_text(".client .mine", "you");
    say(&mut page, "one");
    wait_for_parts(&mut page, "network gateway transport service page");
    let first = page.text("#latency-total");
    page.click(".message.received");
    page.wait_for_text("#latency-subject", "chosen message");
    say(&mut page, "two");
    page.wait_for_text("#figure-received", "2 messages");
    assert_eq!(page.text("#latency-total"), first);
}

#[test]
fn a_service_in_memory_has_no_leg_of_a_transport() {
    let server = Server::start(ECHOGATE, &["--route", "/memory=service:upper"]);
    let Some(mut page) = open(&server, "/?path=memory&autoconnect") else { return };
    page.wait_for_text(".client .mine", "you");
    say(&mut page, "go");
    wait_for_parts(&mut page, "network gateway service page");
}

#[test]
fn figures_appear_with_the_reply_that_they_are_of() {
    let Some((_server, mut page)) = connected() else { return };
    page.eval(
        "window.contradictions = 0; new MutationObserver(() => {
            const shown = (id) => document.querySelector(id)?.checkVisibility();
            const measured = document.querySelector('#figure-round-trip').innerText !== '–';
            if (measured && (shown('#charts > .details') || document.querySelector('#p50').innerText === '–'))
                contradictions++;
        }).observe(document.querySelector('#charts'), { subtree: true, childList: true, characterData: true, attributes: true })",
    );
    for n in 1..=3 {
        say(&mut page, "go");
        page.wait_for_text("#figure-received", &format!("{n} message"));
    }
    assert_eq!(page.eval("contradictions"), 0);
    page.wait_for_text("#spread figcaption", "3 replies in all");
}
