//! The page, in a browser, against the real server.

use std::{fmt::Write as _, io::Write as _, path::Path};

use echogate_tests::{
    browser::{Page, Scheme},
    server::Server,
    upstream::Upstream,
};

use crate::ECHOGATE;

/// A server and its page, not yet connected; `None` where there is no browser.
fn page() -> Option<(Server, Page)> {
    page_at("/")
}

fn page_at(path: &str) -> Option<(Server, Page)> {
    let server = Server::start(ECHOGATE, &[]);
    let mut page = Page::open(&format!("{}{path}", server.url("http")))?;
    page.wait_for("document.querySelector('#toggle')");
    Some((server, page))
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

/// The received column of the latest row.
const LATEST: &str = ".rows > .message:last-child .received";

#[test]
fn it_loads_without_an_error_and_says_that_it_is_not_connected() {
    let Some((server, mut page)) = page() else { return };
    assert_eq!(page.text("#state-headline"), "Not connected");
    let endpoint = page.eval("document.querySelector('#endpoint').value");
    assert_eq!(endpoint, server.ws("/ws"));
    page.assert_no_error();
}

#[test]
fn what_is_typed_comes_back_in_upper_case() {
    let Some((_server, mut page)) = connected() else { return };
    say(&mut page, "hello, 世界 ß");
    page.wait_for_text(LATEST, "HELLO, 世界 ß");
    let row = page.text(".message");
    for part in ["hello, 世界 ß", "text", "16 B", "ms"] {
        assert!(row.contains(part), "{part:?} in {row:?}");
    }
    assert_eq!(page.eval("document.querySelector('#message').value"), "", "ready for the next");
    page.wait_for_text("#announcer", "HELLO, 世界 ß");
}

#[test]
fn bytes_typed_as_hex_come_back_as_bytes() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("label[for=mode-hex]");
    say(&mut page, "00 61 ff");
    page.wait_for_text(LATEST, "00 41 ff");
    assert!(page.text(".message").contains("binary"));
    page.click(".line");
    page.wait_for_text(".summary", "1 of 3 bytes changed");
    assert_eq!(page.text(".both figure:last-child mark"), "41\nA");
}

#[test]
fn bad_hex_is_named_as_it_is_typed_and_is_not_sent() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("label[for=mode-hex]");
    say(&mut page, "00 6g");
    page.wait_for_text("#composer-problem", "'g' at character 5 is not a hexadecimal digit");
    assert_eq!(page.eval("document.querySelector('#message').ariaInvalid"), "true");
    assert_eq!(page.eval("document.querySelectorAll('.message').length"), 0);
}

#[test]
fn an_empty_message_is_sent_by_the_button_and_comes_back_empty() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("#message");
    page.press("Enter");
    page.click("#send");
    page.wait_for_text(LATEST, "(empty)");
    assert_eq!(page.eval("document.querySelectorAll('.message').length"), 1);
}

#[test]
fn shift_and_enter_begin_a_new_line() {
    let Some((_server, mut page)) = connected() else { return };
    page.click("#message");
    page.type_text("a");
    page.press("Shift+Enter");
    page.type_text("b");
    page.press("Enter");
    page.wait_for_text(LATEST, "A↵B");
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
fn a_server_that_says_goodbye_is_shown_as_going_away() {
    let Some((mut server, mut page)) = connected() else { return };
    server.signal("TERM");
    page.wait_for_text("#state-headline", "Closed by the server");
    page.wait_for_text("#state-details", "the other side is going away (code 1001)");
    assert!(server.wait().success());
}

#[test]
fn a_server_that_dies_is_shown_as_gone_without_a_goodbye() {
    let Some((mut server, mut page)) = connected() else { return };
    page.expect_error("WebSocket connection to");
    server.signal("KILL");
    page.wait_for_text("#state-headline", "Connection lost");
    page.wait_for_text("#state-details", "the connection broke without a goodbye (code 1006)");
    server.wait();
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Could not connect");
}

#[test]
fn an_endpoint_that_is_none_is_not_tried() {
    let Some((_server, mut page)) = page() else { return };
    page.eval("document.querySelector('#endpoint').select()");
    page.type_text("http://localhost/");
    page.press("Enter");
    page.wait_for_text("#endpoint-problem", "begins with ws:// or wss://");
    assert_eq!(page.text("#state-headline"), "Not connected");
}

#[test]
fn the_keyboard_alone_is_enough() {
    let Some((_server, mut page)) = page() else { return };
    let focus = |page: &mut Page| page.eval("document.activeElement.id");
    page.press("Tab");
    assert_eq!(focus(&mut page), "endpoint");
    page.press("Tab");
    page.press("Tab");
    assert_eq!(focus(&mut page), "toggle");
    page.press("Enter");
    page.wait_for_text("#state-headline", "Connected");
    page.wait_for("document.activeElement.id === 'message'");
    page.type_text("abc");
    page.press("Enter");
    page.wait_for_text(LATEST, "ABC");
    page.press("Shift+Tab");
    assert_eq!(focus(&mut page), "mode-text");
    page.press("Shift+Tab");
    page.wait_for("document.activeElement.matches('.line')");
    page.press("Enter");
    page.wait_for_text(".summary", "3 of 3 bytes changed");
}

#[test]
fn a_link_can_choose_the_path_and_connect_at_once() {
    let Some((server, mut page)) = page_at("/?path=ws/echo&autoconnect=1") else { return };
    page.wait_for_text("#state-headline", "Connected");
    page.wait_for_text("#state-details", &server.ws("/ws/echo"));
    say(&mut page, "same");
    page.wait_for_text(LATEST, "same");
}

#[test]
fn a_flood_is_shown_in_order_and_what_is_let_go_is_counted() {
    let upstream = Upstream::new();
    let server = Server::start(ECHOGATE, &["--route", &upstream.route("/flood", "line")]);
    let url = format!("{}/?path=flood&autoconnect", server.url("http"));
    let Some(mut page) = Page::open(&url) else { return };
    let lines = (1..=3000).fold(String::new(), |mut lines, n| {
        writeln!(lines, "line {n}").unwrap();
        lines
    });
    let mut stream = upstream.accept();
    stream.write_all(lines.as_bytes()).unwrap();
    page.wait_for_text(LATEST, "line 3000");
    // Beside the lines there is the row of the opening.
    page.wait_for_text("#dropped", "2,001 older rows");
    assert_eq!(page.eval("document.querySelectorAll('.message').length"), 1000);
    assert!(page.text("#figure-received").starts_with("3,000 messages"));
    drop(stream);
    page.wait_for_text("#state-details", "The server closed the connection: closed normally");
}

#[test]
fn nothing_is_wider_than_a_phone() {
    let Some((_server, mut page)) = connected() else { return };
    say(&mut page, &"a long message without any space in it ".repeat(9).replace(' ', "_"));
    page.wait_for_text(LATEST, "A_LONG");
    page.click(".line");
    page.wait_for("document.querySelector('.dump')");
    for width in [390, 320] {
        page.show(width, 844, Scheme::Light);
        page.wait_for(&format!("innerWidth === {width}"));
        page.wait_for("document.documentElement.scrollWidth <= innerWidth");
    }
}

/// `ECHOGATE_PICTURES=FOLDER cargo test pictures -- --ignored`; web/screenshot.png is its
/// `readme.png`.
#[test]
#[ignore = "writes pictures, into the folder that ECHOGATE_PICTURES names"]
fn pictures_of_the_page_after_an_exchange() {
    let folder = std::env::var_os("ECHOGATE_PICTURES").expect("ECHOGATE_PICTURES names a folder");
    let folder = Path::new(&folder);
    let Some((mut server, mut page)) = page() else { return };
    page.screenshot(&folder.join("before.png"));
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Connected");
    for (text, reply) in [
        ("hello, 世界 ß", "HELLO, 世界 ß"),
        ("", "(empty)"),
        ("GET / HTTP/1.1\nHost: example.net", "HOST"),
    ] {
        page.click("#message");
        page.type_text(text);
        page.click("#send");
        page.wait_for_text(LATEST, reply);
    }
    page.click("label[for=mode-hex]");
    say(&mut page, "00 61 ff 7a 2d 68 65 78");
    page.wait_for_text(LATEST, "00 41 ff");
    page.click(".message:last-child .line");
    page.wait_for("document.querySelector('.dump')");
    page.click("label[for=mode-text]");
    page.click("#message");
    page.type_text("One more, to be sent");
    for (name, width, height, scheme) in [
        ("wide-light", 1440, 900, Scheme::Light),
        ("wide-dark", 1440, 900, Scheme::Dark),
        ("phone-light", 390, 844, Scheme::Light),
        ("phone-dark", 390, 844, Scheme::Dark),
        ("readme", 1200, 720, Scheme::Light),
    ] {
        page.show(width, height, scheme);
        page.wait_for(&format!("innerWidth === {width}"));
        page.screenshot(&folder.join(name).with_extension("png"));
    }
    server.signal("TERM");
    page.show(1440, 900, Scheme::Light);
    page.wait_for_text("#state-headline", "Closed by the server");
    page.screenshot(&folder.join("closed.png"));
    server.wait();
}
