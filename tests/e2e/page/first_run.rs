//! The page before anything was sent: endpoints as the server reports them, and ways to try them.

use echogate_tests::{
    browser::{Page, Scheme},
    server::Server,
    tcp,
    upstream::Upstream,
};

use super::{LATEST, count, open, page};
use crate::ECHOGATE;

#[test]
fn six_keystrokes_lead_from_the_loaded_page_to_a_reply() {
    let Some((_server, mut page)) = page() else { return };
    page.wait_for("document.activeElement.id === 'message'");
    page.type_text("hello");
    page.press("Enter");
    page.wait_for_text(LATEST, "HELLO");
    page.type_text("again");
    page.press("Enter");
    page.wait_for_text(LATEST, "AGAIN");
}

#[test]
fn each_route_is_tried_with_one_click() {
    let Some((_server, mut page)) = page() else { return };
    page.wait_for_text("#empty", "Replies with your bytes in upper case.");
    page.wait_for("document.querySelectorAll('.card').length === 4");
    page.click(".card:nth-child(3) .primary");
    page.wait_for_text(LATEST, "2018-07-23");
    assert_eq!(page.eval("document.querySelector('#endpoint').value"), "/ws/time");
    assert!(page.eval("document.querySelector('#empty').hidden").as_bool().unwrap());
}

#[test]
fn a_trial_leads_by_keyboard_to_the_composer_and_by_touch_to_the_reply() {
    let Some((_server, mut page)) = page() else { return };
    page.wait_for("document.querySelectorAll('.card').length === 4");
    page.eval("document.querySelector('.card .primary').focus()");
    page.press("Enter");
    page.wait_for_text(LATEST, "HELLO");
    page.wait_for("document.activeElement.id === 'message'");

    let Some((_server, mut page)) = super::page() else { return };
    page.set_viewport(390, 844, Scheme::Light);
    page.emulate_touch();
    page.wait_for("innerWidth === 390 && matchMedia('(pointer: coarse)').matches");
    page.click(".card .primary");
    page.wait_for_text(LATEST, "HELLO");
    page.wait_for(
        "(() => { const box = document.querySelector('.rows > .received:last-child')
            .getBoundingClientRect(); return box.top >= 0 && box.bottom <= innerHeight; })()",
    );
    assert_ne!(page.eval("document.activeElement.id"), "message", "no keyboard on the screen");
}

#[test]
fn the_url_bar_stays_in_view_as_the_page_loads_and_connects() {
    let Some((_server, mut page)) = page() else { return };
    for (width, height) in [(768, 1000), (960, 540), (720, 450), (390, 844)] {
        page.set_viewport(width, height, Scheme::Light);
        page.wait_for(&format!("innerWidth === {width}"));
        page.reload();
        page.wait_for("document.activeElement.id === 'message'");
        page.wait_for("document.querySelectorAll('.card').length === 4");
        assert_eq!(page.eval("scrollY"), 0, "{width}x{height}");
        page.click("#toggle");
        page.wait_for_text("#state-headline", "Connected");
        page.wait_for("document.activeElement.id === 'message'");
        assert_eq!(page.eval("scrollY"), 0, "{width}x{height}, connected");
    }
}

#[test]
fn no_endpoint_is_missing_without_a_word() {
    let socket = "tcp://[::1]:0";
    let mut arguments = vec![
        "--listen=upper=udp://127.0.0.1:0".to_owned(),
        format!("--listen=time={socket}"),
        format!("--listen=time={}", socket.replace("tcp", "udp")),
    ];
    arguments.extend((1..=8).map(|n| format!("--route=/{n}=service:upper")));
    let arguments: Vec<&str> = arguments.iter().map(|it| &**it).collect();
    let server = Server::start(ECHOGATE, &arguments);
    let Some(mut page) = open(&server, "/") else { return };
    page.wait_for_text("#empty", "and 1 more");
    assert_eq!(count(&mut page, ".card"), 8);
    // A route's card has a command for each listener of its service.
    let card = page.text(".card");
    for part in ["nc -N 127.0.0.1", "nc -u -w 1 127.0.0.1", "websocat ws://"] {
        assert!(card.contains(part), "{part}: {card}");
    }

    let server =
        Server::start(ECHOGATE, &[&arguments[1..3], &["--route=/=service:upper"]].concat());
    let Some(mut page) = open(&server, "/") else { return };
    page.wait_for_text(".card:last-child", "No route leads here");
    let card = page.text(".card:last-child");
    for part in ["time", "nc -N ::1", "nc -u -w 1 ::1"] {
        assert!(card.contains(part), "{part}: {card}");
    }
    assert_eq!(count(&mut page, ".card"), 2);
}

#[test]
fn the_commands_have_the_addresses_of_this_server() {
    let Some((server, mut page)) = page() else { return };
    page.allow_clipboard();
    let address = server.address("upper").replace(':', " ");
    let command = format!("echo hello | nc -N {address}");
    page.wait_for_text(".card .command", &command);
    page.wait_for_text("#clients-note", &command);
    page.click(".card .command button");
    page.wait_for_text("#transcript-note", "Copied");
    let clipboard = "navigator.clipboard.readText()";
    page.wait_for(&format!("{clipboard}.then((text) => text === '{command}')"));
    assert!(
        page.text(".card:nth-child(2)").contains(&format!("websocat {}", server.ws("/ws/echo")))
    );
}

#[test]
fn the_first_connect_of_a_gateway_leads_to_its_route() {
    let upstream = Upstream::new();
    let route = format!("/*=tcp://{}", upstream.address());
    let server = Server::start(ECHOGATE, &["--route", &route]);
    let Some(mut page) = open(&server, "/") else { return };
    page.wait_for("document.querySelector('#endpoint').value === '/'");
    page.wait_for_text(".card", &format!("tcp://{}", upstream.address()));
    assert!(
        page.eval("document.querySelector('nav a[href=\"#operator\"]').hidden").as_bool().unwrap()
    );
    page.click("#toggle");
    let mut stream = upstream.accept();
    page.wait_for_text("#state-headline", "Connected");
    page.click("#toggle");
    assert_eq!(tcp::read_to_end(&mut stream), b"");
}

#[test]
fn a_route_that_does_not_exist_is_answered_by_those_that_do() {
    let Some((_server, mut page)) = page() else { return };
    page.click("#endpoint");
    page.eval("document.querySelector('#endpoint').select()");
    page.type_text("ws/nope");
    page.press("Enter");
    page.wait_for_text("#state-headline", "No such route");
    page.wait_for_text("#state-details", "The server has no route /ws/nope (code 1008).");
    page.wait_for_text("#routes", "This server’s routes:");
    assert!(!page.text("#routes").contains("/ws/operator"), "needs a token");
    assert_eq!(page.text("#state-advice"), "");
    page.wait_for_text(".rows", "The server has no route /ws/nope");
    let rows = page.text(".rows");
    assert!(rows.contains("Opening handshake with ws://"), "{rows}");
    assert!(!rows.contains("Connected to"), "{rows}");
    page.wait_for("document.activeElement.id === 'endpoint'");
    page.click("#routes [data-argument='/ws/echo']");
    page.wait_for_text("#state-headline", "Connected");
    assert_eq!(page.eval("document.querySelector('#endpoint').value"), "/ws/echo");
    page.wait_for("document.activeElement.id === 'message'");
}

#[test]
fn a_server_with_no_route_but_the_operators_gives_advice_in_place_of_routes() {
    let server = Server::start(ECHOGATE, &["--route", "/ws/operator=service:operator"]);
    let url = format!("{}/?path=nope&autoconnect", server.url("http"));
    let Some(mut page) = Page::open(&url) else { return };
    page.expect_connection_errors();
    page.wait_for_text("#state-headline", "No such route");
    // The page has the server's endpoints.
    page.wait_for("!document.querySelector('nav a[href=\"#operator\"]').hidden");
    let advice = "Check the path, or add the route to the server (--route).";
    assert_eq!(page.text("#state-advice"), advice);
    assert_eq!(page.eval("document.querySelector('#routes').hidden"), true);
}

#[test]
fn the_first_route_that_is_not_the_operators_is_the_endpoint() {
    let routes = ["--route", "/desk=service:operator", "--route", "/x=service:upper"];
    let server = Server::start(ECHOGATE, &routes);
    let Some(mut page) = open(&server, "/") else { return };
    page.wait_for("document.querySelector('#endpoint').value === '/x'");
}
