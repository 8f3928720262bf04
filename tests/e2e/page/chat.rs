//! Both ends of a chat, in two pages.

use echogate_tests::{browser::Page, server::Server};

use super::{LATEST, fill, open, say};
use crate::ECHOGATE;

pub(super) const TOKEN: &str = "correct-horse-battery-staple";

pub(super) fn server() -> Server {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), TOKEN).unwrap();
    let path = file.path().to_str().unwrap();
    let chat = ["--listen", "chat=tcp://127.0.0.1:0", "--operator-token-file", path];
    Server::start(ECHOGATE, &chat)
}

pub(super) fn come_in(page: &mut Page, token: &str) {
    fill(page, "#token", token);
    page.press("Enter");
}

#[test]
fn a_client_and_an_operator_talk_until_one_says_bye() {
    let server = server();
    let Some(mut operator) = open(&server, "/#operator") else { return };
    come_in(&mut operator, "wrong-horse-battery-staple");
    operator.wait_for_text("#desk-told", "The token is not right.");
    come_in(&mut operator, TOKEN);
    operator.wait_for_text("#desk-told", "You are operator 1.");
    operator.wait_for_text("#people", "Nobody is here yet.");

    let Some(mut client) = open(&server, "/?path=ws/chat&autoconnect") else { return };
    client.wait_for_text("#state-headline", "Connected");
    say(&mut client, "is anybody there?");
    operator.wait_for_text(".people .wire", "waits");
    operator.click(".people .wire");
    operator.wait_for_text("#said .theirs", "is anybody there?");
    fill(&mut operator, "#answer", "I am, 世界");
    operator.press("Enter");
    client.wait_for_text(LATEST, "I am, 世界");
    operator.wait_for_text("#said .ours", "I am, 世界");
    operator.wait_for_text(".people .wire", "answered");
    say(&mut client, "bye");
    operator.wait_for_text(".people .wire", "The client said bye.");
    client.wait_for_text("#state-headline", "Closed by the server");
    operator.click("#come-in");
    operator.wait_for_text("#desk-told", "Give the token");
}

#[test]
fn an_operator_ends_a_conversation() {
    let server = server();
    let Some(mut client) = open(&server, "/?path=ws/chat&autoconnect") else { return };
    client.wait_for_text("#state-headline", "Connected");
    say(&mut client, "hello?");
    let Some(mut operator) = open(&server, "/#operator") else { return };
    come_in(&mut operator, TOKEN);
    operator.wait_for_text("#said .theirs", "hello?");
    operator.click("#bye");
    operator.wait_for_text(".people .wire", "Operator 1 said bye.");
    client.wait_for_text("#state-headline", "Closed by the server");
}
