//! The lesson: six steps in the life of a connection.

use echogate_tests::{
    browser::{Page, Scheme},
    server::Server,
};

use super::{count, open, page, reach, subscribers};
use crate::ECHOGATE;

/// A page that plays the lesson, at its first step.
pub(super) fn playing() -> Option<(Server, Page)> {
    let (server, mut page) = page()?;
    page.wait_for("!document.querySelector('#play-first').hidden");
    page.click("#play-first");
    is_done(&mut page, 1);
    Some((server, page))
}

/// Waits for the completion of a step.
pub(super) fn is_done(page: &mut Page, step: usize) {
    page.wait_for_text("#lesson-title", &format!("Step {step} of 6"));
    page.wait_for_text("#lesson-state", "Done");
}

/// Waits for an arrow of a step: its kind, and a part of its label.
fn shows(page: &mut Page, step: usize, arrow: &str, label: &str) {
    page.wait_for(&format!(
        "[...document.querySelectorAll('[data-lesson=\"{step}\"][data-arrow={arrow}]')]
            .some((it) => it.innerText.includes('{label}'))"
    ));
}

#[test]
fn the_six_steps_are_played_by_keyboard_alone() {
    let Some((_server, mut page)) = page() else { return };
    page.wait_for("!document.querySelector('#play-first').hidden");
    page.wait_for("document.activeElement.id === 'message'");
    for _ in 0..40 {
        if page.eval("document.activeElement.id") == "play-first" {
            break;
        }
        page.press("Shift+Tab");
    }
    page.press("Enter");
    page.wait_for("document.activeElement.id === 'lesson-next'");
    is_done(&mut page, 1);
    assert_eq!(page.text("#state-headline"), "In progress");
    page.wait_for_text("#announcer", "Done");
    page.wait_for_text("#lesson-about", "RFC 6455, section 4");
    shows(&mut page, 1, "client-right", "GET /ws?label=");
    shows(&mut page, 1, "client-left", "HTTP/1.1 101");
    shows(&mut page, 1, "upstream-right", "tcp://");

    page.press("Enter");
    page.wait_for_text("#announcer", "Step 2 of 6: Send. The page sent the text hello");
    is_done(&mut page, 2);
    shows(&mut page, 2, "client-right", "text · FIN · mask · opcode 1 · 5 bytes · hello");
    shows(&mut page, 2, "upstream-right", "bytes · 5 bytes · hello");
    shows(&mut page, 2, "upstream-left", "bytes · 5 bytes · HELLO");
    shows(&mut page, 2, "client-left", "text · FIN · opcode 1 · 5 bytes · HELLO");

    page.press("Enter");
    is_done(&mut page, 3);
    let pieces = "[data-lesson=\"3\"][data-arrow=client-right]";
    assert!(count(&mut page, pieces) > 1, "the message came in several reads");

    page.press("Enter");
    is_done(&mut page, 4);
    shows(&mut page, 4, "client-right", "binary · FIN · mask · opcode 2 · 0 bytes");
    shows(&mut page, 4, "upstream-right", "FIN");
    shows(&mut page, 4, "upstream-left", "FIN");
    shows(&mut page, 4, "client-left", "Close 1000");

    page.press("Enter");
    is_done(&mut page, 5);
    shows(&mut page, 5, "client-right", "GET /ws?label=");
    shows(&mut page, 5, "client-right", "Close 4000 Lesson");
    shows(&mut page, 5, "client-left", "Close 4000");

    page.press("Enter");
    is_done(&mut page, 6);
    shows(&mut page, 6, "client-left", "RST");
    shows(&mut page, 6, "upstream-right", "RST");
    page.wait_for("document.querySelector('#lesson-next').ariaDisabled === 'true'");

    page.press("Shift+Tab");
    page.press("Enter");
    page.wait_for_text("#lesson-title", "Step 5 of 6: Close with a status code");
    page.wait_for("document.querySelector('[aria-current=step][data-lesson=\"5\"]')");
    assert_eq!(count(&mut page, ".step[aria-current]:not([data-lesson=\"5\"])"), 0);
    let visible =
        "(() => { const list = document.querySelector('#ladder-list').getBoundingClientRect();
        const box = document.querySelector('[data-lesson=\"5\"]').getBoundingClientRect();
        return box.top >= list.top && box.bottom <= list.bottom; })()";
    page.wait_for(visible);
    page.press("Tab");
    page.press("Tab");
    page.press("Enter");
    page.wait_for("document.activeElement.id === 'message'");
    page.wait_for("document.querySelector('#ladder').hidden");
    assert_eq!(count(&mut page, ".connections li"), 1);
}

#[test]
fn a_marked_arrow_of_each_step_is_in_view_where_the_page_has_one_column() {
    let in_view = "[...document.querySelectorAll('.step[aria-current] .arrow')].some((it) => {
        const { left, right, top, bottom } = it.getBoundingClientRect();
        return it.contains(document.elementFromPoint((left + right) / 2, (top + bottom) / 2)); })";
    for (width, height) in [(768, 1024), (390, 844), (320, 640)] {
        let Some((_server, mut page)) = page() else { return };
        page.set_viewport(width, height, Scheme::Light);
        page.wait_for(&format!("innerWidth === {width}"));
        page.wait_for("!document.querySelector('#play-first').hidden");
        page.click("#play-first");
        for step in 1..=6 {
            is_done(&mut page, step);
            page.eval(
                "document.querySelector('#lesson-next').scrollIntoView({ block: 'nearest' })",
            );
            page.wait_for(in_view);
            if step < 6 {
                page.click("#lesson-next");
            }
        }
    }
}

#[test]
fn a_connection_that_is_lost_ends_the_step_with_a_reason() {
    let Some((mut server, mut page)) = playing() else { return };
    page.expect_connection_errors();
    server.signal("KILL");
    server.wait();
    page.wait_for_text("#state-headline", "Connection ended");
    page.click("#lesson-next");
    page.wait_for_text("#lesson-state", "The connection ended before this step was complete");
    page.click("#lesson-stop");
    page.wait_for("document.querySelector('#ladder').hidden");
}

#[test]
fn the_lesson_is_offered_where_the_server_has_what_it_needs() {
    let server = Server::start(ECHOGATE, &["--route", "/only=service:echo"]);
    let Some(mut page) = open(&server, "/") else { return };
    page.wait_for_text(".cards", "echo");
    assert_eq!(page.eval("document.querySelector('#play-first').hidden"), true);
}

#[test]
fn a_connection_that_the_server_does_not_report_is_explained() {
    let server = Server::start(ECHOGATE, &[]);
    let _others = subscribers(&server);
    let Some(mut page) = open(&server, "/") else { return };
    page.expect_error("503");
    page.expect_error("/api/events");
    page.click("#play-first");
    page.wait_for_text("#lesson-state", "The server does not report this connection");
}

#[test]
fn axe_finds_nothing_in_the_lesson() {
    let Some(axe) = reach::axe() else { return };
    let Some((_server, mut page)) = playing() else { return };
    for step in 2..=5 {
        page.click("#lesson-next");
        is_done(&mut page, step);
        for (width, scheme) in [(1440, Scheme::Light), (1440, Scheme::Dark), (390, Scheme::Light)] {
            page.set_viewport(width, 900, scheme);
            page.wait_for(&format!("innerWidth === {width}"));
            reach::assert_accessible(&mut page, &axe, &format!("step {step}, {width}, {scheme:?}"));
        }
    }
    page.click("#lesson-next");
    is_done(&mut page, 6);
    reach::assert_accessible(&mut page, &axe, "step 6");
}
