//! Both ends of a chat, in two pages.

use std::{io::Write as _, net::TcpStream};

use echogate_tests::{browser::Page, server::Server};

use super::{LATEST, fill, open, say};
pub(super) use crate::chat::{TOKEN, server};

pub(super) fn sign_in(page: &mut Page, token: &str) {
    fill(page, "#token", token);
    page.press("Enter");
}

#[test]
fn a_client_and_an_operator_talk_until_one_says_bye() {
    let server = server();
    let Some(mut operator) = open(&server, "/#operator") else { return };
    let lines = "document.querySelector('#token-hint span').getClientRects().length";
    for family in ["DejaVu Sans", "DejaVu Sans Mono"] {
        operator.eval(&format!("document.documentElement.style.setProperty('--sans', '{family}')"));
        assert_eq!(operator.eval(lines), 1, "the name of the option is in one line");
    }
    assert_eq!(operator.text("#token-hint span"), "--operator-token-file");
    sign_in(&mut operator, "wrong-horse-battery-staple");
    operator.wait_for_text("#operator-status.problem", "Wrong token.");
    sign_in(&mut operator, TOKEN);
    operator.wait_for_text("#operator-status.details", "You are operator 1.");
    operator.wait_for("document.activeElement.id === 'answer'");
    operator.wait_for_text("#conversations", "No conversations yet.");

    let Some(mut client) = open(&server, "/?path=ws/chat&autoconnect") else { return };
    client.wait_for_text("#state-headline", "Connected");
    say(&mut client, "is anybody\u{202e} there?");
    operator.wait_for_text(".conversations .entry", "waiting");
    operator.wait_for_text(".conversations .preview", r"is anybody\u{202e} there?");
    operator.wait_for("document.title === 'Chat desk (1) · echogate'");
    operator.wait_for_text("nav", "Chat desk (1)");
    assert_eq!(operator.eval("document.querySelector('#token').checkVisibility()"), false);
    operator.click(".conversations .entry");
    operator.wait_for_text("#chat-log .theirs", r"is anybody\u{202e} there?");
    fill(&mut operator, "#answer", "I am, 世界");
    operator.press("Enter");
    client.wait_for_text(LATEST, "I am, 世界");
    operator.wait_for_text("#chat-log .ours", "I am, 世界");
    operator.wait_for_text(".conversations .entry", "answered");
    operator.wait_for_text(".conversations .preview", "I am, 世界");
    operator.wait_for("document.title === 'Chat desk · echogate'");
    say(&mut client, "bye");
    operator.wait_for_text(".conversations .entry", "The client ended the chat.");
    client.wait_for_text("#state-headline", "Closed by the server");
    operator.click("#sign-in");
    operator.wait_for_text("#operator-status", "Enter the token");
}

#[test]
fn the_title_of_a_hidden_page_counts_the_conversations_that_wait() {
    let mut server = server();
    let Some(mut page) = open(&server, "/#operator") else { return };
    page.expect_connection_errors();
    sign_in(&mut page, TOKEN);
    page.wait_for_text("#operator-status.details", "You are operator 1.");
    // The page of a tab in the background is not drawn.
    page.eval(
        "Object.defineProperty(document, 'hidden', { get: () => true });
        requestAnimationFrame = () => 0;",
    );
    let mut client = TcpStream::connect(server.address("chat")).unwrap();
    client.write_all(b"hello?\n").unwrap();
    page.wait_for("document.title === 'Chat desk (1) · echogate'");
    server.signal("KILL");
    server.wait();
    page.wait_for("document.title === 'Chat desk · echogate'");
}

#[test]
fn an_operator_ends_a_conversation() {
    let server = server();
    let Some(mut client) = open(&server, "/?path=ws/chat&autoconnect") else { return };
    client.wait_for_text("#state-headline", "Connected");
    say(&mut client, "hello?");
    let Some(mut operator) = open(&server, "/#operator") else { return };
    sign_in(&mut operator, TOKEN);
    operator.wait_for_text("#chat-log .theirs", "hello?");
    operator.click("#end-chat");
    operator.wait_for_text(".conversations .entry", "You ended the chat.");
    client.wait_for_text("#state-headline", "Closed by the server");
}

/// The page of an operator who has opened the conversation with a client, and the client, which has
/// sent so many messages.
fn conversation(server: &Server, messages: usize) -> Option<(Page, TcpStream)> {
    let mut operator = open(server, "/#operator")?;
    sign_in(&mut operator, TOKEN);
    operator.wait_for_text("#operator-status", "You are operator 1.");
    let mut client = TcpStream::connect(server.address("chat")).unwrap();
    client.write_all(b"hello?\n".repeat(messages).as_slice()).unwrap();
    operator.wait_for_text(".conversations .entry", "waiting");
    operator.click(".conversations .entry");
    operator.wait_for_text("#chat-log .theirs", "hello?");
    Some((operator, client))
}

#[test]
fn an_entry_of_the_list_stays_the_same_element_while_other_conversations_change() {
    let server = server();
    let Some((mut operator, mut first)) = conversation(&server, 1) else { return };
    operator.eval("document.querySelector('.conversations .entry').is_first = true");
    let mut second = TcpStream::connect(server.address("chat")).unwrap();
    second.write_all(b"is anybody there?\n").unwrap();
    operator
        .wait_for("document.querySelectorAll('.conversations .entry[data-waits]').length === 2");
    first.write_all(b"one more\n").unwrap();
    operator.wait_for_text(".conversations .entry .preview", "one more");
    let is_first = "document.querySelector('.conversations .entry').is_first";
    assert_eq!(operator.eval(is_first), true);
    // The first one, answered, is no longer urgent: it goes to the end, and only it is moved.
    operator.eval("document.querySelector('.conversations li:last-child .entry').is_second = true");
    fill(&mut operator, "#answer", "what is it?");
    operator.press("Enter");
    operator.wait_for("document.querySelector('.conversations li:last-child .entry').is_first");
    assert_eq!(operator.eval("document.querySelector('.conversations .entry').is_second"), true);
}

#[test]
fn the_log_is_not_redrawn_while_waiting_times_change() {
    let server = server();
    let Some((mut operator, _client)) = conversation(&server, 1) else { return };
    operator.eval("document.querySelector('#chat-log li').is_first = true");
    let waiting = "document.querySelector('.conversations .headline').innerText";
    let before = operator.eval(waiting);
    operator.wait_for(&format!("{waiting} !== {before}"));
    assert_eq!(operator.eval("document.querySelector('#chat-log li').is_first"), true);
}

#[test]
fn the_log_stays_in_its_place_while_messages_come() {
    let server = server();
    let Some((mut operator, mut client)) = conversation(&server, 100) else { return };
    operator.wait_for("document.querySelectorAll('#chat-log li').length === 100");
    operator.eval(
        "(() => { const log = document.querySelector('#chat-log');
            log.scrollTop = 50;
            log.firstChild.is_first = true; })()",
    );
    client.write_all(b"one more\n").unwrap();
    operator.wait_for_text("#chat-log li:last-child", "one more");
    assert_eq!(operator.eval("document.querySelector('#chat-log').scrollTop"), 50);
    assert_eq!(operator.eval("document.querySelector('#chat-log').firstChild.is_first"), true);
}
