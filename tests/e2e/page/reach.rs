//! Keyboard, screen readers, languages, small windows.

use std::{fs, io::Write as _, net::TcpStream, path::Path};

use echogate_tests::{
    browser::{Page, Scheme},
    program::free_port,
    server::Server,
};

use super::{LATEST, choose, connected, open, page, page_at, page_without, say};
use crate::ECHOGATE;

#[test]
fn the_keyboard_alone_is_enough() {
    let Some((_server, mut page)) = page() else { return };
    let focus = |page: &mut Page| page.eval("document.activeElement.id");
    let go = |page: &mut Page, to: &str, key: &str| {
        for _ in 0..40 {
            if focus(page) == to {
                return;
            }
            page.press(key);
        }
        panic!("{key} never leads to {to}");
    };
    page.wait_for("document.activeElement.id === 'message'");
    go(&mut page, "skip", "Shift+Tab");
    go(&mut page, "toggle", "Tab");
    page.press("Enter");
    page.wait_for_text("#state-headline", "Connected");
    page.wait_for("document.activeElement.id === 'message'");
    page.type_text("abc");
    page.press("Enter");
    page.wait_for_text(LATEST, "ABC");
    go(&mut page, "transcript", "Shift+Tab");
    page.press("End");
    page.wait_for("document.querySelector('[aria-selected=true]')");
    page.press("Enter");
    page.wait_for_text(".summary", "differs in 3 of 3 bytes");
    page.press("ArrowUp");
    page.press("ArrowUp");
    page.wait_for_text("#detail", "Connected to");
    page.press("Escape");
    page.wait_for("document.querySelector('#detail').hidden");
    let active = "document.querySelector('#transcript').getAttribute('aria-activedescendant')";
    page.wait_for(&format!("document.getElementById({active})"));
    go(&mut page, "repeat", "Tab");
}

#[test]
fn escape_closes_the_innermost_menu_and_a_click_elsewhere_closes_any() {
    let Some((_server, mut page)) = connected() else { return };
    say(&mut page, "hello");
    page.wait_for_text(LATEST, "HELLO");
    page.click(".message");
    page.wait_for("!document.querySelector('#detail').hidden");
    for (summary, within) in [
        ("#copy", "#copy-hex"),
        ("#transcript-menu", "#export-har"),
        ("#share", "#copy-link"),
        ("#closing summary", "#close-code"),
    ] {
        let is_open = format!("document.querySelector('{summary}').parentElement.open");
        for focused in [summary, within] {
            page.click(summary);
            page.wait_for(&is_open);
            page.eval(&format!("document.querySelector('{focused}').focus()"));
            page.press("Escape");
            page.wait_for(&format!("!{is_open}"));
            page.wait_for(&format!("document.activeElement.matches('{summary}')"));
        }
        page.click(summary);
        page.wait_for(&is_open);
        page.click("h1");
        page.wait_for(&format!("!{is_open}"));
    }
    assert_eq!(page.eval("document.querySelector('#detail').hidden"), false, "the row is open");
}

#[test]
fn screen_readers_hear_names_that_say_what_is_there() {
    let Some((_server, mut page)) = connected() else { return };
    say(&mut page, "hello");
    page.wait_for_text(".client .in", "5 B");
    // A screen reader reads the words of a client's traffic, and not the arrows.
    let heard = page.eval(
        "[...document.querySelectorAll('.client[data-mine=true] :is(.in, .out) > *')]
            .filter((it) => !it.ariaHidden).map((it) => it.textContent)",
    );
    assert_eq!(heard[0], "Sent");
    assert_eq!(heard[2], "Received");
    let described = "document.querySelector('#search').getAttribute('aria-describedby')";
    assert_eq!(page.eval(described), serde_json::Value::Null);
    page.click("#pattern");
    super::fill(&mut page, "#search", "(");
    page.wait_for(&format!("{described} === 'search-problem'"));
    page.wait_for("document.querySelector('#escapes').ariaLabel.startsWith('Escape sequences')");
}

#[test]
fn the_page_works_below_a_base_path() {
    let server = Server::start(ECHOGATE, &["--base-path", "/tools/echogate"]);
    let Some(mut page) = open(&server, "/tools/echogate") else { return };
    page.wait_for("location.pathname === '/tools/echogate/'");
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Connected");
    say(&mut page, "below");
    page.wait_for_text(LATEST, "BELOW");
    page.wait_for("document.querySelector('#endpoints option').value === '/ws'");
}

#[test]
fn a_control_click_on_a_route_is_the_browsers() {
    let Some((_server, mut page)) = page_at("/?path=nope&autoconnect") else { return };
    page.expect_connection_errors();
    page.wait_for_text("#routes", "/ws/echo");
    // In place of the browser, which would open the link in a new tab.
    page.eval(
        "addEventListener('click', (click) => {
            window.handled = click.defaultPrevented;
            click.preventDefault();
        })",
    );
    let click = |page: &mut Page, control: bool| {
        page.eval(&format!(
            "document.querySelector('#routes a').dispatchEvent(new MouseEvent('click',
                {{ bubbles: true, cancelable: true, ctrlKey: {control} }}))"
        ));
        page.eval("window.handled")
    };
    assert_eq!(click(&mut page, true), false);
    page.wait_for_text("#state-headline", "No such route");
    assert_eq!(click(&mut page, false), true);
    page.wait_for_text("#state-headline", "Connected");
}

#[test]
fn a_flood_is_counted_for_a_screen_reader_and_not_read_out() {
    let Some((_server, mut page)) = connected() else { return };
    page.eval(
        "(() => { window.printed = [];
            new MutationObserver(() => printed.push(document.querySelector('#announcer').innerText))
                .observe(document.querySelector('#announcer'), { childList: true, subtree: true,
                    characterData: true }); })()",
    );
    page.click("#message");
    page.type_text("flood");
    super::fill(&mut page, "#burst", "1000");
    page.click("#burst-send");
    page.wait_for("window.printed.some((printed) => printed.includes('messages received'))");
    let printed = page.eval("window.printed.length").as_u64().unwrap();
    assert!(printed < 10, "{printed} announcements");
}

#[test]
fn the_page_speaks_the_browsers_language_and_the_one_that_was_chosen() {
    let Some((_server, mut page)) = page() else { return };
    assert_eq!(page.eval("document.documentElement.lang"), "en");
    page.reload_in_language("zh-CN");
    page.wait_for_text("#state-headline", "未连接");
    assert_eq!(page.eval("document.documentElement.lang"), "zh-Hans");
    page.click("#toggle");
    page.wait_for_text("#state-headline", "已连接");
    say(&mut page, "hello");
    page.wait_for_text(LATEST, "HELLO");
    choose(&mut page, "#language", "en");
    page.wait_for_text("#state-headline", "Connected");
    page.wait_for_text(LATEST, "HELLO");
    page.reload_in_language("zh-CN");
    page.wait_for_text("#state-headline", "Not connected");
}

#[test]
fn the_servers_reasons_are_shown_in_the_pages_language() {
    let Some((server, mut page)) = page() else { return };
    page.reload_in_language("zh-CN");
    page.click("#toggle");
    page.wait_for_text("#state-headline", "已连接");
    let client = TcpStream::connect(server.address("upper")).unwrap();
    page.wait_for("[...document.querySelectorAll('.client')].length === 3");
    drop(client);
    page.wait_for_text(".client[data-ended=true]", "结束：客户端关闭了连接");
    page.expect_connection_errors();
    server.signal("TERM");
    page.wait_for_text("#state-headline", "被服务器关闭");
    page.wait_for_text("#state-details", "原因：“服务器正在关闭”");
    choose(&mut page, "#language", "en");
    page.wait_for_text("#state-details", "Reason: \"the server is shutting down\"");
}

#[test]
fn a_translation_is_loaded_when_it_is_wanted_and_its_failure_is_reported() {
    let Some((_server, mut page)) = page() else { return };
    let is_loaded =
        "performance.getEntriesByType('resource').some((it) => it.name.endsWith('zh-Hans.txt'))";
    assert_eq!(page.eval(is_loaded), false, "English needs no translation");
    let Some((_server, mut page, restore)) = page_without("zh-Hans.txt") else { return };
    page.eval("document.querySelector('#language').focus()");
    choose(&mut page, "#language", "zh-Hans");
    page.wait_for_text("#transcript-note", "texts in 简体中文 could not be loaded");
    page.wait_for("document.querySelector('#language').value === 'en'");
    assert_eq!(page.eval("document.documentElement.lang"), "en");
    restore();
    choose(&mut page, "#language", "zh-Hans");
    page.wait_for_text("#state-headline", "未连接");
    page.wait_for("document.activeElement.id === 'language'");
}

/// The source of axe-core; `None`, with a notice on stderr, if it is not installed.
pub(super) fn axe() -> Option<String> {
    let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let file = root.join(target).join("third-party/node_modules/axe-core/axe.min.js");
    let script = fs::read_to_string(&file).ok();
    if script.is_none() {
        assert!(std::env::var_os("CI").is_none(), "{} is missing", file.display());
        let notice = b"\n*** SKIPPED: no axe-core; .ci/third-party installs it ***\n";
        std::io::stderr().write_all(notice).ok();
    }
    script
}

pub(super) fn assert_accessible(page: &mut Page, axe: &str, when: &str) {
    page.eval(&format!("{axe}; undefined"));
    let findings = page.eval(
        "(async () => {
            // A colour in a transition does not have its final value.
            await Promise.all(document.getAnimations().map((it) => it.finished.catch(() => {})));
            const { violations } = await axe.run(document, { resultTypes: ['violations'] });
            return violations.map(({ id, nodes }) =>
                `${id}: ${nodes.map((node) => `${node.html} ${node.failureSummary}`).join('; ')}`);
        })()",
    );
    assert_eq!(findings, serde_json::json!([]), "{when}");
}

#[test]
fn axe_finds_nothing_in_either_scheme() {
    let Some(axe) = axe() else { return };
    let Some((_server, mut page)) = page() else { return };
    for scheme in [Scheme::Light, Scheme::Dark] {
        page.set_viewport(1440, 900, scheme);
        assert_accessible(&mut page, &axe, &format!("before, {scheme:?}"));
    }
    // The state in words scrolls on the narrowest windows.
    page.expect_connection_errors();
    super::fill(&mut page, "#endpoint", &format!("ws://127.0.0.1:{}/", free_port()));
    page.press("Enter");
    page.wait_for_text("#state-headline", "Could not connect");
    page.set_viewport(320, 640, Scheme::Light);
    page.wait_for("innerWidth === 320");
    page.wait_for("document.querySelector('.state-line').tabIndex === 0");
    assert_accessible(&mut page, &axe, "a reason that scrolls");
    page.set_viewport(1440, 900, Scheme::Light);
    page.wait_for("document.querySelector('.state-line').tabIndex === -1");
    super::fill(&mut page, "#endpoint", "/ws");
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Connected");
    say(&mut page, "hello");
    page.wait_for_text(LATEST, "HELLO");
    page.click(".message");
    page.wait_for_text(".summary", "differs in 5 of 5 bytes");
    page.click("#charts summary");
    page.click("#closing summary");
    page.wait_for_text(".client .mine", "you");
    for (width, scheme) in [(1440, Scheme::Light), (1440, Scheme::Dark), (390, Scheme::Light)] {
        page.set_viewport(width, 900, scheme);
        page.wait_for(&format!("innerWidth === {width}"));
        assert_accessible(&mut page, &axe, &format!("connected, {width}, {scheme:?}"));
    }
    page.set_viewport(1440, 900, Scheme::Light);
    page.wait_for("document.querySelector('#show-ladder').ariaDisabled === 'false'");
    page.click("#show-ladder");
    page.wait_for_text("#ladder-list", "GET /ws");
    page.click(".step:nth-child(2) summary");
    for scheme in [Scheme::Light, Scheme::Dark] {
        page.set_viewport(1440, 900, scheme);
        assert_accessible(&mut page, &axe, &format!("ladder, {scheme:?}"));
    }
    page.click("#show-transcript");
    page.wait_for("!document.querySelector('#transcript-panel').hidden");
    page.click("#transcript-menu");
    assert_accessible(&mut page, &axe, "a client that is followed");
    page.click(".connections li:first-child button");
    page.wait_for("!document.querySelector('.composer').hidden");
    page.click("label[for=mode-file]");
    page.wait_for("!document.querySelector('#file-panel').hidden");
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Disconnected");
    assert_accessible(&mut page, &axe, "a file, disconnected");
    page.eval("location.hash = 'operator'");
    page.wait_for("!document.querySelector('#operator').hidden");
    for scheme in [Scheme::Light, Scheme::Dark] {
        page.set_viewport(1440, 900, scheme);
        assert_accessible(&mut page, &axe, &format!("operator, {scheme:?}"));
    }
}

#[test]
fn forced_colours_leave_every_state_to_be_seen() {
    let Some((_server, mut page)) = connected() else { return };
    page.force_colours();
    page.wait_for("matchMedia('(forced-colors: active)').matches");
    page.wait_for(
        "getComputedStyle(document.querySelector('.entry[aria-current]')).outlineStyle === 'solid'",
    );
    page.click("#message");
    page.type_text("hello");
    page.wait_for("document.querySelector('#send').ariaDisabled === 'false'");
    let colour = "getComputedStyle(document.querySelector('#send')).backgroundColor";
    let before = page.eval(colour);
    page.move_mouse("#send", 0.5, false);
    page.wait_for("document.querySelector('#send').matches(':hover')");
    assert_eq!(page.eval(colour), before, "a button under the mouse has the system's colours");
    page.press("Enter");
    page.wait_for_text(LATEST, "HELLO");
    page.wait_for("document.querySelector('#show-ladder').ariaDisabled === 'false'");
    page.click("#show-ladder");
    page.click("#play");
    page.wait_for("document.querySelector('.step[aria-current]')");
    page.wait_for(
        "getComputedStyle(document.querySelector('.step[aria-current]')).outlineStyle === 'solid'",
    );
}
