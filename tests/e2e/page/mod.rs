//! The page, in a browser, against the real server.
//!
//! - `connections`: several side by side, how they open, end and come back
//! - `composer`: text, hex, files, repeats, history
//! - `transcript`: rows by the tens of thousands, searched, pinned, kept and loaded
//! - `instruments`: what is measured, and the server's side of it
//! - `chat`: both ends of a chat
//! - `reach`: keyboard, screen readers, languages, small windows
//! - `weight`: what the page costs, and what it keeps up with
//! - `pictures`: for people to look at

mod chat;
mod composer;
mod connections;
mod instruments;
mod pictures;
mod reach;
mod transcript;
mod weight;

use echogate_tests::{browser::Page, server::Server};

use crate::ECHOGATE;

/// A server and its page, not yet connected; `None` where there is no browser.
fn page() -> Option<(Server, Page)> {
    page_at("/")
}

fn page_at(path: &str) -> Option<(Server, Page)> {
    let server = Server::start(ECHOGATE, &[]);
    let page = open(&server, path)?;
    Some((server, page))
}

fn open(server: &Server, path: &str) -> Option<Page> {
    let mut page = Page::open(&format!("{}{path}", server.url("http")))?;
    page.wait_for("document.querySelector('#toggle')");
    // The workbench knows the server's routes, and so nothing will move any more.
    page.wait_for("location.hash || document.querySelector('#endpoints option')");
    Some(page)
}

/// A server and its page, connected.
fn connected() -> Option<(Server, Page)> {
    let (server, mut page) = page()?;
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Connected");
    Some((server, page))
}

fn say(page: &mut Page, text: &str) {
    page.click("#message");
    page.type_text(text);
    page.press("Enter");
}

/// Puts a text in the place of what is in a field.
fn fill(page: &mut Page, field: &str, text: &str) {
    page.eval(&format!("document.querySelector('{field}').select()"));
    page.type_text(text);
}

/// Chooses in a list by the value of what is chosen.
fn choose(page: &mut Page, list: &str, value: &str) {
    page.eval(&format!(
        "(() => {{ const list = document.querySelector('{list}'); list.value = '{value}';
            list.dispatchEvent(new Event('change', {{ bubbles: true }})); }})()"
    ));
}

/// How many elements a selector finds.
fn count(page: &mut Page, selector: &str) -> u64 {
    page.eval(&format!("document.querySelectorAll('{selector}').length")).as_u64().unwrap()
}

/// The received column of the latest row.
const LATEST: &str = ".rows > .message:last-child .received";
