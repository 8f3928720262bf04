//! Round trips, and the server's live view of connections.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use super::{LATEST, connected, count, fill, page, say};

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
    let scopes = count(&mut page, "#charts-table th[scope=row]");
    assert_eq!(scopes, 10);
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
    page.wait_for_text(".client .in", "↓ 5 B");
    page.wait_for_text(".client .out", "↑ 5 B");
    let mut reply = [0; 5];
    client.read_exact(&mut reply).unwrap();
    drop(client);
    page.wait_for_text(".client[data-ended=true] .target", "ended:");
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
fn the_latency_path_lights_up_and_shows_the_time_of_each_leg() {
    let Some((_server, mut page)) = connected() else { return };
    page.wait_for_text(".client .mine", "you");
    say(&mut page, "go");
    page.wait_for_text(LATEST, "GO");
    page.wait_for("document.querySelector('.latency-path').dataset.lit");
    say(&mut page, "again");
    page.wait_for_text(LATEST, "AGAIN");
    for part in ["page", "gateway", "upstream", "service"] {
        page.wait_for_text(&format!("#latency-{part}"), "s");
    }
}
