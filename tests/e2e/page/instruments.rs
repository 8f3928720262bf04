//! What is measured, and the server's side of it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use super::{LATEST, connected, count, fill, page, say};

#[test]
fn round_trips_are_drawn_and_told_as_a_table() {
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
    page.click("#measures summary");
    page.wait_for_text("#measures-table", "p99");
    page.wait_for_text("#measures-table tr:nth-child(3)", "200");
    let scopes = count(&mut page, "#measures-table th[scope=row]");
    assert_eq!(scopes, 10);
}

#[test]
fn a_client_that_connects_with_nc_appears_and_its_traffic_moves() {
    let Some((server, mut page)) = page() else { return };
    page.wait_for_text("#who-note", "Nobody");
    let mut client = TcpStream::connect(server.address("upper")).unwrap();
    let peer = client.local_addr().unwrap().to_string();
    page.wait_for_text(".guest .peer", &peer);
    page.wait_for_text("#who-total", "1 connected");
    assert_eq!(page.text(".guest .kind"), "TCP");
    client.write_all(b"hello").unwrap();
    page.wait_for_text(".guest .in", "↓ 5 B");
    page.wait_for_text(".guest .out", "↑ 5 B");
    let mut reply = [0; 5];
    client.read_exact(&mut reply).unwrap();
    drop(client);
    page.wait_for_text(".guest[data-ended=true] .target", "ended:");
    page.wait_for_text("#who-note", "Nobody");
    page.wait_for("!document.querySelector('.guest')");
}

#[test]
fn ones_own_connection_and_the_one_behind_it_are_marked() {
    let Some((server, mut page)) = connected() else { return };
    let _other = TcpStream::connect(server.address("upper")).unwrap();
    page.wait_for_text("#who-total", "3 connected");
    page.wait_for_text(".guest[data-kind=websocket] .mine", "you");
    page.wait_for_text(".guest[data-kind=tcp][data-mine=true] .mine", "behind you");
    assert_eq!(count(&mut page, ".guest[data-mine=true]"), 2);
}

#[test]
fn the_way_of_a_byte_lights_up_and_tells_what_each_part_took() {
    let Some((_server, mut page)) = connected() else { return };
    page.wait_for_text(".guest .mine", "you");
    say(&mut page, "go");
    page.wait_for_text(LATEST, "GO");
    page.wait_for("document.querySelector('.way').dataset.lit");
    say(&mut page, "again");
    page.wait_for_text(LATEST, "AGAIN");
    for part in ["page", "gateway", "upstream", "service"] {
        page.wait_for_text(&format!("#took-{part}"), "s");
    }
}
