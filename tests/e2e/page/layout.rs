//! The geometry of the page in every state, at all widths and in both languages, and its contrast in
//! both schemes: nothing is cut, covered or overlapped, and everything can be read.

use std::{io::Write as _, net::TcpStream};

use echogate_tests::{
    browser::{Page, Scheme},
    program::free_port,
    server::Server,
};

use super::{
    LATEST, choose, connected, connected_to_upstream, count, fill, open, say,
    states::{self, Look},
};
use crate::ECHOGATE;

/// Widths and heights of windows in CSS pixels; 720 is 1440 at 200 % zoom.
pub(super) const SIZES: [(u32, u32); 8] = [
    (1920, 1080),
    (1440, 900),
    (1280, 720),
    (1024, 768),
    (768, 1024),
    (720, 450),
    (390, 844),
    (320, 640),
];

/// The windows and schemes in which colours are checked, which are the same in all others.
const COLOURS_AT: [((u32, u32), Scheme); 4] = [
    ((390, 844), Scheme::Light),
    ((390, 844), Scheme::Dark),
    ((1440, 900), Scheme::Dark),
    ((1440, 900), Scheme::Light),
];

/// A script whose value lists the defects of the page's geometry.
const DEFECTS: &str = include_str!("layout.js");

/// A script whose value lists what has too little contrast.
const CONTRAST: &str = include_str!("contrast.js");

/// Collects the defects of a state in both languages and all windows, and of its colours in wide and
/// narrow windows in both schemes.
fn inspect(page: &mut Page, state: &str, script: &str, found: &mut Vec<String>) {
    let mut look = |page: &mut Page, size: (u32, u32), scheme, at: &str, expression: &str| {
        page.set_viewport(size.0, size.1, scheme);
        let defects = page.eval(&format!(
            "(async () => {{
                const frame = () => new Promise(requestAnimationFrame);
                while (innerWidth !== {}) await frame();
                {script};
                await frame();
                await frame();
                return (\n{expression}\n);
            }})()",
            size.0
        ));
        let defects = defects.as_array().unwrap();
        found.extend(defects.iter().map(|defect| format!("{state}, {at}, {size:?}: {defect}")));
    };
    for language in ["zh-Hans", "en"] {
        states::set_language(page, language);
        for size in SIZES {
            look(page, size, Scheme::Light, language, DEFECTS);
        }
        for (size, scheme) in COLOURS_AT {
            look(page, size, scheme, &format!("{language}, {scheme:?}"), CONTRAST);
        }
    }
}

/// Asserts that no state of a tour has defects.
fn expect_no_defects(tour: fn(&mut Look<'_>)) {
    let mut found = Vec::new();
    tour(&mut |page, state, script| inspect(page, state, script, &mut found));
    assert!(found.is_empty(), "{} defects:\n{}", found.len(), found.join("\n"));
}

macro_rules! tours {
    ($($test:ident: $tour:path;)*) => {
        /// All tours.
        pub(super) const TOURS: &[fn(&mut Look<'_>)] = &[$($tour),*];

        $(
        #[test]
        fn $test() {
            expect_no_defects($tour);
        }
        )*
    };
}

tours! {
    nothing_is_cut_overlaps_or_lacks_contrast_with_any_endpoint: states::sockets::endpoints;
    nothing_is_cut_overlaps_or_lacks_contrast_as_connections_end: states::sockets::endings;
    nothing_is_cut_overlaps_or_lacks_contrast_with_any_route: states::sockets::routes;
    nothing_is_cut_overlaps_or_lacks_contrast_in_the_transcript: states::messages::messages;
    nothing_is_cut_overlaps_or_lacks_contrast_in_the_composer: states::messages::composer;
    nothing_is_cut_overlaps_or_lacks_contrast_with_files: states::messages::files;
    nothing_is_cut_overlaps_or_lacks_contrast_with_clients: states::clients::clients;
    nothing_is_cut_overlaps_or_lacks_contrast_in_the_lesson: states::clients::lesson;
    nothing_is_cut_overlaps_or_lacks_contrast_for_operators: states::clients::operator;
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
fn the_button_and_the_panels_stay_in_their_place_in_every_state() {
    let Some((server, mut page)) = super::page() else { return };
    page.expect_connection_errors();
    let tops = "['#toggle', '.main-column'].map((it) =>
        document.querySelector(it).getBoundingClientRect().top)";
    let before = page.eval(tops);
    for state in ["Connected", "Disconnected"] {
        page.click("#toggle");
        page.wait_for_text("#state-headline", state);
        assert_eq!(page.eval(tops), before, "{state}");
    }
    for (endpoint, headline, text) in [
        (format!("ws://127.0.0.1:{}/", free_port()), "Could not connect", "Check that the server"),
        ("/nope".to_owned(), "No such route", "This server’s routes:"),
        ("tcp://localhost:7007".to_owned(), "Not connected", "Raw sockets need a route"),
    ] {
        fill(&mut page, "#endpoint", &endpoint);
        page.press("Enter");
        page.wait_for_text("#state-headline", headline);
        page.wait_for_text(".state-line", text);
        assert_eq!(page.eval(tops), before, "{text}");
    }
    let _client = TcpStream::connect(server.address("upper")).unwrap();
    let client = ".client[data-ended=false] button";
    page.wait_for(&format!("document.querySelectorAll('{client}').length === 1"));
    page.click(client);
    page.wait_for_text("#state-headline", "Following");
    assert_eq!(page.eval(tops), before, "a client that is followed");
    let nobody = format!("ws://127.0.0.1:{}/", free_port());
    fill(&mut page, "#endpoint", &nobody);
    page.press("Enter");
    page.wait_for_text("#state-headline", "Could not connect");
    assert_eq!(count(&mut page, ".connections li"), 3, "the client is still followed");
}

#[test]
fn the_panels_stay_in_their_place_however_long_the_endpoint_is() {
    for (width, height) in [(1440, 900), (1280, 720), (768, 1024), (390, 844)] {
        let long = format!("/{}", "long".repeat(100));
        let route = format!("{long}=service:echo");
        let server = Server::start(ECHOGATE, &["--route", "/ws=service:upper", "--route", &route]);
        let Some(mut page) = open(&server, "/") else { return };
        page.expect_connection_errors();
        page.set_viewport(width, height, Scheme::Light);
        page.wait_for(&format!("innerWidth === {width}"));
        let tops = "['#toggle', '.main-column', '#connections'].map((it) =>
            document.querySelector(it).getBoundingClientRect().top + scrollY)";
        let nobody = format!("ws://127.0.0.1:{}/", free_port());
        for (short, long, headline, text) in [
            ("/ws", &*long, "Connected", "→ "),
            (&*nobody, &*format!("{nobody}{long}"), "Could not connect", "No connection to"),
        ] {
            let mut places = [short, long].map(|endpoint| {
                fill(&mut page, "#endpoint", endpoint);
                page.press("Enter");
                page.wait_for_text("#state-headline", headline);
                page.wait_for_text("#state-details", text);
                if width == 1440 {
                    page.wait_for(
                        "(({ scrollHeight, clientHeight }) => scrollHeight <= clientHeight)
                        (document.querySelector('.state-line'))",
                    );
                }
                let place = page.eval(tops);
                if headline == "Connected" {
                    page.click("#toggle");
                    page.wait_for_text("#state-headline", "Disconnected");
                }
                place
            });
            assert_eq!(places[1].take(), places[0].take(), "{headline}, {width} pixels");
        }
    }
}

#[test]
fn the_tools_of_the_transcript_stay_in_their_place_as_rows_are_added() {
    let Some((_server, mut page, mut stream)) = connected_to_upstream("line") else { return };
    page.wait_for_text("#row-count", "1 row");
    let place = "(({ left, top }) => [left, top])(document.querySelector('#search').getBoundingClientRect())";
    let before = page.eval(place);
    stream.write_all("line\n".repeat(1200).as_bytes()).unwrap();
    page.wait_for_text("#row-count", "1,201 rows");
    assert_eq!(page.eval(place), before);
    page.set_viewport(1440, 900, Scheme::Light);
    page.wait_for("innerWidth === 1440");
    let height = "document.querySelector('.transcript > header').offsetHeight";
    let before = page.eval(height);
    choose(&mut page, "#pairing", "field");
    page.wait_for("!document.querySelector('#pairing-field').hidden");
    assert_eq!(page.eval(height), before, "with the rule that has a field");
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
                    // The window scrolls, and nothing in it: a menu is seen as a whole.
                    scrollBy(0, it.getBoundingClientRect().top - innerHeight / 2);
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

#[test]
fn forced_colours_distinguish_the_states_of_controls() {
    let Some((_server, mut page)) = connected() else { return };
    say(&mut page, "hello");
    page.wait_for_text(LATEST, "HELLO");
    page.click(".rows .received");
    page.wait_for("document.querySelector('#detail pre')");
    page.click("#pin");
    page.wait_for_text("#pin", "Unpin");
    page.force_colours();
    page.wait_for("matchMedia('(forced-colors: active)').matches");
    // The system's colours replace the page's: what is left has to differ.
    for [one, other] in [
        ["#toggle", "#send"],
        ["#view-text", "#view-json"],
        ["#view-text", "#view-hex"],
        ["#view-json", "#view-hex"],
        [".modes input:checked + label", ".modes input:not(:checked) + label"],
        ["nav [aria-current]", "nav a:not([aria-current])"],
        [".rows .line[aria-selected=true]", ".rows .line[aria-selected=false]"],
        ["mark", "pre"],
    ] {
        let look = |selector: &str| {
            format!(
                "(() => {{ const it = getComputedStyle(document.querySelector('{selector}'));
                    return [it.color, it.backgroundColor, it.borderStyle, it.outlineStyle]; }})()"
            )
        };
        let (one_look, other_look) = (page.eval(&look(one)), page.eval(&look(other)));
        assert_ne!(one_look, other_look, "{one} and {other}");
    }
}
