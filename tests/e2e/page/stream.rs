//! Clients that the page follows: what the server sees on their connections.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    process::{Command, Stdio},
};

use echogate_tests::{browser::Page, server::Server};

use super::{LATEST, choose, connected, count, open, page, say};
use crate::ECHOGATE;

/// A native client of `upper`, and the page that follows it.
pub(super) fn followed() -> Option<(Server, Page, TcpStream)> {
    let (server, mut page) = page()?;
    let client = TcpStream::connect(server.address("upper")).unwrap();
    let peer = client.local_addr().unwrap();
    page.wait_for_text(".client .peer", &peer.to_string());
    page.click(".client button");
    page.wait_for_text("#state-headline", "Following");
    page.wait_for_text(".rows .note .payload", "Connected to upper");
    Some((server, page, client))
}

fn exchange(client: &mut TcpStream, text: &[u8]) {
    client.write_all(text).unwrap();
    client.read_exact(&mut vec![0; text.len()]).unwrap();
}

#[test]
fn what_a_native_client_sends_is_seen_as_it_passes() {
    let Some((_server, mut page, mut client)) = followed() else { return };
    exchange(&mut client, b"typed in nc\r\n");
    page.wait_for_text(LATEST, "TYPED IN NC\\r\\n");
    page.wait_for_text(".rows .sent .payload", "typed in nc\\r\\n");
    exchange(&mut client, b"\xff\0");
    page.wait_for_text(LATEST, "ff 00");
    assert!(page.eval("document.querySelector('.composer').hidden").as_bool().unwrap());
    assert_eq!(page.text("#toggle"), "New connection", "the rows are not those of a socket");
    drop(client);
    page.wait_for_text(".rows .note:last-child", "Ended: the client closed the connection");
    page.wait_for_text("#state-headline", "Connection ended");
    page.wait_for_text("#figure-received", "15 B");
}

#[test]
fn the_row_of_the_own_connection_leads_to_its_frames() {
    let Some((_server, mut page)) = connected() else { return };
    page.wait_for_text(".client .mine", "you");
    page.click(".client[data-kind=websocket] button");
    page.wait_for_text("#state-headline", "Following");
    assert_eq!(count(&mut page, ".connections li"), 2);
    page.click(".connections li:first-child button");
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Disconnected");
    page.click(".connections li:last-child button");
    page.wait_for_text(".rows", "Close frame by the client: 1000");
    page.wait_for_text("#state-headline", "Connection ended");
}

#[test]
fn a_stream_is_saved_as_a_recording_that_replays() {
    let Some((server, mut page, mut client)) = followed() else { return };
    let folder = tempfile::tempdir().unwrap();
    page.download_to(folder.path());
    exchange(&mut client, b"once\n");
    exchange(&mut client, b"twice\n");
    page.wait_for_text(LATEST, "TWICE\\n");
    drop(client);
    page.wait_for_text("#state-headline", "Connection ended");
    page.click("#transcript-menu");
    page.click("#export-jsonl");
    let file = page.downloaded(folder.path());
    let upper = format!("tcp://{}", server.address("upper"));
    let output = Command::new(ECHOGATE)
        .args(["replay", "--compare", "--speed", "max"])
        .arg(&file)
        .arg(&upper)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{printed}{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_server_says_why_a_client_is_not_followed() {
    let server = Server::start(ECHOGATE, &["--no-tap"]);
    let Some(mut page) = open(&server, "/") else { return };
    let _client = TcpStream::connect(server.address("upper")).unwrap();
    page.wait_for("document.querySelector('.client')");
    page.click(".client button");
    page.wait_for_text("#state-headline", "Cannot follow");
    page.wait_for_text("#state-details", "--no-tap");
    // Nothing can be sent there.
    page.wait_for("!document.querySelector('#charts > .details').checkVisibility()");
    page.expect_connection_errors();
}

#[test]
fn the_row_of_an_ended_client_leads_to_its_tab_or_nowhere() {
    let Some((server, mut page, client)) = followed() else { return };
    let other = TcpStream::connect(server.address("upper")).unwrap();
    page.wait_for("document.querySelectorAll('.client').length === 2");
    page.click(".connections li:first-child button");
    page.wait_for_text("#state-headline", "Not connected");
    // Rows of ended connections are shown for a few seconds: they are clicked as soon as they are.
    let click_as_it_ends = |page: &mut Page, peer: &str| {
        page.wait_for(&format!(
            "(() => {{
                const is_it = (it) => it.textContent.includes('{peer}');
                const row = [...document.querySelectorAll('.client[data-ended=true]')].find(is_it);
                if (!row) return false;
                row.firstChild.click();
                window.title = row.firstChild.title;
                return true;
            }})()"
        ));
    };
    let peer = other.local_addr().unwrap().to_string();
    drop(other);
    click_as_it_ends(&mut page, &peer);
    assert_eq!(
        page.eval("window.title"),
        "This client has disconnected, and this page did not follow it."
    );
    let peer = client.local_addr().unwrap().to_string();
    drop(client);
    click_as_it_ends(&mut page, &peer);
    page.wait_for_text("#state-headline", "Connection ended");
    assert_eq!(count(&mut page, ".connections li"), 2);
}

#[test]
fn a_client_that_ended_before_the_page_followed_it_is_said_to_be_gone() {
    let Some((server, mut page)) = page() else { return };
    page.expect_connection_errors();
    let _client = TcpStream::connect(server.address("upper")).unwrap();
    page.wait_for("document.querySelector('.client')");
    // The requests are synchronous: no event that reports the end is handled between them and the
    // click.
    page.eval(
        "(() => {
            const ask = (method, path) => {
                const request = new XMLHttpRequest();
                request.open(method, path, false);
                request.send();
                return request.responseText;
            };
            const client = document.querySelector('.client button');
            ask('POST', `api/connections/${client.dataset.argument}/close?reset`);
            while (JSON.parse(ask('GET', 'api/connections')).length) {}
            client.click();
        })()",
    );
    page.wait_for_text("#state-headline", "Connection ended");
    let sentence = "This client has disconnected, and this page did not follow it.";
    page.wait_for_text("#state-details", sentence);
    assert_eq!(page.eval("document.querySelector('#state').dataset.normal"), "true");
}

#[test]
fn a_followed_client_has_its_whole_address_and_round_trips_once_they_are_known() {
    let Some((_server, mut page, mut client)) = followed() else { return };
    let is_whole = "(() => { const it = document.querySelector('.connections [aria-current] .name');
        return it.scrollWidth <= it.clientWidth
            && it.innerText === `TCP ${document.querySelector('.client .peer').innerText} → upper`; })()";
    page.wait_for(is_whole);
    exchange(&mut client, b"hello");
    page.wait_for_text(LATEST, "HELLO");
    let trips = "#charts .of-trips";
    page.wait_for(&format!(
        "document.querySelector('#figure-sent').checkVisibility() &&
            ![...document.querySelectorAll('{trips}')].some((it) => it.checkVisibility())"
    ));
    choose(&mut page, "#pairing", "order");
    page.wait_for_text("#figure-round-trip", "s");
    page.wait_for(&format!("document.querySelector('{trips}').checkVisibility()"));
    page.click(".connections li:first-child button");
    page.wait_for_text("#state-headline", "Not connected");
    page.wait_for(&format!("document.querySelector('{trips}').checkVisibility()"));
}

#[test]
fn the_ladder_shows_the_handshake_the_frames_and_the_end_of_the_own_connection() {
    let Some((_server, mut page)) = connected() else { return };
    say(&mut page, "hello");
    page.wait_for_text(LATEST, "HELLO");
    page.wait_for("document.querySelector('#show-ladder').ariaDisabled === 'false'");
    page.click("#show-ladder");
    page.wait_for_text("#ladder-list", "GET /ws?label=");
    page.wait_for_text("#ladder-list", "HTTP/1.1 101 Switching Protocols");
    page.wait_for_text("#ladder-list", "text · FIN · mask · opcode 1 · 5 bytes · hello");
    page.wait_for_text("#ladder-list", "text · FIN · opcode 1 · 5 bytes · HELLO");
    page.wait_for(
        "[...document.querySelectorAll('[data-arrow=upstream-right]')]
        .some((it) => it.innerText.includes('bytes · 5 bytes · hello'))",
    );
    page.click(".step:nth-child(2) summary");
    page.wait_for_text(".step:nth-child(2) .about", "RFC 6455, section 4.1");
    page.wait_for_text(".step:nth-child(2) .about", "sec-websocket-version: 13");
    page.click(".connections li:first-child button");
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Disconnected");
    page.click(".connections li:last-child button");
    page.wait_for_text("#ladder-list", "Close 1000");
    page.click("#show-transcript");
    page.wait_for_text(".rows", "HELLO");
}
