//! The geometry of the page at all widths, in both languages: nothing is cut, nothing overlaps.

use std::net::TcpStream;

use echogate_tests::{
    browser::{Page, Scheme},
    program::free_port,
};

use super::{LATEST, choose, connected, fill, say};

/// Widths and heights of windows in CSS pixels; 720 is 1440 at 200 % zoom.
const SIZES: [(u32, u32); 7] =
    [(1920, 1080), (1440, 900), (1280, 720), (768, 1024), (720, 450), (390, 844), (320, 640)];

/// The elements whose text is cut, and those that overlap a neighbour. A text may be cut where it can
/// be read in full: in rows, which open, and in elements with a title. Elements that scroll are
/// complete.
const DEFECTS: &str = r"(() => {
    const defects = [];
    const seen = (it) => it.checkVisibility({ visibilityProperty: true }) && !it.closest('.unseen, .skip');
    const name = (it) => it.tagName.toLowerCase() + (it.id ? '#' + it.id : '') +
        (it.classList.length ? '.' + [...it.classList].join('.') : '');
    if (document.documentElement.scrollWidth > innerWidth) defects.push('the page scrolls sideways');
    for (const it of document.querySelectorAll('.panel')) {
        if (seen(it) && it.scrollWidth > it.clientWidth + 1) defects.push('wider than its panel: in ' + name(it));
    }
    for (const it of document.querySelectorAll('body *')) {
        if (!seen(it) || it.closest('svg, .line, pre, .columns, select')) continue;
        const style = getComputedStyle(it);
        const cuts = style.overflowX === 'hidden' || style.overflowX === 'clip';
        const complete = it.closest('[title]') || it.querySelector('[title]');
        const own = [...it.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (own && it.scrollWidth > it.clientWidth + 1 && style.display !== 'inline' &&
            style.overflowX !== 'auto' && !(cuts && complete)) defects.push('cut: ' + name(it));
        if (['INPUT', 'TEXTAREA', 'BUTTON', 'SUMMARY'].includes(it.tagName) && !it.matches('[type=radio]')) {
            const box = it.getBoundingClientRect();
            if (box.width && (box.right > innerWidth + 1 || box.left < -1)) defects.push('outside: ' + name(it));
        }
    }
    const parents = document.querySelectorAll('body, main, main div, main section, main header, main form, header, ul, p, li');
    for (const parent of parents) {
        if (!seen(parent) || parent.closest('svg, .rows, .track')) continue;
        const boxes = [...parent.children].filter((it) => seen(it) && !['absolute', 'fixed', 'sticky']
            .includes(getComputedStyle(it).position) && it.tagName !== 'INPUT' || it.matches('input:not(.unseen, [type=radio])'))
            .map((it) => [it, it.getBoundingClientRect()]).filter(([, box]) => box.width > 1 && box.height > 1);
        for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
            const [[a, p], [b, q]] = [boxes[i], boxes[j]];
            const x = Math.min(p.right, q.right) - Math.max(p.left, q.left);
            const y = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
            if (x > 1.5 && y > 1.5 && getComputedStyle(a).display !== 'inline' && getComputedStyle(b).display !== 'inline')
                defects.push('overlap: ' + name(a) + ' and ' + name(b));
        }
    }
    return defects;
})()";

pub(super) fn expect_no_defects(page: &mut Page, state: &str) {
    expect_no_defects_after(page, state, "");
}

/// The same, after a script that runs before each look.
fn expect_no_defects_after(page: &mut Page, state: &str, script: &str) {
    for language in ["en", "zh-Hans"] {
        choose(page, "#language", language);
        page.wait_for(&format!("document.documentElement.lang === '{language}'"));
        for (width, height) in SIZES {
            page.set_viewport(width, height, Scheme::Light);
            page.wait_for(&format!("innerWidth === {width}"));
            page.eval(script);
            page.eval(
                "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))",
            );
            let defects = page.eval(DEFECTS);
            assert_eq!(defects, serde_json::json!([]), "{state}, {language}, {width} x {height}");
        }
    }
    choose(page, "#language", "en");
}

#[test]
fn nothing_is_cut_or_overlaps_before_a_connection() {
    let Some((_server, mut page)) = super::page() else { return };
    page.wait_for("document.querySelectorAll('.card').length === 4");
    expect_no_defects(&mut page, "first view");
}

#[test]
fn nothing_is_cut_or_overlaps_with_an_opened_message() {
    let Some((_server, mut page)) = connected() else { return };
    say(&mut page, &"a long message without any space ".repeat(9).replace(' ', "_"));
    page.wait_for_text(LATEST, "A_LONG");
    page.click(".rows .received");
    page.wait_for_text("#detail", "differs");
    expect_no_defects(&mut page, "opened message");
    page.click("#toggle");
    page.wait_for_text("#state-headline", "Disconnected");
    expect_no_defects(&mut page, "disconnected");
}

#[test]
fn the_reply_is_visible_after_sending_on_a_phone() {
    let Some((_server, mut page)) = super::page() else { return };
    page.set_viewport(390, 844, Scheme::Light);
    page.wait_for("innerWidth === 390");
    say(&mut page, "hello");
    page.wait_for_text(LATEST, "HELLO");
    let visible = "(() => { const box = document.querySelector('.rows > .received:last-child')
        .getBoundingClientRect(); return box.top >= 0 && box.bottom <= innerHeight; })()";
    page.wait_for(visible);
}

#[test]
fn nothing_is_cut_or_overlaps_in_the_row_of_an_ended_client_with_wide_figures() {
    let Some((server, mut page)) = super::page() else { return };
    let _client = TcpStream::connect(server.address("upper")).unwrap();
    page.wait_for("document.querySelector('.client')");
    // Ended clients are shown for a few seconds, and such figures take hours.
    let wide = "(() => {
        const row = document.querySelector('.client');
        row.dataset.ended = 'true';
        const texts = { '.peer': '[2001:db8:1234:5678:9abc:def0:1234:5678]:65535', '.mine': 'your upstream',
            '.age': '59 min', '.target': 'ended: the client reset the connection in the middle of a message',
            '.in': '↑ 1,023.9 GiB · 1,234,567,890', '.out': '↓ 1,023.9 GiB · 9,876,543,210' };
        for (const [of, text] of Object.entries(texts)) {
            row.querySelector(of).hidden = false;
            row.querySelector(of).textContent = text;
        }
    })()";
    expect_no_defects_after(&mut page, "ended client", wide);
}

#[test]
fn the_header_and_the_panels_are_aligned_on_the_widest_windows() {
    let Some((_server, mut page)) = super::page() else { return };
    page.set_viewport(2560, 1440, Scheme::Light);
    page.wait_for("innerWidth === 2560");
    let edges = "['.page-header h1', '#controls', '.url-bar'].map((it) => {
        const { left, right } = document.querySelector(it).getBoundingClientRect();
        return [left, right]; })";
    let edges = page.eval(edges);
    assert_eq!(edges[0][0], edges[2][0], "{edges}");
    assert_eq!(edges[1][1], edges[2][1], "{edges}");
}

#[test]
fn the_button_stays_in_its_place_in_every_state() {
    let Some((_server, mut page)) = super::page() else { return };
    page.expect_error("WebSocket connection to");
    let top = "document.querySelector('#toggle').getBoundingClientRect().top";
    let before = page.eval(top);
    for state in ["Connected", "Disconnected"] {
        page.click("#toggle");
        page.wait_for_text("#state-headline", state);
        assert_eq!(page.eval(top), before, "{state}");
    }
    let nobody = format!("ws://127.0.0.1:{}/{}", free_port(), "long".repeat(60));
    fill(&mut page, "#endpoint", &nobody);
    page.press("Enter");
    page.wait_for_text("#state-headline", "Could not connect");
    assert_eq!(page.eval(top), before, "could not connect");
}

#[test]
fn clients_are_in_view_on_a_laptop_and_panels_in_one_column_have_one_width() {
    let Some((_server, mut page)) = connected() else { return };
    page.wait_for("document.querySelectorAll('.client').length === 2");
    page.set_viewport(1280, 720, Scheme::Light);
    page.wait_for("innerWidth === 1280");
    page.wait_for(
        "[...document.querySelectorAll('.client')]
            .every((it) => it.getBoundingClientRect().bottom < innerHeight)",
    );
    for width in [768, 390] {
        page.set_viewport(width, 900, Scheme::Light);
        page.wait_for(&format!("innerWidth === {width}"));
        // The meters may be side by side.
        for panels in
            ["#workbench > :not(.meters), .rail .panel, .main-column .panel", ".meters .panel"]
        {
            page.wait_for(&format!(
                "new Set([...document.querySelectorAll('{panels}')].filter((it) => it.checkVisibility())
                    .map((it) => Math.round(it.getBoundingClientRect().width))).size === 1",
            ));
        }
    }
}

#[test]
fn controls_are_large_enough_for_fingers() {
    let Some((_server, mut page)) = connected() else { return };
    page.emulate_touch();
    page.set_viewport(390, 844, Scheme::Light);
    page.wait_for("matchMedia('(pointer: coarse)').matches && innerWidth === 390");
    let small = page.eval(
        "[...document.querySelectorAll('button, select, nav a, .modes label, .menu-button summary, input:not([type=checkbox])')]
            .filter((it) => it.checkVisibility() && getComputedStyle(it).opacity !== '0')
            .filter((it) => { const box = it.getBoundingClientRect(); return box.width < 40 || box.height < 44; })
            .map((it) => it.outerHTML)",
    );
    assert_eq!(small, serde_json::json!([]));
    let above = page.eval(
        "(() => { const link = document.querySelector('nav a'), range = document.createRange();
            range.selectNodeContents(link);
            const [text, box] = [range.getBoundingClientRect(), link.getBoundingClientRect()];
            return Math.abs((text.top - box.top) - (box.bottom - text.bottom)); })()",
    );
    assert!(above.as_f64().unwrap() < 3.0, "the text is in the middle: {above}");
}

#[test]
fn nothing_is_cut_or_overlaps_where_a_client_is_followed() {
    let Some((_server, mut page)) = connected() else { return };
    say(&mut page, &"long_".repeat(60));
    page.wait_for_text(LATEST, "LONG_");
    page.wait_for("document.querySelector('#show-ladder').ariaDisabled === 'false'");
    page.click("#show-ladder");
    page.wait_for_text("#ladder-list", "LONG_");
    page.click(".step:nth-child(5) summary");
    expect_no_defects(&mut page, "ladder");
    page.click("#show-transcript");
    page.wait_for_text(LATEST, "LONG_");
    expect_no_defects(&mut page, "followed client");
}

#[test]
fn the_entries_of_every_menu_are_seen_and_reached() {
    let Some((_server, mut page)) = connected() else { return };
    say(&mut page, "hello");
    page.wait_for_text(LATEST, "HELLO");
    page.click(".rows .received");
    page.wait_for_text("#detail", "differs");
    for (width, height) in SIZES {
        page.set_viewport(width, height, Scheme::Light);
        page.wait_for(&format!("innerWidth === {width}"));
        for menu in ["#transcript-menu", "#copy", "#share"] {
            page.click(menu);
            page.wait_for("document.querySelector('.menu-button[open]')");
            let covered = page.eval(
                "[...document.querySelectorAll('.menu-button[open] .menu button')].filter((it) => {
                    if (it.hidden) return false;
                    it.scrollIntoView({ block: 'nearest' });
                    const box = it.getBoundingClientRect();
                    const at = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
                    return at !== it; }).map((it) => it.innerText)",
            );
            assert_eq!(covered, serde_json::json!([]), "{menu}, {width} x {height}");
            page.click(menu);
            page.wait_for("!document.querySelector('.menu-button[open]')");
        }
    }
}
