//! Clients of the server, a connection step by step, and the operators' view.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
};

use echogate_tests::server::Server;

use super::{
    super::{LATEST, chat, connected, fill, lesson, open, say},
    Look,
};
use crate::ECHOGATE;

/// Gives the first row the texts of an ended client with wide figures: ended clients are shown for a
/// few seconds, and such figures take hours.
const WIDE: &str = "(() => {
    const row = document.querySelector('.client');
    row.dataset.ended = 'true';
    const texts = { '.peer': '[2001:db8:1234:5678:9abc:def0:1234:5678]:65535', '.mine': 'your upstream',
        '.replica': 'echogate-0.echogate.production.svc',
        '.age': '59 min', '.target': 'ended: the client reset the connection in the middle of a message',
        '.in': '↑ 1,023.9 GiB · 1,234,567,890', '.out': '↓ 1,023.9 GiB · 9,876,543,210' };
    for (const [of, text] of Object.entries(texts)) {
        row.querySelector(of).hidden = false;
        row.querySelector(of).textContent = text;
    }
})()";

pub(in super::super) fn clients(look: &mut Look<'_>) {
    let Some((server, mut page)) = connected() else { return };
    say(&mut page, &"long_".repeat(60));
    page.wait_for_text(LATEST, "LONG_");
    page.wait_for("document.querySelector('#show-ladder').ariaDisabled === 'false'");
    page.click("#show-ladder");
    page.wait_for_text("#ladder-list", "LONG_");
    look(&mut page, "ladder", "document.querySelector('.step:nth-child(5) details').open = true");
    let mut others: Vec<_> =
        (0..70).map(|_| TcpStream::connect(server.address("upper")).unwrap()).collect();
    page.wait_for_text("#clients-total", "72 connected");
    look(&mut page, "many clients, one with wide figures", WIDE);
    page.click("#show-transcript");
    let peer = page.text(".client:nth-child(3) .peer");
    let client = others.iter_mut().find(|it| it.local_addr().unwrap().to_string() == peer);
    let client = client.unwrap();
    page.click(".client:nth-child(3) button");
    page.wait_for_text(".rows .note .payload", "Connected to upper");
    for text in ["GET / HTTP/1.1\r\n", "\0\u{1}\u{2}", "a longer line, 世界\n"] {
        client.write_all(text.as_bytes()).unwrap();
        client.read_exact(&mut vec![0; text.len()]).unwrap();
    }
    page.wait_for_text(LATEST, "A LONGER LINE");
    page.click(".rows .received:last-child");
    page.wait_for("!document.querySelector('#detail').hidden");
    look(&mut page, "followed client", "");
    drop(others);
    page.wait_for_text("#state-headline", "Connection ended");
    look(&mut page, "followed client that ended", "");
    refused(look);
}

fn refused(look: &mut Look<'_>) {
    let server = Server::start(ECHOGATE, &["--no-tap"]);
    let Some(mut page) = open(&server, "/") else { return };
    page.expect_connection_errors();
    let _client = TcpStream::connect(server.address("upper")).unwrap();
    page.click(".client button");
    page.wait_for_text("#state-headline", "Cannot follow");
    look(&mut page, "client that cannot be followed", "");
}

pub(in super::super) fn lesson(look: &mut Look<'_>) {
    let Some((_server, mut page)) = lesson::playing() else { return };
    for step in 1..=6 {
        lesson::is_done(&mut page, step);
        look(&mut page, &format!("lesson, step {step}"), "");
        if step < 6 {
            page.click("#lesson-next");
        }
    }
}

fn write(client: &mut TcpStream, line: &str) {
    client.write_all(line.as_bytes()).unwrap();
    client.write_all(b"\n").unwrap();
}

pub(in super::super) fn operator(look: &mut Look<'_>) {
    let server = chat::server();
    let Some(mut page) = open(&server, "/#operator") else { return };
    chat::sign_in(&mut page, "wrong-horse-battery-staple");
    page.wait_for_text("#operator-status.problem", "Wrong token.");
    look(&mut page, "wrong token", "");
    chat::sign_in(&mut page, chat::TOKEN);
    page.wait_for_text("#operator-status.details", "You are operator 1.");
    page.wait_for_text("#conversations", "No conversations yet.");
    look(&mut page, "no conversations", "");
    let mut clients: Vec<_> =
        (0..14).map(|_| TcpStream::connect(server.address("chat")).unwrap()).collect();
    for client in &mut clients {
        write(client, "hello?");
    }
    page.wait_for("document.querySelectorAll('.conversations .entry').length === 14");
    write(&mut clients[13], "bye");
    page.wait_for_text("#conversations", "The client ended the chat.");
    page.click(".conversations li:first-child button");
    page.wait_for_text("#chat-log .theirs", "hello?");
    let long = "Which port is the time on, and what does it answer to a line that is no number? ";
    let peer = page.text("#conversation-title");
    let client = clients.iter_mut().find(|it| it.local_addr().unwrap().to_string() == peer);
    write(client.unwrap(), &long.repeat(4));
    page.wait_for_text("#chat-log", "Which port");
    fill(&mut page, "#answer", &"an_answer_without_any_space_".repeat(9));
    page.press("Enter");
    page.wait_for_text("#chat-log .ours", "an_answer");
    look(&mut page, "conversations", "");
    page.click("#end-chat");
    page.wait_for_text(".conversations .entry[aria-current]", "ended the chat");
    look(&mut page, "ended conversation", "");
}
